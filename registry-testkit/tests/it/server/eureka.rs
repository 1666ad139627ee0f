//! Eureka: what its starters promise, and the properties of the real servers that tests of clients rest on.

mod clients;
mod life;
mod options;
mod peers;
mod writing;

use std::time::Duration;

use registry_testkit::eureka::Eureka;
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
