//! What it means where a server answers with anything but 200.

use registry_core::LONGEST_REST;
use registry_http::Response;

use super::Fetch;
use crate::config::{base_of, shown};
use crate::error::{Error, short};

/// The usual base URLs, for who has another one.
const BASES: &str =
    "Spring Cloud's is such as http://host:8761/eureka, Netflix's such as http://host:8080/eureka/v2";

/// The error that such an answer stands for.
pub(super) fn error(response: &Response, what: Fetch) -> Error {
    let status = response.status().as_u16();
    let own = response.error_text();
    let or_own = |text: &str| {
        if own.is_empty() {
            text.to_owned()
        } else {
            own.clone()
        }
    };
    let text = match (status, what) {
        (401, _) => "the server wants a user name and password, or others than it got".to_owned(),
        (403, Fetch::Full) => {
            "the server refuses to answer: it is still starting, or these credentials may not read".to_owned()
        }
        (404, Fetch::Full) => format!("no registry is there, is the base URL right? {BASES}"),
        (300..=399, _) => match response
            .header_str("Location")
            .and_then(|to| location(to, response))
        {
            Some(to) => format!("redirects are not followed; is this the base URL? {to}"),
            None => "the answer is a redirect, which is not followed".to_owned(),
        },
        (200..=299, _) => "an answer without a document".to_owned(),
        _ => or_own("no reason is given"),
    };
    let asked = response.retry_after();
    Error::Status {
        url: response.url().clone(),
        status,
        text: text.into(),
        retry_after: asked.map(|asked| asked.min(LONGEST_REST)),
    }
}

/// The base URL that a redirect leads to, without what may be secret in it.
fn location(to: &str, response: &Response) -> Option<String> {
    let to = to.trim();
    let url = if to.starts_with('/') && !to.starts_with("//") {
        // `http://host:port` of the URL that was asked.
        let asked = response.url().to_string();
        let place: Vec<&str> = asked.splitn(4, '/').take(3).collect();
        format!("{}{to}", place.join("/"))
    } else {
        to.to_owned()
    };
    let url = shown(&url.parse::<http::Uri>().ok()?);
    Some(short(&base_of(&url).unwrap_or(url), 200))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_redirect_shows_is_a_base_url_without_secrets() {
        let uri: http::Uri = "https://user:hunter2@h:8443/eureka/apps?token=t".parse().unwrap();
        assert_eq!(base_of(&shown(&uri)).unwrap(), "https://h:8443/eureka");
    }
}
