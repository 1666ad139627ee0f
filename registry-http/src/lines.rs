//! An answer without an end, read line by line as it comes: event streams.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::{
    base::RedactedUrl,
    budget::Permit,
    error::{Error, Source},
    response::Response,
    server::Lease,
};

/// What became of a request for an answer without an end.
#[derive(Debug)]
pub enum Opened {
    /// The server goes on sending. The status is 2xx.
    Lines(Box<Lines>),
    /// It answered with any other status, and that was all.
    Refused(Box<Response>),
}

/// The lines of an answer, as they come. Dropping it closes the connection over HTTP/1.1, and ends the stream over HTTP/2.
///
/// It holds a permit of the budget, of the request's lane, for as long as it lives.
pub struct Lines {
    response: reqwest::Response,
    buffer: BytesMut,
    /// So much of the buffer is known to hold no end of a line.
    scanned: usize,
    longest: u64,
    url: RedactedUrl,
    base: usize,
    // Both end with it.
    _lease: Lease,
    _permit: Option<Permit>,
}

// === impl Lines ===

impl Lines {
    pub(crate) fn new(
        response: reqwest::Response,
        longest: u64,
        url: RedactedUrl,
        base: usize,
        lease: Lease,
    ) -> Self {
        Self {
            response,
            buffer: BytesMut::new(),
            scanned: 0,
            longest,
            url,
            base,
            _lease: lease,
            _permit: None,
        }
    }

    /// Keeps the permit for as long as it lives.
    pub(crate) fn keep(&mut self, permit: Option<Permit>) {
        self._permit = permit;
    }

    /// The status, which is 2xx.
    pub fn status(&self) -> StatusCode {
        self.response.status()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        self.response.headers()
    }

    /// What was asked for, safe to show.
    pub fn url(&self) -> &RedactedUrl {
        &self.url
    }

    /// Index of the base URL that answers.
    pub fn base(&self) -> usize {
        self.base
    }

    /// The next line without its end, which is `\n` or `\r\n`; `None` where the answer is over. A last line without an end
    /// broke off and is never told.
    ///
    /// Nothing is lost where this is dropped half-way.
    ///
    /// # Errors
    ///
    /// Where nothing at all came for as long as `silence`, the connection broke, or the line is longer than
    /// `max_body_bytes`. There is nothing more to be read then.
    pub async fn next_line(&mut self, silence: Duration) -> Result<Option<Bytes>, Error> {
        loop {
            if let Some(line) = self.buffered_line() {
                return Ok(Some(line));
            }
            if u64::try_from(self.buffer.len()).is_ok_and(|held| held > self.longest) {
                return Err(Error::BodyTooLarge {
                    url: self.url.clone(),
                    limit: self.longest,
                });
            }
            let came = timeout(silence, self.response.chunk()).await;
            let came = came.map_err(|_| Error::Timeout {
                url: self.url.clone(),
                after: silence,
                phase: "since the last part of its body",
            })?;
            let came = came.map_err(|error| Error::Body {
                url: self.url.clone(),
                source: Source::from(error.without_url()),
            })?;
            match came {
                Some(bytes) => self.buffer.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }

    fn buffered_line(&mut self) -> Option<Bytes> {
        let found = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        let Some(found) = found else {
            self.scanned = self.buffer.len();
            return None;
        };
        let mut line = self.buffer.split_to(self.scanned + found + 1);
        self.scanned = 0;
        line.truncate(line.len() - 1);
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        Some(line.freeze())
    }
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines")
            .field("status", &self.status())
            .field("url", &self.url)
            .field("buffered", &self.buffer.len())
            .finish_non_exhaustive()
    }
}
