//! Answers of a real server, and the order that they come in.

use std::path::Path;

use registry_core::{Address, RegistryOptions};
use registry_testkit::Exchange;
use registry_testkit::nomad::{NomadPlay, Registration};

use super::{config, discover, pause, synced, until_true};
use crate::support::{ready, until};

fn capture(name: &str) -> Exchange {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/nomad/{name}.json"));
    Exchange::load(path).unwrap()
}

/// The instances of a captured answer.
fn captured(name: &str) -> Vec<Registration> {
    serde_json::from_slice(&capture(name).body).unwrap()
}

async fn real_content() -> NomadPlay {
    let nomad = NomadPlay::start().await.unwrap();
    for name in [
        "service-web",
        "service-web-team1",
        "service-badchk",
        "service-mocked",
    ] {
        nomad.register(&captured(name));
    }
    nomad
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_18_captured_services_are_published_with_all_that_is_known_of_them() {
    let nomad = real_content().await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let snapshot = discovery.snapshot();
    let web = snapshot.get("web.default").unwrap();
    let wanted = &captured("service-web")[0];
    let found = web
        .endpoints()
        .iter()
        .find(|one| one.claims().any(|claim| *claim.id == *wanted.id));
    let found = found.unwrap();
    assert_eq!(found.addresses(), [wanted.address.parse::<Address>().unwrap()]);
    assert_eq!(
        found.ports().iter().map(|port| port.number).collect::<Vec<_>>(),
        [wanted.port]
    );
    assert_eq!(
        found.labels().get("nomad.tags").map(|value| &**value),
        Some("blue,v1")
    );
    assert_eq!(found.labels().get("nomad.job").map(|value| &**value), Some("web"));
    assert_eq!(
        found.labels().get("nomad.alloc").map(|value| &**value),
        Some(wanted.alloc_id.as_str())
    );
    let claim = found.claims().next().unwrap();
    assert_eq!(&*claim.status, "registered");
    // A host name is an address like any other.
    let mocked = snapshot.get("mocked.default").unwrap();
    let wanted = &captured("service-mocked")[0];
    assert!(
        mocked
            .endpoints()
            .iter()
            .any(|one| one.addresses() == [wanted.address.parse::<Address>().unwrap()])
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_18_a_service_in_two_namespaces_is_two_services_with_a_hostname_each() {
    let nomad = real_content().await;
    let discovery = synced(&nomad, config(&nomad.url())).await;
    let snapshot = discovery.snapshot();
    for (hostname, count) in [("web.default", 2), ("web.team1", 1)] {
        assert_eq!(
            snapshot.get(hostname).unwrap().endpoints().len(),
            count,
            "{hostname}"
        );
    }
    let paths: Vec<String> = nomad.requests().iter().map(|one| one.target.clone()).collect();
    let reads = |namespace: &str| {
        let read = |path: &&String| {
            path.starts_with("/v1/service/web?") && path.contains(&format!("namespace={namespace}"))
        };
        paths.iter().filter(read).count()
    };
    assert!(reads("default") > 0 && reads("team1") > 0, "{paths:?}");
    assert!(
        !paths
            .iter()
            .any(|path| path.starts_with("/v1/service/") && path.contains("namespace=*")),
        "{paths:?}"
    );
    discovery.shutdown().await;

    // Where the template has no place for the namespace, one keeps the name and the other stays reachable.
    let registry = registry_consul::NomadRegistry::try_new(config(&nomad.url())).unwrap();
    let discovery = registry_core::Discovery::builder()
        .registry_with("nomad", registry, RegistryOptions::default())
        .unwrap()
        .start()
        .unwrap();
    ready(&discovery).await;
    until("the default name", &discovery, |snapshot| {
        snapshot
            .get("web.service.nomad")
            .is_some_and(|web| web.endpoints().len() == 2)
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_18_lists_in_another_order_publish_nothing() {
    let nomad = real_content().await;
    let mut config = config(&nomad.url());
    config.wait = std::time::Duration::from_secs(1);
    let discovery = discover(config);
    ready(&discovery).await;
    until_true("the start", &discovery, &nomad).await;
    let mut changes = discovery.changes();
    let revision = discovery.snapshot().revision();
    let first = nomad.requests_total();
    // Lists that end with their wait, and some that wake for nothing.
    for _ in 0..5 {
        nomad.set_index(nomad.index() + 1);
        pause(0.8).await;
    }
    assert!(nomad.requests_total() > first + 5, "it reads all the while");
    let published = tokio::time::timeout(std::time::Duration::from_millis(200), changes.next()).await;
    assert!(published.is_err(), "{published:?}");
    assert_eq!(discovery.snapshot().revision(), revision);
    discovery.shutdown().await;
}
