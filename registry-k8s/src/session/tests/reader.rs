//! Somebody who believes what a session tells, by the letter of the contract of events.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::{Event, Scope, ServiceId, ServiceRecord};
use tokio::time::Instant;

/// Endpoints of services, by group and name.
pub(super) type Picture = BTreeMap<(String, String), BTreeSet<String>>;

#[derive(Debug, Default)]
pub(super) struct Reader {
    pub(super) picture: Picture,
    listings: Vec<(Scope, Picture)>,
    pub(super) degraded: BTreeMap<Scope, String>,
    pub(super) begun: bool,
    /// When the whole was last told or confirmed.
    pub(super) confirmed: Option<Instant>,
    /// Listings that were told, each with when it began.
    pub(super) listed: Vec<(Scope, Instant)>,
}

fn key(id: &ServiceId) -> (String, String) {
    (id.group().to_string(), id.name().to_string())
}

fn endpoints(record: &ServiceRecord) -> BTreeSet<String> {
    let endpoints = record.endpoints().iter();
    endpoints.map(|endpoint| endpoint.address().to_string()).collect()
}

fn contains(scope: &Scope, key: &(String, String)) -> bool {
    match scope {
        Scope::Registry => true,
        Scope::Group(group) => **group == *key.0,
        Scope::Service(id) => (id.group().as_str(), id.name().as_str()) == (&*key.0, &*key.1),
    }
}

impl Reader {
    pub(super) fn take(&mut self, event: &Event) {
        let now = Instant::now();
        match event {
            Event::Init(scope) => {
                assert!(
                    self.begun || *scope == Scope::Registry,
                    "a watch begins with the whole: {scope}"
                );
                self.listings.retain(|(held, _)| held != scope);
                self.listings.push((scope.clone(), Picture::new()));
            }
            Event::Apply { record, .. } => {
                let key = key(record.id());
                let listing = self
                    .listings
                    .iter_mut()
                    .rev()
                    .find(|(scope, _)| contains(scope, &key));
                match listing {
                    Some((_, records)) => {
                        records.insert(key, endpoints(record));
                    }
                    None => {
                        assert!(self.begun, "nothing is told of {key:?} before the whole is");
                        self.picture.insert(key, endpoints(record));
                        self.degraded.remove(&Scope::Service(record.id().clone()));
                    }
                }
            }
            Event::Delete { id, .. } => {
                assert!(self.listings.is_empty() && self.begun);
                self.picture.remove(&key(id));
                self.degraded.remove(&Scope::Service(id.clone()));
            }
            Event::InitDone { scope, unread } => {
                let at = self
                    .listings
                    .iter()
                    .position(|(held, _)| held == scope)
                    .expect("it began");
                let (_, records) = self.listings.remove(at);
                self.picture.retain(|key, _| {
                    !contains(scope, key)
                        || records.contains_key(key)
                        || unread.iter().any(|(scope, _)| contains(scope, key))
                });
                self.picture.extend(records);
                self.degraded.retain(|held, _| !scope.covers(held));
                for (scope, error) in unread {
                    self.degraded.insert(scope.clone(), error.report());
                }
                let whole = unread.iter().all(|(unread, _)| unread != scope);
                if *scope == Scope::Registry {
                    self.begun = true;
                    if whole {
                        self.confirmed = Some(now);
                    }
                }
                self.listed.push((scope.clone(), now));
            }
            Event::Confirmed(scope) => {
                self.degraded.remove(scope);
                if *scope == Scope::Registry {
                    self.confirmed = Some(now);
                }
            }
            Event::Degraded { scope, error } => {
                self.degraded.insert(scope.clone(), error.report());
            }
            other => panic!("{other:?}"),
        }
    }
}
