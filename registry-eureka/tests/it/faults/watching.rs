//! What the tests with faults share: a discovery over one Eureka registry, and waiting for how it does.

use std::time::Duration;

use registry_core::{Discovery, ErrorKind, Guard, RegistryOptions};
use registry_eureka::EurekaConfig;
use registry_testkit::wait;

use crate::support::{DEADLINE, discover_with, statuses};

/// A configuration for these servers, with polls that tests can sit out.
pub(crate) fn config(urls: &[String]) -> EurekaConfig {
    registry_testkit::init_tls();
    EurekaConfig {
        urls: urls.to_vec(),
        interval: Duration::from_millis(200),
        cache_interval: Duration::from_millis(100),
        ..EurekaConfig::default()
    }
}

/// A discovery of that one registry, called `eureka`, which believes any loss that the registry tells.
pub(crate) fn discover(config: EurekaConfig) -> Discovery {
    discover_guarded(config, None)
}

/// The same with a guard against losses.
pub(crate) fn discover_guarded(config: EurekaConfig, guard: Option<Guard>) -> Discovery {
    let options = RegistryOptions {
        guard,
        // What is counted is what the test brings about.
        compare: None,
        ..RegistryOptions::default()
    };
    discover_with(config, options)
}

/// Waits until something is so.
pub(crate) async fn until_true(what: &str, discovery: &Discovery, mut look: impl FnMut() -> bool) {
    let found = wait::until(what, DEADLINE, async || look().then_some(())).await;
    if let Err(error) = found {
        panic!("{error}; {:?}; {:?}", discovery.snapshot(), discovery.status());
    }
}

/// Waits until the application has these instances; none for one that is not there.
pub(crate) async fn until_statuses(discovery: &Discovery, app: &str, wanted: &[&str]) {
    until_true(&format!("{app} as {wanted:?}"), discovery, || {
        let found = statuses(&discovery.snapshot(), app).unwrap_or_default();
        found == wanted
    })
    .await;
}

/// Waits until the registry as a whole cannot be read, for a reason of this kind, and returns the message.
pub(crate) async fn until_degraded(discovery: &Discovery, kind: ErrorKind) -> String {
    let found = wait::until(format!("degraded by {kind:?}"), DEADLINE, async || {
        // The first snapshot of all knows of no registry yet.
        let status = discovery.status().into_iter().next()?;
        let whole = status
            .degraded
            .iter()
            .any(|held| held.scope.to_string() == "registry");
        let error = status.last_error.filter(|error| error.kind == kind)?;
        whole.then_some(error.message)
    });
    match found.await {
        Ok(message) => message,
        Err(error) => panic!("{error}; {:?}", discovery.status()),
    }
}

/// Waits until nothing is degraded.
pub(crate) async fn until_healthy(discovery: &Discovery) {
    until_true("nothing degraded", discovery, || {
        let status = discovery.status();
        status
            .first()
            .is_some_and(|status| status.degraded.is_empty() && status.last_confirmed.is_some())
    })
    .await;
}
