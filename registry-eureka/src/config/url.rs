//! Base URLs: which can be used, and how they are shown.

use registry_http::RedactedUrl;

use super::wrong;
use crate::error::Error;

/// True where the part before the host holds a user name.
pub(super) fn has_user(url: &str) -> bool {
    let uri = url.trim().parse::<http::Uri>();
    uri.is_ok_and(|uri| {
        uri.authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
    })
}

/// A URL without user name, password and query, fit to be shown; nothing of one that cannot be read.
pub(crate) fn shown(url: &http::Uri) -> String {
    let scheme = url.scheme_str().unwrap_or_default();
    let authority = url.authority().map_or("", http::uri::Authority::as_str);
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    format!("{scheme}://{place}{}", url.path())
}

pub(super) fn check_url(field: &'static str, url: &str) -> Result<(), Error> {
    const EXAMPLE: &str = "such as http://127.0.0.1:8761/eureka";
    let url = url.trim();
    let scheme = url
        .split_once("://")
        .map(|(scheme, _)| scheme.to_ascii_lowercase());
    if !matches!(scheme.as_deref(), Some("http" | "https")) {
        // The URL itself is not shown: it may hold a password.
        return wrong(
            field,
            format!("found a URL without http:// or https://, expected one {EXAMPLE}"),
        );
    }
    let Ok(uri) = url.parse::<http::Uri>() else {
        return wrong(
            field,
            format!("found a URL that cannot be read, expected one {EXAMPLE}"),
        );
    };
    let shown = shown(&uri);
    if uri.host().is_none_or(str::is_empty) {
        return wrong(
            field,
            format!("found {shown:?}, which lacks a host, expected a URL {EXAMPLE}"),
        );
    }
    if uri.query().is_some() || url.contains('#') {
        return wrong(
            field,
            format!("found {shown:?} with a query or a fragment, expected a base URL"),
        );
    }
    // All else that a client would find wrong with it; the message holds no secret.
    if let Err(error) = RedactedUrl::of_base(url) {
        return wrong(field, format!("found a URL that cannot be used: {error}"));
    }
    match base_of(&shown) {
        Some(base) => wrong(
            field,
            format!("found {shown:?}, expected the base URL alone: {base:?}"),
        ),
        None => Ok(()),
    }
}

/// What comes before `/apps` where a URL holds it, as the URLs of requests do.
pub(crate) fn base_of(url: &str) -> Option<String> {
    let segments: Vec<&str> = url.trim_end_matches('/').split('/').collect();
    let is_of_a_request = |at: &usize| {
        let (before, after) = (segments[at - 1], &segments[at + 1..]);
        // A context path may be called so, too.
        segments[*at] == "apps" && (matches!(after, [] | ["delta"]) || matches!(before, "eureka" | "v2"))
    };
    // After the scheme, an empty segment and the host.
    let at = (3..segments.len()).find(is_of_a_request)?;
    Some(segments[..at].join("/"))
}
