//! What an obedient reader makes of a watch: the records that it holds, and a log of what was said.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use registry_core::{Address, Endpoint, Event, RegistryError, Scope, ServiceId, ServiceRecord};
use tokio::time::Instant;

use super::world::{Instance, Subject};

/// How much of the log is shown where something went wrong.
const SHOWN: usize = 12;

/// What the world was told to have: instances by the name of their service.
pub(super) type Truth = BTreeMap<String, Vec<Instance>>;

/// One thing that was said, reduced to what rules ask for.
#[derive(Debug, Clone)]
pub(super) enum Word {
    Began(Scope),
    Applied {
        id: ServiceId,
        endpoints: usize,
    },
    Deleted(ServiceId),
    Completed {
        scope: Scope,
        /// The place in the log at which it began.
        began: usize,
        unread: Vec<Scope>,
    },
    Confirmed(Scope),
    Degraded(Scope, String),
    /// The watch ended, or could not be opened.
    Ended(String),
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(scope) => write!(f, "Init({scope})"),
            Self::Applied { id, endpoints } => write!(f, "Apply({id}, {endpoints} endpoints)"),
            Self::Deleted(id) => write!(f, "Delete({id})"),
            Self::Completed { scope, unread, .. } if unread.is_empty() => write!(f, "InitDone({scope})"),
            Self::Completed { scope, unread, .. } => {
                write!(f, "InitDone({scope}, {} unread)", unread.len())
            }
            Self::Confirmed(scope) => write!(f, "Confirmed({scope})"),
            Self::Degraded(scope, why) => write!(f, "Degraded({scope}: {why})"),
            Self::Ended(why) => write!(f, "the watch ended: {why}"),
        }
    }
}

/// A listing that is under way.
#[derive(Debug)]
struct Listing {
    scope: Scope,
    began: usize,
    records: BTreeMap<ServiceId, ServiceRecord>,
}

/// The reader; it follows the same rules as the shard of a discovery.
pub(super) struct Reader<'a> {
    /// Knows which service of the suite a record speaks of.
    subject: &'a dyn Subject,
    held: BTreeMap<ServiceId, ServiceRecord>,
    listings: Vec<Listing>,
    log: Vec<(Instant, Word)>,
    /// Scopes that were told to be in trouble, and nothing better since.
    troubles: BTreeSet<Scope>,
    /// Every error that was told, in any way.
    pub(super) errors: Vec<Arc<RegistryError>>,
    /// What broke the grammar of listings.
    pub(super) violations: Vec<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(subject: &'a dyn Subject) -> Self {
        Self {
            subject,
            held: BTreeMap::new(),
            listings: Vec::new(),
            log: Vec::new(),
            troubles: BTreeSet::new(),
            errors: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn read(&mut self, batch: Vec<Event>) {
        for event in batch {
            match event {
                Event::Init(scope) => {
                    let began = self.log.len();
                    self.listings.retain(|listing| listing.scope != scope);
                    self.say(Word::Began(scope.clone()));
                    self.listings.push(Listing {
                        scope,
                        began,
                        records: BTreeMap::new(),
                    });
                    // The narrowest listing that contains a service speaks for it.
                    self.listings.sort_by_key(|listing| match listing.scope {
                        Scope::Service(_) => 0,
                        Scope::Group(_) => 1,
                        Scope::Registry => 2,
                    });
                }
                Event::Apply { record, .. } => {
                    let id = record.id().clone();
                    let endpoints = record.endpoints().len();
                    self.say(Word::Applied {
                        id: id.clone(),
                        endpoints,
                    });
                    let place = match self.listing_of(&id) {
                        Some(listing) => &mut listing.records,
                        None => {
                            self.troubles.remove(&Scope::Service(id.clone()));
                            &mut self.held
                        }
                    };
                    place.insert(id, record);
                }
                Event::InitDone { scope, unread } => self.complete(&scope, unread),
                Event::Delete { id, .. } => {
                    match self.listing_of(&id) {
                        Some(listing) => listing.records.remove(&id),
                        None => {
                            self.troubles.remove(&Scope::Service(id.clone()));
                            self.held.remove(&id)
                        }
                    };
                    self.say(Word::Deleted(id));
                }
                Event::Confirmed(scope) => {
                    // It does not speak for narrower scopes.
                    self.troubles.remove(&scope);
                    self.say(Word::Confirmed(scope));
                }
                Event::Degraded { scope, error } => {
                    self.troubles.insert(scope.clone());
                    self.say(Word::Degraded(scope, error.report()));
                    self.errors.push(error);
                }
                // A kind of event that is younger than this suite.
                _ => {}
            }
        }
    }

    /// The watch ended: unfinished listings change nothing.
    pub(super) fn ended(&mut self, why: String) {
        self.listings.clear();
        self.troubles.insert(Scope::Registry);
        self.say(Word::Ended(why));
    }

    fn say(&mut self, word: Word) {
        self.log.push((Instant::now(), word));
    }

    fn listing_of(&mut self, id: &ServiceId) -> Option<&mut Listing> {
        self.listings
            .iter_mut()
            .find(|listing| listing.scope.contains(id))
    }

    fn complete(&mut self, scope: &Scope, unread: Vec<(Scope, Arc<RegistryError>)>) {
        for (part, _) in unread.iter().filter(|(part, _)| !scope.covers(part)) {
            let text = format!("InitDone({scope}) names {part} as unread, which is not within it");
            self.violations.push(text);
        }
        let Some(at) = self.listings.iter().position(|listing| listing.scope == *scope) else {
            self.violations
                .push(format!("InitDone({scope}) without an Init before it"));
            return;
        };
        let listing = self.listings.remove(at);
        let is_unread = |id: &ServiceId| unread.iter().any(|(part, _)| part.contains(id));
        // What it found out is news to the wider ones around it, which began before it ended.
        for wider in self.listings.iter_mut().filter(|wider| wider.scope.covers(scope)) {
            wider.records.retain(|id, _| !scope.contains(id) || is_unread(id));
            let found = listing.records.iter();
            wider
                .records
                .extend(found.map(|(id, record)| (id.clone(), record.clone())));
        }
        self.held.retain(|id, _| !scope.contains(id) || is_unread(id));
        self.held.extend(listing.records);
        let (parts, errors): (Vec<_>, Vec<_>) = unread.into_iter().unzip();
        self.errors.extend(errors);
        self.troubles.retain(|trouble| !scope.covers(trouble));
        self.troubles.extend(parts.iter().cloned());
        self.say(Word::Completed {
            scope: scope.clone(),
            began: listing.began,
            unread: parts,
        });
    }

    // === what rules ask ===

    /// The place in the log of what is said next.
    pub(super) fn now(&self) -> usize {
        self.log.len()
    }

    /// What was said from that place on.
    pub(super) fn since(&self, mark: usize) -> impl DoubleEndedIterator<Item = &Word> + Clone {
        self.log.iter().skip(mark).map(|(_, word)| word)
    }

    /// When the whole registry was last listed or confirmed, from that place on.
    pub(super) fn last_of_whole(&self, mark: usize) -> Option<Instant> {
        let of_whole = |word: &Word| match word {
            Word::Confirmed(scope) => *scope == Scope::Registry,
            Word::Completed { scope, unread, .. } => {
                *scope == Scope::Registry && !unread.contains(&Scope::Registry)
            }
            _ => false,
        };
        let mut log = self.log.iter().skip(mark).rev();
        log.find(|(_, word)| of_whole(word)).map(|(at, _)| *at)
    }

    /// Whether a listing that covers the scope, and in which all of it could be read, began and was completed from that
    /// place on.
    pub(super) fn has_answered(&self, mark: usize, wanted: &Scope) -> bool {
        self.since(mark).any(|word| match word {
            Word::Completed { scope, began, unread } => {
                *began >= mark && scope.covers(wanted) && !unread.iter().any(|part| part.covers(wanted))
            }
            _ => false,
        })
    }

    /// Whether something was told to be wrong from that place on.
    pub(super) fn has_told_trouble(&self, mark: usize) -> bool {
        self.since(mark).any(|word| match word {
            Word::Degraded(..) | Word::Ended(_) => true,
            Word::Completed { unread, .. } => !unread.is_empty(),
            _ => false,
        })
    }

    /// Whether what is held of a service was told to be in trouble, and nothing better since.
    pub(super) fn is_in_trouble(&self, service: &str) -> bool {
        self.records(service)
            .any(|record| self.troubles.iter().any(|trouble| trouble.contains(record.id())))
    }

    /// Scopes of listings that are under way.
    pub(super) fn unfinished(&self) -> impl Iterator<Item = &Scope> {
        self.listings.iter().map(|listing| &listing.scope)
    }

    /// As much of the truth as is held now.
    pub(super) fn held_of(&self, truth: &Truth) -> Truth {
        let held = |(service, instances): (&String, &Vec<Instance>)| {
            let held = instances.iter().filter(|instance| self.has(service, instance));
            (service.clone(), held.cloned().collect())
        };
        truth.iter().map(held).collect()
    }

    /// The last words, for people.
    pub(super) fn excerpt(&self, mark: usize) -> String {
        let all: Vec<String> = self.since(mark).map(ToString::to_string).collect();
        match all.len() {
            0 => "nothing was said".to_owned(),
            count if count > SHOWN => {
                let last = &all[count - SHOWN..];
                format!("{} words, at last: {}", count, last.join(", "))
            }
            _ => format!("it said: {}", all.join(", ")),
        }
    }

    /// The records that are held of a service of the suite.
    pub(super) fn records(&self, service: &str) -> impl Iterator<Item = &ServiceRecord> {
        let of_service = move |(id, _): &(&ServiceId, &ServiceRecord)| self.subject.is(id, service);
        self.held.iter().filter(of_service).map(|(_, record)| record)
    }

    fn endpoints(&self, service: &str) -> impl Iterator<Item = &Arc<Endpoint>> {
        self.records(service).flat_map(|record| record.endpoints().iter())
    }

    /// Whether that instance is held.
    pub(super) fn has(&self, service: &str, instance: &Instance) -> bool {
        self.endpoints(service).any(|endpoint| is(endpoint, instance))
    }

    /// Whether anything at that address and port is held, whatever its health.
    pub(super) fn has_place(&self, service: &str, instance: &Instance) -> bool {
        self.endpoints(service).any(|endpoint| is_at(endpoint, instance))
    }

    /// Whether a record of the service is held.
    pub(super) fn knows(&self, service: &str) -> bool {
        self.records(service).next().is_some()
    }

    /// What of the truth is not held, or held beyond it, in words.
    pub(super) fn differences(&self, truth: &Truth) -> Vec<String> {
        let mut differences = self.missing(truth);
        for (service, instances) in truth {
            let wrong = self
                .endpoints(service)
                .filter(|endpoint| !instances.iter().any(|instance| is(endpoint, instance)));
            differences.extend(wrong.map(|endpoint| format!("{service} has {}", shown(endpoint))));
        }
        differences
    }

    /// What of the truth is not held, in words.
    pub(super) fn missing(&self, truth: &Truth) -> Vec<String> {
        let mut missing = Vec::new();
        for (service, instances) in truth {
            let lacking = instances.iter().filter(|instance| !self.has(service, instance));
            missing.extend(lacking.map(|instance| format!("{service} lacks {instance}")));
        }
        missing
    }

    /// The ids of endpoints by service and address; an address that comes twice keeps both.
    pub(super) fn ids(&self, service: &str) -> BTreeSet<(String, String)> {
        let endpoints = self.endpoints(service);
        endpoints
            .map(|endpoint| (endpoint.address().to_string(), endpoint.id().to_owned()))
            .collect()
    }
}

/// Whether an endpoint is what the registry was told of an instance.
fn is(endpoint: &Endpoint, instance: &Instance) -> bool {
    is_at(endpoint, instance) && endpoint.health().routable() == instance.healthy
}

fn is_at(endpoint: &Endpoint, instance: &Instance) -> bool {
    endpoint.addresses().contains(&Address::V4(instance.address))
        && endpoint.ports().iter().any(|port| port.number == instance.port)
}

fn shown(endpoint: &Endpoint) -> String {
    let ports: Vec<String> = endpoint
        .ports()
        .iter()
        .map(|port| port.number.to_string())
        .collect();
    let (address, health) = (endpoint.address(), endpoint.health());
    format!("{address}:{} ({health})", ports.join("/"))
}
