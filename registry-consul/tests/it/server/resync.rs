//! Complete knowledge on request, seen in the stream itself.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::StreamExt;
use registry_consul::{ConsulConfig, ConsulRegistry};
use registry_core::{
    Control, Event, EventStream, Phase, PortDefaults, Resync, Scope, ServiceId, ServiceRegistry,
};
use registry_testkit::FaultProxy;
use registry_testkit::consul::Consul;

use crate::support::real::patient;
use crate::support::{DEADLINE, config, discover, status, until, until_phase};

/// Reads the stream until a listing of the scope is complete, and returns the names applied in it.
async fn listing(stream: &mut EventStream, scope: &Scope) -> BTreeSet<String> {
    let read = async {
        let mut names = None;
        loop {
            for event in stream.next().await.unwrap().unwrap() {
                match event {
                    Event::Init(begun) if begun == *scope => names = Some(BTreeSet::new()),
                    Event::Apply { record, .. } if scope.contains(record.id()) => {
                        if let Some(names) = &mut names {
                            names.insert(record.id().name().to_string());
                        }
                    }
                    Event::InitDone { scope: done, unread } if done == *scope => {
                        assert!(unread.is_empty(), "{unread:?}");
                        return names.expect("it began");
                    }
                    _ => {}
                }
            }
        }
    };
    tokio::time::timeout(DEADLINE, read)
        .await
        .expect("a complete listing")
}

fn wish(control: &Control, scope: Scope, strong: bool) {
    control.request_resync(Resync { scope, strong });
}

#[tokio::test(flavor = "multi_thread")]
async fn complete_knowledge_is_given_on_request_over_the_same_stream() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(20, 2, 5).await.unwrap();
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let registry = ConsulRegistry::try_new(config(&proxy.url())).unwrap();
    let control = Control::new("consul".parse().unwrap(), PortDefaults::default());
    let mut stream = registry.watch(control.clone()).await.unwrap();
    let first = listing(&mut stream, &Scope::Registry).await;
    assert_eq!(first.len(), 21);
    // Let the polls be parked: the answers must not come from them.
    let _ = tokio::time::timeout(Duration::from_millis(500), stream.next()).await;

    for strong in [false, true] {
        let asked = proxy.requests().len();
        wish(&control, Scope::Registry, strong);
        assert_eq!(listing(&mut stream, &Scope::Registry).await, first);
        let reads = proxy.requests().split_off(asked);
        let consistent = reads
            .iter()
            .filter(|request| request.query("consistent").is_some())
            .count();
        // The names as well.
        assert_eq!(consistent, if strong { 21 + 1 } else { 0 }, "{reads:?}");

        let asked = proxy.requests().len();
        let scope = Scope::Service(ServiceId::named("svc-00007"));
        wish(&control, scope.clone(), strong);
        assert_eq!(
            listing(&mut stream, &scope).await,
            BTreeSet::from(["svc-00007".to_owned()])
        );
        let reads = proxy.requests().split_off(asked);
        assert!(reads.iter().any(|request| request.path().ends_with("/svc-00007")));
        let consistent = reads
            .iter()
            .filter(|request| request.query("consistent").is_some())
            .count();
        assert_eq!(consistent, usize::from(strong), "{reads:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_can_ask_a_running_discovery() {
    let consul = Consul::builder().start().await.unwrap();
    consul.api().register_services(100, 1, 5).await.unwrap();
    let config = ConsulConfig {
        // The agent adds to its own entry in its first moments.
        exclude_services: vec!["consul".to_owned()],
        ..patient(config(consul.url()))
    };
    let discovery = discover(config);
    until("all services", &discovery, |snapshot| snapshot.len() == 100).await;
    until_phase(&discovery, Phase::Synced).await;
    let (requests, revision) = (status(&discovery).requests, discovery.snapshot().revision());
    discovery.resync("consul".parse().unwrap()).await;
    until("every service asked for", &discovery, |_| {
        status(&discovery).requests >= requests + 100
    })
    .await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(
        discovery.snapshot().revision(),
        revision,
        "and nothing to publish"
    );
    discovery.shutdown().await;
}
