//! Through a whole discovery.

use registry_core::{
    Address, Discovery, Endpoint, Health, HostnameTemplate, Phase, RegistryOptions, ServiceId, ServiceMeta,
    ServicePort, ServiceRecord, StaticRegistry,
};
use registry_file::FileConfig;

use crate::support::{DEADLINE, Dir, by_poll, health, one, until};

const HOST: &str = "payments.mesh.internal";

fn options() -> RegistryOptions {
    RegistryOptions {
        hostname: Some("{name}.mesh.internal".parse::<HostnameTemplate>().unwrap()),
        ..RegistryOptions::default()
    }
}

fn payments(health: Health) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named("payments"))
        .ports([ServicePort::new("http")])
        .build();
    let address: Address = "10.0.0.7".parse().unwrap();
    let endpoint = Endpoint::builder(address)
        .port("http", 8080)
        .health(health)
        .id("checked")
        .build();
    ServiceRecord::new(meta, [endpoint])
}

fn file(fields: &str) -> String {
    format!(
        "services:\n  - name: payments\n    ports: [{{ name: http }}]\n    endpoints: [{{ address: 10.0.0.7, port: 8080{fields} }}]\n"
    )
}

#[tokio::test]
async fn an_order_in_the_file_counts_against_others_and_while_the_file_is_broken() {
    let dir = Dir::new();
    dir.write("vms.yaml", &file(""));
    let discovery = Discovery::builder()
        .registry_with("vms", dir.registry(by_poll("vms.yaml")), options())
        .unwrap()
        .registry_with(
            "checked",
            StaticRegistry::new([payments(Health::Healthy)]),
            options(),
        )
        .unwrap()
        .start()
        .unwrap();
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    until(&discovery, "no word in the file yields", |snapshot| {
        health(snapshot, HOST) == Some(Health::Healthy)
    })
    .await;

    dir.replace("vms.yaml", &file(", health: draining"));
    until(&discovery, "the order counts", |snapshot| {
        health(snapshot, HOST) == Some(Health::Draining)
    })
    .await;

    dir.replace("vms.yaml", "services: [oh no");
    until(&discovery, "the broken file is stale", |_| {
        discovery
            .status()
            .iter()
            .any(|status| status.id.as_str() == "vms" && status.phase == Phase::Stale)
    })
    .await;
    assert_eq!(health(&discovery.snapshot(), HOST), Some(Health::Draining));

    dir.replace("vms.yaml", &file(""));
    until(&discovery, "the order is taken back", |snapshot| {
        health(snapshot, HOST) == Some(Health::Healthy)
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn healthy_in_the_file_yields_to_a_check_that_fails() {
    let dir = Dir::new();
    dir.write("vms.yaml", &file(", health: healthy"));
    let discovery = Discovery::builder()
        .registry_with("vms", dir.registry(by_poll("vms.yaml")), options())
        .unwrap()
        .registry_with(
            "checked",
            StaticRegistry::new([payments(Health::Unhealthy)]),
            options(),
        )
        .unwrap()
        .start()
        .unwrap();
    until(&discovery, "the check counts", |snapshot| {
        health(snapshot, HOST) == Some(Health::Unhealthy)
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn a_broken_file_degrades_its_group_and_the_registry_recovers() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    dir.write("d/b.yaml", &one("b", "10.0.0.2"));
    let discovery = Discovery::builder()
        .registry("vms", dir.registry(by_poll("d")))
        .unwrap()
        .start()
        .unwrap();
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    assert!(discovery.snapshot().get("a.default.file").is_some());

    dir.write("d/a.yaml", "");
    until(&discovery, "stale", |_| {
        discovery.status()[0].phase == Phase::Stale
    })
    .await;
    let status = &discovery.status()[0];
    let scopes: Vec<String> = status
        .degraded
        .iter()
        .map(|degraded| degraded.scope.to_string())
        .collect();
    assert_eq!(scopes, ["group d/a.yaml"]);
    assert!(discovery.snapshot().get("a.default.file").is_some());

    dir.replace("d/b.yaml", &one("b", "10.0.0.3"));
    until(&discovery, "the other goes on", |snapshot| {
        let service = snapshot.get("b.default.file").unwrap();
        service
            .endpoints()
            .iter()
            .all(|endpoint| endpoint.address().to_string() == "10.0.0.3")
    })
    .await;

    dir.write("d/a.yaml", &one("c", "10.0.0.4"));
    until(&discovery, "synced again", |snapshot| {
        discovery.status()[0].phase == Phase::Synced
            && snapshot.get("a.default.file").is_none()
            && snapshot.get("c.default.file").is_some()
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn of_two_files_that_state_one_service_the_first_owns_the_name() {
    let dir = Dir::new();
    dir.write("a.yaml", &one("x", "10.0.0.1"));
    dir.write("b.yaml", &one("x", "10.0.0.2"));
    let config = FileConfig {
        path: None,
        paths: vec!["b.yaml".into(), "a.yaml".into()],
        ..by_poll("")
    };
    let discovery = Discovery::builder()
        .registry("vms", dir.registry(config))
        .unwrap()
        .start()
        .unwrap();
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    let snapshot = discovery.snapshot();
    let service = snapshot.get("x.default.file").unwrap();
    let addresses: Vec<String> = service
        .endpoints()
        .iter()
        .map(|e| e.address().to_string())
        .collect();
    assert_eq!(addresses, ["10.0.0.1"]);
    assert_eq!(service.conflicts().len(), 1, "{:?}", service.conflicts());
    discovery.shutdown().await;
}
