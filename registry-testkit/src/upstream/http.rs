//! The HTTP server.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use serde_json::json;
use tokio::net::TcpStream;

use super::Shared;

/// Serves a connection to its end, in whichever version of HTTP it begins.
pub(super) async fn serve(stream: TcpStream, shared: &Arc<Shared>) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let shared = shared.clone();
        async move {
            shared.requests.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(answer(&shared.id, &request).await)
        }
    });
    // A client that goes away is nothing to tell.
    let _ = Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn answer(id: &str, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let mut status = StatusCode::OK;
    let mut body = id.to_owned();
    if let Some(wanted) = path.strip_prefix("/status/") {
        status = wanted.parse().unwrap_or(StatusCode::BAD_REQUEST);
    } else if let Some(milliseconds) = path.strip_prefix("/slow/") {
        let pause = Duration::from_millis(milliseconds.parse().unwrap_or_default());
        tokio::time::sleep(pause).await;
    } else if path == "/request" {
        body = describe(id, request).to_string();
    }
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response
}

fn describe(id: &str, request: &Request<Incoming>) -> serde_json::Value {
    let headers: BTreeMap<String, String> = request
        .headers()
        .iter()
        .map(|(name, value)| {
            (
                name.to_string(),
                String::from_utf8_lossy(value.as_bytes()).into_owned(),
            )
        })
        .collect();
    json!({
        "id": id,
        "method": request.method().as_str(),
        "version": format!("{:?}", request.version()),
        // HTTP/2 has the host here.
        "authority": request.uri().authority().map(ToString::to_string),
        "path": request.uri().path(),
        "query": request.uri().query(),
        "headers": headers,
    })
}
