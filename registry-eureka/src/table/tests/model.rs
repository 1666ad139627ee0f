//! Random histories of a server, told by full fetches and deltas: whichever way it went, what is held is what a table
//! that saw only the last full fetch would hold.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use registry_core::EndpointSet;

use super::*;
use crate::config::EurekaConfig;

const APPS: [&str; 3] = ["ORDERS", "PAY", "UNWANTED"];

/// What happens at the server, or between it and us.
#[derive(Debug, Clone)]
enum Deed {
    /// An instance registers, or registers again.
    Register(Key, Shape),
    SetStatus(Key, u8, bool),
    Cancel(Key),
    /// Time passes: what is changed from now on is newer.
    Tick,
    /// We ask for what changed. The server tells a few changes more than we have not seen; how it writes and splits
    /// applications is the last one's matter.
    Delta(u8, u8),
    /// The last delta comes again.
    Again,
    /// We ask for everything.
    Full(u8),
    /// A full fetch that breaks off.
    BrokenOff,
    /// A delta in which one instance that is held cannot be read.
    Garbled(Key),
}

type Key = (u8, u8);

#[derive(Debug, Clone)]
struct Shape {
    /// Few addresses for many instances: they get in each other's way.
    address: u8,
    port: u8,
    secure: bool,
    status: u8,
    vip: u8,
    metadata: u8,
    /// Whether the server tells when it changed.
    timed: bool,
}

fn deed() -> impl Strategy<Value = Deed> {
    let key = || (0..3_u8, 0..6_u8);
    let shape = (
        0..3_u8,
        0..4_u8,
        any::<bool>(),
        0..5_u8,
        0..4_u8,
        0..4_u8,
        prop::bool::weighted(0.95),
    )
        .prop_map(|(address, port, secure, status, vip, metadata, timed)| Shape {
            address,
            port,
            secure,
            status,
            vip,
            metadata,
            timed,
        });
    prop_oneof![
        8 => (key(), shape).prop_map(|(key, shape)| Deed::Register(key, shape)),
        4 => (key(), 0..5_u8, any::<bool>()).prop_map(|(key, status, by_hand)| Deed::SetStatus(key, status, by_hand)),
        5 => key().prop_map(Deed::Cancel),
        6 => Just(Deed::Tick),
        6 => (0..6_u8, any::<u8>()).prop_map(|(more, written)| Deed::Delta(more, written)),
        2 => Just(Deed::Again),
        2 => any::<u8>().prop_map(Deed::Full),
        1 => Just(Deed::BrokenOff),
        1 => key().prop_map(Deed::Garbled),
    ]
}

/// The server: what it holds, and what changed in which order.
#[derive(Debug, Default)]
struct Server {
    now: u64,
    held: BTreeMap<Key, Instance<'static>>,
    /// The last state of what was cancelled.
    cancelled: BTreeMap<Key, Instance<'static>>,
    log: Vec<Key>,
}

impl Server {
    fn register(&mut self, key: Key, shape: &Shape) {
        let Shape {
            address,
            port,
            secure,
            status,
            vip,
            metadata,
            timed,
        } = shape;
        let metadata = match metadata {
            0 => vec![("a", "1"), ("b", "2")],
            1 => vec![("b", "2"), ("a", "1")],
            2 => vec![("zone", "z"), ("weight", "3")],
            _ => vec![],
        };
        let instance = Instance {
            port: Port {
                number: Some(8080 + i64::from(*port)),
                enabled: *port < 3,
            },
            secure_port: Port {
                number: Some(8081),
                enabled: *secure,
            },
            status: Status::ALL[usize::from(*status)],
            vip_address: Some(["orders", "orders,alt", "other:80", ""][usize::from(*vip)].into()),
            metadata: metadata.into_iter().map(|(k, v)| (k.into(), v.into())).collect(),
            instance_id: Some(format!("i{}", key.1).into()),
            last_updated: timed.then_some(self.now),
            last_dirty: Some(self.now / 2),
            ..instance(*address)
        };
        self.held.insert(key, instance);
        self.log.push(key);
    }

    fn set_status(&mut self, key: Key, status: u8, by_hand: bool) {
        if let Some(held) = self.held.get_mut(&key) {
            held.status = Status::ALL[usize::from(status)];
            held.overridden = if by_hand { held.status } else { Status::Unknown };
            held.last_updated = Some(self.now);
            held.action = Action::Modified;
            self.log.push(key);
        }
    }

    fn cancel(&mut self, key: Key) {
        if let Some(mut held) = self.held.remove(&key) {
            held.last_updated = held.last_updated.map(|_| self.now);
            held.action = Action::Deleted;
            self.cancelled.insert(key, held);
            self.log.push(key);
        }
    }

    /// Everything from the change of that number on, as it is now, the last word on each key once.
    fn delta(&self, from: usize, written: u8) -> Vec<Application<'static>> {
        let keys: BTreeSet<Key> = self.log[from..].iter().copied().collect();
        let state = |key: &Key| self.held.get(key).or_else(|| self.cancelled.get(key)).cloned();
        write(keys.iter().filter_map(|key| Some((*key, state(key)?))), written)
    }

    fn full(&self, written: u8) -> Vec<Application<'static>> {
        write(self.held.iter().map(|(key, held)| (*key, held.clone())), written)
    }

    fn hash(&self) -> String {
        let count = |status: Status| self.held.values().filter(|held| held.status == status).count();
        let counts = Status::ALL.map(|status| (status, count(status)));
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts
            .map(|(status, count)| format!("{}_{count}_", status.as_str()))
            .collect()
    }
}

/// Instances as a document: applications in any case, in one element or two, forwards or backwards.
fn write(
    instances: impl Iterator<Item = (Key, Instance<'static>)>,
    written: u8,
) -> Vec<Application<'static>> {
    let mut apps: BTreeMap<(u8, u8), Vec<Instance<'static>>> = BTreeMap::new();
    for ((app, n), instance) in instances {
        let part = if written & 1 == 0 { 0 } else { n % 2 };
        apps.entry((app, part)).or_default().push(instance);
    }
    let apps = apps.into_iter().map(|((at, part), mut instances)| {
        if written & 2 != 0 {
            instances.reverse();
        }
        let name = APPS[usize::from(at)];
        let lower = (written & 4 != 0) ^ (part == 1);
        app(
            &if lower {
                name.to_lowercase()
            } else {
                name.to_owned()
            },
            instances,
        )
    });
    let mut apps: Vec<_> = apps.collect();
    if written & 8 != 0 {
        apps.reverse();
    }
    apps
}

/// Who is to speak for an application: from the newest to the oldest, whoever needs no port that is taken already.
fn speakers(server: &Server, app: u8) -> Vec<String> {
    let ports = |instance: &Instance<'_>| -> Vec<i64> {
        let enabled = [instance.port, instance.secure_port].into_iter();
        let mut numbers: Vec<i64> = enabled
            .filter(|port| port.enabled)
            .filter_map(|port| port.number)
            .collect();
        // No port at all stands for itself.
        if numbers.is_empty() {
            numbers.push(0);
        }
        numbers
    };
    let mut all: Vec<&Instance<'_>> = server
        .held
        .iter()
        .filter_map(|(key, held)| (key.0 == app).then_some(held))
        .collect();
    all.sort_by_key(|held| {
        (
            held.last_updated.unwrap_or(0),
            held.last_dirty,
            held.instance_id.clone(),
        )
    });
    let mut speakers: Vec<&Instance<'_>> = Vec::new();
    for one in all.into_iter().rev() {
        let clashes = |other: &&Instance<'_>| {
            other.ip_addr == one.ip_addr && ports(other).iter().any(|port| ports(one).contains(port))
        };
        if !speakers.iter().any(clashes) {
            speakers.push(one);
        }
    }
    let ids = speakers.iter().filter_map(|one| one.instance_id.as_ref());
    let mut ids: Vec<String> = ids.map(ToString::to_string).collect();
    ids.sort();
    ids
}

/// A record in a form that can be compared.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    ports: Vec<String>,
    aliases: Vec<String>,
    endpoints: EndpointSet,
    content: registry_core::ContentHash,
}

impl From<&ServiceRecord> for Seen {
    fn from(record: &ServiceRecord) -> Self {
        let meta = record.meta();
        Self {
            ports: meta.ports().iter().map(|port| port.name.to_string()).collect(),
            aliases: meta.aliases().iter().map(ToString::to_string).collect(),
            endpoints: record.endpoints().clone(),
            content: record.endpoints().content_hash(),
        }
    }
}

type Picture = BTreeMap<String, Seen>;

fn picture(table: &Table) -> Picture {
    let records = table.records();
    records
        .map(|record| (record.id().to_string(), Seen::from(&record)))
        .collect()
}

fn fresh() -> Table {
    let config = EurekaConfig {
        exclude_apps: vec!["unw*".to_owned()],
        ..EurekaConfig::default()
    };
    Table::new(Arc::new(config), PortDefaults::default())
}

/// What somebody knows who only heard of changes.
fn hear(picture: &mut Picture, changes: &Changes, mended: bool) -> Result<(), TestCaseError> {
    let mut told = BTreeSet::new();
    for record in &changes.applied {
        let (id, seen) = (record.id().to_string(), Seen::from(record));
        prop_assert!(told.insert(id.clone()), "{id} is told twice");
        prop_assert!(mended || picture.get(&id) != Some(&seen), "{id} did not change");
        picture.insert(id, seen);
    }
    for id in &changes.deleted {
        let id = id.to_string();
        prop_assert!(told.insert(id.clone()), "{id} is told twice");
        let was_there = picture.remove(&id).is_some();
        prop_assert!(mended || was_there, "{id} was not there");
    }
    Ok(())
}

fn run(deeds: &[Deed]) -> Result<(), TestCaseError> {
    let mut server = Server {
        now: 1000,
        ..Server::default()
    };
    let mut table = fresh();
    let mut heard = Picture::new();
    // How much of the server's log we know.
    let mut seen = 0;
    let mut last = Vec::new();
    for deed in deeds {
        let unread = table.apps.values().any(App::unread);
        match deed {
            Deed::Register(key, shape) => server.register(*key, shape),
            Deed::SetStatus(key, status, by_hand) => server.set_status(*key, *status, *by_hand),
            Deed::Cancel(key) => server.cancel(*key),
            Deed::Tick => server.now += 1,
            Deed::Delta(more, written) => {
                let from = seen - usize::from(*more).min(seen);
                last = server.delta(from, *written);
                seen = server.log.len();
                let changes = delta(&mut table, copies(&last));
                hear(&mut heard, &changes, unread)?;
            }
            Deed::Again => {
                let unread_too = |app: &Application<'_>| {
                    let held = table.apps.get(app.name.to_lowercase().as_str());
                    held.is_some_and(App::unread)
                };
                let is_mending = last.iter().any(unread_too);
                // Old news only where nothing newer was told since, and a cancelled one is not back without a time.
                let is_known = seen == server.log.len() && !is_mending;
                if is_known && last == server_state(&server, &last) {
                    let changes = delta(&mut table, copies(&last));
                    prop_assert!(is_nothing(&changes), "{:?}", changes);
                }
            }
            Deed::Full(written) => {
                let changes = full(&mut table, server.full(*written));
                seen = server.log.len();
                hear(&mut heard, &changes, unread)?;
                prop_assert!(is_nothing(&full(
                    &mut table,
                    server.full(written.wrapping_add(1))
                )));
            }
            Deed::BrokenOff => {
                let mut staged = table.stage();
                for app in server.full(0) {
                    table.stage_application(&mut staged, app);
                }
                drop(staged);
                prop_assert!(is_nothing(&table.changes()));
            }
            Deed::Garbled(key) => {
                let held = server.held.get(key).cloned();
                let is_held = |key: &Key| {
                    let app = table.apps.get(APPS[usize::from(key.0)].to_lowercase().as_str());
                    let id = format!("i{}", key.1);
                    app.is_some_and(|app| app.wanted() && app.find(&id).is_some())
                };
                if let Some(mut held) = held.filter(|_| is_held(key) && seen == server.log.len()) {
                    held.ip_addr = None;
                    held.host_name = Some("no name".into());
                    let before = picture(&table);
                    let changes = delta(&mut table, write([(*key, held)].into_iter(), 0));
                    prop_assert_eq!(changes.troubles.len(), 1);
                    prop_assert_eq!(picture(&table), before);
                    hear(&mut heard, &changes, unread)?;
                }
            }
        }
        prop_assert_eq!(&picture(&table), &heard);
        if seen == server.log.len() {
            let mut anew = fresh();
            full(&mut anew, server.full(0));
            prop_assert_eq!(&picture(&anew), &heard);
            for (at, name) in [(0, "orders"), (1, "pay"), (2, "unwanted")] {
                let seen = heard.get(name).map(|seen| &seen.endpoints);
                let ids = seen.into_iter().flat_map(EndpointSet::iter);
                let mut ids: Vec<String> = ids.map(|endpoint| endpoint.id().to_owned()).collect();
                ids.sort();
                prop_assert_eq!(
                    ids,
                    if at == 2 {
                        Vec::new()
                    } else {
                        speakers(&server, at)
                    }
                );
            }
            prop_assert_eq!(table.hash(), server.hash());
            prop_assert_eq!(anew.hash(), server.hash());
        }
    }
    Ok(())
}

fn copies(apps: &[Application<'static>]) -> Vec<Application<'static>> {
    apps.iter()
        .map(|held| app(&held.name, held.instances.clone()))
        .collect()
}

/// The same document as the server would write it now.
fn server_state(server: &Server, document: &[Application<'static>]) -> Vec<Application<'static>> {
    let now = |app: &str, instance: &Instance<'static>| {
        let at = APPS.iter().position(|name| *name == app.to_uppercase());
        let at = u8::try_from(at.unwrap_or_default()).unwrap();
        let id = instance.instance_id.as_ref().unwrap();
        let key = (at, id[1..].parse().unwrap());
        let held = server.held.get(&key).or_else(|| server.cancelled.get(&key));
        held.unwrap().clone()
    };
    document
        .iter()
        .map(|held| app(&held.name, held.instances.iter().map(|one| now(&held.name, one))))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_history_leads_to_what_the_last_full_fetch_alone_would_have_told(
        deeds in prop::collection::vec(deed(), 1..80)
    ) {
        run(&deeds)?;
    }
}
