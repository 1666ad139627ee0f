//! Options that change what a server answers.

use std::time::Duration;

use registry_testkit::eureka::{Eureka, EurekaApi, EurekaBuilder, Instance};
use registry_testkit::{Error, Fault, FaultProxy, Match, Rule, wait};
use serde_json::Value;

use super::{DEADLINE, await_listed, listed};

/// Whether the delta tells of an instance.
fn tells_of(delta: &Value, id: &str) -> bool {
    delta.to_string().contains(id)
}

/// The options that make a server forget changes quickly.
pub(super) fn forgetful(builder: EurekaBuilder) -> EurekaBuilder {
    let options = builder.delta_retention(Duration::from_secs(3));
    options.delta_retention_timer(Duration::from_millis(500))
}

/// A change is told, and no longer once it is older than the retention.
pub(super) async fn forgets(eureka: &Eureka) {
    let api = eureka.api();
    api.register(&Instance::new("web", "web-1")).await.unwrap();
    assert!(tells_of(&api.delta().await.unwrap(), "web-1"));
    wait::until("an empty delta", DEADLINE, async || {
        let delta = api.delta().await.ok()?;
        (!tells_of(&delta, "web-1")).then_some(())
    })
    .await
    .unwrap();
    assert_eq!(listed(eureka).await, ["WEB/web-1 UP"]);
    api.cancel("web", "web-1").await.unwrap();
}

#[tokio::test]
async fn a_server_without_deltas_answers_403() {
    let options = Eureka::war().disable_delta(true).context_path("/ctx");
    let eureka = options.start().await.unwrap();
    assert!(
        eureka.base_url().ends_with("/ctx/eureka/v2"),
        "{}",
        eureka.base_url()
    );
    let answer = eureka
        .api()
        .answer("/apps/delta", "application/json")
        .await
        .unwrap();
    assert_eq!(answer.status, 403);
    assert!(eureka.api().statuses().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_server_that_found_nobody_refuses_reads_for_a_while() {
    let eureka = Eureka::war()
        .wait_when_sync_empty(Duration::from_secs(5))
        .start()
        .await
        .unwrap();
    let answer = eureka.api().answer("/apps", "application/json").await.unwrap();
    assert_eq!(answer.status, 403);
    wait::until("an answer", DEADLINE, async || eureka.api().apps().await.ok())
        .await
        .unwrap();
}

#[tokio::test]
async fn the_copy_that_lists_come_from_lags_behind() {
    let eureka = Eureka::war()
        .read_only_cache(true)
        .cache_update_interval(Duration::from_secs(10))
        .start()
        .await
        .unwrap();
    // Whoever asks first makes the copy.
    assert!(eureka.api().statuses().await.unwrap().is_empty());
    let mut shown_at_once = 0;
    for id in ["web-1", "web-2"] {
        eureka.api().register(&Instance::new("web", id)).await.unwrap();
        assert!(eureka.api().instance("web", id).await.unwrap().is_some());
        shown_at_once += usize::from(
            eureka
                .api()
                .statuses()
                .await
                .unwrap()
                .contains_key(&format!("WEB/{id}")),
        );
    }
    // The grid may have passed between the two calls of one of them.
    assert!(shown_at_once < 2);
    await_listed(&eureka, &["WEB/web-1 UP", "WEB/web-2 UP"]).await;
}

#[tokio::test]
async fn compressed_lists_pass_the_proxy() {
    let eureka = Eureka::war().start().await.unwrap();
    let address = eureka.address().into();
    let proxy = FaultProxy::start_compressed(address).await.unwrap();
    let api = EurekaApi::new(&format!("{}{}", proxy.url(), eureka.base_path())).unwrap();
    api.register_all(20, 5).await.unwrap();
    assert_eq!(api.hash().await.unwrap(), "UP_100_");
    let answer = api.answer("/apps", "application/json").await.unwrap();
    assert_eq!(answer.content_type, "application/json");
    // Unpacked it is 90 KB: the proxy has cut what is packed.
    proxy.inject(Rule::new(
        Match::path(eureka.base_path() + "/apps"),
        Fault::CutBody(1000),
    ));
    assert!(matches!(api.apps().await, Err(Error::Http { .. })));

    // Not asked to compress, this server neither keeps to what is accepted nor refrains from it.
    let proxy = FaultProxy::start(address).await.unwrap();
    let api = EurekaApi::new(&format!("{}{}", proxy.url(), eureka.base_path())).unwrap();
    let answer = api.answer("/apps", "application/json").await.unwrap();
    assert_eq!(answer.content_type, "application/xml");
    assert!(answer.body.contains("<apps__hashcode>UP_100_</apps__hashcode>"));
}
