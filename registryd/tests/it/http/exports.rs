//! Exports of clusters to their clustersets, as operators see them.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Control, Discovery, EventStream, Labels, RegistryError, RegistryOptions, Resolution, ServiceId,
    ServiceMeta, ServicePort, ServiceRecord, ServiceRegistry, Timestamp, async_trait,
};
use registry_mcs::ClusterSet;
use serde_json::{Value, json};

use super::client::get;
use super::setup::{Daemon, Scripted, endpoint};

/// What a cluster exports, so many seconds after the first of all exports.
fn export(cluster: &str, name: &str, age: u64, state: &str, port: Option<u16>) -> ServiceRecord {
    let ports = port.map(|number| ServicePort {
        number: Some(number),
        ..ServicePort::new("http")
    });
    let meta: Arc<ServiceMeta> = ServiceMeta::builder(ServiceId::new("shop", "shop", name))
        .ports(ports)
        .metadata(Labels::from_iter([
            ("multicluster.x-k8s.io/export", state),
            ("type", "ClusterIP"),
        ]))
        .variables(Labels::from_iter([("cluster", cluster)]))
        .created(Some(Timestamp::from_millis(1_700_000_000_000 + 1_000 * age)))
        .resolution(if port.is_some() {
            Resolution::Static
        } else {
            Resolution::Nothing
        })
        .build();
    let address = if cluster == "eu" { "10.1.0.1" } else { "10.2.0.1" };
    let endpoints = port.map(|_| endpoint(address, name).build());
    ServiceRecord::new(meta, endpoints.into_iter().collect::<Vec<_>>())
}

/// A scripted registry of the kind that tells of exports.
struct Exporting(Scripted);

#[async_trait]
impl ServiceRegistry for Exporting {
    fn kind(&self) -> &'static str {
        "mcs"
    }

    fn freshness_bound(&self) -> Duration {
        self.0.freshness_bound()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        self.0.watch(control).await
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.0.probe().await
    }
}

fn options() -> RegistryOptions {
    RegistryOptions {
        hostname: Some("{name}.{namespace}.svc.clusterset.local".parse().unwrap()),
        ..RegistryOptions::default()
    }
}

/// Another daemon, of which `other` is known, and two clusters that export `web`, with ports of one name and two numbers, and `db`, which neither has.
async fn clusterset() -> Daemon {
    let (a, a_script) = Scripted::new();
    let (b, b_script) = Scripted::new();
    let (parent, parent_script) = Scripted::new();
    a_script.list([
        export("eu", "web", 0, "Valid", Some(80)),
        export("eu", "db", 0, "NoService", None),
    ]);
    b_script.list([
        export("us", "web", 5, "Valid", Some(8080)),
        export("us", "db", 5, "InvalidServiceType", None),
    ]);
    parent_script.list([
        super::setup::service("plain", "10.3.0.1"),
        // As another daemon passes it on.
        export("eu", "other", 0, "Valid", Some(80)),
    ]);
    let builder = Discovery::builder()
        .registry_with("set/a", Exporting(a), options())
        .unwrap()
        .registry_with("set/b", Exporting(b), options())
        .unwrap()
        .registry("parent", parent)
        .unwrap()
        .policy("*.*.svc.clusterset.local", ClusterSet)
        .publish_interval(Duration::ZERO);
    let daemon = Daemon::start(builder).await;
    daemon.discovery.ready().await;
    daemon
}

async fn exports(daemon: &Daemon, query: &str) -> Value {
    let answer = get(daemon.at, &format!("/v1/exports{query}")).await;
    assert_eq!(answer.status, 200, "{query}");
    answer.json()
}

/// By hostname: registry, cluster, and for each condition its status and reason.
fn summary(all: &Value) -> Vec<(String, Vec<String>)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let export = |export: &Value| {
        let conditions = export["conditions"].as_array().unwrap();
        let conditions = conditions.iter().map(|condition| {
            let [kind, status, reason] = ["type", "status", "reason"].map(|field| text(&condition[field]));
            format!(" {kind}={status}/{reason}")
        });
        let conditions: String = conditions.collect();
        format!(
            "{} {}{conditions}",
            text(&export["registry"]),
            text(&export["cluster"])
        )
    };
    let service = |service: &Value| {
        let exports = service["exports"].as_array().unwrap();
        (text(&service["hostname"]), exports.iter().map(export).collect())
    };
    all["services"].as_array().unwrap().iter().map(service).collect()
}

#[tokio::test]
async fn each_export_has_its_conditions_also_where_nothing_can_be_served() {
    let daemon = clusterset().await;
    let all = exports(&daemon, "").await;
    assert_eq!(all["ready"], true);
    let found = summary(&all);
    let hostnames: Vec<&str> = found.iter().map(|(hostname, _)| hostname.as_str()).collect();
    assert_eq!(
        hostnames,
        ["db.shop.svc.clusterset.local", "web.shop.svc.clusterset.local"]
    );
    let expected = [
        [
            "set/a eu Valid=False/NoService Ready=False/Pending Conflict=False/NoConflicts",
            "set/b us Valid=False/InvalidServiceType Ready=False/Failed Conflict=False/NoConflicts",
        ],
        [
            "set/a eu Valid=True/Valid Ready=True/Ready Conflict=True/PortConflict",
            "set/b us Valid=True/Valid Ready=True/Ready Conflict=True/PortConflict",
        ],
    ];
    for ((_, found), expected) in found.iter().zip(expected) {
        assert_eq!(found, &expected);
    }
}

#[tokio::test]
async fn exports_are_filtered_by_host_registry_and_namespace() {
    let daemon = clusterset().await;
    let count = async |query: &str| -> Vec<usize> {
        let all = summary(&exports(&daemon, query).await);
        all.iter().map(|(_, exports)| exports.len()).collect()
    };
    for (query, expected) in [
        ("?host=web.*", vec![2]),
        ("?host=web.*&host=db.shop.svc.clusterset.local", vec![2, 2]),
        ("?registry=set/b", vec![1, 1]),
        ("?registry=set/b&host=WEB.*", vec![1]),
        ("?registry=parent", vec![]),
        ("?namespace=shop", vec![2, 2]),
        ("?namespace=sh*&namespace=none", vec![2, 2]),
        ("?namespace=none", vec![]),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let wrong = get(daemon.at, "/v1/exports?hosts=web").await;
    assert_eq!(wrong.status, 400);
    assert_eq!(
        wrong.json()["known"],
        json!(["host", "registry", "namespace", "limit", "after"])
    );
}

#[tokio::test]
async fn exports_are_paged_as_services_are() {
    let daemon = clusterset().await;
    let (db, web) = ("db.shop.svc.clusterset.local", "web.shop.svc.clusterset.local");
    for (query, hostnames, next) in [
        ("?limit=1", vec![db], Some(db)),
        ("?limit=1&after=DB.shop.svc.clusterset.local", vec![web], None),
        ("?limit=2", vec![db, web], None),
        ("?limit=1&host=web.*", vec![web], None),
        ("?after=web.shop.svc.clusterset.local", vec![], None),
    ] {
        let page = exports(&daemon, query).await;
        let summary = summary(&page);
        let found: Vec<&str> = summary.iter().map(|(hostname, _)| hostname.as_str()).collect();
        assert_eq!((found, page["next"].as_str()), (hostnames, next), "{query}");
    }
}

#[tokio::test]
async fn metrics_count_exports_by_what_may_be_said_of_them() {
    let daemon = clusterset().await;
    let metrics = get(daemon.at, "/metrics").await;
    let text = metrics.text();
    for (registry, state, count) in [
        ("set/a", "invalid", 1),
        ("set/a", "conflict", 1),
        ("set/a", "fine", 0),
        ("set/b", "invalid", 1),
        ("set/b", "conflict", 1),
        ("set/b", "fine", 0),
    ] {
        let line = format!("registryd_exports{{registry=\"{registry}\",state=\"{state}\"}} {count}.0\n");
        assert!(text.contains(&line), "{line}{text}");
    }
    assert!(!text.contains("registryd_exports{registry=\"parent\""), "{text}");
}
