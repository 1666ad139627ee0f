//! Servers that do not tell what changed.

use std::time::Duration;

use registry_testkit::eureka::{Eureka, Instance};
use registry_testkit::log::Everything;
use tokio::time::Instant;

use super::front::{Fetch, Front};
use crate::support::{config, discover, service, status, until, until_statuses};

/// 3, for a server whose deltas are disabled.
pub(super) async fn number_3(eureka: &Eureka) {
    let log = Everything::default();
    let _listening = log.listen();
    let api = eureka.api();
    api.register(&Instance::new("web", "web-1")).await.unwrap();
    let front = Front::of(eureka).await;
    let start = Instant::now();
    let mut config = config(&front.url());
    // After which it is looked whether there are deltas by now.
    config.full_interval = Duration::from_secs(1);
    let discovery = discover(config);
    until_statuses(&discovery, "web", &["web-1 UP"]).await;
    front.until_answers(start, 1, (Fetch::Delta, 403)).await;

    api.register(&Instance::new("web", "web-2").ip("10.0.0.2"))
        .await
        .unwrap();
    until_statuses(&discovery, "web", &["web-1 UP", "web-2 UP"]).await;
    api.set_status("web", "web-1", "OUT_OF_SERVICE").await.unwrap();
    until_statuses(&discovery, "web", &["web-1 OUT_OF_SERVICE", "web-2 UP"]).await;
    api.cancel("web", "web-1").await.unwrap();
    until_statuses(&discovery, "web", &["web-2 UP"]).await;
    api.register(&Instance::new("api", "api-1").ip("10.0.0.3"))
        .await
        .unwrap();
    until("another application", &discovery, |snapshot| {
        service(snapshot, "api").is_some()
    })
    .await;

    front.until_answers(start, 3, (Fetch::Delta, 403)).await;
    front.until_answers(start, 10, (Fetch::Full, 200)).await;
    let fetches = front.fetches_since(start);
    let deltas = fetches.iter().filter(|(fetch, _)| *fetch == Fetch::Delta).count();
    assert!(
        deltas * 2 < fetches.len(),
        "deltas are asked for at each poll: {fetches:?}"
    );
    assert_eq!(log.count("the server has no deltas"), 1);
    let status = status(&discovery);
    assert!(
        status.last_error.is_none() && status.degraded.is_empty(),
        "{status:?}"
    );
    discovery.shutdown().await;
}

/// 3.
#[tokio::test]
async fn without_deltas_everything_is_fetched_and_that_is_told_once() {
    let eureka = Eureka::war().disable_delta(true).start().await.unwrap();
    number_3(&eureka).await;
}
