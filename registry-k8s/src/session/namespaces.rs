//! Which namespaces are watched: all at once, some by name, or those with certain labels.

use std::collections::BTreeSet;
use std::sync::Arc;

use registry_core::{ErrorKind, RegistryError, Scope, Str};
use serde::Deserialize;

use crate::config::KubernetesConfig;
use crate::watch::Told;

/// The namespaces of a session. A *field* is what one pair of watches covers: `None` for all namespaces, or one of them.
#[derive(Debug)]
pub(super) enum Namespaces {
    /// All of them, with one pair of watches.
    All,
    /// These.
    Named(BTreeSet<Str>),
    /// Those which a watch tells of.
    Selected(Selected),
}

#[derive(Debug)]
pub(super) struct Selected {
    selector: String,
    most: usize,
    /// What is selected, as far as it may be watched.
    current: BTreeSet<Str>,
    /// Those beyond the limit.
    beyond: BTreeSet<Str>,
    /// Names of a listing under way.
    listing: Option<BTreeSet<Str>>,
    /// Something in it could not be read: which ones are missing in it is not known.
    blind: bool,
    known: bool,
}

/// What is to be watched no more, and whether somebody said so.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gone {
    pub(super) namespaces: Vec<Str>,
    pub(super) explicit: bool,
}

// === impl Namespaces ===

impl Namespaces {
    pub(super) fn new(config: &KubernetesConfig) -> Self {
        match &config.namespace_selector {
            Some(selector) => Self::Selected(Selected {
                selector: selector.clone(),
                most: config.max_namespaces,
                current: BTreeSet::new(),
                beyond: BTreeSet::new(),
                listing: None,
                blind: false,
                known: false,
            }),
            None if config.namespaces.is_empty() => Self::All,
            None => Self::Named(
                config
                    .namespaces
                    .iter()
                    .map(|name| name.as_str().into())
                    .collect(),
            ),
        }
    }

    /// The labels that select namespaces, where labels do.
    pub(super) fn selector(&self) -> Option<&str> {
        match self {
            Self::Selected(selected) => Some(&selected.selector),
            Self::All | Self::Named(_) => None,
        }
    }

    /// True once it is known which they are.
    pub(super) fn known(&self) -> bool {
        match self {
            Self::All | Self::Named(_) => true,
            Self::Selected(selected) => selected.known,
        }
    }

    /// The fields to watch.
    pub(super) fn fields(&self) -> Vec<Option<Str>> {
        match self {
            Self::All => vec![None],
            Self::Named(names) => names.iter().cloned().map(Some).collect(),
            Self::Selected(selected) => selected.current.iter().cloned().map(Some).collect(),
        }
    }

    /// The scope of a field's events.
    pub(super) fn scope(field: &Option<Str>) -> Scope {
        match field {
            None => Scope::Registry,
            Some(namespace) => Scope::Group(namespace.clone()),
        }
    }

    /// The smallest scope that can be listed and covers this one.
    pub(super) fn covering(&self, scope: Scope) -> Scope {
        let group = match scope {
            Scope::Registry => return Scope::Registry,
            Scope::Group(group) => group,
            Scope::Service(id) => id.group().clone(),
        };
        match self {
            Self::All => Scope::Registry,
            Self::Named(_) | Self::Selected(_) => Scope::Group(group),
        }
    }

    /// Takes in what the watch of namespaces said.
    pub(super) fn take_in(&mut self, told: &Told) -> Gone {
        match self {
            Self::All | Self::Named(_) => Gone::default(),
            Self::Selected(selected) => selected.take_in(told),
        }
    }

    /// What is wrong where more are selected than may be, and how many more.
    pub(super) fn excess(&self) -> Option<(RegistryError, usize)> {
        let Self::Selected(selected) = self else {
            return None;
        };
        let first = selected.beyond.first()?;
        let (found, most) = (selected.current.len() + selected.beyond.len(), selected.most);
        let message = format!(
            "namespace_selector {:?}: found {found} namespaces, expected at most {most} (max_namespaces); {first} and others are not watched",
            selected.selector
        );
        Some((
            RegistryError::new(ErrorKind::Limit, message),
            selected.beyond.len(),
        ))
    }
}

// === impl Selected ===

impl Selected {
    fn take_in(&mut self, told: &Told) -> Gone {
        let mut gone = Gone::default();
        match told {
            Told::Begin => {
                self.listing = Some(BTreeSet::new());
                self.blind = false;
            }
            Told::Listed(object) => match (name(object), &mut self.listing) {
                (Some(name), Some(listing)) => {
                    listing.insert(name);
                }
                (None, _) => self.blind = true,
                (Some(_), None) => {}
            },
            Told::Complete => {
                let mut listed = self.listing.take().unwrap_or_default();
                self.known = true;
                if std::mem::take(&mut self.blind) {
                    listed.extend(self.current.iter().cloned());
                    listed.extend(self.beyond.iter().cloned());
                }
                gone.namespaces = self.current.difference(&listed).cloned().collect();
                self.current.retain(|name| listed.contains(name));
                self.beyond.clear();
                for name in listed {
                    self.admit(name);
                }
            }
            Told::Changed(object) => {
                if let Some(name) = name(object) {
                    self.admit(name);
                }
            }
            Told::Removed(object) => {
                if let Some(name) = name(object) {
                    gone.explicit = true;
                    if let Some(listing) = &mut self.listing {
                        listing.remove(&name);
                    }
                    self.beyond.remove(&name);
                    if self.current.remove(&name) {
                        gone.namespaces.push(name);
                    }
                    if let Some(next) = self.beyond.pop_first() {
                        self.admit(next);
                    }
                }
            }
            // During a listing it may be one of the list, which begins anew at the latest with the next `Begin`.
            Told::Skipped(_) => self.blind = true,
            Told::Confirmed | Told::Failed(_) => {}
        }
        gone
    }

    fn admit(&mut self, name: Str) {
        if self.current.contains(&name) {
            return;
        }
        if self.current.len() < self.most {
            self.current.insert(name);
        } else {
            self.beyond.insert(name);
        }
    }
}

/// The name of a namespace from its metadata.
fn name(object: &[u8]) -> Option<Str> {
    #[derive(Deserialize)]
    struct Object {
        metadata: Metadata,
    }
    #[derive(Deserialize)]
    struct Metadata {
        name: Arc<str>,
    }
    let object: Object = serde_json::from_slice(object).ok()?;
    Some(Str::from(&*object.metadata.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selected(most: usize) -> Namespaces {
        Namespaces::new(&KubernetesConfig {
            namespace_selector: Some("a=b".to_owned()),
            max_namespaces: most,
            ..KubernetesConfig::default()
        })
    }

    fn object(name: &str) -> bytes::Bytes {
        format!(r#"{{"metadata":{{"name":"{name}"}}}}"#).into()
    }

    fn list(namespaces: &mut Namespaces, names: &[&str]) -> Gone {
        namespaces.take_in(&Told::Begin);
        for name in names {
            namespaces.take_in(&Told::Listed(object(name)));
        }
        namespaces.take_in(&Told::Complete)
    }

    fn fields(namespaces: &Namespaces) -> Vec<String> {
        namespaces
            .fields()
            .into_iter()
            .flatten()
            .map(|name| name.to_string())
            .collect()
    }

    #[test]
    fn a_listing_says_which_namespaces_are_gone_and_a_broken_one_nothing() {
        let mut namespaces = selected(10);
        assert!(!namespaces.known());
        assert_eq!(list(&mut namespaces, &["a", "b"]), Gone::default());
        assert!(namespaces.known());
        namespaces.take_in(&Told::Begin);
        namespaces.take_in(&Told::Listed(object("b")));
        assert_eq!(fields(&namespaces), ["a", "b"]);
        let gone = list(&mut namespaces, &["b", "c"]);
        assert_eq!((gone.namespaces, gone.explicit), (vec!["a".into()], false));
        assert_eq!(fields(&namespaces), ["b", "c"]);
    }

    #[test]
    fn a_namespace_that_cannot_be_read_is_not_gone() {
        let mut namespaces = selected(10);
        list(&mut namespaces, &["a", "b"]);
        for unread in [
            Told::Listed(r#"{"metadata":{"name":5}}"#.into()),
            Told::Skipped("too long".into()),
        ] {
            namespaces.take_in(&Told::Begin);
            namespaces.take_in(&Told::Listed(object("b")));
            namespaces.take_in(&unread);
            assert_eq!(namespaces.take_in(&Told::Complete), Gone::default());
            assert_eq!(fields(&namespaces), ["a", "b"]);
        }
        assert_eq!(list(&mut namespaces, &["b"]).namespaces, ["a"]);
    }

    #[test]
    fn namespaces_beyond_the_limit_take_the_places_of_those_that_go() {
        let mut namespaces = selected(2);
        list(&mut namespaces, &["a", "b", "c"]);
        assert_eq!(fields(&namespaces), ["a", "b"]);
        let (error, beyond) = namespaces.excess().unwrap();
        assert!(error.to_string().contains("found 3") && beyond == 1);
        let gone = namespaces.take_in(&Told::Removed(object("a")));
        assert_eq!((gone.namespaces, gone.explicit), (vec!["a".into()], true));
        assert_eq!(fields(&namespaces), ["b", "c"]);
        assert!(namespaces.excess().is_none());
    }
}
