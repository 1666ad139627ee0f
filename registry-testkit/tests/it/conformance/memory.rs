//! A server that is a map in memory, and a backend that reads it: correct, or with exactly one fault.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{FutureExt, stream};
use registry_core::{
    Address, Control, Endpoint, ErrorKind, Event, EventStream, Health, Labels, RegistryError, Scope,
    ServiceId, ServiceMeta, ServicePort, ServiceRecord, ServiceRegistry, Timestamp, async_trait,
};
use registry_testkit::conformance::{Instance, Subject, Trouble, World, WorldError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::broken::Fault;
use super::waker::FirstWaker;

const TOKEN: &str = "s3cret-t0ken";
const LOCATION: &str = "memory://server";
const TICK: Duration = Duration::from_secs(5);
const TIME_LIMIT: Duration = Duration::from_secs(2);

type Services = BTreeMap<String, Vec<Instance>>;

// === the server ===

#[derive(Debug, Default)]
pub(super) struct Server {
    state: Mutex<State>,
    /// Its index: what long polls wait for.
    index: watch::Sender<u64>,
    connections: Arc<AtomicUsize>,
}

#[derive(Debug, Default, Clone)]
struct State {
    services: Services,
    trouble: Option<Trouble>,
    /// How often it was started.
    starts: u32,
}

/// What the server answers to a read of everything.
struct Answer {
    index: u64,
    starts: u32,
    services: Services,
    /// The service that cannot be read, where it is but one.
    unread: Option<&'static str>,
}

impl Server {
    fn change(&self, change: impl FnOnce(&mut State)) {
        let restarted = {
            let mut state = self.state.lock().unwrap();
            let starts = state.starts;
            change(&mut state);
            state.starts != starts
        };
        self.index
            .send_modify(|index| *index = if restarted { 1 } else { *index + 1 });
    }

    /// What a client gets, trouble included.
    async fn answer(&self) -> Result<Answer, RegistryError> {
        sleep(Duration::from_millis(1)).await;
        let (state, index) = (self.state.lock().unwrap().clone(), *self.index.borrow());
        let error = |kind, what: &str| Err(RegistryError::new(kind, format!("GET {LOCATION}: {what}")));
        let unread = match state.trouble {
            None => None,
            Some(Trouble::OneService(service)) => Some(service),
            Some(Trouble::Silence) => {
                sleep(TIME_LIMIT).await;
                return error(ErrorKind::Unreachable, "no answer");
            }
            Some(Trouble::Refusal) => return error(ErrorKind::Unreachable, "connection refused"),
            Some(Trouble::Denial) => return error(ErrorKind::Denied, "403 Forbidden"),
            Some(Trouble::CutAnswer) => return error(ErrorKind::Malformed, "the body ends in the middle"),
            Some(Trouble::Garbage) => return error(ErrorKind::Malformed, "no JSON"),
            Some(_) => return error(ErrorKind::Unavailable, "500 Internal Server Error"),
        };
        Ok(Answer {
            index,
            starts: state.starts,
            services: state.services,
            unread,
        })
    }
}

/// A client's connection.
struct Connection(Arc<AtomicUsize>);

impl Connection {
    fn open(server: &Server) -> Self {
        server.connections.fetch_add(1, Ordering::Relaxed);
        Self(server.connections.clone())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

// === the world ===

/// The server with a backend that has at most one fault.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Memory(pub(super) Option<Fault>);

struct MemoryWorld {
    server: Arc<Server>,
    registry: Arc<MemoryRegistry>,
}

#[async_trait]
impl Subject for Memory {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let server = Arc::new(Server::default());
        Ok(Box::new(MemoryWorld {
            server: server.clone(),
            registry: Arc::new(MemoryRegistry {
                server,
                fault: self.0,
                watches: AtomicUsize::new(0),
            }),
        }))
    }
}

#[async_trait]
impl World for MemoryWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        self.server
            .change(|state| drop(state.services.insert(service.to_owned(), instances.to_vec())));
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        self.server.change(|state| drop(state.services.remove(service)));
        Ok(())
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        self.server.change(|state| state.trouble = Some(trouble));
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.server.change(|state| state.trouble = None);
        Ok(())
    }

    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        self.server.change(|state| {
            state.starts += 1;
            state.services.clear();
        });
        Ok(())
    }

    fn connections(&self) -> Option<usize> {
        Some(self.server.connections.load(Ordering::Relaxed))
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn location(&self) -> Option<String> {
        Some(LOCATION.to_owned())
    }
}

// === the backend ===

struct MemoryRegistry {
    server: Arc<Server>,
    fault: Option<Fault>,
    watches: AtomicUsize,
}

#[async_trait]
impl ServiceRegistry for MemoryRegistry {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn target(&self) -> String {
        if self.fault == Some(Fault::ChangesItsTarget) {
            return format!("{LOCATION}#{}", self.watches.load(Ordering::Relaxed));
        }
        LOCATION.to_owned()
    }

    fn freshness_bound(&self) -> Duration {
        TICK * 3
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let first = self.watches.fetch_add(1, Ordering::Relaxed) == 0;
        let mut changes = self.server.index.subscribe();
        changes.mark_changed();
        if self.fault == Some(Fault::LeavesATask) {
            let connection = Connection::open(&self.server);
            tokio::spawn(async move {
                let _connection = connection;
                std::future::pending::<()>().await;
            });
        }
        let mut session = Session {
            _connection: Connection::open(&self.server),
            server: self.server.clone(),
            fault: self.fault,
            control,
            changes,
            known: None,
            said: VecDeque::new(),
            next_tick: Instant::now() + TICK,
            failed: false,
            gave_up: false,
            listings: 0,
            ignore_until: Instant::now(),
        };
        if self.fault == Some(Fault::ListsOnlyOnce) && !first {
            let answer = self.server.answer().await?;
            session.known = Some(Known::of(&answer));
            session.said.push_back(vec![Event::Confirmed(Scope::Registry)]);
        }
        let batches = stream::unfold(session, |mut session| async move {
            let batch = session.next().await;
            Some((Ok(batch), session))
        });
        if self.fault == Some(Fault::WakesTheFirstPoller) {
            return Ok(Box::pin(FirstWaker::new(Box::pin(batches))));
        }
        Ok(Box::pin(batches))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let answer = self.server.answer().await;
        match answer {
            Err(_) if self.fault == Some(Fault::ProbesNothing) => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// What was last told.
struct Known {
    services: Services,
    index: u64,
    starts: u32,
}

impl Known {
    fn of(answer: &Answer) -> Self {
        Self {
            services: answer.services.clone(),
            index: answer.index,
            starts: answer.starts,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Why {
    Change,
    Tick,
    Wish(Scope),
}

struct Session {
    _connection: Connection,
    server: Arc<Server>,
    fault: Option<Fault>,
    control: Control,
    changes: watch::Receiver<u64>,
    known: Option<Known>,
    /// Batches that are ready.
    said: VecDeque<Vec<Event>>,
    next_tick: Instant,
    /// The last read failed: what is read next is told completely.
    failed: bool,
    gave_up: bool,
    listings: u64,
    ignore_until: Instant,
}

impl Session {
    fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    async fn next(&mut self) -> Vec<Event> {
        loop {
            if let Some(batch) = self.said.pop_front() {
                if self.has(Fault::DropsWishesWhileListing) && !self.said.is_empty() {
                    let _ = self.control.resync_requested().now_or_never();
                }
                return batch;
            }
            let why = tokio::select! {
                Ok(()) = self.changes.changed() => Why::Change,
                wish = self.control.resync_requested() => Why::Wish(wish.scope),
                () = sleep_until(self.next_tick) => Why::Tick,
            };
            if why == Why::Change && self.has(Fault::ForgetsTheLastChange) {
                let now = Instant::now();
                if now < self.ignore_until
                    && let Some(known) = &mut self.known
                {
                    known.services = self.server.state.lock().unwrap().services.clone();
                    continue;
                }
                self.ignore_until = now + Duration::from_millis(100);
            }
            if let Why::Wish(Scope::Service(_)) = why
                && self.has(Fault::IgnoresWishesForParts)
            {
                continue;
            }
            self.look(why).await;
        }
    }

    async fn look(&mut self, why: Why) {
        self.next_tick = Instant::now() + TICK;
        if self.gave_up {
            let error = RegistryError::new(ErrorKind::Unreachable, format!("{LOCATION}: given up"));
            self.said.push_back(vec![Event::degraded(Scope::Registry, error)]);
            return;
        }
        let answer = match timeout(TIME_LIMIT * 2, self.server.answer()).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.fail(error),
            Err(_) => unreachable!("the server gives up by itself"),
        };
        if answer.services.is_empty() && self.has(Fault::TakesEmptyForFailure) {
            let error = RegistryError::new(ErrorKind::Unavailable, format!("{LOCATION}: nothing there"));
            return self.fail(error);
        }
        if let Some(known) = &self.known
            && self.has(Fault::TrustsItsIndex)
            && answer.index < known.index
        {
            // An old answer, it thinks.
            self.said.push_back(vec![Event::Confirmed(Scope::Registry)]);
            return;
        }
        let known = self.known.as_ref();
        let restarted = known.is_some_and(|known| known.starts != answer.starts);
        let wished = matches!(why, Why::Wish(_));
        match known {
            Some(known) if !wished && !restarted && !self.failed && answer.unread.is_none() => {
                let mut batch = self.changes_since(&known.services, &answer.services);
                if why == Why::Tick {
                    if !self.has(Fault::NeverConfirms) {
                        batch.push(Event::Confirmed(Scope::Registry));
                    }
                    if self.has(Fault::LeavesAListingOpen) {
                        batch.push(Event::Init(Scope::Group("ghost".into())));
                    }
                }
                if !batch.is_empty() {
                    self.said.push_back(batch);
                }
            }
            _ => self.list(&answer, why),
        }
        self.failed = answer.unread.is_some();
        self.known = Some(Known::of(&answer));
    }

    fn fail(&mut self, error: RegistryError) {
        let first = self.known.is_none();
        self.failed = true;
        if self.has(Fault::PanicsOnGarbage) && !first && error.kind() == ErrorKind::Malformed {
            panic!("expected value at line 1 column 1");
        }
        if self.has(Fault::HidesFailures) {
            return;
        }
        if self.has(Fault::SpinsInTrouble) {
            self.next_tick = Instant::now() + Duration::from_millis(5);
        }
        let mut batch = Vec::new();
        if first && self.has(Fault::StartsEmpty) || !first && self.has(Fault::ForgetsInTrouble) {
            batch = Event::listing(Scope::Registry, []);
            self.known.get_or_insert(Known {
                services: Services::new(),
                index: 0,
                starts: 0,
            });
        }
        self.gave_up = self.has(Fault::GivesUp);
        let error = if self.has(Fault::ShowsItsToken) {
            let text = format!("{LOCATION}?token={TOKEN} cannot be read");
            RegistryError::new(error.kind(), text)
        } else if self.has(Fault::SaysNothingOfTheError) {
            RegistryError::new(error.kind(), "request failed")
        } else {
            error
        };
        batch.push(Event::degraded(Scope::Registry, error));
        if self.has(Fault::ConfirmsByTheClock) && !first {
            batch.push(Event::Confirmed(Scope::Registry));
        }
        self.said.push_back(batch);
    }

    /// Everything, in several batches.
    fn list(&mut self, answer: &Answer, why: Why) {
        self.listings += 1;
        let scope = match why {
            Why::Wish(scope) => scope,
            Why::Change | Why::Tick => Scope::Registry,
        };
        if self.has(Fault::AppliesBeforeItsListing)
            && self.known.is_none()
            && let Some((name, instances)) = answer.services.iter().next()
        {
            let record = self.record(name, instances);
            self.said.push_back(vec![Event::apply(record)]);
        }
        self.said.push_back(vec![Event::Init(scope.clone())]);
        for (name, instances) in &answer.services {
            let record = self.record(name, instances);
            if scope.contains(record.id()) && answer.unread != Some(name.as_str()) {
                self.said.push_back(vec![Event::apply(record)]);
            }
        }
        let unread = answer.unread.map(|name| {
            let text = format!("GET {LOCATION}/{name}: 500 Internal Server Error");
            let error = RegistryError::new(ErrorKind::Unavailable, text);
            (Scope::Service(ServiceId::named(name)), Arc::new(error))
        });
        let unread = unread
            .into_iter()
            .filter(|(part, _)| scope.covers(part))
            .collect();
        self.said.push_back(vec![Event::InitDone { scope, unread }]);
    }

    fn changes_since(&self, before: &Services, after: &Services) -> Vec<Event> {
        let mut batch = Vec::new();
        for (name, instances) in after {
            let held = before.get(name);
            if held.is_none() && self.has(Fault::OverlooksNewServices) {
                continue;
            }
            let held = held.map(Vec::as_slice).unwrap_or_default();
            if self.is_same(held, instances) {
                continue;
            }
            let news: Vec<Instance> = instances
                .iter()
                .filter(|instance| !held.contains(instance))
                .cloned()
                .collect();
            let told = if self.has(Fault::AppliesOnlyWhatIsNew) && !news.is_empty() {
                &news
            } else {
                instances
            };
            let record = self.record(name, told);
            if self.has(Fault::EndsWhatItNeverBegan) {
                batch.push(Event::init_done(Scope::Service(record.id().clone())));
            }
            batch.push(Event::apply(record));
        }
        for name in before.keys().filter(|name| !after.contains_key(*name)) {
            if self.has(Fault::KeepsRemovedServices) {
                continue;
            }
            batch.push(Event::Delete {
                id: ServiceId::named(name.as_str()),
                explicit: false,
            });
            if self.has(Fault::RemovesTheNextOneToo)
                && let Some(next) = after.keys().next_back()
            {
                batch.push(Event::Delete {
                    id: ServiceId::named(next.as_str()),
                    explicit: false,
                });
            }
        }
        batch
    }

    /// Whether nothing is to be told.
    fn is_same(&self, before: &[Instance], after: &[Instance]) -> bool {
        let as_told = |instances: &[Instance]| -> Vec<Instance> {
            let mut instances = instances.to_vec();
            for instance in &mut instances {
                if self.has(Fault::ComparesOnlyAddresses) {
                    instance.port = 0;
                }
                if self.has(Fault::OverlooksHealth) {
                    instance.healthy = true;
                }
            }
            instances
        };
        as_told(before) == as_told(after)
    }

    fn record(&self, name: &str, instances: &[Instance]) -> ServiceRecord {
        let mut meta = ServiceMeta::builder(ServiceId::named(name)).ports([ServicePort::new("http")]);
        if self.has(Fault::StampsItsListings) {
            let number = self.listings.to_string();
            let metadata: Labels = [("listing", number.as_str())].into_iter().collect();
            meta = meta.metadata(metadata).created(Some(Timestamp::default()));
        }
        let endpoints: Vec<Endpoint> = instances
            .iter()
            .enumerate()
            .map(|(number, instance)| {
                let id = if self.has(Fault::NumbersEndpoints) {
                    number.to_string()
                } else {
                    instance.id.clone()
                };
                let health = if instance.healthy {
                    Health::Healthy
                } else {
                    Health::Unhealthy
                };
                Endpoint::builder(Address::from(IpAddr::V4(instance.address)))
                    .port("http", instance.port)
                    .health(health)
                    .id(id)
                    .build()
            })
            .collect();
        ServiceRecord::new(meta.build(), endpoints)
    }
}
