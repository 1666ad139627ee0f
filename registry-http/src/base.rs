//! Base URLs: parsed once, shown without secrets, joined with request paths.

use std::{borrow::Cow, fmt};

use http::HeaderValue;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::Url;
use secrecy::SecretString;

use crate::{credential::basic_header, error::Error, request::Request};

/// What is in the query keys whose values are not shown: some servers take a token there, under many names.
const SECRET_WORDS: [&str; 9] = [
    "token",
    "secret",
    "pass",
    "pwd",
    "key",
    // Signed URLs of object stores: who has one may read.
    "sig",
    "credential",
    "auth",
    "jwt",
];

/// RFC 3986's unreserved characters stay, all others are encoded.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A URL that is safe to show: no userinfo, and `***` in place of token-like query values.
///
/// It is redacted when it is shown, so that carrying it costs nothing on the way.
#[derive(Clone, PartialEq, Eq)]
pub struct RedactedUrl(Url);

// === impl RedactedUrl ===

impl RedactedUrl {
    pub(crate) fn new(url: Url) -> Self {
        Self(url)
    }

    /// Checks a base URL as a client does when it is built, and shows it without its secrets.
    ///
    /// ```
    /// use registry_http::RedactedUrl;
    ///
    /// assert_eq!(RedactedUrl::of_base("http://user:secret@host/base").unwrap().to_string(), "http://host/base");
    /// assert!(RedactedUrl::of_base("http://host:port/").is_err());
    /// ```
    pub fn of_base(text: &str) -> Result<Self, Error> {
        BaseUrl::parse(text).map(|base| base.redacted())
    }
}

impl fmt::Display for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = &self.0;
        write!(f, "{}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        if let Some(port) = url.port() {
            write!(f, ":{port}")?;
        }
        f.write_str(url.path())?;
        let Some(query) = url.query() else { return Ok(()) };
        for (at, pair) in query.split('&').enumerate() {
            f.write_str(if at == 0 { "?" } else { "&" })?;
            let key = pair.split_once('=').map_or(pair, |(key, _)| key);
            if is_secret_key(key) {
                write!(f, "{key}=***")?;
            } else {
                f.write_str(pair)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RedactedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_string())
    }
}

/// One server's address with an optional base path; its userinfo is kept apart and never shown.
#[derive(Clone)]
pub(crate) struct BaseUrl {
    url: Url,
    basic: Option<HeaderValue>,
}

impl BaseUrl {
    /// Parses `http://host:port/base/path`, with or without a slash at the end.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let wrong = |shown: &str, reason: &str| Error::Config {
            field: format!("url {shown:?}"),
            reason: reason.to_owned(),
        };
        // Not even a text that does not parse may show what stands before its `@`.
        let mut url = Url::parse(text.trim()).map_err(|e| wrong(&without_userinfo(text), &e.to_string()))?;
        let shown = RedactedUrl(url.clone()).to_string();
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong(&without_userinfo(text), "the scheme must be http or https"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong(&shown, "a host is missing"));
        }
        if url.query().is_some() {
            return Err(wrong(&shown, "a base URL must not have a query"));
        }
        if url.fragment().is_some() {
            return Err(wrong(&shown, "a base URL must not have a fragment"));
        }
        let basic = if url.username().is_empty() && url.password().is_none() {
            None
        } else {
            let decode = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
            let password = SecretString::from(decode(url.password().unwrap_or_default()));
            let header = basic_header(&decode(url.username()), &password)
                .map_err(|reason| wrong(&shown, &format!("its user name {reason}")))?;
            Some(header)
        };
        let cannot = |()| wrong(&shown, "cannot be a base URL");
        url.set_username("").map_err(cannot)?;
        url.set_password(None).map_err(cannot)?;
        Ok(Self { url, basic })
    }

    pub(crate) fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Basic authentication from the userinfo.
    pub(crate) fn basic(&self) -> Option<&HeaderValue> {
        self.basic.as_ref()
    }

    pub(crate) fn redacted(&self) -> RedactedUrl {
        RedactedUrl(self.url.clone())
    }

    /// The URL of a request: base path, then the request's path, then both of its queries.
    pub(crate) fn join(&self, request: &Request) -> Result<Url, Error> {
        let (path, query) = match request.path().split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (request.path(), None),
        };
        let wrong = |reason| Error::Request {
            path: path.to_owned(),
            reason,
        };
        if !path.is_empty() && !path.starts_with('/') {
            return Err(wrong("must start with a slash"));
        }
        let mut url = self.url.clone();
        let base = self.url.path().trim_end_matches('/');
        let joined = format!("{base}{path}");
        url.set_path(&joined);
        // `..` (also as %2e%2e) would be resolved, and a name from a registry must not lead out of its place.
        let dots = |path: &str| path.split('/').filter(|segment| !segment.is_empty()).count();
        if !joined.is_empty() && dots(url.path()) != dots(&joined) {
            return Err(wrong("must not have `.` or `..` segments"));
        }
        url.set_query(query.filter(|query| !query.is_empty()));
        if !request.query().is_empty() {
            url.query_pairs_mut().extend_pairs(request.query());
        }
        Ok(url)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.redacted(), f)
    }
}

/// Encodes one path segment (a service name, say), so that `/`, `?`, `#`, `%` and spaces stay part of it.
///
/// ```
/// assert_eq!(registry_http::encode_segment("a/b c"), "a%2Fb%20c");
/// ```
pub fn encode_segment(segment: &str) -> Cow<'_, str> {
    utf8_percent_encode(segment, SEGMENT).into()
}

/// A base URL as its server is told apart by: without user name, password, query, default port and final slash, its
/// scheme and host in lower case. Empty where it cannot be read, as nothing of it may be shown then.
///
/// ```
/// use registry_http::bare_url;
///
/// assert_eq!(bare_url("HTTPS://user:secret@Host:443/base/"), "https://host/base");
/// assert_eq!(bare_url("http://10.0.0.7:8500"), "http://10.0.0.7:8500");
/// assert_eq!(bare_url("http://user:secret@ho st"), "");
/// ```
pub fn bare_url(url: &str) -> String {
    let Ok(parsed) = url.trim().parse::<http::Uri>() else {
        return String::new();
    };
    let scheme = parsed.scheme_str().unwrap_or_default().to_ascii_lowercase();
    let host = parsed.host().unwrap_or_default().to_ascii_lowercase();
    let port = match (scheme.as_str(), parsed.port_u16()) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
        (_, Some(port)) => format!(":{port}"),
    };
    let path = parsed.path().trim_end_matches('/');
    format!("{scheme}://{host}{port}{path}")
}

/// Several of them as one text: the same for the same servers, in whatever order they are given.
pub fn bare_urls<'a>(urls: impl IntoIterator<Item = &'a str>) -> String {
    let mut urls: Vec<String> = urls.into_iter().map(bare_url).collect();
    urls.sort_unstable();
    urls.dedup();
    urls.join(" ")
}

/// Whether the value of that query key is not to be shown. The key is as it stands in the URL, in any case and encoded or not.
///
/// ```
/// use registry_http::is_secret_key;
///
/// assert!(is_secret_key("private_token") && is_secret_key("X-Amz-Signature") && is_secret_key("%6Bey"));
/// assert!(!is_secret_key("index") && !is_secret_key("passing"));
/// ```
pub fn is_secret_key(key: &str) -> bool {
    let plain = percent_decode_str(key).decode_utf8_lossy().to_ascii_lowercase();
    // Consul's flag for healthy instances is the one ordinary parameter with such a word in it.
    plain == "code" || plain != "passing" && SECRET_WORDS.iter().any(|word| plain.contains(word))
}

fn without_userinfo(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("***@{rest}"),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, request: &Request) -> String {
        BaseUrl::parse(base).unwrap().join(request).unwrap().to_string()
    }

    #[test]
    fn base_path_is_kept() {
        let apps = Request::get("/apps");
        assert_eq!(
            joined("http://host/ctx/eureka", &apps),
            "http://host/ctx/eureka/apps"
        );
        assert_eq!(
            joined("http://host/ctx/eureka/", &apps),
            "http://host/ctx/eureka/apps"
        );
        assert_eq!(joined("http://host:8500", &apps), "http://host:8500/apps");
        assert_eq!(
            joined("http://host/targets.json", &Request::get("")),
            "http://host/targets.json"
        );
    }

    #[test]
    fn queries_of_path_and_request_are_joined_and_encoded() {
        let request = Request::get("/v1/x?stale")
            .with_query("filter", "a == \"b\"")
            .with_query("wait", "30s");
        assert_eq!(
            joined("http://h", &request),
            "http://h/v1/x?stale&filter=a+%3D%3D+%22b%22&wait=30s"
        );
    }

    #[test]
    fn a_segment_cannot_lead_out_of_its_place() {
        let base = BaseUrl::parse("http://h/base").unwrap();
        for path in ["/v1/../../secret", "/v1/%2e%2E/x", "v1/x", "/v1/."] {
            assert!(
                matches!(base.join(&Request::get(path)), Err(Error::Request { .. })),
                "{path}"
            );
        }
        let path = format!("/v1/{}", encode_segment("a/b?c#d%"));
        assert_eq!(
            joined("http://h", &Request::get(path)),
            "http://h/v1/a%2Fb%3Fc%23d%25"
        );
    }

    #[test]
    fn userinfo_becomes_basic_auth_and_is_never_shown() {
        let base = BaseUrl::parse("https://user:p%40ss@host:8443/x").unwrap();
        assert_eq!(base.basic().unwrap().to_str().unwrap(), "Basic dXNlcjpwQHNz");
        assert_eq!(base.redacted().to_string(), "https://host:8443/x");
        for text in [
            format!("{base:?}"),
            format!("{:?}", base.redacted()),
            format!("{:?}", base.basic()),
        ] {
            assert!(
                !text.contains("p%40ss") && !text.contains("p@ss") && !text.contains("dXNl"),
                "{text}"
            );
        }
    }

    #[test]
    fn wrong_base_urls_are_refused_without_their_secrets() {
        for (url, reason) in [
            ("ftp://user:hunter2@host", "scheme"),
            ("host:8500", "scheme"),
            ("http://", "host"),
            ("http://user:hunter2@host/?x=1", "query"),
            ("http://host/#f", "fragment"),
            ("http://user:hunter2@ho st", "invalid"),
            ("not a url", "relative"),
        ] {
            let error = BaseUrl::parse(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn tokens_in_queries_are_not_shown() {
        let url = Url::parse("http://h/v1?index=4&Token=abc&wait=1s").unwrap();
        assert_eq!(
            RedactedUrl(url).to_string(),
            "http://h/v1?index=4&Token=***&wait=1s"
        );
        let signed = Url::parse("http://h/sd.json?X-Amz-Date=1&X-Amz-Signature=abc").unwrap();
        assert_eq!(
            RedactedUrl(signed).to_string(),
            "http://h/sd.json?X-Amz-Date=1&X-Amz-Signature=***"
        );
        let many =
            Url::parse("http://h/?private_token=hunter2&sig=hunter2&%6Bey=hunter2&code=hunter2").unwrap();
        assert_eq!(
            RedactedUrl(many).to_string(),
            "http://h/?private_token=***&sig=***&%6Bey=***&code=***"
        );
    }

    #[test]
    fn ordinary_parameters_of_registries_are_shown() {
        let ordinary = "index wait stale consistent namespace region dc filter topic tag passing per_page near ns partition \
                        regions task_states watch resourceVersion labelSelector fieldSelector limit continue env";
        for key in ordinary.split_whitespace() {
            assert!(!is_secret_key(key), "{key}");
        }
    }
}
