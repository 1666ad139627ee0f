//! What the server holds, as far as we know: every instance of every application, and what follows from them.
//!
//! A delta changes single instances, a full fetch is staged beside the table and takes its place when it is complete.
//! Instances that did not change keep their endpoints, whichever of the two told of them.
//!
//! ```text
//!  Instance ──reading──▶ Entry ──▶ App: entries by key ──settle──▶ EndpointSet, ServiceMeta ──▶ ServiceRecord
//!             digest: is it the one held?                  who speaks for an address and port?
//! ```
//!
//! - **Who speaks**: of several instances of an application at one address and port (one was restarted with a new id,
//!   and the old entry has not expired) the newest speaks, and the others are as if they were not there until it goes.
//! - **What cannot be read** changes nothing: what was held under its key stays, and the service is named. An application
//!   of which nothing ever could be read has no record.
//! - **VIP names** are aliases, see [`crate::map::vips`].

mod app;
mod entry;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod pending;
mod profile;
mod reading;

use std::collections::HashMap;
use std::sync::Arc;

use registry_core::{PortDefaults, ServiceId, ServiceRecord, Str};

use crate::config::EurekaConfig;
use crate::map;
use crate::wire::{Action, Application, Instance, Status};
use app::App;
use entry::Entry;
use pending::Pending;
use reading::Reading;

/// The registry as held.
#[derive(Debug)]
pub(crate) struct Table {
    reading: Reading,
    /// By the names of their services.
    apps: HashMap<Str, App>,
    counts: Counts,
    pending: Pending,
}

/// A full fetch under way.
#[derive(Debug, Default)]
pub(crate) struct Staged {
    apps: HashMap<Str, StagedApp>,
    noted: Pending,
}

#[derive(Debug)]
struct StagedApp {
    wanted: bool,
    entries: Vec<Entry>,
}

/// What a delta, or a full fetch, made of the table.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// Services whose record is another one now, or of which all can be read again.
    pub(crate) applied: Vec<ServiceRecord>,
    /// Services without an instance now. Not one of those in `troubles` after a full fetch: it may have what could not
    /// be read.
    pub(crate) deleted: Vec<ServiceId>,
    /// Of those, the ones that were told: as they were, without endpoints.
    pub(crate) emptied: Vec<ServiceRecord>,
    /// Instances that a delta announced to be removed, by their services: also those that were not held, for a full fetch
    /// may have lacked them before. The ids of their endpoints.
    pub(crate) removed: Vec<(ServiceId, Vec<Str>)>,
    /// Services of which something could not be read this time, and what: they keep what they had.
    pub(crate) troubles: Vec<(ServiceId, String)>,
    /// What was left out of instances that can be read otherwise, such as a port without a number. For the log; told once,
    /// when it is new.
    pub(crate) notes: Vec<String>,
    /// Instances that could not be read.
    pub(crate) skipped: u64,
}

/// Instances by status.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts([usize; 5]);

impl Counts {
    fn add(&mut self, status: Status) {
        self.0[status as usize] += 1;
    }

    fn remove(&mut self, status: Status) {
        let count = &mut self.0[status as usize];
        *count = count.saturating_sub(1);
    }
}

impl Table {
    pub(crate) fn new(config: Arc<EurekaConfig>, ports: PortDefaults) -> Self {
        Self {
            reading: Reading::new(config, ports),
            apps: HashMap::new(),
            counts: Counts::default(),
            pending: Pending::default(),
        }
    }

    /// Begins a full fetch.
    pub(crate) fn stage(&self) -> Staged {
        Staged {
            apps: HashMap::with_capacity(self.apps.len()),
            noted: Pending::default(),
        }
    }

    /// Takes in an application of a full fetch. The table itself stays as it is.
    pub(crate) fn stage_application(&mut self, staged: &mut Staged, application: Application<'_>) {
        let Staged { apps, noted } = staged;
        let Some((name, instances, unread)) = named(application, &mut noted.skipped) else {
            return;
        };
        let held = self.apps.get_key_value(&*name);
        let key = held.map_or_else(|| Str::from(&*name), |(key, _)| key.clone());
        let held = held.map(|(_, app)| app);
        let app = apps.entry(key.clone()).or_insert_with(|| StagedApp {
            wanted: held.map_or_else(|| self.reading.wants(&name), App::wanted),
            entries: Vec::with_capacity(instances.len()),
        });
        if !app.wanted {
            let keyed = instances.iter().filter_map(|one| Some((one, map::key(one)?)));
            app.entries
                .extend(keyed.map(|(instance, id)| Entry::bare(instance, id)));
            return;
        }
        unread.iter().for_each(|found| noted.trouble(&key, None, found));
        for instance in &instances {
            let Some(id) = map::key(instance) else {
                noted.trouble(&key, None, NO_KEY);
                continue;
            };
            let held = held.and_then(|held| held.find(id));
            app.entries
                .push(self.reading.entry(instance, id, held, &key, noted));
        }
    }

    /// Puts a complete full fetch in place of what was held, and says what became different: since the last
    /// [`changes`](Self::changes), where a delta was taken in meanwhile.
    pub(crate) fn replace(&mut self, staged: Staged) -> Changes {
        let Staged { apps, noted } = staged;
        self.pending.replaced_by(noted);
        self.counts = Counts::default();
        let mut before = std::mem::take(&mut self.apps);
        self.apps.reserve(apps.len());
        for (key, staged) in apps {
            let mut app = before.remove(&key).unwrap_or_else(|| App::new(staged.wanted));
            let record = app.record();
            if app.replace(staged.entries, &key, &mut self.reading) {
                self.pending.note(&key, record);
            }
            app.entries()
                .iter()
                .for_each(|entry| self.counts.add(entry.status()));
            if !app.is_empty() {
                self.apps.insert(key, app);
            }
        }
        for (key, app) in before {
            self.pending.note(&key, app.record());
        }
        self.drain(true)
    }

    /// Takes in an application of a delta. Idempotent: the same change comes again in every delta for minutes.
    pub(crate) fn apply(&mut self, application: Application<'_>) {
        let Self {
            reading,
            apps,
            counts,
            pending,
        } = self;
        let Some((name, instances, unread)) = named(application, &mut pending.skipped) else {
            return;
        };
        let (key, mut app) = apps
            .remove_entry(&*name)
            .unwrap_or_else(|| (Str::from(&*name), App::new(reading.wants(&name))));
        let wanted = app.wanted();
        let (instances, keyless) = latest(&instances);
        if wanted {
            unread.iter().for_each(|found| pending.trouble(&key, None, found));
            (0..keyless).for_each(|_| pending.trouble(&key, None, NO_KEY));
        }
        let before = app.record();
        let was_unread = app.unread();
        let mut update = app.update();
        for (instance, id) in instances {
            let held = update.find(id);
            if held.is_some_and(|held| held.is_newer_than(instance)) {
                continue;
            }
            if let Some(held) = held {
                counts.remove(held.status());
            }
            if instance.action == Action::Deleted {
                update.remove(id);
                if wanted {
                    pending.removed(&key, id);
                }
                continue;
            }
            let entry = if wanted {
                reading.entry(instance, id, held, &key, pending)
            } else {
                Entry::bare(instance, id)
            };
            counts.add(entry.status());
            update.put(id, entry);
        }
        let changed = update.finish(&key, reading);
        if was_unread && !app.unread() {
            pending.mended(&key, before);
        } else if changed {
            pending.note(&key, before);
        }
        if !app.is_empty() {
            apps.insert(key, app);
        }
    }

    /// What was changed by [`apply`](Self::apply) since the last call.
    pub(crate) fn changes(&mut self) -> Changes {
        self.drain(false)
    }

    fn drain(&mut self, full: bool) -> Changes {
        let apps = &self.apps;
        self.pending
            .drain(full, |key| apps.get(key).and_then(App::record))
    }

    /// Every service as it is held.
    pub(crate) fn records(&self) -> impl Iterator<Item = ServiceRecord> {
        self.apps.values().filter_map(App::record)
    }

    /// The number of instances of each status, as a server writes it: over all applications, watched or not, and all
    /// instances, readable or not.
    pub(crate) fn hash(&self) -> String {
        let mut hash = String::new();
        for status in Status::ALL {
            let count = self.counts.0[status as usize];
            if count > 0 {
                hash.push_str(&format!("{}_{count}_", status.as_str()));
            }
        }
        hash
    }
}

/// What is said of an instance that has none of the three.
const NO_KEY: &str = "found none of instanceId, instance-id and hostName, expected one of them";

/// The name of an application's service: in lower case. A server has its name in upper case, so names that have one are
/// one application.
fn service_name(app: &str) -> String {
    app.to_uppercase().to_lowercase()
}

/// An application by the name of its service. What has no name belongs nowhere, and is counted.
fn named<'a>(
    application: Application<'a>,
    skipped: &mut u64,
) -> Option<(String, Vec<Instance<'a>>, Vec<String>)> {
    let Application {
        name,
        instances,
        unread,
    } = application;
    if name.is_empty() {
        *skipped += (instances.len() + unread.len()) as u64;
        return None;
    }
    Some((service_name(&name), instances, unread))
}

/// The last word on each key, and how many instances have none.
fn latest<'i, 'a>(instances: &'i [Instance<'a>]) -> (Vec<(&'i Instance<'a>, &'i str)>, usize) {
    let keyed = instances
        .iter()
        .filter_map(|instance| Some((instance, map::key(instance)?)));
    let mut latest: Vec<_> = keyed.collect();
    let keyless = instances.len() - latest.len();
    latest.reverse();
    latest.sort_by_key(|(_, key)| *key);
    latest.dedup_by(|(_, a), (_, b)| a == b);
    (latest, keyless)
}

#[cfg(test)]
mod tests;
