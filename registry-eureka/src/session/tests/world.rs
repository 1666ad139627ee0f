//! Eureka servers as far as their clients can tell: peers that replicate to each other with a lag, each with its own clock,
//! its cached answers and its queue of changes, behind URLs on which faults come and go.
//!
//! Instances send heartbeats, by which a server that lacks one gets it back and one that lost its instance gives it up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

use tokio::time::Instant;

use crate::transport::Fetch;
use crate::transport::pretended::{Pretend, Said};

/// Milliseconds since the world began.
pub(super) type Millis = u64;

/// Application and instance.
pub(super) type Key = (u8, u8);

const RETENTION: Millis = 180_000;
const CACHE: Millis = 30_000;
const LEASE: Millis = 90_000;
/// Heartbeats come in slots of this length, each instance's in one of ten.
const BEAT: Millis = 3_000;

/// When the servers' clocks began to count, as of the world's beginning.
const EPOCH: u64 = 1_790_000_000_000;

const STATUSES: [&str; 5] = ["UP", "DOWN", "STARTING", "OUT_OF_SERVICE", "UNKNOWN"];

/// An instance as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truth {
    pub(super) status: u8,
    /// Something in the metadata.
    pub(super) version: u32,
    dirty: Millis,
}

impl Truth {
    pub(super) fn word(&self) -> &'static str {
        STATUSES[usize::from(self.status) % STATUSES.len()]
    }
}

/// An instance as a server has it.
#[derive(Debug, Clone)]
struct Lease {
    truth: Truth,
    /// By the server's clock.
    updated: u64,
    renewed: Millis,
    action: &'static str,
}

#[derive(Debug, Clone, Default)]
struct Document {
    body: String,
    /// The instances that it lists as being there.
    lists: BTreeSet<Key>,
    /// Those that it says are gone.
    gone: BTreeSet<Key>,
}

#[derive(Debug, Default)]
struct Peer {
    held: BTreeMap<Key, Lease>,
    cancelled: BTreeMap<Key, Lease>,
    queue: Vec<(Millis, Key)>,
    /// Milliseconds that its clock is ahead.
    ahead: i64,
    /// Where its cache's grid is; without one, answers are made when they are asked for.
    grid: Option<Millis>,
    generation: u64,
    generated: Millis,
    is_dirty: bool,
    full: Document,
    delta: Document,
    /// Down, and until when.
    down: Option<Millis>,
    /// Answers 403 until then.
    refuses: Millis,
    /// Hears of nothing until then, and expires nothing.
    isolated: Millis,
}

/// What is wrong on the way to a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    Refused,
    Hangs,
    BreaksOff,
    CutShort,
    Html,
    Nothing,
    NoRegistry,
    Status(u16),
    Rest(u16),
    /// One of these, of deltas alone.
    NoDelta,
    OddDelta,
    DeltaHangs,
}

#[derive(Debug, Clone, Copy)]
enum Arrival {
    Upsert(usize, Key, Truth),
    Cancel(usize, Key, Millis),
}

#[derive(Debug)]
pub(super) struct World {
    state: Mutex<State>,
    began: Instant,
}

#[derive(Debug)]
pub(super) struct State {
    now: Millis,
    random: u64,
    pub(super) alive: BTreeMap<Key, Truth>,
    peers: Vec<Peer>,
    /// The peers behind each URL, and which one has the connection.
    urls: Vec<(Vec<usize>, usize)>,
    faults: Vec<(Millis, usize, Fault)>,
    arrivals: BTreeMap<(Millis, u64), Arrival>,
    arrived: u64,
    beaten: Millis,
    /// When what was asked for, of which URL.
    pub(super) asked: Vec<(Millis, usize, Fetch)>,
    /// When an answer that can be read was last given.
    pub(super) answered: Option<Millis>,
    /// When an instance was last said to be gone, or left out of everything, by an answer that can be read.
    pub(super) denied: BTreeMap<Key, Millis>,
}

impl World {
    /// `urls` are the peers behind each URL.
    pub(super) fn new(seed: u64, urls: &[&[usize]], caches: bool) -> Self {
        let peers = urls.iter().flat_map(|peers| peers.iter()).max().unwrap() + 1;
        let mut state = State {
            now: 0,
            random: seed | 1,
            alive: BTreeMap::new(),
            peers: (0..peers).map(|_| Peer::default()).collect(),
            urls: urls.iter().map(|peers| (peers.to_vec(), peers[0])).collect(),
            faults: Vec::new(),
            arrivals: BTreeMap::new(),
            arrived: 0,
            beaten: 0,
            asked: Vec::new(),
            answered: None,
            denied: BTreeMap::new(),
        };
        for at in 0..peers {
            let grid = state.random(CACHE);
            let ahead = state.random(10_000);
            let peer = &mut state.peers[at];
            peer.grid = caches.then_some(grid);
            peer.ahead = i64::try_from(ahead).unwrap() - 5_000;
            peer.is_dirty = true;
        }
        Self {
            state: Mutex::new(state),
            began: Instant::now(),
        }
    }

    /// The world as it is now.
    pub(super) fn now(&self) -> MutexGuard<'_, State> {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap();
        let mut state = self.state.lock().unwrap();
        state.advance(now);
        state
    }
}

impl Pretend for World {
    fn answer(&self, base: usize, what: Fetch) -> Said {
        self.now().answer(base, what)
    }

    fn flight(&self) -> Duration {
        let mut state = self.now();
        let often = state.random(20) > 0;
        let most = if often { 40 } else { 3_000 };
        Duration::from_millis(4 + state.random(most))
    }
}

impl State {
    /// A number below that.
    fn random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 16) % below
    }

    pub(super) fn time(&self) -> Millis {
        self.now
    }

    fn advance(&mut self, to: Millis) {
        loop {
            let tick = |peer: &Peer| {
                let grid = peer.grid.filter(|_| peer.down.is_none())?;
                Some((self.now.saturating_sub(grid) / CACHE + 1) * CACHE + grid)
            };
            let ticks = self.peers.iter().filter_map(tick).filter(|at| *at > self.now);
            let back = self.peers.iter().filter_map(|peer| peer.down);
            let arrival = self.arrivals.keys().next().map(|(at, _)| *at);
            let next = ticks.chain(back).chain(arrival).chain([self.beaten + BEAT]).min();
            let Some(at) = next.filter(|at| *at <= to) else {
                break;
            };
            self.now = self.now.max(at);
            for peer in &mut self.peers {
                if peer.down.is_some_and(|until| until <= at) {
                    peer.down = None;
                    peer.generate(at);
                }
            }
            while let Some(entry) = self.arrivals.first_entry().filter(|entry| entry.key().0 <= at) {
                let arrival = entry.remove();
                self.take(arrival);
            }
            if self.beaten + BEAT <= at {
                self.beaten = at;
                self.beat();
            }
            for peer in &mut self.peers {
                if peer
                    .grid
                    .is_some_and(|grid| at >= grid && (at - grid) % CACHE == 0)
                {
                    peer.generate(at);
                }
            }
        }
        self.now = self.now.max(to);
    }

    fn take(&mut self, arrival: Arrival) {
        let now = self.now;
        match arrival {
            Arrival::Upsert(peer, key, truth) => {
                let peer = &mut self.peers[peer];
                if peer.hears(now) {
                    peer.upsert(key, truth, now);
                }
            }
            Arrival::Cancel(peer, key, dirty) => {
                let peer = &mut self.peers[peer];
                if peer.hears(now) && peer.held.get(&key).is_some_and(|held| held.truth.dirty <= dirty) {
                    peer.cancel(key, now);
                }
            }
        }
    }

    fn beat(&mut self) {
        let (now, slot) = (self.now, self.now / BEAT % 10);
        let alive = &self.alive;
        for peer in &mut self.peers {
            if !peer.hears(now) {
                continue;
            }
            if std::mem::take(&mut peer.isolated) > 0 {
                // It noticed that it heard of nobody, and gave nobody up.
                peer.held.values_mut().for_each(|held| held.renewed = now);
            }
            let of_slot = alive
                .iter()
                .filter(|((app, n), _)| u64::from(app * 3 + n) % 10 == slot);
            for (key, truth) in of_slot {
                peer.upsert(*key, *truth, now);
            }
            let expired: Vec<Key> = peer
                .held
                .iter()
                .filter(|(_, held)| held.renewed + LEASE < now)
                .map(|(key, _)| *key)
                .collect();
            for key in expired {
                peer.cancel(key, now);
            }
        }
    }

    /// Tells one peer at once and the others later.
    fn spread(&mut self, arrival: impl Fn(usize) -> Arrival) {
        let first = usize::try_from(self.random(self.peers.len() as u64)).unwrap();
        for peer in 0..self.peers.len() {
            let lag = if peer == first {
                0
            } else {
                500 + self.random(5_000)
            };
            self.arrived += 1;
            self.arrivals
                .insert((self.now + lag, self.arrived), arrival(peer));
        }
        self.advance(self.now);
    }

    /// An instance registers, or again, as the same or as another version.
    pub(super) fn register(&mut self, key: Key, status: u8, is_other: bool) {
        let held = self.alive.get(&key);
        let version = held.map_or(0, |held| held.version + u32::from(is_other));
        let truth = Truth {
            status,
            version,
            dirty: self.now,
        };
        self.alive.insert(key, truth);
        self.spread(|peer| Arrival::Upsert(peer, key, truth));
    }

    pub(super) fn cancel(&mut self, key: Key) {
        let now = self.now;
        if self.alive.remove(&key).is_some() {
            self.spread(|peer| Arrival::Cancel(peer, key, now));
        }
    }

    /// The process is gone and told nobody.
    pub(super) fn die(&mut self, key: Key) {
        self.alive.remove(&key);
    }

    pub(super) fn fault(&mut self, url: usize, fault: Fault, seconds: u64) {
        let url = url % self.urls.len();
        self.faults.push((self.now + seconds * 1000, url, fault));
    }

    /// A peer is started again after some seconds: with what another one has, or with nothing, and then possibly refusing
    /// for a while.
    pub(super) fn restart(&mut self, peer: usize, seconds: u64, synced: bool, refuses: u64) {
        let at = peer % self.peers.len();
        let others: Vec<usize> = (0..self.peers.len()).filter(|other| *other != at).collect();
        let held = others
            .iter()
            .map(|other| &self.peers[*other])
            .find(|other| other.down.is_none());
        let held = held
            .filter(|_| synced)
            .map(|other| other.held.clone())
            .unwrap_or_default();
        let grid = self.random(CACHE);
        let old = &self.peers[at];
        let back = self.now + seconds * 1000;
        self.peers[at] = Peer {
            held,
            ahead: old.ahead,
            grid: old.grid.map(|_| grid),
            is_dirty: true,
            down: Some(back),
            refuses: back + refuses * 1000,
            isolated: old.isolated,
            ..Peer::default()
        };
    }

    /// All peers have forgotten what changed of late.
    pub(super) fn forget(&mut self) {
        // What is still on its way has arrived before.
        while let Some((_, arrival)) = self.arrivals.pop_first() {
            self.take(arrival);
        }
        for peer in &mut self.peers {
            peer.queue.clear();
            peer.is_dirty = true;
        }
    }

    pub(super) fn isolate(&mut self, peer: usize, seconds: u64) {
        let at = peer % self.peers.len();
        self.peers[at].isolated = self.now + seconds * 1000;
    }

    /// From now on all is well.
    pub(super) fn heal(&mut self) {
        self.faults.clear();
        let now = self.now;
        for peer in &mut self.peers {
            peer.isolated = 0;
            peer.refuses = 0;
            if peer.down.is_some() {
                peer.down = Some(now + 1);
            }
        }
    }

    fn answer(&mut self, base: usize, what: Fetch) -> Said {
        self.asked.push((self.now, base, what));
        let now = self.now;
        self.faults.retain(|(until, ..)| *until > now);
        let is_of = |fault: Fault| {
            what == Fetch::Delta || !matches!(fault, Fault::NoDelta | Fault::OddDelta | Fault::DeltaHangs)
        };
        let fault = self
            .faults
            .iter()
            .find(|(_, url, fault)| *url == base && is_of(*fault))
            .map(|(.., fault)| *fault);
        let document = |body: &str| Said::Document {
            body: body.to_owned(),
            content_type: "application/json",
            date: None,
            resent: false,
        };
        match fault {
            None | Some(Fault::CutShort) => {}
            Some(Fault::Refused) => return Said::Refused,
            Some(Fault::Hangs | Fault::DeltaHangs) => return Said::Hangs,
            Some(Fault::BreaksOff) => return Said::BreaksOff,
            Some(Fault::Html) => return document("<html>Please sign in</html>"),
            Some(Fault::Nothing) => return document(""),
            Some(Fault::NoRegistry) => return document("{\"status\":\"UP\"}"),
            Some(Fault::Status(status)) => return Said::Status(status, None),
            Some(Fault::Rest(seconds)) => {
                return Said::Status(503, Some(Duration::from_secs(seconds.into())));
            }
            Some(Fault::NoDelta) => return Said::Status(403, None),
            Some(Fault::OddDelta) => return document("{\"applications\":{\"application\":[7,{\"instance\":"),
        }
        let mut resent = false;
        if self.urls[base].0.len() > 1 && self.random(8) == 0 {
            let behind = self.urls[base].0.len();
            let other = usize::try_from(self.random(behind as u64)).unwrap();
            self.urls[base].1 = self.urls[base].0[other];
            resent = self.random(2) == 0;
        }
        let at = self.urls[base].1;
        if self.peers[at].down.is_some() {
            return Said::Refused;
        }
        if self.peers[at].refuses > now {
            return Said::Status(403, None);
        }
        let peer = &mut self.peers[at];
        if peer.grid.is_none() || peer.generation == 0 {
            peer.generate(now);
        }
        let answer = if what == Fetch::Full {
            peer.full.clone()
        } else {
            peer.delta.clone()
        };
        let ahead = peer.ahead;
        if fault == Some(Fault::CutShort) {
            let end = usize::try_from(self.random(answer.body.len() as u64)).unwrap();
            return document(&answer.body[..end]);
        }
        self.answered = Some(now);
        let denied: Vec<Key> = match what {
            Fetch::Full => (0..4)
                .flat_map(|app| (0..10).map(move |n| (app, n)))
                .filter(|key| !answer.lists.contains(key))
                .collect(),
            Fetch::Delta => answer.gone.into_iter().collect(),
        };
        self.denied.extend(denied.into_iter().map(|key| (key, now)));
        let seconds = (EPOCH.saturating_add_signed(ahead) + now) / 1000;
        Said::Document {
            body: answer.body,
            content_type: "application/json;charset=UTF-8",
            date: Some(UNIX_EPOCH + Duration::from_secs(seconds)),
            resent,
        }
    }
}

impl Peer {
    fn hears(&self, now: Millis) -> bool {
        self.down.is_none() && self.isolated <= now
    }

    fn clock(&self, now: Millis) -> u64 {
        (EPOCH + now).saturating_add_signed(self.ahead)
    }

    fn upsert(&mut self, key: Key, truth: Truth, now: Millis) {
        let updated = self.clock(now);
        let action = match self.held.get_mut(&key) {
            Some(held) if held.truth.dirty >= truth.dirty => {
                held.renewed = now;
                return;
            }
            Some(held) if held.truth.version == truth.version => "MODIFIED",
            _ => "ADDED",
        };
        self.held.insert(
            key,
            Lease {
                truth,
                updated,
                renewed: now,
                action,
            },
        );
        self.queue.push((now, key));
        self.is_dirty = true;
    }

    fn cancel(&mut self, key: Key, now: Millis) {
        if let Some(mut lease) = self.held.remove(&key) {
            lease.updated = self.clock(now);
            lease.action = "DELETED";
            self.cancelled.insert(key, lease);
            self.queue.push((now, key));
            self.is_dirty = true;
        }
    }

    /// Renews the cached answers, which are the same as before for as long as nothing changed, up to a limit.
    fn generate(&mut self, now: Millis) {
        if !self.is_dirty && self.generation > 0 && self.generated + 180_000 > now {
            return;
        }
        self.is_dirty = false;
        self.generation += 1;
        self.generated = now;
        self.queue.retain(|(at, _)| at + RETENTION > now);
        let recent: BTreeSet<Key> = self.queue.iter().map(|(_, key)| *key).collect();
        let hash = self.hash();
        let all = self.held.iter().map(|(key, lease)| (*key, lease));
        self.full = write("1", &hash, all, now);
        let state = |key: Key| Some((key, self.held.get(&key).or_else(|| self.cancelled.get(&key))?));
        self.delta = write(
            &self.generation.to_string(),
            &hash,
            recent.into_iter().filter_map(state),
            now,
        );
    }

    fn hash(&self) -> String {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for lease in self.held.values() {
            *counts.entry(lease.truth.word()).or_default() += 1;
        }
        counts
            .iter()
            .map(|(status, count)| format!("{status}_{count}_"))
            .collect()
    }
}

fn write<'l>(
    version: &str,
    hash: &str,
    leases: impl Iterator<Item = (Key, &'l Lease)>,
    now: Millis,
) -> Document {
    let mut document = Document::default();
    let mut apps: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    for ((app, n), lease) in leases {
        let Lease {
            truth,
            updated,
            renewed,
            action,
        } = lease;
        if *action == "DELETED" {
            &mut document.gone
        } else {
            &mut document.lists
        }
        .insert((app, n));
        apps.entry(app).or_default().push(format!(
            "{{\"instanceId\":\"i{n}\",\"hostName\":\"i{n}.example\",\"app\":\"APP{app}\",\"ipAddr\":\"10.0.{app}.{n}\",\
             \"status\":\"{}\",\"overriddenStatus\":\"UNKNOWN\",\"port\":{{\"$\":8080,\"@enabled\":\"true\"}},\
             \"securePort\":{{\"$\":443,\"@enabled\":\"false\"}},\"leaseInfo\":{{\"lastRenewalTimestamp\":{renewed},\"now\":{now}}},\
             \"metadata\":{{\"version\":\"v{}\"}},\"lastUpdatedTimestamp\":\"{updated}\",\"lastDirtyTimestamp\":\"{}\",\
             \"actionType\":\"{action}\"}}",
            truth.word(),
            truth.version,
            EPOCH + truth.dirty,
        ));
    }
    let apps: Vec<String> = apps
        .into_iter()
        .map(|(app, instances)| format!("{{\"name\":\"APP{app}\",\"instance\":[{}]}}", instances.join(",")))
        .collect();
    let _ = write!(
        document.body,
        "{{\"applications\":{{\"versions__delta\":\"{version}\",\"apps__hashcode\":\"{hash}\",\"application\":[{}]}}}}",
        apps.join(",")
    );
    document
}
