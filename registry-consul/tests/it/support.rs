//! What the tests share: a discovery over one Consul registry, and waiting for what it publishes.

pub(crate) mod real;

use std::sync::Arc;
use std::time::Duration;

use registry_consul::{ConsulConfig, ConsulRegistry};
use registry_core::{Discovery, Guard, Phase, RegistryOptions, RegistryStatus, Service, Snapshot};
use registry_testkit::wait;

/// Longer than anything here takes on a slow and busy machine; nothing is asserted of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A configuration for one server, with a wait that tests can sit out.
pub(crate) fn config(url: &str) -> ConsulConfig {
    registry_testkit::init_tls();
    ConsulConfig {
        address: Some(url.to_owned()),
        wait: Duration::from_secs(10),
        ..ConsulConfig::default()
    }
}

/// A discovery of that one registry, called `consul`, which believes any loss that the registry tells.
pub(crate) fn discover(config: ConsulConfig) -> Discovery {
    discover_guarded(config, None)
}

/// The same with a guard against losses.
pub(crate) fn discover_guarded(config: ConsulConfig, guard: Option<Guard>) -> Discovery {
    registry_testkit::init_tls();
    let registry = ConsulRegistry::try_new(config).unwrap();
    let options = RegistryOptions {
        guard,
        ..RegistryOptions::default()
    };
    Discovery::builder()
        .registry_with("consul", registry, options)
        .unwrap()
        .start()
        .unwrap()
}

/// Waits for the first complete listing.
pub(crate) async fn ready(discovery: &Discovery) {
    let ready = tokio::time::timeout(DEADLINE, discovery.ready()).await;
    assert!(ready.is_ok(), "not ready: {:?}", discovery.status());
}

/// The status of the one registry.
pub(crate) fn status(discovery: &Discovery) -> RegistryStatus {
    discovery.status().remove(0)
}

pub(crate) fn phase(discovery: &Discovery) -> Phase {
    status(discovery).phase
}

/// The service of that name in Consul.
pub(crate) fn service(snapshot: &Snapshot, name: &str) -> Option<Arc<Service>> {
    snapshot.get(&format!("{name}.service.consul")).cloned()
}

/// `id status`, sorted, of the endpoints of a service; `None` where there is none.
pub(crate) fn statuses(snapshot: &Snapshot, name: &str) -> Option<Vec<String>> {
    let service = service(snapshot, name)?;
    let mut lines: Vec<String> = service
        .endpoints()
        .iter()
        .map(|endpoint| {
            let claim = endpoint.claims().next().unwrap();
            format!("{} {}", claim.id.rsplit('/').next().unwrap(), claim.status)
        })
        .collect();
    lines.sort();
    Some(lines)
}

/// Waits until the published snapshot is as wanted.
pub(crate) async fn until(
    what: &str,
    discovery: &Discovery,
    wanted: impl Fn(&Snapshot) -> bool,
) -> Arc<Snapshot> {
    let found = wait::until(what, DEADLINE, async || {
        let snapshot = discovery.snapshot();
        wanted(&snapshot).then_some(snapshot)
    });
    match found.await {
        Ok(snapshot) => snapshot,
        Err(error) => panic!("{error}; {:?}; {:?}", discovery.snapshot(), discovery.status()),
    }
}

/// Waits until the service has these endpoints.
pub(crate) async fn until_statuses(discovery: &Discovery, name: &str, wanted: &[&str]) -> Arc<Snapshot> {
    until(&format!("{name} as {wanted:?}"), discovery, |snapshot| {
        statuses(snapshot, name).is_some_and(|found| found == wanted)
    })
    .await
}

/// Waits until the registry is in that phase.
pub(crate) async fn until_phase(discovery: &Discovery, wanted: Phase) {
    until(&format!("phase {wanted:?}"), discovery, |snapshot| {
        // The first snapshot of all knows of no registry yet.
        snapshot
            .registries()
            .first()
            .is_some_and(|registry| registry.phase() == wanted)
    })
    .await;
}
