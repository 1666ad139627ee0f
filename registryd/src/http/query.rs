//! Query parameters: strict, for a filter that is misspelt and ignored answers with everything.

use registry_core::{Pattern, RegistryId, Service};

use super::nearest;
use super::problem::Problem;

/// The parameters of one request.
#[derive(Debug, Default)]
pub(super) struct Query {
    pub(super) selection: Selection,
    pub(super) limit: Option<usize>,
    pub(super) after: Option<String>,
    pub(super) last_event_id: Option<String>,
    pub(super) pieces: Option<bool>,
}

/// Which services are wanted. Of several hosts, registries or namespaces one is enough; labels have to match all.
#[derive(Debug, Clone, Default)]
pub(super) struct Selection {
    hosts: Vec<Pattern>,
    registries: Vec<RegistryId>,
    namespaces: Vec<Pattern>,
    labels: Vec<(String, Pattern)>,
}

impl Selection {
    /// True where every service is wanted.
    pub(super) fn is_everything(&self) -> bool {
        self.hosts.is_empty()
            && self.registries.is_empty()
            && self.namespaces.is_empty()
            && self.labels.is_empty()
    }

    /// True where services of that hostname may be wanted.
    pub(super) fn may_match(&self, hostname: &str) -> bool {
        self.hosts.is_empty() || self.hosts.iter().any(|pattern| pattern.matches(hostname))
    }

    /// True where services of that namespace may be wanted.
    pub(super) fn in_namespace(&self, namespace: &str) -> bool {
        let mut patterns = self.namespaces.iter();
        self.namespaces.is_empty() || patterns.any(|pattern| pattern.matches(namespace))
    }

    /// True where what that registry has is wanted.
    #[cfg(feature = "mcs")]
    pub(super) fn of_registry(&self, id: &RegistryId) -> bool {
        self.registries.is_empty() || self.registries.contains(id)
    }

    /// True where the service is wanted.
    pub(super) fn matches(&self, service: &Service) -> bool {
        self.may_match(service.hostname())
            && (self.registries.is_empty()
                || service
                    .sources()
                    .iter()
                    .any(|source| self.registries.contains(&source.registry)))
            && self.in_namespace(service.namespace())
            && self.labels.iter().all(|(key, pattern)| {
                let value = service.labels().get(key);
                value.is_some_and(|value| pattern.matches(value))
            })
    }
}

/// Reads the parameters of a list of services.
pub(super) fn list(query: Option<&str>) -> Result<Query, Problem> {
    parse(
        query,
        &["host", "registry", "namespace", "label", "limit", "after"],
    )
}

/// Reads the parameters of a list of exports.
#[cfg(feature = "mcs")]
pub(super) fn exports(query: Option<&str>) -> Result<Query, Problem> {
    parse(query, &["host", "registry", "namespace", "limit", "after"])
}

/// Reads the parameters of a watch.
pub(super) fn watch(query: Option<&str>) -> Result<Query, Problem> {
    parse(
        query,
        &[
            "host",
            "registry",
            "namespace",
            "label",
            "last_event_id",
            "pieces",
        ],
    )
}

/// Reads the parameters of what has none.
pub(super) fn none(query: Option<&str>) -> Result<(), Problem> {
    parse(query, &[]).map(|_| ())
}

/// Reads parameters of these names.
pub(super) fn pairs(query: Option<&str>, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    pairs
        .map(|(name, value)| {
            if !known.contains(&&*name) {
                return Err(unknown(&name, known));
            }
            if value.is_empty() {
                // A variable of a script that was not set, most likely.
                return Err(wrong(&name, &value, "a value"));
            }
            Ok((name.into_owned(), value.into_owned()))
        })
        .collect()
}

fn parse(query: Option<&str>, known: &[&str]) -> Result<Query, Problem> {
    let mut parsed = Query::default();
    for (name, value) in pairs(query, known)? {
        parsed.take(&name, &value)?;
    }
    Ok(parsed)
}

impl Query {
    fn take(&mut self, name: &str, value: &str) -> Result<(), Problem> {
        let selection = &mut self.selection;
        match name {
            "host" => selection.hosts.push(Pattern::new(value.to_ascii_lowercase())),
            "registry" => {
                let id = value.parse();
                let id = id.map_err(|_| wrong(name, value, "the name of a registry, such as consul-dc1"))?;
                selection.registries.push(id);
            }
            "namespace" => selection.namespaces.push(Pattern::new(value)),
            "label" => {
                let (key, value) = value
                    .split_once([':', '='])
                    .filter(|(key, _)| !key.is_empty())
                    .ok_or_else(|| wrong(name, value, "key:value or key=value"))?;
                selection.labels.push((key.to_owned(), Pattern::new(value)));
            }
            "limit" => {
                once(name, self.limit.is_some())?;
                let limit = value.parse().ok().filter(|limit| *limit > 0);
                self.limit = Some(limit.ok_or_else(|| wrong(name, value, "a number from 1"))?);
            }
            "after" => {
                once(name, self.after.is_some())?;
                self.after = Some(value.to_ascii_lowercase());
            }
            "pieces" => {
                once(name, self.pieces.is_some())?;
                let pieces = value.parse().map_err(|_| wrong(name, value, "true or false"))?;
                self.pieces = Some(pieces);
            }
            _ => {
                once(name, self.last_event_id.is_some())?;
                self.last_event_id = Some(value.to_owned());
            }
        }
        Ok(())
    }
}

/// Refuses a parameter that has been given before.
pub(super) fn once(name: &str, given: bool) -> Result<(), Problem> {
    if given {
        return Err(
            Problem::bad_request(format!("query parameter {name:?} is given twice")).with("parameter", name),
        );
    }
    Ok(())
}

/// A parameter with a value that cannot be used.
pub(super) fn wrong(name: &str, found: &str, expected: &str) -> Problem {
    Problem::bad_request(format!(
        "query parameter {name:?}: found {found:?}, expected {expected}"
    ))
    .with("parameter", name)
}

fn unknown(name: &str, known: &[&str]) -> Problem {
    let detail = if known.is_empty() {
        format!("unknown query parameter {name:?}: there are none here")
    } else {
        let nearest = nearest::among(name, known.iter().copied())
            .map(|nearest| format!(", did you mean {nearest:?}"))
            .unwrap_or_default();
        format!(
            "unknown query parameter {name:?}{nearest}; known are {}",
            known.join(", ")
        )
    };
    Problem::bad_request(detail)
        .with("parameter", name)
        .with("known", known.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_wrong_ones_named() {
        let query = list(Some("host=*.Mesh&label=team%3Amoney&label=a=b:c&limit=5&after=A")).unwrap();
        assert_eq!(query.selection.hosts, [Pattern::new("*.mesh")]);
        let labels = &query.selection.labels;
        assert_eq!(labels[0], ("team".to_owned(), Pattern::new("money")));
        assert_eq!(labels[1], ("a".to_owned(), Pattern::new("b:c")));
        assert_eq!((query.limit, query.after.as_deref()), (Some(5), Some("a")));
        for wrong in [
            "hosts=a",
            "limit=0",
            "limit=1&limit=2",
            "label=team",
            "label==x",
            "registry=A%20B",
            "host=",
            "last_event_id=1.2",
        ] {
            assert!(list(Some(wrong)).is_err(), "{wrong}");
        }
        assert!(none(Some("x=1")).is_err() && none(None).is_ok() && none(Some("")).is_ok());
    }
}
