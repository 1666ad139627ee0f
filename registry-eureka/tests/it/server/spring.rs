//! What may differ on Spring Cloud's server. The tests are side by side, because they share one that takes long to start.

use registry_testkit::eureka::Eureka;

use super::paths::{is_said_to_be_wrong, leads_there};
use super::{no_delta, restart, statuses, swap, xml};
use crate::support::servers::Shared;

/// 10.
#[tokio::test(flavor = "multi_thread")]
async fn all_five_statuses_are_told_and_only_what_is_up_gets_traffic() {
    statuses::all_five(&Shared::spring().await).await;
}

/// 14.
#[tokio::test(flavor = "multi_thread")]
async fn xml_and_json_are_one_snapshot() {
    xml::says_the_same(&Shared::spring().await).await;
}

/// 20.
#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_found_under_its_base_url() {
    let shared = Shared::spring().await;
    let base = shared.base_url();
    assert!(base.ends_with("/eureka"), "{base}");
    leads_there(base, shared.api()).await;
    leads_there(&format!("{base}/"), shared.api()).await;
    // It takes this one for its own, too.
    leads_there(&format!("{base}/v2"), shared.api()).await;
    is_said_to_be_wrong(shared.server().address(), "").await;
}

/// 20, 1, 3, 4. One test, because each of its properties would take a start of ten seconds.
#[tokio::test]
async fn a_forgetful_server_under_a_context_path_that_restarts_empty_and_without_deltas_is_survived() {
    let spring = Eureka::spring().context_path("/ctx");
    let mut spring = swap::forgetful(spring).start().await.unwrap();
    let base = spring.base_url().to_owned();
    assert!(base.ends_with("/ctx/eureka"), "{base}");
    leads_there(&base, spring.api()).await;
    leads_there(&format!("{base}/"), spring.api()).await;
    for path in ["", "/eureka", "/ctx"] {
        is_said_to_be_wrong(spring.address(), path).await;
    }
    swap::number_1(&spring).await;
    for (app, id) in [
        ("orders", "a"),
        ("orders", "b"),
        ("orders", "y"),
        ("other", "other-1"),
    ] {
        spring.api().cancel(app, id).await.unwrap();
    }
    let without_deltas = spring.options().disable_delta(true);
    restart::number_4(&mut spring, without_deltas).await;
    no_delta::number_3(&spring).await;
}
