//! Much changes, and in the end what was followed is what is there.

use std::time::Duration;

use registry_eureka::EurekaConfig;
use registry_testkit::FaultProxy;
use registry_testkit::eureka::{Eureka, Instance, app_name, bulk_instance, instance_id};
use tokio::time::Instant;

use crate::support::{canonical, config, discover, patient, ready, until};

const APPS: usize = 400;
const INSTANCES: usize = 5;

/// How long instances come, go and change.
const CHURN: Duration = Duration::from_secs(10);

/// 17, in small.
#[tokio::test(flavor = "multi_thread")]
async fn two_thousand_instances_that_come_and_go_end_as_a_full_fetch_has_them() {
    let server = Eureka::war().heap_megabytes(512).start().await.unwrap();
    let api = server.api();
    api.register_all(APPS, INSTANCES).await.unwrap();
    let proxy = FaultProxy::start_compressed(server.address().into())
        .await
        .unwrap();
    let config = EurekaConfig {
        interval: Duration::from_millis(250),
        ..patient(config(&format!("{}{}", proxy.url(), server.base_path())))
    };
    let discovery = discover(config.clone());
    ready(&discovery).await;
    assert_eq!(discovery.snapshot().endpoint_count(), APPS * INSTANCES);

    let start = Instant::now();
    let (mut turn, mut news) = (0_usize, 0_usize);
    while start.elapsed() < CHURN {
        // A walk over all that hits each application, and each kind of change, in turn.
        let (app, index) = (turn * 7 % APPS, turn % INSTANCES);
        let (name, id) = (app_name(app), instance_id(app, index));
        match turn % 6 {
            0 => {
                // As a deployment does it: the one goes, another one comes in its place, at another address.
                let _ = api.cancel(&name, &id).await;
                let ip = format!("10.200.{}.{}", news >> 8 & 0xff, news & 0xff);
                let new = Instance::new(name, format!("new-{news}")).ip(ip).zone("zone-9");
                api.register(&new).await.unwrap();
                news += 1;
            }
            // What was cancelled before is not there.
            1 => drop(api.set_status(&name, &id, "OUT_OF_SERVICE").await),
            2 => drop(
                api.set_metadata(&name, &id, &[("version", &format!("1.{turn}"))])
                    .await,
            ),
            3 => {
                let moved = bulk_instance(app, index).port(if turn % 4 == 3 { 9001 } else { 9002 });
                api.register(&moved).await.unwrap();
            }
            4 => drop(api.cancel(&name, &id).await),
            _ => drop(api.delete_status(&name, &id, Some("UP")).await),
        }
        turn += 1;
    }
    let statuses = api.statuses().await.unwrap();
    let ids = |snapshot: &registry_core::Snapshot| {
        let mut ids: Vec<String> = snapshot
            .services()
            .flat_map(|service| {
                let app = service.name().to_uppercase();
                let line = move |endpoint: &std::sync::Arc<registry_core::Endpoint>| {
                    let claim = endpoint.claims().next().unwrap();
                    format!("{app}/{} {}", claim.id, claim.status)
                };
                service.endpoints().iter().map(line).collect::<Vec<_>>()
            })
            .collect();
        ids.sort();
        ids
    };
    let mut wanted: Vec<String> = statuses
        .iter()
        .map(|(key, status)| format!("{key} {status}"))
        .collect();
    wanted.sort();
    let followed = until("what the server has", &discovery, |snapshot| {
        ids(snapshot) == wanted
    })
    .await;
    // By deltas alone: they and what they were applied to agreed all the time.
    let requests = proxy.requests();
    let asked = |path: &str| {
        let asked = requests.iter().filter(|request| request.path().ends_with(path));
        asked.count()
    };
    let (deltas, fulls) = (asked("/apps/delta"), asked("/apps"));
    println!(
        "{turn} changes in {CHURN:?}, {} instances in the end; {deltas} deltas, {fulls} full fetches",
        wanted.len()
    );
    assert!(turn > 100, "{turn} changes are none to speak of");
    assert!(deltas > 1 && fulls == 1, "{deltas} deltas, {fulls} full fetches");

    let fresh = discover(config);
    ready(&fresh).await;
    let (followed, fetched) = (canonical(&followed), canonical(&fresh.snapshot()));
    let odd = followed.iter().zip(&fetched).find(|(a, b)| a != b);
    assert!(followed.len() == fetched.len() && odd.is_none(), "{odd:?}");

    discovery.shutdown().await;
    fresh.shutdown().await;
}
