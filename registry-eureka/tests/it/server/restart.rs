//! Servers that come back and know nobody.

use std::time::Duration;

use registry_core::{Discovery, ErrorKind, Guard, Phase, RegistryOptions, Snapshot, Timestamp};
use registry_testkit::eureka::{Eureka, EurekaBuilder};
use registry_testkit::wait;
use registry_testkit::witness::Witness;

use super::faults::until_error;
use crate::support::{DEADLINE, config, discover_guarded, status, until};

const APPS: usize = 20;
const INSTANCES: usize = 5;
const ALL: usize = APPS * INSTANCES;

/// Long enough that nothing is let go of before the test says so.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// How many endpoints are held back, of how many there are.
fn held(snapshot: &Snapshot) -> (usize, usize) {
    let endpoints = snapshot.services().flat_map(|service| service.endpoints().iter());
    let held = endpoints.filter(|endpoint| endpoint.held()).count();
    (held, snapshot.endpoint_count())
}

pub(super) async fn until_held(discovery: &Discovery, wanted: (usize, usize)) {
    until(&format!("{wanted:?} endpoints held"), discovery, |snapshot| {
        held(snapshot) == wanted
    })
    .await;
}

/// Puts another guard in the place of the present one.
pub(super) async fn guard_by(discovery: &Discovery, guard: Guard) {
    let options = RegistryOptions {
        guard: Some(guard),
        ..RegistryOptions::default()
    };
    let eureka = "eureka".parse().unwrap();
    discovery.replace(eureka, None, options).await.unwrap();
}

/// Sets the hold time to what has passed of it and a little more. Returns when it is over.
pub(super) async fn end_hold_soon(discovery: &Discovery, guard: Guard) -> Timestamp {
    const LEFT: u64 = 2000;
    let since = status(discovery).held.unwrap().since.as_millis();
    let end = Timestamp::now().as_millis() + LEFT;
    let hold = Duration::from_millis(end - since);
    guard_by(discovery, Guard { hold, ..guard }).await;
    Timestamp::from_millis(end)
}

/// Waits until no more than that are left, nothing of which is held, and asserts that all others were seen to go at once,
/// not before that time. Returns which these were.
pub(super) async fn until_let_go(
    discovery: &Discovery,
    witness: &Witness,
    left: usize,
    end: Timestamp,
) -> Vec<String> {
    until_held(discovery, (0, left)).await;
    let missing = wait::until("the witness to see it", DEADLINE, async || witness.missing()).await;
    let missing = missing.unwrap();
    assert!(missing.published >= end, "{:?} before {end:?}", missing.published);
    missing.what
}

/// 4: the server refuses to answer for a while, and then says that there is nobody. In the end it is restarted with
/// `last`.
pub(super) async fn number_4(eureka: &mut Eureka, last: EurekaBuilder) {
    eureka.api().register_all(APPS, INSTANCES).await.unwrap();
    let guard = Guard {
        hold: HOUR,
        ..Guard::default()
    };
    let discovery = discover_guarded(config(eureka.base_url()), Some(guard));
    until_held(&discovery, (0, ALL)).await;
    let witness = Witness::call(&discovery);

    let refusing = eureka.options().wait_when_sync_empty(HOUR);
    eureka.restart_with(refusing).await.unwrap();
    until_error(&discovery, ErrorKind::Unavailable, "403").await;
    let failures = status(&discovery).failures;
    until("further attempts, all in vain", &discovery, |_| {
        let status = status(&discovery);
        status.failures > failures && status.phase == Phase::Stale
    })
    .await;
    assert_eq!(held(&discovery.snapshot()), (0, ALL));
    witness.saw_everything("while the server refused", &discovery);

    eureka.restart_with(last).await.unwrap();
    assert!(eureka.api().statuses().await.unwrap().is_empty());
    until_held(&discovery, (ALL, ALL)).await;
    witness.saw_everything("when the server was empty", &discovery);
    for service in discovery.snapshot().services() {
        assert_eq!(service.routable_endpoints().count(), INSTANCES, "{service:?}");
    }

    // Some come back, and nothing more is asked of them.
    eureka.api().register_all(2, INSTANCES).await.unwrap();
    until_held(&discovery, (ALL - 2 * INSTANCES, ALL)).await;
    assert_eq!(
        status(&discovery).phase,
        Phase::Synced,
        "{:?}",
        status(&discovery)
    );
    witness.saw_everything("when some had registered again", &discovery);

    let end = end_hold_soon(&discovery, guard).await;
    let gone = until_let_go(&discovery, &witness, 2 * INSTANCES, end).await;
    assert_eq!(gone.len(), ALL - 2 * INSTANCES, "{gone:?}");
    discovery.shutdown().await;
}

/// 4.
#[tokio::test]
async fn a_server_that_restarts_and_refuses_or_is_empty_wipes_nobody() {
    let mut eureka = Eureka::war().start().await.unwrap();
    let last = eureka.options();
    number_4(&mut eureka, last).await;
}
