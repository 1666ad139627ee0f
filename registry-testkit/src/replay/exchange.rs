//! Captured exchanges: one request and its answer.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::route::Route;

/// Headers that carry the index of a blocking query.
const INDEX_HEADERS: [&str; 2] = ["X-Consul-Index", "X-Nomad-Index"];

/// Headers that belong to one transmission, not to the answer.
const OF_THE_WIRE: [&str; 4] = ["Transfer-Encoding", "Content-Length", "Date", "Connection"];

/// Why a capture could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CaptureError {
    /// The file could not be read.
    #[error("{path} could not be read")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: io::Error,
    },
    /// The file is no capture.
    #[error("{path} is no capture")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        source: Box<CaptureError>,
    },
    /// The text is not JSON of a capture's shape.
    #[error("a capture needs `request`, `status`, `response_headers` and `body` or `body_text`")]
    Shape {
        /// The parser's reason.
        #[source]
        source: serde_json::Error,
    },
    /// `request` is not a method and a target.
    #[error("`{line}` is no request line such as `GET /v1/status/leader`")]
    RequestLine {
        /// What was found.
        line: String,
    },
    /// `status` is not between 200 and 999.
    #[error("{status} is no status of a complete answer")]
    Status {
        /// What was found.
        status: u16,
    },
}

/// One request and the answer that a real server gave.
///
/// It comes from a capture file ([`Exchange::load`]), or is made by hand:
///
/// ```
/// use registry_testkit::Exchange;
///
/// let missing = Exchange::get("/v1/health/service/web").with_index(7).with_body("[]");
/// assert_eq!(missing.index(), Some(7));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The method of the request.
    pub method: String,
    /// Path and query of the request.
    pub target: String,
    /// The status of the answer.
    pub status: u16,
    /// The headers of the answer, without those that belong to one transmission.
    pub headers: Vec<(String, String)>,
    /// The body of the answer.
    pub body: Bytes,
}

/// The part of a capture file that matters here.
#[derive(Deserialize)]
struct Capture<'a> {
    request: String,
    status: u16,
    #[serde(default)]
    response_headers: BTreeMap<String, String>,
    #[serde(borrow, default, deserialize_with = "present")]
    body: Option<&'a RawValue>,
    body_text: Option<String>,
}

/// A body of `null` is a body.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Exchange {
    /// A `GET` that is answered with 200, an empty body and `Content-Type: application/json`.
    pub fn get(target: impl Into<String>) -> Self {
        Self {
            method: "GET".to_owned(),
            target: target.into(),
            status: 200,
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body: Bytes::new(),
        }
    }

    /// Reads a capture file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CaptureError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|source| CaptureError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&text).map_err(|source| CaptureError::File {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// Reads the text of a capture file.
    ///
    /// A `body` becomes compact JSON: numbers, strings and the order of keys stay as they are in the text. A
    /// `body_text` is taken verbatim.
    pub fn parse(text: &str) -> Result<Self, CaptureError> {
        let capture: Capture<'_> =
            serde_json::from_str(text).map_err(|source| CaptureError::Shape { source })?;
        let Some((method, target)) = capture
            .request
            .split_once(' ')
            .filter(|(_, target)| target.starts_with('/'))
        else {
            return Err(CaptureError::RequestLine {
                line: capture.request,
            });
        };
        if !(200..1000).contains(&capture.status) {
            return Err(CaptureError::Status {
                status: capture.status,
            });
        }
        let mut headers: Vec<_> = capture.response_headers.into_iter().collect();
        headers.retain(|(name, _)| {
            !OF_THE_WIRE
                .iter()
                .any(|left_out| name.eq_ignore_ascii_case(left_out))
        });
        let body = match (capture.body, capture.body_text) {
            (Some(json), _) => compact(json.get()),
            (None, Some(text)) => text.into_bytes(),
            (None, None) => Vec::new(),
        };
        Ok(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            status: capture.status,
            headers,
            body: Bytes::from(body),
        })
    }

    /// The route of its request.
    pub fn route(&self) -> Route {
        Route::new(&self.method, &self.target)
    }

    /// The value of a header, whatever its case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(held, _)| held.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The index of a blocking query: `X-Consul-Index` or `X-Nomad-Index`, if it is a number.
    pub fn index(&self) -> Option<u64> {
        self.header(self.index_header()?)?.parse().ok()
    }

    fn index_header(&self) -> Option<&'static str> {
        INDEX_HEADERS.into_iter().find(|name| self.header(name).is_some())
    }

    /// With another method.
    #[must_use]
    pub fn with_method(mut self, method: impl Into<String>) -> Self {
        self.method = method.into();
        self
    }

    /// With another status.
    #[must_use]
    pub fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// With a header, in the place of what it was.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let name = name.into();
        self = self.without_header(&name);
        self.headers.push((name, value.into()));
        self
    }

    /// Without a header.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.headers.retain(|(held, _)| !held.eq_ignore_ascii_case(name));
        self
    }

    /// With another index, in the header that carried it; `X-Consul-Index` if there was none.
    #[must_use]
    pub fn with_index(self, index: u64) -> Self {
        let name = self.index_header().unwrap_or(INDEX_HEADERS[0]);
        self.with_header(name, index.to_string())
    }

    /// With another body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as text; bytes that are no UTF-8 are replaced.
    pub fn body_text(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.body)
    }
}

/// Leaves out the white space between the tokens of valid JSON.
fn compact(json: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len());
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte.is_ascii_whitespace() {
            continue;
        } else {
            in_string = byte == b'"';
        }
        out.push(byte);
    }
    out
}
