//! Routes: which requests get the same answer.

use std::fmt;

use super::exchange::Exchange;

/// A method, a path and the query parameters that matter.
///
/// The order of the parameters and the way they are escaped do not matter: `?passing=1&filter=a%20b` and
/// `?filter=a+b&passing=1` are one route. A [`ReplayServer`](crate::ReplayServer) leaves the parameters out
/// that it was told to ignore, so a route may be written with or without them.
///
/// ```
/// use registry_testkit::Route;
///
/// assert_eq!(Route::from("/v1/health/service/web"), Route::new("GET", "/v1/health/service/web"));
/// assert_eq!(Route::from("PUT /v1/agent/reload").to_string(), "PUT /v1/agent/reload");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    method: String,
    path: String,
    query: Vec<(String, String)>,
}

impl Route {
    /// The route of a request, from its method and its path with query.
    pub fn new(method: &str, target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut query: Vec<_> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        query.sort();
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
        }
    }

    pub(super) fn without(mut self, parameters: &[String]) -> Self {
        self.query.retain(|(name, _)| !parameters.contains(name));
        self
    }
}

impl From<&str> for Route {
    /// From `GET /path?query`, or from `/path?query` for a `GET`.
    fn from(line: &str) -> Self {
        let (method, target) = line.split_once(' ').unwrap_or(("GET", line));
        Self::new(method, target)
    }
}

impl From<&Route> for Route {
    fn from(route: &Route) -> Self {
        route.clone()
    }
}

impl From<&Exchange> for Route {
    fn from(exchange: &Exchange) -> Self {
        exchange.route()
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)?;
        if self.query.is_empty() {
            return Ok(());
        }
        let query = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&self.query)
            .finish();
        write!(f, "?{query}")
    }
}
