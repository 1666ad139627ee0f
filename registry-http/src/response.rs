//! A complete answer, and the bounded reading of its body.

use std::{fmt, time::Duration};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};

use crate::{
    base::RedactedUrl,
    error::{Error, Source},
};

/// Most that is reserved at once on the word of a `Content-Length`.
const MAX_RESERVE: u64 = 1024 * 1024;

/// How much of a failing answer's text is shown.
const ERROR_TEXT: usize = 200;

/// An answer with any status; its body was read to the end and decompressed.
#[derive(Clone)]
pub struct Response {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
    url: RedactedUrl,
    base: usize,
    elapsed: Duration,
    resent: bool,
}

// === impl Response ===

impl Response {
    pub(crate) fn new(
        status: StatusCode,
        headers: HeaderMap,
        body: Bytes,
        url: RedactedUrl,
        base: usize,
        elapsed: Duration,
    ) -> Self {
        Self {
            status,
            headers,
            body,
            url,
            base,
            elapsed,
            resent: false,
        }
    }

    pub(crate) fn with_resent(self, resent: bool) -> Self {
        Self { resent, ..self }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the status is 2xx.
    pub fn is_success(&self) -> bool {
        self.status.is_success()
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The body alone, without a copy.
    pub fn into_body(self) -> Bytes {
        self.body
    }

    /// What was asked for, safe to show.
    pub fn url(&self) -> &RedactedUrl {
        &self.url
    }

    /// Index of the base URL that answered.
    pub fn base(&self) -> usize {
        self.base
    }

    /// Whether the request was sent again because a kept connection broke: whoever answers may be another server than the
    /// one that was asked before.
    pub fn is_resent(&self) -> bool {
        self.resent
    }

    /// From sending to the body's end, without waiting for the budget.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// A header as text; `None` where it is absent or not plain ASCII. Names match in any case.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A header that is a plain decimal number.
    pub fn header_u64(&self, name: &str) -> Option<u64> {
        self.header_str(name)?.trim().parse().ok()
    }

    /// The first 200 characters of a text body on one line, fit for an error message; others become spaces.
    ///
    /// A body that is not text gives its length instead.
    pub fn error_text(&self) -> String {
        // Four bytes hold any character; a cut one at the end is no sign of binary data.
        let head = &self.body[..self.body.len().min(ERROR_TEXT * 4)];
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(e) if e.error_len().is_none() => {
                std::str::from_utf8(&head[..e.valid_up_to()]).unwrap_or_default()
            }
            Err(_) => return format!("({} bytes that are not text)", self.body.len()),
        };
        let clean: String = text
            .trim()
            .chars()
            .take(ERROR_TEXT)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        clean.trim_end().to_owned()
    }

    /// How long the server asks to wait (`Retry-After`, in seconds or as a date); zero for a date that has passed.
    ///
    /// It is the server's word: callers bound it.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        Some(
            at.duration_since(std::time::SystemTime::now())
                .unwrap_or_default(),
        )
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("url", &self.url)
            .field("body_bytes", &self.body.len())
            .field("elapsed", &self.elapsed)
            .finish_non_exhaustive()
    }
}

/// Reads a body to its end, or to the limit. Dropping it half-way closes an HTTP/1.1 connection.
pub(crate) async fn read_body(
    response: &mut reqwest::Response,
    limit: u64,
    url: &RedactedUrl,
) -> Result<Bytes, Error> {
    let too_large = || Error::BodyTooLarge {
        url: url.clone(),
        limit,
    };
    let broken = |e: reqwest::Error| Error::Body {
        url: url.clone(),
        source: Source::from(e.without_url()),
    };
    // Absent where the body was compressed: then it would say nothing of what is to come.
    let announced = response.content_length().unwrap_or(0);
    if announced > limit {
        return Err(too_large());
    }
    let Some(first) = response.chunk().await.map_err(broken)? else {
        return Ok(Bytes::new());
    };
    let within = |bytes: usize| u64::try_from(bytes).is_ok_and(|bytes| bytes <= limit);
    if !within(first.len()) {
        return Err(too_large());
    }
    // Most answers come in one piece, which needs no copy.
    let Some(second) = response.chunk().await.map_err(broken)? else {
        return Ok(first);
    };
    let reserve = usize::try_from(announced.min(MAX_RESERVE)).unwrap_or(0);
    let mut body = BytesMut::with_capacity(reserve.max(first.len() + second.len()));
    body.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(chunk) = next {
        if !within(body.len() + chunk.len()) {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
        next = response.chunk().await.map_err(broken)?;
    }
    Ok(body.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(body: &'static [u8], headers: &[(&'static str, &str)]) -> Response {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let url = RedactedUrl::new("http://h/x".parse().unwrap());
        Response::new(
            StatusCode::OK,
            headers,
            Bytes::from_static(body),
            url,
            0,
            Duration::ZERO,
        )
    }

    #[test]
    fn error_text_is_short_and_printable() {
        assert_eq!(
            response(b" ACL not\nfound\x1b[31m \n", &[]).error_text(),
            "ACL not found [31m"
        );
        assert_eq!(
            response(b"\xff\x00\x01", &[]).error_text(),
            "(3 bytes that are not text)"
        );
        let long: &'static str = "ä".repeat(5000).leak();
        assert_eq!(response(long.as_bytes(), &[]).error_text().chars().count(), 200);
        assert_eq!(
            response(&long.as_bytes()[..799], &[])
                .error_text()
                .chars()
                .count(),
            200
        );
    }

    #[test]
    fn headers_are_read_in_any_case_and_only_when_numbers() {
        let answer = response(
            b"",
            &[
                ("x-consul-index", "42"),
                ("x-bad", "4x"),
                ("x-big", "18446744073709551616"),
            ],
        );
        assert_eq!(answer.header_u64("X-Consul-Index"), Some(42));
        assert_eq!(answer.header_u64("x-bad"), None);
        assert_eq!(answer.header_u64("x-big"), None);
        assert_eq!(answer.header_str("X-Bad"), Some("4x"));
    }

    #[test]
    fn retry_after_is_read_in_both_forms() {
        let after = |value: &str| response(b"", &[("retry-after", value)]).retry_after();
        assert_eq!(after("7"), Some(Duration::from_secs(7)));
        assert_eq!(after("Wed, 21 Oct 2015 07:28:00 GMT"), Some(Duration::ZERO));
        let ahead = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(3600));
        let wait = after(&ahead).unwrap();
        assert!(
            wait > Duration::from_secs(3500) && wait <= Duration::from_secs(3600),
            "{wait:?}"
        );
        assert_eq!(after("soon"), None);
        assert_eq!(response(b"", &[]).retry_after(), None);
    }
}
