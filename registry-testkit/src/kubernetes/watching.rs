//! The events of a watch, one after the other.

use std::time::Duration;

use bytes::BytesMut;
use reqwest::Response;
use serde_json::Value;

use crate::Error;

/// A watch under way; dropping it ends it.
#[derive(Debug)]
pub struct Watching {
    response: Response,
    url: String,
    unread: BytesMut,
}

// === impl Watching ===

impl Watching {
    pub(super) fn new(response: Response, url: String) -> Self {
        Self {
            response,
            url,
            unread: BytesMut::new(),
        }
    }

    /// The next event, `{ "type": …, "object": … }`; `None` when the server has ended the watch.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when there is none in time, [`Error::Http`] when the connection breaks and
    /// [`Error::Json`] when it is no event.
    pub async fn next(&mut self, deadline: Duration) -> Result<Option<Value>, Error> {
        let next = tokio::time::timeout(deadline, self.line()).await;
        next.map_err(|_| Error::Deadline {
            what: format!("an event of {}", self.url),
            after: deadline,
        })?
    }

    /// All events up to the end of the watch.
    ///
    /// # Errors
    ///
    /// As for [`next`](Self::next); the deadline is one for all.
    pub async fn rest(&mut self, deadline: Duration) -> Result<Vec<Value>, Error> {
        let all = async {
            let mut events = Vec::new();
            while let Some(event) = self.line().await? {
                events.push(event);
            }
            Ok(events)
        };
        let all = tokio::time::timeout(deadline, all).await;
        all.map_err(|_| Error::Deadline {
            what: format!("the end of {}", self.url),
            after: deadline,
        })?
    }

    async fn line(&mut self) -> Result<Option<Value>, Error> {
        loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                let line = self.unread.split_to(end + 1);
                return serde_json::from_slice(&line)
                    .map(Some)
                    .map_err(|source| Error::Json {
                        url: self.url.clone(),
                        source,
                    });
            }
            let chunk = self.response.chunk().await.map_err(|source| Error::Http {
                method: "GET".to_owned(),
                url: self.url.clone(),
                source,
            })?;
            match chunk {
                Some(chunk) => self.unread.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }
}
