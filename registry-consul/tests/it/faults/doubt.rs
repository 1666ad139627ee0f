//! Losses that could be another server's, seen in the stream itself.

use futures_util::StreamExt;
use registry_consul::ConsulRegistry;
use registry_core::{Control, Event, EventStream, PortDefaults, Resync, Scope, ServiceRegistry};
use registry_testkit::{Fault, FaultProxy, Match, Rule, wait};

use super::{FakeConsul, health_path, instances, short};
use crate::support::DEADLINE;

/// What the stream tells, one line an event, with the listings that are open in front.
struct Told {
    stream: EventStream,
    open: Vec<Scope>,
    lines: Vec<String>,
}

impl Told {
    async fn by(proxy: &FaultProxy) -> (Self, Control) {
        let config = short(&proxy.url());
        registry_testkit::init_tls();
        let registry = ConsulRegistry::try_new(config).unwrap();
        let control = Control::new("consul".parse().unwrap(), PortDefaults::default());
        let stream = registry.watch(control.clone()).await.unwrap();
        let told = Self {
            stream,
            open: Vec::new(),
            lines: Vec::new(),
        };
        (told, control)
    }

    /// Reads on until a line like this was told, and returns all lines up to it.
    async fn until(&mut self, wanted: &str) -> Vec<String> {
        let read = async {
            loop {
                if let Some(at) = self.lines.iter().position(|line| line == wanted) {
                    return self.lines.drain(..=at).collect::<Vec<_>>();
                }
                let batch = self.stream.next().await.unwrap().unwrap();
                for event in batch {
                    self.note(event);
                }
            }
        };
        let told = tokio::time::timeout(DEADLINE, read).await;
        told.unwrap_or_else(|_| panic!("{wanted:?} is told; {:?}", self.lines))
    }

    /// Notes what is told until something else happens.
    async fn while_waiting(&mut self, look: impl AsyncFnMut() -> Option<()>) {
        let waiting = wait::until("something else", DEADLINE, look);
        let mut waiting = std::pin::pin!(waiting);
        loop {
            tokio::select! {
                outcome = &mut waiting => return outcome.unwrap(),
                batch = self.stream.next() => {
                    for event in batch.unwrap().unwrap() {
                        self.note(event);
                    }
                }
            }
        }
    }

    fn note(&mut self, event: Event) {
        let line = match event {
            Event::Init(scope) => {
                self.open.retain(|open| *open != scope);
                self.open.push(scope.clone());
                format!("begin {scope}")
            }
            Event::Apply { record, .. } => format!("{} {}", record.id().name(), record.endpoints().len()),
            Event::Delete { id, .. } => format!("{} gone", id.name()),
            Event::InitDone { scope, .. } => {
                self.open.retain(|open| *open != scope);
                format!("end {scope}")
            }
            _ => return,
        };
        let within = self.open.contains(&Scope::Registry) && !line.starts_with("begin");
        self.lines.push(if within { format!("  {line}") } else { line });
    }
}

/// The reads of instances for listings that confirm something; every watch begins with names that are read so.
fn consistent(proxy: &FaultProxy) -> usize {
    let requests = proxy.requests();
    let of_instances = requests
        .iter()
        .filter(|request| request.path().starts_with("/v1/health/"));
    of_instances
        .filter(|request| request.query("consistent").is_some())
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn plain_losses_are_told_at_once_and_cost_no_listing() {
    let fake = FakeConsul::start(&[("api", 1), ("db", 3), ("web", 5)]).await;
    let proxy = fake.proxy().await;
    let (mut told, _control) = Told::by(&proxy).await;
    told.until("end registry").await;
    fake.health("web", &instances("web", 2));
    told.until("web 2").await;
    fake.remove("api");
    told.until("api gone").await;
    assert_eq!(consistent(&proxy), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loss_behind_broken_connections_is_told_in_a_listing_and_a_gain_is_not() {
    let fake = FakeConsul::start(&[("api", 1), ("db", 3), ("web", 5)]).await;
    let proxy = fake.proxy().await;
    let (mut told, _control) = Told::by(&proxy).await;
    told.until("end registry").await;
    // Without a loss a broken connection costs no listing.
    proxy.reset_all();
    fake.put("db", &instances("db", 4));
    told.until("db 4").await;
    assert_eq!(consistent(&proxy), 0);

    // Nobody sees the loss before the connections broke.
    let hidden = proxy.inject(Rule::new(Match::path("/v1/"), Fault::Close));
    proxy.reset_all();
    fake.health("web", &instances("web", 2));
    fake.remove("api");
    fake.put("db", &instances("db", 5));
    proxy.remove(hidden);
    let lines = told.until("end registry").await;
    for loss in ["web 2", "api gone"] {
        assert!(!lines.iter().any(|line| line == loss), "{loss}: {lines:?}");
    }
    assert!(lines.iter().any(|line| line == "  web 2"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("api 1")), "{lines:?}");
    assert!(consistent(&proxy) >= 2, "{:?}", proxy.requests());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_outlives_the_listing_that_found_it_and_gains_do_not_wait_for_its_end() {
    let fake = FakeConsul::start(&[("api", 1), ("db", 3), ("web", 5)]).await;
    let proxy = fake.proxy().await;
    let (mut told, control) = Told::by(&proxy).await;
    told.until("end registry").await;

    // A listing stays open, as one service cannot be read as it asks for.
    let error = Fault::respond(500, &[("X-Consul-Index", "1")], "rpc error making call: EOF");
    let strong = format!("{}?consistent", health_path("db"));
    let stuck = proxy.inject(Rule::new(Match::contains(strong), error));
    let resync = || {
        control.request_resync(Resync {
            scope: Scope::Registry,
            strong: true,
        });
    };
    resync();
    told.until("begin registry").await;
    fake.remove("api");
    told.until("  api gone").await;
    fake.health("web", &instances("web", 6));
    let lines = told.until("  end service web").await;
    assert!(!lines.iter().any(|line| line == "end registry"), "{lines:?}");

    // Another takes its place, and has to find out again.
    resync();
    told.until("begin registry").await;
    proxy.remove(stuck);
    let lines = told.until("end registry").await;
    assert!(lines.iter().any(|line| line == "  web 6"), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("api 1")), "{lines:?}");
    assert!(
        lines.iter().any(|line| line == "  api gone"),
        "read once more: {lines:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_there_long_ago_takes_the_place_of_nothing() {
    let fake = FakeConsul::start(&[("web", 5)]).await;
    let proxy = fake.proxy().await;
    let (mut told, _control) = Told::by(&proxy).await;
    told.until("end registry").await;
    // Others take the place of all, one after the other.
    let others = &instances("web", 9)[5..];
    fake.health("web", others);
    let others = fake.next_index() - 1;
    told.until("web 4").await;
    told.while_waiting(async || fake.is_parked("web", others).then_some(()))
        .await;

    // A server that starts again shows more instances than there are, which are none of those that are.
    let stale = format!("{}?stale", health_path("web"));
    let old = proxy.inject(Rule::new(Match::contains(stale), Fault::ReplayFirst));
    proxy.reset_all();
    told.while_waiting(async || (proxy.hits(old) >= 2).then_some(()))
        .await;
    let strong = || consistent(&proxy) > 0;
    told.while_waiting(async || strong().then_some(())).await;
    proxy.remove(old);
    let lines = told.until("end registry").await;
    assert!(!lines.iter().any(|line| line.contains("web 5")), "{lines:?}");
}
