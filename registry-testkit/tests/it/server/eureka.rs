//! Eureka: what its starters promise, and the properties of the real servers that tests of clients rest on.

mod clients;
mod life;
mod options;
mod peers;
mod writing;

use std::time::Duration;

use registry_testkit::eureka::{Eureka, Flavor};
use registry_testkit::wait;

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until lists show these instances, `APP/id STATUS`.
async fn await_listed(eureka: &Eureka, wanted: &[&str]) {
    wait::until(format!("{wanted:?} in the list"), DEADLINE, async || {
        (listed(eureka).await == wanted).then_some(())
    })
    .await
    .unwrap();
}

async fn listed(eureka: &Eureka) -> Vec<String> {
    let statuses = eureka.api().statuses().await.unwrap_or_default();
    statuses
        .iter()
        .map(|(id, status)| format!("{id} {status}"))
        .collect()
}

#[tokio::test]
async fn the_genuine_server_does_what_it_is_known_for() {
    let mut eureka = options::forgetful(Eureka::war()).start().await.unwrap();
    assert_eq!(eureka.flavor(), Flavor::War);
    assert!(eureka.base_url().ends_with("/eureka/v2"), "{}", eureka.base_url());
    does_all(&mut eureka).await;
}

// One test, because its server takes ten seconds to start.
#[tokio::test]
async fn springs_server_does_the_same() {
    let builder = options::forgetful(Eureka::spring()).context_path("/ctx");
    let mut eureka = builder.start().await.unwrap();
    assert_eq!(eureka.flavor(), Flavor::Spring);
    assert!(
        eureka.base_url().ends_with("/ctx/eureka"),
        "{}",
        eureka.base_url()
    );
    does_all(&mut eureka).await;

    // As Netflix' does by itself: nobody is told that there is nobody.
    let options = eureka.options().disable_delta(true);
    let options = options.wait_when_sync_empty(Duration::from_secs(600));
    eureka.restart_with(options).await.unwrap();
    for path in ["/apps", "/apps/delta"] {
        let answer = eureka.api().answer(path, "application/json").await.unwrap();
        assert_eq!(answer.status, 403, "{path}");
    }
}

async fn does_all(eureka: &mut Eureka) {
    writing::takes_all(eureka).await;
    writing::lets_an_instance_live(eureka).await;
    writing::refuses(eureka).await;
    options::forgets(eureka).await;
    clients::register_and_cancel(eureka).await;
    clients::are_killed(eureka).await;
    writing::takes_many(eureka).await;
    life::ends_and_begins(eureka).await;
}
