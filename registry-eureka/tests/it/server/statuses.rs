//! What becomes of the five statuses, whoever says them.

use registry_core::{Discovery, Health};
use registry_testkit::eureka::Instance;

use crate::support::servers::Shared;
use crate::support::{config_of, discover, endpoint, service, until, until_statuses};

const APP: &str = "t10-orders";

/// The ids of the routable endpoints, sorted.
fn routable(discovery: &Discovery) -> Vec<String> {
    let service = service(&discovery.snapshot(), APP).unwrap();
    let mut ids: Vec<String> = service
        .routable_endpoints()
        .map(|endpoint| endpoint.claims().next().unwrap().id.to_string())
        .collect();
    ids.sort();
    ids
}

/// Each status, and the health that it means.
const ALL: [(&str, Health); 5] = [
    ("DOWN", Health::Unhealthy),
    ("OUT_OF_SERVICE", Health::Draining),
    ("STARTING", Health::Unhealthy),
    ("UNKNOWN", Health::Unhealthy),
    ("UP", Health::Healthy),
];

pub(super) async fn all_five(shared: &Shared) {
    let api = shared.api();
    // Said by the instances themselves; what is none of the five, servers take for UNKNOWN.
    for ((word, _), port) in ALL.iter().zip(7000_u16..) {
        let instance = Instance::new(APP, format!("own-{word}")).status(*word);
        api.register(&instance.port(port)).await.unwrap();
    }
    let bogus = Instance::new(APP, "own-bogus").status("up and running");
    api.register(&bogus.port(7009)).await.unwrap();
    let discovery = discover(config_of(shared.base_url(), "t10-*"));
    let own = [
        "own-DOWN DOWN",
        "own-OUT_OF_SERVICE OUT_OF_SERVICE",
        "own-STARTING STARTING",
        "own-UNKNOWN UNKNOWN",
        "own-UP UP",
        "own-bogus UNKNOWN",
    ];
    let snapshot = until_statuses(&discovery, APP, &own).await;
    for (word, health) in ALL {
        let endpoint = endpoint(&snapshot, APP, &format!("own-{word}")).unwrap();
        assert_eq!(endpoint.health(), health, "{word}");
        assert!(!endpoint.administrative(), "{word} is the instance's own word");
    }
    assert_eq!(routable(&discovery), ["own-UP"]);
    for id in [
        "own-DOWN",
        "own-OUT_OF_SERVICE",
        "own-STARTING",
        "own-UNKNOWN",
        "own-bogus",
    ] {
        api.cancel(APP, id).await.unwrap();
    }

    // Said by an operator, of an instance that calls itself well.
    api.register(&Instance::new(APP, "other").port(7010))
        .await
        .unwrap();
    until_statuses(&discovery, APP, &["other UP", "own-UP UP"]).await;
    for (word, health) in ALL {
        api.set_status(APP, "other", word).await.unwrap();
        let snapshot = until_statuses(&discovery, APP, &[&format!("other {word}"), "own-UP UP"]).await;
        let endpoint = endpoint(&snapshot, APP, "other").unwrap();
        assert_eq!(endpoint.health(), health, "{word}");
        let by_hand = matches!(word, "DOWN" | "OUT_OF_SERVICE");
        assert_eq!(endpoint.administrative(), by_hand, "{word} was set by hand");
        let expected: &[&str] = if word == "UP" {
            &["other", "own-UP"]
        } else {
            &["own-UP"]
        };
        assert_eq!(routable(&discovery), expected, "{word}");
    }

    // What the override leaves behind where nobody says how it goes on.
    api.set_status(APP, "other", "OUT_OF_SERVICE").await.unwrap();
    until_statuses(&discovery, APP, &["other OUT_OF_SERVICE", "own-UP UP"]).await;
    api.delete_status(APP, "other", None).await.unwrap();
    until_statuses(&discovery, APP, &["other UNKNOWN", "own-UP UP"]).await;
    assert_eq!(routable(&discovery), ["own-UP"]);
    assert!(
        !api.heartbeat(APP, "other").await.unwrap(),
        "it has to register again"
    );
    api.register(&Instance::new(APP, "other").port(7010))
        .await
        .unwrap();
    until_statuses(&discovery, APP, &["other UP", "own-UP UP"]).await;
    // And where somebody does.
    api.set_status(APP, "other", "DOWN").await.unwrap();
    until_statuses(&discovery, APP, &["other DOWN", "own-UP UP"]).await;
    api.delete_status(APP, "other", Some("UP")).await.unwrap();
    until("other to be back", &discovery, |snapshot| {
        endpoint(snapshot, APP, "other").is_some_and(|other| other.health() == Health::Healthy)
    })
    .await;
    assert_eq!(routable(&discovery), ["other", "own-UP"]);
    discovery.shutdown().await;
}

/// 10.
#[tokio::test(flavor = "multi_thread")]
async fn all_five_statuses_are_told_and_only_what_is_up_gets_traffic() {
    all_five(&Shared::war().await).await;
}
