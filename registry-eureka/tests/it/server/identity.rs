//! Who is who: ids and names of all kinds.

use std::collections::BTreeSet;

use registry_testkit::eureka::Instance;

use crate::support::servers::Shared;
use crate::support::{config_of, discover, endpoint, label, service, until, until_statuses};

/// 23.
#[tokio::test(flavor = "multi_thread")]
async fn one_id_in_two_applications_is_two_instances() {
    let shared = Shared::war().await;
    let api = shared.api();
    for (app, port) in [("t23-orders", 8001), ("t23-payments", 8002)] {
        let instance = Instance::new(app, "host-1:8080").port(port).metadata("of", app);
        api.register(&instance).await.unwrap();
    }
    let discovery = discover(config_of(shared.base_url(), "t23-*"));
    let snapshot = until("both", &discovery, |snapshot| snapshot.endpoint_count() == 2).await;
    for app in ["t23-orders", "t23-payments"] {
        let endpoint = endpoint(&snapshot, app, "host-1:8080").unwrap();
        assert_eq!(label(&endpoint, "of"), Some(app));
    }
    // What is done to the one is not done to the other, at the same address and port neither.
    let moved = Instance::new("t23-payments", "host-1:8080").port(8001);
    api.register(&moved).await.unwrap();
    api.set_status("t23-orders", "host-1:8080", "DOWN").await.unwrap();
    until_statuses(&discovery, "t23-orders", &["host-1:8080 DOWN"]).await;
    until_statuses(&discovery, "t23-payments", &["host-1:8080 UP"]).await;
    // The server itself keeps what an operator said by the id alone: whoever registers under it next is told the same.
    api.register(&moved).await.unwrap();
    until_statuses(&discovery, "t23-payments", &["host-1:8080 DOWN"]).await;
    api.cancel("t23-orders", "host-1:8080").await.unwrap();
    let snapshot = until("one", &discovery, |snapshot| snapshot.endpoint_count() == 1).await;
    assert!(service(&snapshot, "t23-payments").is_some(), "{snapshot:?}");
    discovery.shutdown().await;
}

/// 23.
#[tokio::test(flavor = "multi_thread")]
async fn ids_of_all_kinds_are_different_instances_of_one_application() {
    let shared = Shared::war().await;
    let api = shared.api();
    let ids = [
        "host:ids-orders:8080",
        "HOST:ids-orders:8080",
        "with a space",
        "with  two spaces",
        "with/slash",
        "with%2Fslash",
        "grüße-寿司-🍣",
        "a=b&c?d#e+f",
        "\"quoted\" <and> 'so'",
        "back\\slash",
    ];
    for (id, port) in ids.iter().zip(8000_u16..) {
        // The same application, however its name is written.
        let app = ["ids-orders", "IDS-ORDERS", "Ids-Orders"][usize::from(port % 3)];
        let instance = Instance::new(app, *id).port(port).metadata("id", *id);
        api.register(&instance).await.unwrap();
    }
    let discovery = discover(config_of(shared.base_url(), "ids-*"));
    let expected: BTreeSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let snapshot = until("all of them", &discovery, |snapshot| {
        snapshot.endpoint_count() >= ids.len()
    })
    .await;
    assert_eq!(snapshot.len(), 1, "{snapshot:?}");
    let orders = service(&snapshot, "ids-orders").unwrap();
    let found: BTreeSet<String> = orders
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id().to_owned())
        .collect();
    assert_eq!(found, expected);
    for endpoint in orders.endpoints().iter() {
        assert_eq!(label(endpoint, "id"), Some(endpoint.id()));
    }
    // Each can be told apart by what is changed of it, and goes alone.
    for (gone, id) in ids.iter().enumerate() {
        api.set_metadata("ids-orders", id, &[("turn", "last")])
            .await
            .unwrap();
        until(&format!("the mark of {id}"), &discovery, |snapshot| {
            endpoint(snapshot, "ids-orders", id)
                .is_some_and(|endpoint| label(&endpoint, "turn") == Some("last"))
        })
        .await;
        api.cancel("ids-orders", id).await.unwrap();
        let snapshot = until(&format!("{id} to go"), &discovery, |snapshot| {
            snapshot.endpoint_count() == ids.len() - gone - 1
        })
        .await;
        assert!(endpoint(&snapshot, "ids-orders", id).is_none(), "{snapshot:?}");
    }
    discovery.shutdown().await;
}

/// An old client says no id: the server knows it by its host name.
#[tokio::test(flavor = "multi_thread")]
async fn instances_without_an_id_are_told_apart_by_their_hosts() {
    let shared = Shared::war().await;
    let api = shared.api();
    for (host, port) in [("host-1.example", 8001), ("host-2.example", 8002)] {
        let instance = Instance::nameless("nameless-orders", host).port(port);
        api.register(&instance).await.unwrap();
    }
    let discovery = discover(config_of(shared.base_url(), "nameless-*"));
    until_statuses(
        &discovery,
        "nameless-orders",
        &["host-1.example UP", "host-2.example UP"],
    )
    .await;
    api.cancel("nameless-orders", "host-1.example").await.unwrap();
    until_statuses(&discovery, "nameless-orders", &["host-2.example UP"]).await;
    discovery.shutdown().await;
}
