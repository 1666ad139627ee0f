//! What the tests share: a discovery over one Eureka registry, and waiting for what it publishes.

pub(crate) mod delays;
pub(crate) mod gate;
pub(crate) mod servers;

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Discovery, Endpoint, Guard, RegistryOptions, RegistryStatus, Service, Snapshot};
use registry_eureka::{Alignment, EurekaConfig, EurekaRegistry};
use registry_testkit::wait;

/// Longer than anything here takes on a slow and busy machine; nothing is asserted of it.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// A configuration for one server without a cache of its own, with polls that tests can sit out. Everything is fetched
/// only for a reason, as it is every five minutes otherwise.
pub(crate) fn config(url: &str) -> EurekaConfig {
    registry_testkit::init_tls();
    EurekaConfig {
        urls: vec![url.to_owned()],
        interval: Duration::from_millis(200),
        alignment: Alignment::Never,
        ..EurekaConfig::default()
    }
}

/// The same for the applications of one test alone, on a server that it shares with others.
pub(crate) fn config_of(url: &str, apps: &str) -> EurekaConfig {
    EurekaConfig {
        apps: vec![apps.to_owned()],
        ..config(url)
    }
}

/// With limits of time that a slow machine does not reach, for tests in which no request may fail.
pub(crate) fn patient(mut config: EurekaConfig) -> EurekaConfig {
    config.http.connect_timeout = DEADLINE;
    config.http.request_timeout = DEADLINE;
    config.full_timeout = DEADLINE;
    config
}

/// A discovery of that one registry, called `eureka`, which believes any loss that the registry tells.
pub(crate) fn discover(config: EurekaConfig) -> Discovery {
    discover_guarded(config, None)
}

/// The same with a guard against losses.
pub(crate) fn discover_guarded(config: EurekaConfig, guard: Option<Guard>) -> Discovery {
    let options = RegistryOptions {
        guard,
        ..RegistryOptions::default()
    };
    discover_with(config, options)
}

/// The same with any options.
pub(crate) fn discover_with(config: EurekaConfig, options: RegistryOptions) -> Discovery {
    registry_testkit::init_tls();
    let registry = EurekaRegistry::try_new(config).unwrap();
    Discovery::builder()
        .registry_with("eureka", registry, options)
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

/// The service of that application.
pub(crate) fn service(snapshot: &Snapshot, app: &str) -> Option<Arc<Service>> {
    snapshot.get(&format!("{}.eureka", app.to_lowercase())).cloned()
}

/// The endpoint of that instance.
pub(crate) fn endpoint(snapshot: &Snapshot, app: &str, id: &str) -> Option<Arc<Endpoint>> {
    let service = service(snapshot, app)?;
    let mut endpoints = service.endpoints().iter();
    let found = endpoints.find(|endpoint| endpoint.claims().any(|claim| claim.id == id));
    found.cloned()
}

/// The value of a label of it.
pub(crate) fn label<'e>(endpoint: &'e Endpoint, key: &str) -> Option<&'e str> {
    endpoint.labels().get(key).map(|value| value.as_str())
}

/// `id status`, sorted, of the endpoints of a service; `None` where there is none.
pub(crate) fn statuses(snapshot: &Snapshot, app: &str) -> Option<Vec<String>> {
    let service = service(snapshot, app)?;
    let mut lines: Vec<String> = service
        .endpoints()
        .iter()
        .map(|endpoint| {
            let claim = endpoint.claims().next().unwrap();
            format!("{} {}", claim.id, claim.status)
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

/// Waits until the service has these endpoints, `id status`, and no others.
pub(crate) async fn until_statuses(discovery: &Discovery, app: &str, wanted: &[&str]) -> Arc<Snapshot> {
    until(&format!("{app} as {wanted:?}"), discovery, |snapshot| {
        statuses(snapshot, app).unwrap_or_default() == wanted
    })
    .await
}

/// All that is content of a snapshot, in lines that can be read.
pub(crate) fn canonical(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    for service in snapshot.services() {
        let ports: Vec<String> = service.ports().iter().map(|port| format!("{port:?}")).collect();
        let hostname = service.hostname();
        lines.push(format!(
            "{hostname} {:?} {ports:?} {:?} {:?}",
            service.aliases(),
            service.labels(),
            service.hash()
        ));
        let mut endpoints: Vec<String> = service
            .endpoints()
            .iter()
            .map(|endpoint| {
                let claim = endpoint.claims().next().unwrap();
                format!(
                    "{hostname} {} {} {:?} {:?} {:?} {} {:?} {:?} {:?} {}",
                    claim.id,
                    claim.status,
                    endpoint.addresses(),
                    endpoint.ports(),
                    endpoint.health(),
                    endpoint.weight(),
                    endpoint.locality(),
                    endpoint.node(),
                    endpoint.labels(),
                    endpoint.administrative(),
                )
            })
            .collect();
        endpoints.sort();
        lines.append(&mut endpoints);
    }
    lines.sort();
    lines
}
