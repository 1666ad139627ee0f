//! Errors of the API: `application/problem+json` (RFC 9457).

use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value};

/// The longest detail, in bytes.
const LONGEST: usize = 4096;

/// Why a request is not answered as asked.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            members: Map::new(),
            headers: Vec::new(),
        }
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// Not now, but it is worth to ask again in a second.
    pub(super) fn unavailable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            .with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(super) fn with(mut self, member: &str, value: impl Into<Value>) -> Self {
        self.members.insert(member.to_owned(), value.into());
        self
    }

    pub(super) fn with_detail(mut self, detail: String) -> Self {
        self.detail = detail;
        self
    }

    pub(super) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut body = Map::new();
        let title = self.status.canonical_reason().unwrap_or("Error");
        body.insert("type".to_owned(), "about:blank".into());
        body.insert("title".to_owned(), title.into());
        body.insert("status".to_owned(), self.status.as_u16().into());
        body.insert("detail".to_owned(), shortened(self.detail).into());
        body.extend(self.members);
        let mut response = (self.status, Value::Object(body).to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.headers);
        response
    }
}

/// What somebody asked for is said back, but not all of a name as long as a book.
fn shortened(mut detail: String) -> String {
    if detail.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|end| detail.is_char_boundary(*end));
        detail.truncate(end.unwrap_or(0));
        detail.push('…');
    }
    detail
}

/// Answers requests for paths that do not exist.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        format!(
            "no such path: {}; there are /v1/services, /v1/services/{{hostname}}, /v1/registries, \
             /v1/registries/{{id}}, /v1/watch, /v1/xds/clients, /v1/xds/warnings, /v1/xds/resources, /healthz, /readyz and /metrics, and to be posted to \
             /v1/registries/{{id}}/ack and /v1/registries/{{id}}/resync",
            uri.path()
        ),
    )
}

/// Answers requests whose path exists, but not for their method. What is allowed the router adds by itself.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let path = uri.path();
    let order = ["/ack", "/resync"].iter().any(|order| path.ends_with(order));
    let (ask, methods) = if order {
        ("told", "POST")
    } else {
        ("asked", "GET and HEAD")
    };
    let detail = format!("{path} cannot be {ask} by {method}, only by {methods}");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
