//! What goes wrong between the registry and a real server, and what looks odd there.

use std::time::Duration;

use registry_core::{Discovery, ErrorKind};
use registry_eureka::EurekaConfig;
use registry_testkit::eureka::Instance;
use registry_testkit::witness::Witness;
use tokio::time::Instant;

use super::front::{Fetch, Front};
use crate::support::servers::Shared;
use crate::support::{config_of, discover, service, status, until, until_statuses};

/// Waits until the registry cannot be read for a reason of that kind, of which that is said among other things.
pub(super) async fn until_error(discovery: &Discovery, kind: ErrorKind, text: &str) {
    let what = format!("an error of kind {kind:?} with {text:?}");
    until(&what, discovery, |_| {
        let status = status(discovery);
        let error = status.last_error.filter(|error| error.kind == kind);
        !status.degraded.is_empty() && error.is_some_and(|error| error.message.contains(text))
    })
    .await;
}

/// 12.
#[tokio::test]
async fn who_registers_and_cancels_before_anybody_looks_is_no_error_and_no_ghost() {
    let shared = Shared::war().await;
    let api = shared.api();
    for app in ["t12-web", "t12-ghost"] {
        api.register(&Instance::new(app, format!("{app}-1")))
            .await
            .unwrap();
    }
    api.cancel("t12-ghost", "t12-ghost-1").await.unwrap();

    let front = Front::of(shared.server()).await;
    let start = Instant::now();
    let discovery = discover(config_of(&front.url(), "t12-*"));
    let mut changes = discovery.changes_from_empty();
    front.until_answers(start, 3, (Fetch::Delta, 200)).await;
    let delta = api.delta().await.unwrap();
    let applications = delta["applications"]["application"].as_array().unwrap();
    let ghost = applications
        .iter()
        .find(|application| application["name"] == "T12-GHOST");
    let ghost = ghost.expect("there is something to be mistaken about");
    assert_eq!(ghost["instance"][0]["actionType"], "DELETED", "{ghost}");

    // After the deltas above, in the same stream.
    let second = Instance::new("t12-web", "t12-web-2").ip("10.0.0.2");
    api.register(&second).await.unwrap();
    let wanted = ["t12-web-1 UP", "t12-web-2 UP"];
    let last = until_statuses(&discovery, "t12-web", &wanted).await;
    while changes.snapshot().revision() < last.revision() {
        changes.next().await.unwrap();
        assert!(service(changes.snapshot(), "t12-ghost").is_none());
    }
    let status = status(&discovery);
    assert_eq!(
        (status.skipped, status.failures, status.panics, status.services),
        (0, 0, 0, 1),
        "{status:?}"
    );
    assert!(
        status.last_error.is_none() && status.degraded.is_empty(),
        "{status:?}"
    );
    discovery.shutdown().await;
}

/// 22.
#[tokio::test]
async fn a_server_that_hangs_is_left_at_the_deadline_and_polls_go_on() {
    const ALL: [&str; 3] = ["t22-1 UP", "t22-2 UP", "t22-3 UP"];
    let shared = Shared::war().await;
    let api = shared.api();
    let register = async |number: u8| {
        let instance = Instance::new("t22-web", format!("t22-{number}"));
        api.register(&instance.ip(format!("10.22.0.{number}")))
            .await
            .unwrap();
    };
    register(1).await;
    let fronts = [Front::of(shared.server()).await, Front::of(shared.server()).await];
    let [first, second] = &fronts;
    let mut config = EurekaConfig {
        urls: fronts.iter().map(Front::url).collect(),
        full_timeout: Duration::from_secs(2),
        ..config_of("", "t22-*")
    };
    config.http.request_timeout = Duration::from_secs(2);
    let start = Instant::now();
    let discovery = discover(config);
    until_statuses(&discovery, "t22-web", &ALL[..1]).await;
    first.until_answers(start, 1, (Fetch::Delta, 200)).await;
    let witness = Witness::call(&discovery);

    first.proxy.black_hole(true);
    register(2).await;
    until_statuses(&discovery, "t22-web", &ALL[..2]).await;
    let fetches = second.fetches_since(start);
    assert_eq!(fetches.first(), Some(&(Fetch::Full, Some(200))), "{fetches:?}");

    // With nowhere to go.
    second.proxy.black_hole(true);
    until_error(&discovery, ErrorKind::Unreachable, "http://127.0.0.1:").await;
    first.proxy.black_hole(false);
    register(3).await;
    until_statuses(&discovery, "t22-web", &ALL).await;
    witness.saw_everything("while servers hung", &discovery);
    let status = status(&discovery);
    assert!(status.degraded.is_empty(), "{status:?}");
    assert_eq!(
        (status.attempts, status.panics),
        (1, 0),
        "it is still the same watch"
    );
    discovery.shutdown().await;
}
