//! A server that takes fewer connections than we would like.

use futures_util::future::join_all;
use registry_core::ErrorKind;
use registry_testkit::{Fault, Match, Rule};
use tokio::time::Instant;

use super::{FakeConsul, instances, pause, short, until_degraded, until_healthy, until_passing};
use crate::support::real::until_true;
use crate::support::{discover, status};

const SERVICES: usize = 30;

fn names() -> Vec<String> {
    (0..SERVICES).map(|number| format!("service-{number}")).collect()
}

/// How many polls there is room for, as the note says.
fn room(note: &str) -> usize {
    let after = note.split("room for ").nth(1);
    let number = after.and_then(|text| text.split(' ').next());
    number.and_then(|number| number.parse().ok()).unwrap()
}

async fn refused(fault: Fault) {
    let case = format!("{fault:?}");
    let names = names();
    let services: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 2)).collect();
    let fake = FakeConsul::start(&services).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.http.max_connections = 24;
    let discovery = discover(config);
    for name in &names {
        until_passing(&discovery, name, 2).await;
    }
    until_healthy(&discovery).await;
    let before = room(&status(&discovery).note.unwrap());

    // All connections go, and of the new ones every third is refused.
    proxy.inject(Rule::new(Match::any().every(3), fault.clone()));
    proxy.reset_all();
    pause(3.0).await;
    for name in &names {
        fake.put(name, &instances(name, 3));
    }
    for name in &names {
        until_passing(&discovery, name, 3).await;
    }
    // A refusal that took long on a slow machine is not told from the end of an old connection: it takes the next.
    until_true(&format!("{case}: fewer polls than {before}"), &discovery, || {
        status(&discovery).note.is_some_and(|note| room(&note) < before)
    })
    .await;

    // Nothing gets through at all.
    proxy.clear();
    proxy.inject(Rule::new(Match::any(), fault));
    proxy.reset_all();
    pause(1.0).await;
    let (start, before) = (Instant::now(), proxy.connections_total());
    pause(5.0).await;
    let connects = proxy.connections_total() - before;
    let elapsed = start.elapsed();
    assert!(
        connects <= 60 * (elapsed.as_secs() + 1),
        "{case}: {connects} connects in {elapsed:?} is a busy loop"
    );
    until_degraded(&discovery, "registry", ErrorKind::Unreachable).await;
    for name in &names {
        assert_eq!(
            crate::support::statuses(&discovery.snapshot(), name)
                .unwrap()
                .len(),
            3
        );
    }

    proxy.clear();
    until_healthy(&discovery).await;
    for name in &names {
        fake.put(name, &instances(name, 1));
    }
    for name in &names {
        until_passing(&discovery, name, 1).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_6_refused_connections_shrink_the_budget_and_all_services_get_in_sync() {
    // Unsolicited 429s, resets and closes, as versions differ. They wait more than they work: all at the same time.
    let faults = [Fault::TooManyRequests, Fault::ConnectReset, Fault::ConnectClose];
    join_all(faults.map(refused)).await;
}
