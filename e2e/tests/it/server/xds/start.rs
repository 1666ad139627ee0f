//! Envoys first, then the daemon, then its registries one by one: nobody begins with half of it (acceptance 3 of the issue).

use std::time::Duration;

use registry_testkit::FaultProxy;
use registry_testkit::consul::Consul;
use registry_testkit::envoy::Version;
use registry_testkit::upstream::{Kind, Upstream};
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::backends::registry;
use super::fleet::{Api, Fleet, Proxy};

/// How long it is looked at that nothing happens.
const QUIET: Duration = Duration::from_secs(2);

const HOSTS: [&str; 3] = [
    "filed.mesh.internal",
    "first.mesh.internal",
    "second.mesh.internal",
];

const BOTH: [(Api, Version); 2] = [(Api::Sotw, Version::V1_40), (Api::Delta, Version::V1_40)];

/// A Consul with one service, and the way to it, which is closed.
struct Away {
    _consul: Consul,
    way: FaultProxy,
}

impl Away {
    async fn start(service: &str, upstream: &Upstream) -> Self {
        let consul = Consul::builder().start().await.unwrap();
        let instance =
            json!({ "Name": service, "ID": service, "Address": "127.0.0.1", "Port": upstream.port() });
        consul.api().register(&instance).await.unwrap();
        let way = FaultProxy::start(consul.address().into()).await.unwrap();
        way.refuse(true);
        Self { _consul: consul, way }
    }
}

/// Looks for a while: nobody is ready, and nobody has got anything.
async fn assert_nothing_is_pushed(fleet: &Fleet) {
    let start = Instant::now();
    while start.elapsed() < QUIET {
        for proxy in &fleet.proxies {
            assert!(!proxy.envoy.is_ready().await.unwrap(), "{}", proxy.name);
            assert_eq!(updates(proxy, "cluster_manager.cds").await, 0, "{}", proxy.name);
            assert_eq!(updates(proxy, "listener_manager.lds").await, 0);
        }
        sleep(Duration::from_millis(20)).await;
    }
}

/// How many answers of a kind a proxy took.
async fn updates(proxy: &Proxy, kind: &str) -> u64 {
    proxy.envoy.stat(&format!("{kind}.update_success")).await.unwrap()
}

/// Waits until all are ready, and asks each for everything in that moment.
async fn assert_whole_when_ready(fleet: &Fleet) {
    for proxy in &fleet.proxies {
        proxy
            .until("readiness", &fleet.daemon, async |proxy| {
                proxy.envoy.is_ready().await.ok()?.then_some(())
            })
            .await;
        for host in HOSTS {
            assert_eq!(proxy.ask(host).await, Some(200), "{} {host}", proxy.name);
        }
    }
}

/// The file, and what is said of the second registry.
fn config(fleet: &Fleet, upstream: &Upstream, consuls: [&Away; 2], keys: &str) -> String {
    let services = format!(
        "services:\n  - name: filed\n    ports: [{{ name: http, number: 80 }}]\n    endpoints: [{{ address: 127.0.0.1, ports: {{ http: {} }} }}]\n",
        upstream.port()
    );
    fleet.daemon.write("vms.yaml", &services);
    format!(
        "{}start_deadline: 1s\nregistries:\n  - {{ name: vms, hostname: \"{{name}}.mesh.internal\", file: {{ path: vms.yaml }} }}\n{}{}",
        fleet.head(""),
        registry("first", &consuls[0].way.url(), ""),
        registry("second", &consuls[1].way.url(), keys)
    )
}

/// Starts everything in turn; `keys` are those of the second registry.
async fn start_in_turn(keys: &str, ready_without_second: bool) {
    let upstream = Upstream::start("one", Kind::Http).await.unwrap();
    let first = Away::start("first", &upstream).await;
    let second = Away::start("second", &upstream).await;
    let mut fleet = Fleet::new();
    fleet.daemon.write(
        "registryd.yaml",
        &config(&fleet, &upstream, [&first, &second], keys),
    );
    fleet.add(&BOTH).await;
    assert_nothing_is_pushed(&fleet).await;

    fleet.daemon.start();
    fleet.until_connected().await;
    assert_nothing_is_pushed(&fleet).await;
    assert_eq!(fleet.daemon.get("/readyz").await.0, 503);
    for client in fleet.clients().await {
        for (type_, channel) in client["types"].as_object().unwrap() {
            assert_eq!(channel["responses"], 0, "{type_} of {client}");
        }
    }

    first.way.refuse(false);
    if ready_without_second {
        // The others are served to whoever asks by name; what would be ready by it is not.
        fleet.daemon.ready().await;
        let start = Instant::now();
        while start.elapsed() < QUIET {
            for proxy in &fleet.proxies {
                assert!(!proxy.envoy.is_ready().await.unwrap(), "{}", proxy.name);
                assert_eq!(updates(proxy, "listener_manager.lds").await, 0);
            }
            sleep(Duration::from_millis(20)).await;
        }
    } else {
        let synced = async || {
            let first = fleet.daemon.registry("first").await;
            (first["phase"] == "synced").then_some(())
        };
        fleet.daemon.wait("the first registry", synced).await;
        assert_nothing_is_pushed(&fleet).await;
    }

    second.way.refuse(false);
    assert_whole_when_ready(&fleet).await;
    fleet.assert_content().await;
    fleet.daemon.assert_no_panic();
}

#[tokio::test]
async fn proxies_get_nothing_before_every_required_registry_has_said_all() {
    start_in_turn("", false).await;
}

#[tokio::test]
async fn proxies_are_not_ready_before_an_optional_registry_has_said_all_either() {
    start_in_turn(", required: false", true).await;
}
