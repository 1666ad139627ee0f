//! A server that plays Nomad's registry of native services, and a client of a real one.
//!
//! No package registry carries Nomad, so tests run against [`NomadPlay`], which answers as a real server was seen to
//! answer (2.0.6: indexes, blocking queries, the event stream and its silences, ACLs), and against a real server where
//! [`ADDRESS`] names one: [`World`] is what both can do.
//!
//! ```text
//!  test ──▶ World ──┬─▶ PlayWorld ──▶ NomadPlay   tables, indexes, events; counts requests; misbehaves on demand
//!                   └─▶ RealNomad                 jobs, by the API of a server that somebody else runs
//! ```
//!
//! ```
//! use registry_testkit::nomad::{NomadPlay, Registration};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let nomad = NomadPlay::start().await?;
//! nomad.register(&[Registration::new("web", 1), Registration::new("web", 2)]);
//!
//! // ... what is under test reads nomad.url() ...
//!
//! nomad.deregister("default", "web", 2);
//! # Ok(())
//! # }
//! ```
//!
//! # What is true of a real server, and so of the play
//!
//! - Every answer about services carries the index of the whole table, at least 1; a blocking query of one namespace
//!   wakes for changes of that namespace alone.
//! - `namespace=*` without any right is `200 []` with index 0, and parks like any other; a token that is unknown is 403.
//! - Rights are looked up when a request comes, not when it wakes.
//! - The event stream has no status but 200. Whoever may not listen hears nothing, or its end after a while; an index too
//!   old or too new is no error; the memory is short, and shared with all topics; `*` stands for the namespaces there were
//!   when the stream began, and needs the right to all of them.
//! - Lists come in another order each time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::{CancellationToken, DropGuard};

use self::answer::{Asked, Server};
use self::events::{Broker, Word};
use self::state::State;
use crate::proxy::activity::Activity;
use crate::proxy::client::{Client, End, Gate, write_gated};
use crate::proxy::http1::{Answer, Request};
use crate::proxy::{Logged, TOO_MANY_REQUESTS};

mod access;
mod answer;
mod api;
mod events;
mod play_world;
mod real;
mod registration;
mod state;
mod stream;
mod world;

pub use self::access::Rights;
pub use self::api::{Answered, Lines, NomadApi};
pub use self::play_world::PlayWorld;
pub use self::real::{ADDRESS, RealNomad, TOKEN};
pub use self::registration::{Allocation, CheckResult, NODE, Registration};
pub use self::state::Cause;
pub use self::world::{Job, World, unique, worlds};

/// How a play differs from a server with the default configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The time between two `{}` of an event stream; 30 s.
    pub heartbeat: Duration,
    /// How many writes the event stream remembers; 100.
    pub memory: usize,
    /// What becomes of streams of those who may not listen; silence.
    pub denied: Denied,
    /// The most bytes that an event stream writes at once; all there is.
    pub piece: usize,
    /// The most connections of one client; 100. Beyond them there is a 429 that nobody asked for.
    pub connections: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_secs(30),
            memory: 100,
            denied: Denied::Silence,
            piece: usize::MAX,
            connections: 100,
        }
    }
}

/// How a stream is denied: the head with its 200 is out by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denied {
    /// Nothing follows.
    Silence,
    /// Nothing follows, and the connection ends after that time.
    End(Duration),
}

/// What becomes of one event stream; see [`NomadPlay::fail_streams`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamFault {
    /// The connection ends without a byte.
    Refuse,
    /// Another status.
    Respond(u16, String),
    /// The head, then nothing.
    Silent,
    /// The head, then the end.
    Close,
    /// So many bytes, counted from the status line, then the end.
    CutAfter(usize),
}

/// A server on a free port of 127.0.0.1; see the [module](self).
///
/// Dropping it closes its port and all connections.
#[derive(Debug)]
pub struct NomadPlay {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

/// What a play knew at some time; see [`NomadPlay::save`].
#[derive(Debug, Clone)]
pub struct Saved(State);

#[derive(Debug)]
struct Shared {
    settings: Settings,
    play: Mutex<Play>,
    /// Counts what may wake a blocking query.
    changes: watch::Sender<u64>,
    /// Counts how often all streams were muted.
    muted: watch::Sender<u64>,
    /// Counts how often all connections were closed.
    closed: watch::Sender<u64>,
    refuses: AtomicBool,
    activity: Arc<Activity>,
}

#[derive(Debug)]
struct Play {
    state: State,
    /// What stale reads get, where that is something else.
    follower: Option<State>,
    broker: Broker,
    /// Since when there is no leader.
    leaderless: Option<Instant>,
    stream_faults: VecDeque<StreamFault>,
    answers: u64,
}

impl NomadPlay {
    /// Starts an empty server without ACLs.
    ///
    /// # Errors
    ///
    /// Where it cannot listen.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(Settings::default()).await
    }

    /// Starts an empty server without ACLs that differs from the default.
    ///
    /// # Errors
    ///
    /// Where it cannot listen.
    pub async fn start_with(settings: Settings) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            play: Mutex::new(Play {
                state: State::default(),
                follower: None,
                broker: Broker::new(settings.memory),
                leaderless: None,
                stream_faults: VecDeque::new(),
                answers: 0,
            }),
            settings,
            changes: watch::Sender::new(0),
            muted: watch::Sender::new(0),
            closed: watch::Sender::new(0),
            refuses: AtomicBool::new(false),
            activity: Arc::default(),
        });
        let stop = CancellationToken::new();
        tokio::spawn(accept(listener, Arc::clone(&shared), stop.clone()));
        Ok(Self {
            addr,
            shared,
            _stop: stop.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL, `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    // === what is written ===

    /// Registers instances or changes them, as one write, which an event tells; gives the index. An allocation that is
    /// not there yet is made and runs.
    pub fn register(&self, registrations: &[Registration]) -> u64 {
        self.change(|play| play.state.register(registrations, &mut play.broker))
    }

    /// Removes the instance of that number, as [`Registration::within`] made it: its client says so.
    pub fn deregister(&self, namespace: &str, service: &str, number: u8) -> u64 {
        let id = Registration::within(namespace, service, number).id;
        self.remove(Cause::Client, |one| one.id == id)
    }

    /// Removes all instances that are chosen, as one write.
    pub fn remove(&self, cause: Cause, chosen: impl FnMut(&Registration) -> bool) -> u64 {
        self.change(|play| play.state.deregister(cause, &mut play.broker, chosen))
    }

    /// Makes that what is written is told to no stream, and not remembered (or ends that).
    pub fn lose_events(&self, loses: bool) {
        self.change(|play| play.broker.loses = loses);
    }

    /// Writes to other tables, so often; each write takes a place in the memory of the event stream.
    pub fn write_elsewhere(&self, times: usize) {
        self.change(|play| {
            for _ in 0..times {
                play.state.write_elsewhere(&mut play.broker);
            }
        });
    }

    /// Makes a namespace. A registration in it does so, too.
    pub fn add_namespace(&self, name: &str) {
        self.change(|play| {
            play.state.index += 1;
            play.state.namespaces.insert(name.to_owned());
        });
    }

    /// Deletes a namespace, which has to be without services, as a real server demands.
    ///
    /// # Panics
    ///
    /// Where it has some.
    pub fn remove_namespace(&self, name: &str) {
        self.change(|play| {
            let is_used = play.state.services.keys().any(|(held, _)| held == name);
            assert!(!is_used, "{name} has services");
            play.state.index += 1;
            play.state.namespaces.remove(name);
        });
    }

    /// Changes an allocation, or makes it.
    pub fn set_allocation(&self, allocation: Allocation) {
        self.change(|play| {
            play.state.index += 1;
            let index = play.state.index;
            play.state.allocations_index = index;
            let before = play.state.allocations.get(&allocation.id);
            let create_index = before.map_or(index, |before| before.create_index);
            let allocation = Allocation {
                create_index,
                modify_index: index,
                ..allocation
            };
            play.state.allocations.insert(allocation.id.clone(), allocation);
        });
    }

    /// Forgets an allocation, as garbage collection does; what it registered stays.
    pub fn remove_allocation(&self, id: &str) {
        self.change(|play| {
            play.state.index += 1;
            play.state.allocations_index = play.state.index;
            play.state.allocations.remove(id);
        });
    }

    /// The results of the checks of an allocation.
    pub fn set_checks(&self, allocation: &str, results: &[CheckResult]) {
        self.change(|play| {
            play.state.checks.insert(allocation.to_owned(), results.to_vec());
        });
    }

    /// Switches ACLs on, and gives a token these rights: streams that lose theirs are denied from then on.
    pub fn grant(&self, token: &str, rights: Rights) {
        self.change(|play| {
            play.state.access.enabled = true;
            play.state.access.tokens.insert(token.to_owned(), rights);
            play.broker.tell(&Word::Rights);
        });
    }

    /// Deletes a token.
    pub fn revoke(&self, token: &str) {
        self.change(|play| {
            play.state.access.enabled = true;
            play.state.access.tokens.remove(token);
            play.broker.tell(&Word::Rights);
        });
    }

    // === its past ===

    /// All that it knows now.
    #[must_use]
    pub fn save(&self) -> Saved {
        Saved(self.shared.play().state.clone())
    }

    /// Replaces all that it knows, indexes included, and closes all connections: a server that was restored.
    pub fn restore(&self, saved: Saved) {
        self.change(|play| {
            play.state = saved.0;
            play.broker.restart();
        });
        self.close_all();
    }

    /// A server with another history: empty, and its indexes begin anew. Tokens stay.
    pub fn wipe(&self) {
        let access = self.shared.play().state.access.clone();
        let state = State {
            access,
            ..State::default()
        };
        self.restore(Saved(state));
    }

    /// Raises (or lowers) the index of the table of registrations, and nothing else.
    pub fn set_index(&self, index: u64) {
        self.change(|play| {
            play.state.index = play.state.index.max(index);
            play.state.services_index = index;
        });
    }

    // === trouble ===

    /// Closes all connections. The memory of the event stream is lost, as in any restart.
    pub fn restart(&self) {
        self.change(|play| play.broker.restart());
        self.close_all();
    }

    /// Closes all connections and resets those that come, or takes them again.
    pub fn refuse(&self, on: bool) {
        self.shared.refuses.store(on, Ordering::SeqCst);
        if on {
            self.restart();
        }
    }

    /// Whether there is a leader. Without one, reads that have to be consistent fail, those that are parked included.
    pub fn set_leader(&self, leads: bool) {
        self.change(|play| play.leaderless = (!leads).then(Instant::now));
    }

    /// Stale reads get what is known now, whatever is written from now on; or the truth again.
    pub fn hold_follower(&self, on: bool) {
        self.change(|play| play.follower = on.then(|| play.state.clone()));
    }

    /// What becomes of the next event streams, one after the other; those after them are as they should be.
    pub fn fail_streams(&self, faults: impl IntoIterator<Item = StreamFault>) {
        self.shared.play().stream_faults = faults.into_iter().collect();
    }

    /// Makes all event streams that are open say nothing any more.
    pub fn mute_streams(&self) {
        self.shared.muted.send_modify(|times| *times += 1);
    }

    /// Ends all event streams that are open.
    pub fn cut_streams(&self) {
        self.shared.play().broker.cut();
    }

    // === what it saw ===

    /// The last 100 000 requests, in the order in which they were read.
    #[must_use]
    pub fn requests(&self) -> Vec<Logged> {
        self.shared.activity.requests()
    }

    /// How many requests were read since the start.
    #[must_use]
    pub fn requests_total(&self) -> u64 {
        self.shared.activity.seen().requests
    }

    /// How many connections are open.
    #[must_use]
    pub fn connections_open(&self) -> usize {
        self.shared.activity.seen().open
    }

    /// The most connections that were open at the same time.
    #[must_use]
    pub fn connections_max(&self) -> usize {
        self.shared.activity.seen().max
    }

    /// How many connections were accepted since the start, those beyond the limit included.
    #[must_use]
    pub fn connections_total(&self) -> u64 {
        self.shared.activity.seen().total
    }

    /// How many event streams are served.
    #[must_use]
    pub fn streams(&self) -> usize {
        self.shared.play().broker.listeners()
    }

    /// The index of the table of registrations, as answers show it.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.shared.play().state.shown_index()
    }

    /// The instances of each service, by namespace and name.
    #[must_use]
    pub fn services(&self) -> BTreeMap<(String, String), Vec<Registration>> {
        let services = &self.shared.play().state.services;
        let instances = services
            .iter()
            .map(|(name, held)| (name.clone(), held.values().cloned().collect()));
        instances.collect()
    }

    /// The namespaces that there are.
    #[must_use]
    pub fn namespaces(&self) -> BTreeSet<String> {
        self.shared.play().state.namespaces.clone()
    }

    fn close_all(&self) {
        self.shared.closed.send_modify(|times| *times += 1);
    }

    fn change<T>(&self, change: impl FnOnce(&mut Play) -> T) -> T {
        let changed = change(&mut self.shared.play());
        self.shared.changes.send_modify(|changes| *changes += 1);
        changed
    }
}

impl Shared {
    fn play(&self) -> MutexGuard<'_, Play> {
        self.play.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, asked: &Asked) -> Answer {
        let rights = self.play().state.access.rights(asked.token.as_deref());
        // Before the first look, so that no change after it is missed.
        let mut changes = self.changes.subscribe();
        let mut deadline = None;
        loop {
            let found = {
                let mut play = self.play();
                play.answers += 1;
                let server = Server {
                    leader: play.leaderless.is_none(),
                    last_contact: play.leaderless.map(|since| since.elapsed()).unwrap_or_default(),
                    shuffle: play.answers,
                };
                let follower = play.follower.as_ref().filter(|_| asked.is_stale());
                let state = follower.unwrap_or(&play.state);
                answer::answer(state, &server, asked, rights.as_ref())
            };
            let blocking = match asked.blocking {
                Ok(blocking) => blocking,
                Err(text) => return Answer::text(400, text),
            };
            let Some(index) = found.index.filter(|_| blocking.index > 0) else {
                return found.answer;
            };
            // Once parked, only a change that concerns it wakes it, whichever index the answer would have.
            let due = if deadline.is_none() { index } else { found.touched };
            if index > blocking.index && due > blocking.index {
                return found.answer;
            }
            let until = *deadline.get_or_insert_with(|| {
                // As much jitter as the real one has at most, and never none.
                Instant::now() + blocking.wait + blocking.wait / 32
            });
            if timeout_at(until, changes.changed()).await.is_err() {
                return found.answer;
            }
        }
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            // Out of file descriptors, most likely: they come back when connections close.
            sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut closed = shared.closed.subscribe();
        closed.mark_unchanged();
        let number = shared.activity.accepted();
        // They fail only on a connection that is dead already.
        let _ = stream.set_nodelay(true);
        if shared.refuses.load(Ordering::SeqCst) {
            let _ = stream.set_zero_linger();
            continue;
        }
        if shared.activity.seen().open >= shared.settings.connections {
            tokio::spawn(async move { write_gated(&stream, Gate::always_open(), TOO_MANY_REQUESTS).await });
            continue;
        }
        let open = shared.activity.opened();
        let (shared, stop) = (Arc::clone(&shared), stop.clone());
        tokio::spawn(async move {
            let end = tokio::select! {
                biased;
                () = stop.cancelled() => End::Close,
                _ = closed.changed() => End::Close,
                served = serve(&shared, number, &stream) => match served {
                    Ok(never) => match never {},
                    Err(end) => end,
                },
            };
            if end == End::Reset {
                let _ = stream.set_zero_linger();
            }
            drop(stream);
            drop(open);
        });
    }
}

async fn serve(shared: &Shared, connection: u64, stream: &TcpStream) -> Result<Infallible, End> {
    let mut client = Client::new(stream, Gate::always_open());
    loop {
        let request = client.request().await?;
        let Request { method, target, .. } = &request;
        let number = shared.activity.requested(connection, method, target);
        let asked = Asked::of(&request, access::token(&request));
        if asked.path == "/v1/event/stream" {
            let answering = |status| shared.activity.answering(number, status);
            return stream::serve(shared, &mut client, &asked, answering).await;
        }
        let answer = client.while_open(shared.answer(&asked)).await?;
        shared.activity.answering(number, answer.status);
        client.write(&answer.encode_head(0)).await?;
        client.write(&answer.body).await?;
        if !request.keep_alive {
            return Err(End::Close);
        }
    }
}
