//! A pair of servers that tell each other what they hear, and of which one is gone, or does not know everybody.

use std::time::Duration;

use registry_core::{Discovery, Guard};
use registry_eureka::EurekaConfig;
use registry_testkit::eureka::{Eureka, EurekaApi, Instance};
use registry_testkit::wait;
use registry_testkit::witness::Witness;
use tokio::time::Instant;

use super::front::{Fetch, Front};
use super::restart::{HOUR, end_hold_soon, guard_by, until_held, until_let_go};
use crate::support::{DEADLINE, config, discover_guarded, service, status, statuses, until};

const INSTANCES: usize = 20;

/// As the documentation has it for Eureka, but for the time: nothing is let go of before the test says so.
const GUARD: Guard = Guard {
    share: 0.0,
    endpoints: 1,
    window: Duration::from_secs(30),
    hold: HOUR,
    per_service: false,
};

/// Between two renewals, so that the server hears of them one after the other.
const RENEWAL: Duration = Duration::from_millis(200);

fn id(number: usize) -> String {
    format!("web-{number:02}")
}

/// The place of an instance in the words of the witness.
fn place(number: usize) -> String {
    format!("web.eureka 10.0.0.{}:8080", number + 1)
}

async fn renew(api: &EurekaApi, numbers: std::ops::Range<usize>) {
    for number in numbers {
        assert!(api.heartbeat("web", &id(number)).await.unwrap(), "{number}");
    }
}

async fn until_listed(eureka: &Eureka, count: usize) {
    let found = wait::until(format!("{count} instances in the list"), DEADLINE, async || {
        let statuses = eureka.api().statuses().await.ok()?;
        (statuses.len() == count).then_some(())
    });
    found.await.unwrap();
}

/// Two servers, and a way to each.
struct Pair {
    servers: [Eureka; 2],
    fronts: [Front; 2],
}

impl Pair {
    async fn start() -> Self {
        let servers = Eureka::war().startup_sync(true).start_pair().await.unwrap();
        let fronts = [Front::of(&servers[0]).await, Front::of(&servers[1]).await];
        Self { servers, fronts }
    }

    /// Restarts a server that the other one has to tell whom it knows; it hears of those instances at their next
    /// heartbeats with the other one.
    async fn restart_ignorant(&mut self, server: usize) {
        let options = self.servers[server].options().startup_sync(false);
        self.servers[server].restart_with(options).await.unwrap();
        assert!(self.servers[server].api().statuses().await.unwrap().is_empty());
    }
}

/// 5, which leaves the registry with the second server.
async fn number_5(pair: &mut Pair, discovery: &Discovery) {
    let [first, second] = &mut pair.servers;
    let witness = Witness::call(discovery);
    let start = Instant::now();
    pair.fronts[0].until_answers(start, 2, (Fetch::Delta, 200)).await;
    assert!(
        pair.fronts[1].fetches_since(start).is_empty(),
        "it stays with the one"
    );

    first.kill().await.unwrap();
    pair.fronts[1].until_answers(start, 3, (Fetch::Delta, 200)).await;
    let fetches = pair.fronts[1].fetches_since(start);
    assert_eq!(fetches[0], (Fetch::Full, Some(200)), "{fetches:?}");
    assert!(
        fetches[1..].iter().all(|(fetch, _)| *fetch == Fetch::Delta),
        "{fetches:?}"
    );
    let after = status(discovery);
    assert!(
        after.last_error.is_none() && after.degraded.is_empty() && after.held.is_none(),
        "the other one was asked at once: {after:?}"
    );
    second.api().set_status("web", &id(0), "DOWN").await.unwrap();
    until("a change at the second", discovery, |snapshot| {
        statuses(snapshot, "web").unwrap()[0].ends_with("DOWN")
    })
    .await;

    first.restart().await.unwrap();
    let back = Instant::now();
    pair.fronts[1].until_answers(back, 10, (Fetch::Delta, 200)).await;
    assert!(pair.fronts[0].fetches_since(back).is_empty(), "no coming back");
    witness.saw_everything("while the first server was gone", discovery);
}

/// 25, where the registry is with the second server.
async fn number_25(pair: &Pair, discovery: &Discovery) {
    let start = Instant::now();
    let api = pair.servers[0].api();
    api.set_status("web", &id(1), "OUT_OF_SERVICE").await.unwrap();
    until("the override by the second server", discovery, |snapshot| {
        statuses(snapshot, "web").unwrap()[1].ends_with("OUT_OF_SERVICE")
    })
    .await;
    let snapshot = discovery.snapshot();
    let routable: Vec<String> = service(&snapshot, "web")
        .unwrap()
        .routable_endpoints()
        .map(|endpoint| endpoint.id().to_owned())
        .collect();
    assert_eq!(routable.len(), INSTANCES - 2, "{routable:?}");
    assert!(pair.fronts[0].fetches_since(start).is_empty());
}

/// 24, from the second server to the first, which knows less than half of all.
async fn number_24(pair: &mut Pair, discovery: &Discovery) {
    const KNOWN: usize = 8;
    const LIVING: usize = INSTANCES - 2;
    pair.restart_ignorant(0).await;
    renew(pair.servers[1].api(), 0..KNOWN).await;
    until_listed(&pair.servers[0], KNOWN).await;
    let witness = Witness::call(discovery);

    pair.fronts[1].refuse(true);
    until_held(discovery, (INSTANCES - KNOWN, INSTANCES)).await;
    witness.saw_everything("when a server was asked that knows few", discovery);
    // One interval of renewals, by those that live, one after the other.
    for number in KNOWN..LIVING {
        renew(pair.servers[1].api(), number..number + 1).await;
        tokio::time::sleep(RENEWAL).await;
    }
    until_held(discovery, (INSTANCES - LIVING, INSTANCES)).await;
    witness.saw_everything("while those that live came back", discovery);
    let end = end_hold_soon(discovery, GUARD).await;
    let gone = until_let_go(discovery, &witness, LIVING, end).await;
    assert_eq!(gone, [place(LIVING), place(LIVING + 1)]);
    pair.fronts[1].refuse(false);
    guard_by(discovery, GUARD).await;
}

/// 5, with a server that knows few, where the other one can be asked again. From the first server to the second.
async fn number_5_with_few(pair: &mut Pair, discovery: &Discovery) {
    const KNOWN: usize = 4;
    let all = service(&discovery.snapshot(), "web").unwrap().endpoints().len();
    pair.restart_ignorant(1).await;
    renew(pair.servers[0].api(), 0..KNOWN).await;
    until_listed(&pair.servers[1], KNOWN).await;
    let witness = Witness::call(discovery);

    pair.fronts[0].refuse(true);
    until_held(discovery, (all - KNOWN, all)).await;
    pair.fronts[0].refuse(false);
    let since = Instant::now();
    end_hold_soon(discovery, GUARD).await;
    // What is so unlikely is asked of another server.
    pair.fronts[0].until_answers(since, 1, (Fetch::Full, 200)).await;
    until_held(discovery, (0, all)).await;
    witness.saw_everything("when the other server was asked", discovery);
}

/// 5, 24, 25. One test, because a pair is two servers to start.
#[tokio::test]
async fn a_pair_of_which_one_is_gone_or_knows_few_loses_nobody() {
    let mut pair = Pair::start().await;
    let api = pair.servers[0].api();
    for number in 0..INSTANCES {
        let ip = format!("10.0.0.{}", number + 1);
        api.register(&Instance::new("web", id(number)).ip(ip))
            .await
            .unwrap();
    }
    until_listed(&pair.servers[1], INSTANCES).await;
    let config = EurekaConfig {
        urls: pair.fronts.iter().map(Front::url).collect(),
        ..config("")
    };
    let discovery = discover_guarded(config, Some(GUARD));
    until_held(&discovery, (0, INSTANCES)).await;

    number_5(&mut pair, &discovery).await;
    number_25(&pair, &discovery).await;
    number_24(&mut pair, &discovery).await;
    number_5_with_few(&mut pair, &discovery).await;
    discovery.shutdown().await;
}
