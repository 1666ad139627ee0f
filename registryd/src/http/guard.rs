//! What every request passes first: it is counted, the name it calls us by is checked, and its token.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use secrecy::{ExposeSecret, SecretString};
use subtle::ConstantTimeEq;

use super::problem::Problem;
use super::{Api, lock};

/// Lets a request pass, or answers it.
pub(super) async fn guard(State(api): State<Arc<Api>>, request: Request, next: Next) -> Response {
    // The template of the route, never the path itself: clients must not be able to make up labels of metrics.
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("other", MatchedPath::as_str)
        .to_owned();
    let response = match refusal(&api, &request) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    };
    let key = (route, response.status().as_u16());
    *lock(&api.requests).entry(key).or_default() += 1;
    response
}

fn refusal(api: &Api, request: &Request) -> Option<Problem> {
    if api.loopback
        && let Some(host) = called_host(request)
        && !is_known(host, &api.options.allowed_hosts)
    {
        return Some(Problem::new(
            StatusCode::FORBIDDEN,
            format!(
                "host {host:?}: a listener on a loopback address answers to \"localhost\", to IP addresses and to \
                 the names that its configuration lists"
            ),
        ));
    }
    let open = matches!(request.uri().path(), "/healthz" | "/readyz");
    match &api.options.token {
        Some(token) if !open && !bears(request.headers(), token) => Some(
            Problem::new(
                StatusCode::UNAUTHORIZED,
                "expected the header \"authorization: Bearer\" with the token of this listener",
            )
            .with_header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")),
        ),
        _ => None,
    }
}

/// The host that the client believes to talk to. HTTP/1.0 needs none, and no browser speaks that.
fn called_host(request: &Request) -> Option<&str> {
    match request.headers().get(header::HOST) {
        Some(host) => Some(host.to_str().unwrap_or("\u{fffd}")),
        None => request.uri().authority().map(|authority| authority.as_str()),
    }
}

fn is_known(host: &str, names: &[String]) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => address,
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost"
        || name.ends_with(".localhost")
        || name.parse::<IpAddr>().is_ok()
        || names.iter().any(|known| known.eq_ignore_ascii_case(&name))
}

fn bears(headers: &HeaderMap, token: &SecretString) -> bool {
    let Some(given) = headers.get(header::AUTHORIZATION) else {
        return false;
    };
    let given = given.as_bytes();
    let Some((scheme, given)) = given.split_at_checked("bearer ".len()) else {
        return false;
    };
    scheme.eq_ignore_ascii_case(b"bearer ") && given.ct_eq(token.expose_secret().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_local_names_and_listed_ones_are_known() {
        let listed = ["registry.example".to_owned()];
        for known in [
            "localhost",
            "LOCALHOST:7380",
            "a.localhost.",
            "127.0.0.1:7380",
            "[::1]:7380",
            "10.0.0.1",
            "Registry.Example:80",
        ] {
            assert!(is_known(known, &listed), "{known}");
        }
        for unknown in [
            "",
            "evil.example",
            "localhost.evil.example:7380",
            "127.0.0.1.evil.example",
        ] {
            assert!(!is_known(unknown, &listed), "{unknown}");
        }
    }
}
