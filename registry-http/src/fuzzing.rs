//! For fuzz targets, and for tests that replay what they found: answers that no server sent. No part of the API.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use registry_core::fuzzing::{Target, check_message};
use reqwest::Url;

use crate::{base::RedactedUrl, response::Response};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("http_answer", answer)];

/// An answer as it could have been sent: a line with the status, lines of headers, an empty line, the body.
///
/// An input without an empty line is a body with the status 200. Lines that are no header are left out, as the HTTP
/// library refuses them before any code of ours.
pub fn response(bytes: &[u8]) -> Response {
    let end = bytes.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&bytes[..end], &bytes[end + 2..]),
        None => (&[][..], bytes),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let status = lines.next().and_then(|line| StatusCode::from_bytes(line).ok());
    let mut headers = HeaderMap::new();
    // More are refused by the HTTP library, too.
    for line in lines.take(100) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else {
            continue;
        };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    Response::new(
        status.unwrap_or(StatusCode::OK),
        headers,
        Bytes::copy_from_slice(body),
        url(),
        0,
        Duration::ZERO,
    )
}

/// The same answer with another body.
pub fn with_body(response: &Response, body: &[u8]) -> Response {
    Response::new(
        response.status(),
        response.headers().clone(),
        Bytes::copy_from_slice(body),
        response.url().clone(),
        response.base(),
        response.elapsed(),
    )
}

#[allow(clippy::expect_used, reason = "a constant that a test reads")]
fn url() -> RedactedUrl {
    RedactedUrl::new(Url::parse("http://127.0.0.1:8500/v1/fuzz").expect("a URL"))
}

/// What is read from any answer: its text for a message, its request for patience, its numbers.
pub fn answer(bytes: &[u8]) {
    let response = response(bytes);
    let text = response.error_text();
    assert!(text.chars().count() <= 200, "an unbounded text: {text:?}");
    if !text.is_empty() {
        check_message(&text);
    }
    assert_eq!(text, response.error_text());
    let _ = response.retry_after();
    for (name, value) in response.headers() {
        let shown = response.header_str(name.as_str());
        assert_eq!(
            shown.is_none(),
            response
                .headers()
                .get(name)
                .is_some_and(|first| first.to_str().is_err())
        );
        if let Some(number) = response.header_u64(name.as_str()) {
            assert!(
                shown.is_some_and(|shown| shown.contains(&number.to_string())),
                "{value:?} as {number}"
            );
        }
    }
    assert!(!format!("{response:?}").is_empty());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_with_and_without_a_head() {
        let whole = response(b"503\nRetry-After: 7\nno header\nX-A: b\n\n{\n\n}");
        assert_eq!(
            (whole.status().as_u16(), &whole.body()[..]),
            (503, &b"{\n\n}"[..])
        );
        assert_eq!(whole.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(whole.headers().len(), 2);
        let bare = response(b"[]");
        assert_eq!((bare.status().as_u16(), &bare.body()[..]), (200, &b"[]"[..]));
    }

    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), TARGETS);
    }
}
