//! Changes that a server has forgotten before anybody could ask for them, and that its counts do not show.

use std::time::Duration;

use registry_core::Snapshot;
use registry_eureka::EurekaConfig;
use registry_testkit::eureka::{Eureka, EurekaBuilder, Instance};
use registry_testkit::wait;
use tokio::time::Instant;

use super::front::{Fetch, Front};
use crate::support::{DEADLINE, config, discover, endpoint, label, statuses, until, until_statuses};

const RETENTION: Duration = Duration::from_secs(3);

/// A server that forgets changes quickly.
pub(super) fn forgetful(builder: EurekaBuilder) -> EurekaBuilder {
    let options = builder.delta_retention(RETENTION);
    options.delta_retention_timer(Duration::from_millis(500))
}

/// For which changes are forgotten after so much time, and which waits for answers as long as it takes.
fn told_of(retention: Duration, front: &Front) -> EurekaConfig {
    let mut config = config(&front.url());
    config.delta_retention = retention;
    config.http.request_timeout = DEADLINE;
    config
}

/// Whether the change is there that was made last.
fn is_touched(snapshot: &Snapshot) -> bool {
    endpoint(snapshot, "other", "other-1").is_some_and(|other| label(&other, "touched") == Some("yes"))
}

/// 1, for an outage of the network, and for connections that hang and go on.
pub(super) async fn number_1(eureka: &Eureka) {
    const BEFORE: [&str; 3] = ["a UP", "b UP", "x UP"];
    const AFTER: [&str; 3] = ["a UP", "b UP", "y UP"];
    let api = eureka.api();
    let orders = |id: &str, ip: &str| Instance::new("orders", id).ip(ip);
    for (id, ip) in [("a", "10.0.0.1"), ("b", "10.0.0.2"), ("x", "10.0.0.3")] {
        api.register(&orders(id, ip)).await.unwrap();
    }
    let other = Instance::new("other", "other-1").ip("10.0.0.9");
    api.register(&other).await.unwrap();

    let [cut, hung, trusting] = [
        Front::of(eureka).await,
        Front::of(eureka).await,
        Front::of(eureka).await,
    ];
    let discoveries = [
        discover(told_of(RETENTION, &cut)),
        discover(told_of(RETENTION, &hung)),
        // Which takes an equal count for a proof: it shows that there is something to see here.
        discover(told_of(Duration::from_secs(3600), &trusting)),
    ];
    let start = Instant::now();
    for (front, discovery) in [&cut, &hung, &trusting].into_iter().zip(&discoveries) {
        until_statuses(discovery, "orders", &BEFORE).await;
        front.until_answers(start, 1, (Fetch::Delta, 200)).await;
    }

    cut.refuse(true);
    hung.proxy.black_hole(true);
    trusting.proxy.black_hole(true);
    let hash = api.hash().await.unwrap();
    api.cancel("orders", "x").await.unwrap();
    api.register(&orders("y", "10.0.0.4")).await.unwrap();
    wait::until("a delta without the swap", DEADLINE, async || {
        let delta = api.delta().await.ok()?.to_string();
        let tells = delta.contains("10.0.0.3") || delta.contains("10.0.0.4");
        (!tells).then_some(())
    })
    .await
    .unwrap();
    api.set_metadata("other", "other-1", &[("touched", "yes")])
        .await
        .unwrap();
    assert_eq!(api.hash().await.unwrap(), hash);
    for discovery in &discoveries {
        assert_eq!(statuses(&discovery.snapshot(), "orders").unwrap(), BEFORE);
    }

    let lifted = Instant::now();
    cut.refuse(false);
    hung.proxy.black_hole(false);
    trusting.proxy.black_hole(false);
    let [of_cut, of_hung, of_trusting] = &discoveries;
    // A delta may have been on its way, which arrives now, too late to be believed.
    for (front, discovery, late) in [(&cut, of_cut, 0), (&hung, of_hung, 1)] {
        until_statuses(discovery, "orders", &AFTER).await;
        until("the last change", discovery, is_touched).await;
        let fetches = front.fetches_since(lifted);
        let full = fetches.iter().position(|(fetch, _)| *fetch == Fetch::Full);
        assert!(full.is_some_and(|full| full <= late), "{fetches:?}");
    }

    until("the last change alone", of_trusting, is_touched).await;
    trusting.until_answers(lifted, 2, (Fetch::Delta, 200)).await;
    assert_eq!(statuses(&of_trusting.snapshot(), "orders").unwrap(), BEFORE);
    // As the periodic comparison does.
    of_trusting.resync("eureka".parse().unwrap()).await;
    until_statuses(of_trusting, "orders", &AFTER).await;

    for discovery in discoveries {
        discovery.shutdown().await;
    }
}

/// 1.
#[tokio::test]
async fn a_swap_that_the_counts_do_not_show_is_seen_after_an_outage() {
    let eureka = forgetful(Eureka::war()).start().await.unwrap();
    number_1(&eureka).await;
}
