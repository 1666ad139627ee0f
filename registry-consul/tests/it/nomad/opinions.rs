//! What checks and allocations say of instances.

use std::time::Duration;

use registry_consul::{ChecksConfig, Ghosts};
use registry_core::Health;
use registry_testkit::nomad::{Allocation, CheckResult, Registration};

use super::{config, discover, instances, line, play, requests_from, until_shown};
use crate::support::{ready, until};

fn web(statuses: &[&str]) -> super::Shown {
    let lines = statuses
        .iter()
        .zip(instances("web", 255))
        .map(|(status, one)| line(&one, status));
    super::Shown::from([("web.default".to_owned(), lines.collect())])
}

#[tokio::test(flavor = "multi_thread")]
async fn results_of_checks_become_health_and_those_that_cannot_be_read_stay_a_while() {
    let nomad = play(&[("web", 4)]).await;
    let all = instances("web", 4);
    let set = |number: usize, results: &[(&str, &str)]| {
        let results: Vec<_> = results
            .iter()
            .map(|(service, status)| CheckResult::new(service, &format!("check-{status}"), status))
            .collect();
        nomad.set_checks(&all[number].alloc_id, &results);
    };
    set(0, &[("web", "success")]);
    set(1, &[("web", "success"), ("web", "failure"), ("web", "pending")]);
    set(2, &[("web", "success"), ("web", "pending")]);
    // Another service of the same allocation.
    set(3, &[("other", "failure")]);
    let mut config = config(&nomad.url());
    config.checks = Some(ChecksConfig {
        interval: Duration::from_secs(1),
        ..ChecksConfig::default()
    });
    let discovery = discover(config);
    ready(&discovery).await;
    let first = web(&["success", "failure", "pending", "registered"]);
    let snapshot = until_shown("by the table", &discovery, &first).await;
    let service = snapshot.get("web.default").unwrap();
    let health = |number: u16| {
        let of_number = |one: &&std::sync::Arc<registry_core::Endpoint>| {
            one.ports().iter().any(|port| port.number == 8000 + number)
        };
        service.endpoints().iter().find(of_number).unwrap().health()
    };
    assert_eq!(
        [1, 2, 3, 4].map(health),
        [
            Health::Healthy,
            Health::Unhealthy,
            Health::Unknown,
            Health::Unknown
        ]
    );

    // Its client cannot be asked any more: what it said last holds for three intervals.
    nomad.remove_allocation(&all[1].alloc_id);
    let asked = nomad.requests().len();
    until("two requests in vain", &discovery, |_| {
        requests_from(&nomad, asked, &format!("/v1/allocation/{}/", all[1].alloc_id)) >= 2
    })
    .await;
    let now = super::shown(&discovery.snapshot());
    assert!(now["web.default"].contains(&line(&all[1], "failure")), "{now:?}");
    let later = web(&["success", "registered", "pending", "registered"]);
    until_shown("forgotten", &discovery, &later).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn allocations_that_are_over_or_gone_are_ghosts_in_the_second_reading() {
    let cases = [Ghosts::Mark, Ghosts::Drop].map(async |ghosts| {
        let nomad = play(&[("web", 7)]).await;
        let all = instances("web", 7);
        let set = |number: usize, desired: &str, client: &str| {
            nomad.set_allocation(Allocation {
                desired_status: desired.to_owned(),
                client_status: client.to_owned(),
                ..Allocation::of(&all[number])
            });
        };
        for (number, client) in [(0, "complete"), (1, "failed"), (2, "lost")] {
            set(number, "run", client);
        }
        nomad.remove_allocation(&all[3].alloc_id);
        set(4, "stop", "running");
        set(5, "run", "unknown");
        let mut config = config(&nomad.url());
        config.ghosts = ghosts;
        let discovery = discover(config);
        ready(&discovery).await;
        let first = web(&[
            "registered",
            "registered",
            "registered",
            "registered",
            "stopping",
            "disconnected",
            "registered",
        ]);
        until_shown("after the first reading", &discovery, &first).await;
        let mut then = web(&[
            "ghost",
            "ghost",
            "ghost",
            "ghost",
            "stopping",
            "disconnected",
            "registered",
        ]);
        if ghosts == Ghosts::Drop {
            let lines = then.get_mut("web.default").unwrap();
            lines.retain(|line| !line.ends_with("ghost"));
        }
        let snapshot = until_shown("after the second reading", &discovery, &then).await;
        let service = snapshot.get("web.default").unwrap();
        assert!(service.endpoints().iter().all(|endpoint| {
            let is_ghost = endpoint.claims().any(|claim| &*claim.status == "ghost");
            !is_ghost || endpoint.health() == Health::Unhealthy
        }));
        // One that has only just come cannot be known to the reading before.
        nomad.register(&[Registration::new("web", 8)]);
        nomad.remove_allocation(&Registration::new("web", 8).alloc_id);
        then.get_mut("web.default")
            .unwrap()
            .insert(line(&Registration::new("web", 8), "registered"));
        until_shown("a young one", &discovery, &then).await;
        discovery.shutdown().await;
    });
    futures_util::future::join_all(cases).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_opinions_that_nobody_wants() {
    let nomad = play(&[("web", 3)]).await;
    let discovery = super::synced(&nomad, config(&nomad.url())).await;
    nomad.register(&instances("web", 4));
    super::until_true("more", &discovery, &nomad).await;
    assert_eq!(requests_from(&nomad, 0, "/v1/allocation"), 0);
    discovery.shutdown().await;
}
