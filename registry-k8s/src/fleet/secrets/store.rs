//! The kubeconfigs of the Secrets that are known, and to which member each belongs.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use registry_core::{ErrorKind, RegistryError, Str, short};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::base64;
use crate::config::SecretsConfig;
use crate::fleet::kubeconfig::{Candidate, Kubeconfig, MAX_MEMBERS, MAX_TOTAL_BYTES};

/// Secrets of one namespace.
pub(super) struct Store {
    namespace: String,
    key: Option<String>,
    secrets: BTreeMap<String, Secret>,
    members: usize,
    bytes: usize,
    /// Why this is not all there is.
    pub(super) incomplete: Option<Arc<RegistryError>>,
}

/// What is kept of a Secret.
struct Secret {
    created: String,
    /// By key: the one that is configured, or all.
    kubeconfigs: BTreeMap<String, Result<Kubeconfig, String>>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    data: Option<BTreeMap<String, Value>>,
}

#[derive(Deserialize)]
struct Removed {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    creation_timestamp: Option<String>,
}

/// A value of `data`, decoded on the way so that no other copy is left behind.
struct Value(Result<Kubeconfig, String>);

// === impl Store ===

impl Store {
    pub(super) fn new(config: &SecretsConfig) -> Self {
        Self {
            namespace: config.namespace.clone(),
            key: config.key.clone(),
            secrets: BTreeMap::new(),
            members: 0,
            bytes: 0,
            incomplete: None,
        }
    }

    /// A Secret is as given. What is equal in the `other` store is shared with it.
    pub(super) fn put(&mut self, object: &[u8], other: Option<&Self>) -> Result<(), Arc<RegistryError>> {
        let object: Object = serde_json::from_slice(object).map_err(|error| self.malformed(&error))?;
        let Metadata {
            name,
            creation_timestamp,
        } = object.metadata;
        let mut data = object.data.unwrap_or_default();
        if let Some(key) = &self.key {
            let found = data.remove_entry(key);
            let value = found.map(|(_, value)| value).unwrap_or_else(|| {
                let keys: Vec<String> = data
                    .keys()
                    .take(10)
                    .map(|key| format!("`{}`", short(key, 100)))
                    .collect();
                let keys = if keys.is_empty() {
                    "none".to_owned()
                } else {
                    keys.join(", ")
                };
                Value(Err(format!(
                    "found no such key among {keys}, expected a kubeconfig there"
                )))
            });
            data = BTreeMap::from([(key.clone(), value)]);
        }
        let same = other.and_then(|other| other.secrets.get(&name));
        let shared = |key: &String, Value(value): Value| match (
            &value,
            same.and_then(|same| same.kubeconfigs.get(key)),
        ) {
            (Ok(new), Some(Ok(held))) if new.hash() == held.hash() => Ok(held.clone()),
            _ => value,
        };
        let secret = Secret {
            created: creation_timestamp.unwrap_or_default(),
            kubeconfigs: data
                .into_iter()
                .map(|(key, value)| {
                    let value = shared(&key, value);
                    (key, value)
                })
                .collect(),
        };
        let before = self.secrets.get(&name);
        let members = self.members - before.map_or(0, Secret::members) + secret.members();
        let bytes = self.bytes - before.map_or(0, Secret::bytes) + secret.bytes();
        if members > MAX_MEMBERS || bytes > MAX_TOTAL_BYTES {
            let message = format!(
                "Secrets of namespace {}: found more than {MAX_MEMBERS} kubeconfigs, or than {MAX_TOTAL_BYTES} bytes of \
                 them; {} is left out",
                self.namespace,
                short(&name, 253)
            );
            return Err(Arc::new(RegistryError::new(ErrorKind::Limit, message)));
        }
        (self.members, self.bytes) = (members, bytes);
        self.secrets.insert(name, secret);
        Ok(())
    }

    /// A Secret was removed, and was like this at the end.
    pub(super) fn remove(&mut self, object: &[u8]) -> Result<(), Arc<RegistryError>> {
        let object: Removed = serde_json::from_slice(object).map_err(|error| self.malformed(&error))?;
        if let Some(gone) = self.secrets.remove(&object.metadata.name) {
            self.members -= gone.members();
            self.bytes -= gone.bytes();
        }
        Ok(())
    }

    /// Keeps what the other store has and this one has not.
    pub(super) fn keep(&mut self, other: Self) {
        for (name, secret) in other.secrets {
            if let Entry::Vacant(place) = self.secrets.entry(name) {
                self.members += secret.members();
                self.bytes += secret.bytes();
                place.insert(secret);
            }
        }
    }

    /// The names of all that could be members.
    pub(super) fn names(&self) -> BTreeSet<Str> {
        let names = self.secrets.iter().flat_map(|(name, secret)| {
            let named = secret.kubeconfigs.keys().map(|key| self.member_name(name, key));
            named.chain(secret.kubeconfigs.is_empty().then(|| self.place_of(name)))
        });
        names.map(Str::from).collect()
    }

    /// What each member's kubeconfig is. Of Secrets that claim the same name the oldest gets it, the first by name among
    /// equally old ones.
    pub(super) fn candidates(&self) -> Vec<Candidate> {
        let mut secrets: Vec<(&String, &Secret)> = self.secrets.iter().collect();
        secrets.sort_by_key(|(name, secret)| (secret.created.is_empty(), &secret.created, *name));
        let mut candidates: BTreeMap<Str, Candidate> = BTreeMap::new();
        for (secret, known) in secrets {
            if known.kubeconfigs.is_empty() {
                let place = self.place_of(secret);
                let found = Err(configuration(format!(
                    "{place}: found no data, expected kubeconfigs"
                )));
                // No name of a member has a slash.
                let name = Str::from(place.as_str());
                let candidate = Candidate {
                    name: name.clone(),
                    place,
                    found,
                    clash: None,
                };
                candidates.insert(name, candidate);
            }
            for (key, kubeconfig) in &known.kubeconfigs {
                let place = format!("{}, key {}", self.place_of(secret), short(key, 253));
                let name = Str::from(self.member_name(secret, key));
                match candidates.entry(name) {
                    Entry::Occupied(mut first) => {
                        let first = first.get_mut();
                        let message = format!("{place}: {} has the same name, and comes first", first.place);
                        first.clash.get_or_insert_with(|| configuration(message));
                    }
                    Entry::Vacant(free) => {
                        let found = kubeconfig.clone();
                        let candidate = Candidate {
                            name: free.key().clone(),
                            found: found.map_err(|problem| configuration(format!("{place}: {problem}"))),
                            place,
                            clash: None,
                        };
                        free.insert(candidate);
                    }
                }
            }
        }
        candidates.into_values().collect()
    }

    fn member_name<'a>(&self, secret: &'a str, key: &'a str) -> String {
        let name = if self.key.is_some() { secret } else { key };
        name.to_owned()
    }

    fn place_of(&self, secret: &str) -> String {
        format!("Secret {}/{}", self.namespace, short(secret, 253))
    }

    fn malformed(&self, error: &serde_json::Error) -> Arc<RegistryError> {
        // Its message may show a value, which may be a secret: only where it is.
        let message = format!(
            "Secrets of namespace {}: found an object that is no Secret, at line {}, column {} of it",
            self.namespace,
            error.line(),
            error.column()
        );
        Arc::new(RegistryError::new(ErrorKind::Malformed, message))
    }
}

fn configuration(problem: String) -> Arc<RegistryError> {
    Arc::new(RegistryError::new(ErrorKind::Configuration, problem))
}

// === impl Secret ===

impl Secret {
    /// One that has no kubeconfig takes room as well.
    fn members(&self) -> usize {
        self.kubeconfigs.len().max(1)
    }

    fn bytes(&self) -> usize {
        let kubeconfigs = self.kubeconfigs.values().flatten();
        kubeconfigs.map(Kubeconfig::len).sum()
    }
}

// === impl Value ===

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Decode;

        impl Visitor<'_> for Decode {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("base64")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
                let bytes = base64::decode(text).ok_or_else(|| "found no base64".to_owned());
                Ok(Value(bytes.and_then(Kubeconfig::from_bytes)))
            }

            fn visit_unit<E: Error>(self) -> Result<Value, E> {
                self.visit_str("")
            }
        }

        deserializer.deserialize_any(Decode)
    }
}
