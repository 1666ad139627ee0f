//! Start, stop and what is left of it.

use std::time::Duration;

use registry_testkit::eureka::{Eureka, Instance};
use registry_testkit::{Error, wait};

use super::{DEADLINE, await_listed, listed};

/// It can be paused, killed, started again and stopped, and has forgotten everything each time.
pub(super) async fn ends_and_begins(eureka: &mut Eureka) {
    let (url, pid) = (eureka.base_url().to_owned(), eureka.pid());
    eureka
        .api()
        .register(&Instance::new("web", "web-1"))
        .await
        .unwrap();
    assert!(listed(eureka).await.contains(&"WEB/web-1 UP".to_owned()));

    eureka.pause().await.unwrap();
    let look = tokio::time::timeout(Duration::from_millis(500), eureka.api().apps()).await;
    assert!(look.is_err(), "{look:?}");
    eureka.resume().unwrap();
    let answer = wait::until("an answer", DEADLINE, async || eureka.api().apps().await.ok());
    answer.await.unwrap();

    eureka.kill().await.unwrap();
    assert_eq!(eureka.pid(), None);
    assert!(matches!(eureka.stop().await, Err(Error::State { .. })));
    eureka.restart().await.unwrap();
    assert_eq!(eureka.base_url(), url);
    assert_ne!(eureka.pid(), pid);
    assert!(eureka.api().statuses().await.unwrap().is_empty());

    let answer = eureka.api().answer("/apps", "application/xml").await.unwrap();
    assert_eq!(
        (answer.status, answer.content_type.as_str()),
        (200, "application/xml")
    );
    eureka.stop().await.unwrap();
    assert!(eureka.api().apps().await.is_err());
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process_and_no_file() {
    let eureka = Eureka::war().start().await.unwrap();
    let process = format!("/proc/{}", eureka.pid().unwrap());
    let command = std::fs::read_to_string(format!("{process}/cmdline")).unwrap();
    let folder = command
        .split('\0')
        .find_map(|word| word.strip_prefix("-Djava.io.tmpdir="));
    let folder = folder.unwrap().to_owned();
    assert!(std::fs::exists(&folder).unwrap());
    drop(eureka);
    assert!(!std::fs::exists(&process).unwrap());
    assert!(!std::fs::exists(&folder).unwrap());
}

#[tokio::test]
async fn a_server_that_does_not_come_up_shows_its_log() {
    let error = Eureka::war().heap_megabytes(0).start().await.unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(
        error.to_string().contains("-Xmx0m") || error.to_string().contains("heap"),
        "{error}"
    );
}

#[tokio::test]
async fn an_instance_that_is_not_renewed_is_gone_after_its_lease() {
    let eureka = Eureka::war().start().await.unwrap();
    eureka
        .api()
        .register(&Instance::new("web", "brief").lease(1, 1))
        .await
        .unwrap();
    eureka
        .api()
        .register(&Instance::new("web", "lasting"))
        .await
        .unwrap();
    await_listed(&eureka, &["WEB/lasting UP"]).await;

    // What is told of it: that it was there and went.
    let delta = wait::until("the end in a delta", DEADLINE, async || {
        let delta = eureka.api().delta().await.ok()?.to_string();
        delta.contains("DELETED").then_some(delta)
    });
    assert!(delta.await.unwrap().contains("brief"));
}

#[tokio::test]
async fn preserved_instances_outlive_their_lease() {
    let eureka = Eureka::war().self_preservation(true).start().await.unwrap();
    eureka
        .api()
        .register(&Instance::new("web", "brief").lease(1, 1))
        .await
        .unwrap();
    // Ten leases and as many sweeps.
    tokio::time::sleep(Duration::from_secs(10)).await;
    assert_eq!(listed(&eureka).await, ["WEB/brief UP"]);
}
