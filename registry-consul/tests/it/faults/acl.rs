//! Answers that leave out what the token may not see, with the headers of a current server.

use futures_util::future::join_all;
use registry_core::{Discovery, ErrorKind, Phase};
use registry_testkit::{Exchange, Fault, Match, Rule};
use serde_json::json;

use super::{
    FakeConsul, current, degraded, fixture, health, instances, last_kind, pause, short, until_degraded,
    until_healthy, until_passing,
};
use crate::support::{discover, phase, service, status, statuses, until};

const FILTERED: (&str, &str) = ("X-Consul-Results-Filtered-By-Acls", "true");
const DENIED_BY_DEFAULT: (&str, &str) = ("X-Consul-Default-Acl-Policy", "deny");

async fn until_denied(discovery: &Discovery) {
    until("a denial", discovery, |_| {
        last_kind(discovery) == Some(ErrorKind::Denied)
    })
    .await;
}

fn still_there(discovery: &Discovery, name: &str, count: usize) {
    let held = statuses(&discovery.snapshot(), name);
    assert_eq!(held.map(|held| held.len()), Some(count), "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_an_empty_answer_that_admits_to_be_filtered_removes_nothing() {
    join_all([FILTERED, DENIED_BY_DEFAULT].map(async |(name, value)| {
        let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
        let discovery = discover(short(&fake.url()));
        until_passing(&discovery, "web", 2).await;
        fake.server.set(
            health("web", &[])
                .with_header(name, value)
                .with_index(fake.next_index()),
        );
        until_degraded(&discovery, "service web", ErrorKind::Denied).await;
        still_there(&discovery, "web", 2);
        fake.put("api", &instances("api", 2));
        until_passing(&discovery, "api", 2).await;

        fake.put("web", &instances("web", 3));
        until_passing(&discovery, "web", 3).await;
        until_healthy(&discovery).await;
        discovery.shutdown().await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_captured_token_without_node_read_is_denied_from_the_start() {
    // Current servers hide the names too; old ones list them and show no instance, nor any header that says why.
    for version in ["1.8", "current"] {
        for captures in [
            ["acl-svcread-only-services", "acl-svcread-only-health"],
            ["acl-none-services", "acl-none-health"],
        ] {
            let fake = FakeConsul::start(&[]).await;
            for capture in captures {
                fake.server.load(fixture(version, capture)).unwrap();
            }
            let discovery = discover(short(&fake.url()));
            until_denied(&discovery).await;
            assert!(service(&discovery.snapshot(), "alpha").is_none());
            discovery.shutdown().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_filter_of_our_own_is_no_excuse_for_a_filtered_answer() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    fake.server.set(
        current(Exchange::get("/v1/health/service/web?filter=x"), &json!([]))
            .with_header(FILTERED.0, FILTERED.1)
            .with_index(50),
    );
    let mut config = short(&fake.url());
    config.filter = Some("x".to_owned());
    config.services = vec!["web".to_owned()];
    let discovery = discover(config);
    until_denied(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_an_empty_catalogue_removes_nothing() {
    join_all(
        [None, Some(FILTERED), Some(DENIED_BY_DEFAULT)].map(async |header| {
            let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
            let discovery = discover(short(&fake.url()));
            until_passing(&discovery, "web", 2).await;
            let mut empty = current(Exchange::get("/v1/catalog/services"), &json!({}));
            if let Some((name, value)) = header {
                empty = empty.with_header(name, value);
            }
            fake.server.set(empty.with_index(fake.next_index()));
            until_degraded(&discovery, "registry", ErrorKind::Denied).await;
            still_there(&discovery, "web", 2);
            still_there(&discovery, "api", 1);
            until("stale", &discovery, |_| phase(&discovery) == Phase::Stale).await;
            // Instances are still followed.
            fake.health("web", &instances("web", 3));
            until_passing(&discovery, "web", 3).await;

            fake.put("api", &instances("api", 2));
            until_passing(&discovery, "api", 2).await;
            until_healthy(&discovery).await;
            discovery.shutdown().await;
        }),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_403_removes_nothing_and_is_told() {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let proxy = fake.proxy().await;
    let discovery = discover(short(&proxy.url()));
    until_passing(&discovery, "web", 2).await;
    until_passing(&discovery, "api", 1).await;
    for version in ["1.8", "current"] {
        let capture = Exchange::load(fixture(version, "acl-badtoken-health")).unwrap();
        let headers: Vec<(&str, &str)> = capture
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let denied = Fault::respond(403, &headers, capture.body.clone());
        for (path, scope) in [
            ("/v1/health/service/web", "service web"),
            ("/v1/catalog/services", "registry"),
        ] {
            let rule = proxy.inject(Rule::new(Match::path(path), denied.clone()));
            until_degraded(&discovery, scope, ErrorKind::Denied).await;
            let told = status(&discovery).degraded;
            let told = told.iter().find(|held| held.scope.to_string() == scope).unwrap();
            assert!(
                told.error.contains("403") && told.error.contains("ACL not found"),
                "{}",
                told.error
            );
            still_there(&discovery, "web", 2);
            still_there(&discovery, "api", 1);
            proxy.remove(rule);
            until_healthy(&discovery).await;
        }
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_instances_that_vanish_while_the_index_stands_still_are_kept() {
    join_all([0, 1].map(async |left| {
        let fake = FakeConsul::start(&[("web", 3)]).await;
        let discovery = discover(short(&fake.url()));
        until_passing(&discovery, "web", 3).await;
        let index = fake.health("web", &instances("web", 3));
        fake.until_parked("web", index).await;
        // Seen when the wait of the poll is over.
        fake.server
            .set(health("web", &instances("web", left)).with_index(index));
        until_degraded(&discovery, "service web", ErrorKind::Denied).await;
        still_there(&discovery, "web", 3);
        pause(3.0).await;
        still_there(&discovery, "web", 3);

        // An index that moves makes it true.
        fake.health("web", &instances("web", 1));
        until_passing(&discovery, "web", 1).await;
        until_healthy(&discovery).await;
        discovery.shutdown().await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_name_gone_from_the_catalogue_is_read_again_before_it_counts_as_absent() {
    let fake = FakeConsul::start(&[("kept", 2), ("removed", 2), ("filtered", 2)]).await;
    let discovery = discover(short(&fake.url()));
    for name in ["kept", "removed", "filtered"] {
        until_passing(&discovery, name, 2).await;
    }
    let index = fake.health("filtered", &instances("filtered", 2));
    fake.until_parked("filtered", index).await;

    // Still there: the catalogue does not say the truth.
    fake.hide("kept");
    // Empty, and the index moved.
    fake.remove("removed");
    // Empty, and the index stood still.
    fake.hide("filtered");
    fake.server.set(health("filtered", &[]).with_index(index));

    until("one removed", &discovery, |snapshot| {
        service(snapshot, "removed").is_none()
    })
    .await;
    until_degraded(&discovery, "service filtered", ErrorKind::Denied).await;
    pause(1.0).await;
    still_there(&discovery, "filtered", 2);
    still_there(&discovery, "kept", 2);
    assert_eq!(degraded(&discovery), ["service filtered"]);

    // What is kept is still followed.
    fake.health("kept", &instances("kept", 3));
    until_passing(&discovery, "kept", 3).await;
    fake.remove("kept");
    until("the other removed", &discovery, |snapshot| {
        service(snapshot, "kept").is_none()
    })
    .await;
    discovery.shutdown().await;
}
