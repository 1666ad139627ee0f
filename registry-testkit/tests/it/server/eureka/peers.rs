//! Two servers that tell each other what they hear.

use registry_testkit::eureka::{Eureka, Instance};

use super::{await_listed, listed};

#[tokio::test]
async fn peers_tell_each_other_and_one_that_restarts_asks_the_other() {
    let [one, mut other] = Eureka::war().startup_sync(true).start_pair().await.unwrap();
    one.api().register(&Instance::new("web", "web-1")).await.unwrap();
    await_listed(&other, &["WEB/web-1 UP"]).await;
    other
        .api()
        .register(&Instance::new("web", "web-2"))
        .await
        .unwrap();
    await_listed(&one, &["WEB/web-1 UP", "WEB/web-2 UP"]).await;

    one.api()
        .set_status("web", "web-1", "OUT_OF_SERVICE")
        .await
        .unwrap();
    await_listed(&other, &["WEB/web-1 OUT_OF_SERVICE", "WEB/web-2 UP"]).await;

    other.restart().await.unwrap();
    await_listed(&other, &["WEB/web-1 OUT_OF_SERVICE", "WEB/web-2 UP"]).await;
    // Without asking it has to wait for heartbeats.
    other
        .restart_with(other.options().startup_sync(false))
        .await
        .unwrap();
    assert!(listed(&other).await.is_empty());
    assert!(one.api().heartbeat("web", "web-2").await.unwrap());
    await_listed(&other, &["WEB/web-2 UP"]).await;
}
