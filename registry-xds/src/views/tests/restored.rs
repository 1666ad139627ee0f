//! Views of a discovery that begins with what was on disk: it may be older than what clients have.

use std::path::Path;
use std::time::Duration;

use registry_core::{Discovery, ErrorKind};
use registry_testkit::scripted::{ScriptHandle, ScriptedRegistry, Step};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::Views;
use super::*;

const DEADLINE: Duration = Duration::from_secs(60);

/// A service with an endpoint.
fn record(name: &str) -> ServiceRecord {
    service(name).label("ports", "80").record()
}

fn discover(dir: &Path, script: impl IntoIterator<Item = Step>) -> (Discovery, ScriptHandle) {
    let registry = ScriptedRegistry::new(script);
    let handle = registry.handle();
    let options = RegistryOptions {
        guard: None,
        ..RegistryOptions::default()
    };
    let builder = Discovery::builder().state_dir(dir);
    let discovery = builder.registry_with("vms", registry, options).unwrap().start();
    (discovery.unwrap(), handle)
}

/// A discovery that begins with `old`, and a registry that goes on with that script.
async fn restarted(dir: &Path, script: impl IntoIterator<Item = Step>) -> (Discovery, ScriptHandle) {
    let (before, _handle) = discover(dir, [Step::list([record("old")])]);
    before.ready().await;
    before.shutdown().await;
    let (discovery, handle) = discover(dir, script);
    assert!(discovery.readiness().ready, "what is on disk is known at once");
    (discovery, handle)
}

/// The names of the first clusters that are served, and after how long.
async fn first(discovery: &Discovery) -> (Vec<String>, Duration) {
    let start = Instant::now();
    let views = Views::translating(
        discovery.clone(),
        XdsConfig::default(),
        CancellationToken::new(),
        fake(),
    );
    let mut slot = views.watch(envoy());
    let set = timeout(DEADLINE, slot.wait_for(Option::is_some)).await;
    let set = set.expect("nothing is served").unwrap().clone().unwrap();
    let clusters = set.iter(ResourceType::Cluster);
    (
        clusters.map(|cluster| cluster.name().to_string()).collect(),
        start.elapsed(),
    )
}

#[tokio::test(start_paused = true)]
async fn what_is_on_disk_is_not_served_before_its_registry_said_what_there_is_now() {
    let dir = tempfile::tempdir().unwrap();
    let (discovery, handle) = restarted(dir.path(), []).await;
    tokio::spawn(async move {
        sleep(Duration::from_secs(3)).await;
        handle.set([record("new")]);
    });
    let (clusters, after) = first(&discovery).await;
    assert_eq!(clusters, [names::cluster("80", "", "new.scripted")]);
    assert!(after >= Duration::from_secs(3), "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_on_disk_is_served_once_its_registry_cannot_be_reached() {
    let dir = tempfile::tempdir().unwrap();
    let failure = || Step::degrade(ErrorKind::Unreachable, "nobody there");
    let script = [
        failure(),
        failure(),
        Step::Wait(Duration::from_secs(2)),
        failure(),
    ];
    let (discovery, _handle) = restarted(dir.path(), script).await;
    let (clusters, after) = first(&discovery).await;
    assert_eq!(clusters, [names::cluster("80", "", "old.scripted")]);
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(5)).contains(&after),
        "{after:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_on_disk_is_served_before_a_client_of_grpc_believes_that_there_is_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (discovery, _handle) = restarted(dir.path(), [Step::Hang]).await;
    let (clusters, after) = first(&discovery).await;
    assert_eq!(clusters, [names::cluster("80", "", "old.scripted")]);
    assert!(after < Duration::from_secs(15), "{after:?}");
}
