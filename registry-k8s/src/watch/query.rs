//! What is asked for: paths with their queries.

use std::fmt::Write as _;
use std::time::Duration;

use super::Resource;

/// A path with a query that grows.
struct Query(String);

impl Query {
    fn new(resource: &Resource) -> Self {
        let mut query = Self(resource.path.clone());
        if let Some(selector) = &resource.selector {
            query = query.with("labelSelector", selector);
        }
        query
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.0.push(if self.0.contains('?') { '&' } else { '?' });
        self.0.push_str(key);
        self.0.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                self.0.push(char::from(byte));
            } else {
                let _ = write!(self.0, "%{byte:02X}");
            }
        }
        self
    }

    fn watch(resource: &Resource, term: Duration) -> Self {
        Self::new(resource)
            .with("watch", "1")
            .with("allowWatchBookmarks", "true")
            .with("timeoutSeconds", &term.as_secs().to_string())
    }
}

/// A page of the most recent state. The resource version is left out on purpose: with `0` servers answer from any cached
/// state, older ones than were seen included, and take no notice of the limit. A token stands for it on later pages.
pub(super) fn page(resource: &Resource, limit: u32, token: Option<&str>) -> String {
    let query = Query::new(resource).with("limit", &limit.to_string());
    match token {
        Some(token) => query.with(CONTINUE, token).0,
        None => query.0,
    }
}

/// All objects as events, a mark, and then a watch.
pub(super) fn stream(resource: &Resource, term: Duration) -> String {
    Query::watch(resource, term)
        .with("sendInitialEvents", "true")
        .with("resourceVersionMatch", "NotOlderThan")
        .0
}

/// What happens from a version on.
pub(super) fn watch(resource: &Resource, term: Duration, version: &str) -> String {
    Query::watch(resource, term).with("resourceVersion", version).0
}

/// As little as possible that a server only answers which has the version.
pub(super) fn check(resource: &Resource, version: &str) -> String {
    Query::new(resource)
        .with("limit", "1")
        .with("resourceVersion", version)
        .with("resourceVersionMatch", "NotOlderThan")
        .0
}

const CONTINUE: &str = "continue";

/// How a request is called in messages. Tokens, which come last, say nothing to anybody and are long.
pub(super) fn shown(base: &str, path: &str) -> String {
    let end = path.find("&continue=").map(|start| start + "&continue=".len());
    match end {
        Some(end) => format!("GET {base}{}…", &path[..end]),
        None => format!("GET {base}{path}"),
    }
}

/// What a role has to allow, such as `list and watch on endpointslices in discovery.k8s.io`.
pub(super) fn needed_role(resource: &Resource) -> String {
    let parts: Vec<&str> = resource.path.split('/').filter(|part| !part.is_empty()).collect();
    let plural = parts.last().copied().unwrap_or_default();
    let group = match parts.first() {
        Some(&"apis") => parts.get(1).copied().unwrap_or_default(),
        _ => "the core group",
    };
    let place = match parts.iter().position(|part| *part == "namespaces") {
        Some(at) if at + 2 < parts.len() => format!(", namespace {}", parts[at + 1]),
        _ => String::new(),
    };
    format!("list and watch on {plural} in {group}{place}")
}

/// What a cluster has to have for there to be this kind of object.
pub(super) fn needed_server(resource: &Resource) -> String {
    if resource.path.starts_with("/apis/discovery.k8s.io/v1/") {
        return "Kubernetes 1.21 or later".to_owned();
    }
    format!("a cluster that has {}", resource.path)
}
