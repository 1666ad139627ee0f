//! Complete listings of which a part cannot be read.

use std::time::Duration;

use futures_util::StreamExt;
use registry_consul::ConsulRegistry;
use registry_core::{
    Control, ErrorKind, Event, EventStream, Phase, PortDefaults, RegistryId, Resync, Scope, ServiceRegistry,
};
use registry_testkit::{Fault, Logged, Match, Rule};

use super::{
    Door, FakeConsul, degraded, health_path, instances, pause, short, until_degraded, until_healthy,
    until_passing,
};
use crate::support::real::until_true;
use crate::support::{discover, phase, ready, service, status, statuses, until, until_phase};

fn unavailable(service: &str) -> Rule {
    let error = Fault::respond(500, &[("X-Consul-Index", "1")], "rpc error making call: EOF");
    Rule::new(Match::path(health_path(service)), error)
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_23_nothing_is_published_before_the_listing_is_complete() {
    let fake = FakeConsul::start(&[("api", 1), ("db", 3), ("web", 2)]).await;
    let proxy = fake.proxy().await;
    proxy.inject(unavailable("db"));
    let discovery = discover(short(&proxy.url()));
    let mut changes = discovery.changes();
    // All others were read, and the last of them so lately that the patience has not run out.
    let answered = |name: &str, status: u16| {
        let requests = proxy.requests();
        let wanted = |logged: &&Logged| logged.path() == health_path(name) && logged.status == Some(status);
        requests.iter().any(|logged| wanted(&logged))
    };
    until_true("the others to be read", &discovery, || {
        ["api", "web", "consul"].iter().all(|name| answered(name, 200)) && answered("db", 500)
    })
    .await;
    pause(1.0).await;
    assert!(discovery.snapshot().is_empty());
    assert!(
        tokio::time::timeout(Duration::ZERO, discovery.ready())
            .await
            .is_err()
    );
    assert_eq!(phase(&discovery), Phase::Connecting);
    proxy.clear();
    ready(&discovery).await;
    let snapshot = discovery.snapshot();
    for (name, count) in [("api", 1), ("db", 3), ("web", 2)] {
        assert_eq!(statuses(&snapshot, name).unwrap().len(), count, "{name}");
    }
    assert!(degraded(&discovery).is_empty());
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(300), changes.next()).await {
        assert!(delta.removed.is_empty());
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_23_beyond_patience_the_unread_service_is_named_and_appears_when_it_answers() {
    let fake = FakeConsul::start(&[("api", 1), ("db", 3), ("web", 2)]).await;
    let proxy = fake.proxy().await;
    proxy.inject(unavailable("db"));
    let discovery = discover(short(&proxy.url()));
    let mut changes = discovery.changes();
    until_passing(&discovery, "web", 2).await;
    until_passing(&discovery, "api", 1).await;
    until_degraded(&discovery, "service db", ErrorKind::Unavailable).await;
    assert_eq!(degraded(&discovery), ["service db"]);
    assert!(service(&discovery.snapshot(), "db").is_none());
    until_phase(&discovery, Phase::Stale).await;
    // The rest lives on.
    fake.put("web", &instances("web", 4));
    until_passing(&discovery, "web", 4).await;

    proxy.clear();
    until_passing(&discovery, "db", 3).await;
    until_healthy(&discovery).await;
    until_phase(&discovery, Phase::Synced).await;
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(300), changes.next()).await {
        assert!(delta.removed.is_empty(), "{:?}", delta.removed);
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_23_a_second_listing_takes_nothing_from_the_service_that_it_cannot_read() {
    let fake = FakeConsul::start(&[("api", 1), ("db", 3), ("web", 2)]).await;
    let proxy = fake.proxy().await;
    let mut door = Door::new(proxy.addr());
    door.open().await;
    let discovery = discover(short(&door.url()));
    until_passing(&discovery, "db", 3).await;
    let attempts = status(&discovery).attempts;
    let mut changes = discovery.changes();

    // Nobody listens any more: the watch ends, and another one begins with a listing.
    door.close().await;
    until("another attempt", &discovery, |_| {
        status(&discovery).attempts > attempts
    })
    .await;
    proxy.inject(unavailable("db"));
    // What is gone by now is gone, what cannot be read is not.
    fake.remove("api");
    fake.put("web", &instances("web", 3));
    door.open().await;
    until_passing(&discovery, "web", 3).await;
    until("api gone", &discovery, |snapshot| {
        service(snapshot, "api").is_none()
    })
    .await;
    until_degraded(&discovery, "service db", ErrorKind::Unavailable).await;
    assert_eq!(statuses(&discovery.snapshot(), "db").unwrap().len(), 3);

    proxy.clear();
    until_healthy(&discovery).await;
    assert_eq!(statuses(&discovery.snapshot(), "db").unwrap().len(), 3);
    while let Ok(Some(delta)) = tokio::time::timeout(Duration::from_millis(300), changes.next()).await {
        let removed: Vec<&str> = delta.removed.iter().map(|name| name.as_ref()).collect();
        assert!(removed.iter().all(|name| name.starts_with("api.")), "{removed:?}");
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_23_a_service_that_could_not_be_read_before_holds_up_no_later_listing() {
    let fake = FakeConsul::start(&[("db", 3), ("web", 2)]).await;
    let proxy = fake.proxy().await;
    let config = short(&proxy.url());
    let registry = ConsulRegistry::try_new(config).unwrap();
    let control = Control::new("consul".parse::<RegistryId>().unwrap(), PortDefaults::default());
    let mut watch = registry.watch(control.clone()).await.unwrap();
    next_listing(&mut watch).await;
    proxy.inject(unavailable("db"));
    fake.put("db", &instances("db", 2));
    let degraded =
        |event: &Event| matches!(event, Event::Degraded { scope, .. } if *scope != Scope::Registry);
    while !next(&mut watch).await.iter().any(degraded) {}

    let asked = || {
        let requests = proxy.requests();
        let of_db = requests
            .iter()
            .filter(|logged| logged.path() == health_path("db"));
        of_db.count()
    };
    let before = asked();
    control.request_resync(Resync {
        scope: Scope::Registry,
        strong: false,
    });
    let unread = next_listing(&mut watch).await;
    assert_eq!(unread, ["service db"]);
    // With the patience that services have which were fine, 15 s, it would have been tried many times.
    let tried = asked() - before;
    assert!(tried <= 3, "{tried} times");
}

async fn next(watch: &mut EventStream) -> Vec<Event> {
    let batch = tokio::time::timeout(crate::support::DEADLINE, watch.next()).await;
    batch.expect("a batch in time").unwrap().unwrap()
}

/// What the next complete listing could not read.
async fn next_listing(watch: &mut EventStream) -> Vec<String> {
    loop {
        for event in next(watch).await {
            if let Event::InitDone { unread, .. } = event {
                return unread.iter().map(|(scope, _)| scope.to_string()).collect();
            }
        }
    }
}
