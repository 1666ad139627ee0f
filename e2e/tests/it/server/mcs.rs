//! A virtual clusterset: clusters that export services, and nobody in them who merges these.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use registry_testkit::kubernetes::mcs::CLUSTER_ID;
use registry_testkit::kubernetes::{ADMIN, Clusterset, Kubernetes};
use serde_json::{Value, json};

use crate::daemon::Daemon;

const NAMESPACE: &str = "shop";

/// How long services are looked at for anything that must not happen to them.
const QUIET: Duration = Duration::from_secs(3);

/// The clusters by name, each with the id that it has in the clusterset. One id has a dot, one is asked for.
const CLUSTERS: [(&str, &str); 3] = [("a", "eu.a"), ("b", "us"), ("c", "zz")];

struct Scene {
    clusters: Clusterset,
    daemon: Daemon,
}

/// Gives a service to a cluster and exports it. The last word of its endpoint's address stands for the service.
async fn export(cluster: &Kubernetes, name: &str, spec: &Value, address: &str, port: u16) {
    let api = cluster.api();
    api.service(NAMESPACE, name, spec).await.unwrap();
    let slice = json!({
        "endpoints": [{ "addresses": [address], "hostname": format!("{name}-0"), "conditions": { "ready": true } }],
        "ports": [{ "name": "http", "port": port }],
    });
    api.endpoint_slice(NAMESPACE, &format!("{name}-1"), name, &slice)
        .await
        .unwrap();
    api.service_export(NAMESPACE, name, &json!({})).await.unwrap();
}

fn http(port: u16) -> Value {
    json!({ "ports": [{ "name": "http", "port": port }] })
}

impl Scene {
    /// Three clusters, of which the first is older than the others by its id where clocks do not tell: `web` is in all
    /// of them, `api` has another port in the second, `db` is headless in the first and of a type in the second that
    /// cannot be exported, and of `ghost` there is an export alone.
    async fn set() -> Self {
        let clusters = Clusterset::start_as(&Kubernetes::builder().persistent(), 3)
            .await
            .unwrap();
        for (index, cluster) in clusters.iter().enumerate() {
            let api = cluster.api();
            api.namespace(NAMESPACE).await.unwrap();
            export(cluster, "web", &http(80), &format!("10.{}.0.1", index + 1), 8080).await;
        }
        let [a, b] = [&clusters[0], &clusters[1]];
        export(a, "api", &http(80), "10.1.0.2", 8080).await;
        export(b, "api", &http(81), "10.2.0.2", 8080).await;
        let headless = json!({ "clusterIP": "None", "ports": [{ "name": "http", "port": 80 }] });
        export(a, "db", &headless, "10.1.0.3", 8080).await;
        let external = json!({ "type": "ExternalName", "externalName": "db.example.com" });
        b.api().service(NAMESPACE, "db", &external).await.unwrap();
        b.api().service_export(NAMESPACE, "db", &json!({})).await.unwrap();
        a.api()
            .service_export(NAMESPACE, "ghost", &json!({}))
            .await
            .unwrap();
        let property = b.api().cluster_property("v1beta1", CLUSTER_ID, "us").await;
        property.unwrap();
        let daemon = Daemon::new();
        Self { clusters, daemon }
    }

    /// A configuration with the first clusters, so many, and what becomes of them in an outage.
    fn config(&self, count: usize, outage: &str) -> String {
        let mut text = format!(
            "{}registries:\n  - name: set\n    outage: {outage}\n    mcs:\n      kubernetes: {{ watch_timeout: 5s, nodes: false }}\n      clusters:\n",
            self.daemon.head()
        );
        for (index, (name, id)) in CLUSTERS.into_iter().enumerate().take(count) {
            let kubeconfig = self.clusters[index].kubeconfig(ADMIN).unwrap();
            // The second has a ClusterProperty.
            let id = if name == "b" {
                String::new()
            } else {
                format!(", cluster: {id}")
            };
            let kubeconfig = kubeconfig.display();
            writeln!(text, "        - {{ name: {name}, kubeconfig: {kubeconfig}{id} }}").unwrap();
        }
        text
    }

    /// By address: cluster, and the name of the endpoint if it has one. Nothing where there is no such service.
    async fn endpoints(&self, name: &str) -> BTreeMap<String, (String, String)> {
        let (status, service) = self.daemon.get(&format!("/v1/services/{}", hostname(name))).await;
        if status != 200 {
            return BTreeMap::new();
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let endpoints = service["endpoints"].as_array().unwrap().iter();
        let endpoint = |endpoint: &Value| {
            let (cluster, dns_name) = (text(&endpoint["cluster"]), text(&endpoint["dns_name"]));
            (text(&endpoint["address"]), (cluster, dns_name))
        };
        endpoints.map(endpoint).collect()
    }

    /// Of each export of a service: its cluster and the reasons of its conditions.
    async fn exports(&self, name: &str) -> Vec<String> {
        let (_, all) = self
            .daemon
            .get(&format!("/v1/exports?host={}", hostname(name)))
            .await;
        let export = |export: &Value| {
            let conditions = export["conditions"].as_array().unwrap().iter();
            let reasons = conditions.map(|condition| condition["reason"].as_str().unwrap());
            let mut words = vec![export["cluster"].as_str().unwrap()];
            words.extend(reasons);
            words.join(" ")
        };
        let exports = all["services"][0]["exports"].as_array();
        exports.into_iter().flatten().map(export).collect()
    }

    async fn phases(&self) -> BTreeMap<String, String> {
        let (_, all) = self.daemon.get("/v1/registries").await;
        let registries = all["registries"].as_array().unwrap().iter();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        registries
            .map(|registry| (text(&registry["id"]), text(&registry["phase"])))
            .collect()
    }

    /// Waits until the entry and its clusters are in these phases.
    async fn until(&self, expected: &[(&str, &str)]) {
        let expected: BTreeMap<String, String> = expected
            .iter()
            .map(|(id, phase)| ((*id).to_owned(), (*phase).to_owned()))
            .collect();
        let reached = async || (self.phases().await == expected).then_some(());
        self.daemon.wait(&format!("{expected:?}"), reached).await;
    }

    /// All services are as they are with so many clusters.
    async fn assert_whole(&self, count: usize) {
        let clusters = CLUSTERS.into_iter().enumerate().take(count);
        let web: BTreeMap<_, _> = clusters
            .map(|(index, (_, id))| (format!("10.{}.0.1", index + 1), (id.to_owned(), String::new())))
            .collect();
        assert_eq!(self.endpoints("web").await, web);
        // What has another port under the same name gets nothing on the port of the older one.
        let api = ("10.1.0.2".to_owned(), ("eu.a".to_owned(), String::new()));
        assert_eq!(self.endpoints("api").await, BTreeMap::from([api]));
        let name = format!("db-0.eu.a.{}", hostname("db"));
        let db = ("10.1.0.3".to_owned(), ("eu.a".to_owned(), name));
        assert_eq!(self.endpoints("db").await, BTreeMap::from([db]));
        let web = CLUSTERS.map(|(_, id)| format!("{id} Valid Ready NoConflicts"));
        assert_eq!(self.exports("web").await, web[..count]);
        for (name, expected) in [
            (
                "api",
                &["eu.a Valid Ready PortConflict", "us Valid Ready PortConflict"][..],
            ),
            (
                "db",
                &[
                    "eu.a Valid Ready NoConflicts",
                    "us InvalidServiceType Failed NoConflicts",
                ],
            ),
            ("ghost", &["eu.a NoService Pending NoConflicts"]),
        ] {
            assert_eq!(self.exports(name).await, expected, "{name}");
        }
        assert!(self.endpoints("ghost").await.is_empty());
    }
}

fn hostname(name: &str) -> String {
    format!("{name}.{NAMESPACE}.svc.clusterset.local")
}

#[tokio::test]
async fn a_clusterset_survives_the_loss_of_a_cluster_and_a_restart_and_grows_by_reload() {
    let mut scene = Scene::set().await;
    scene.daemon.write("registryd.yaml", &scene.config(2, "keep"));
    scene.daemon.start();
    scene.daemon.ready().await;
    let synced = [("set", "synced"), ("set/a", "synced"), ("set/b", "synced")];
    scene.until(&synced).await;
    scene.assert_whole(2).await;
    let table = scene
        .daemon
        .prints(&["exports", "api.*", "--server", &scene.daemon.url()]);
    assert_eq!(table.matches("True: PortConflict").count(), 2, "{table}");

    scene.clusters.get_mut(1).kill().await.unwrap();
    let stale = [("set", "synced"), ("set/a", "synced"), ("set/b", "stale")];
    scene.until(&stale).await;
    let start = tokio::time::Instant::now();
    while start.elapsed() < QUIET {
        scene.assert_whole(2).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    scene.daemon.terminate().await;
    scene.daemon.start();
    scene.daemon.ready().await;
    scene.until(&stale).await;
    scene.assert_whole(2).await;

    // What becomes of a cluster in an outage is each one's own affair.
    let drop = scene.config(2, "drop");
    scene.daemon.reload(&drop, true).await;
    let only_a = async || {
        let endpoints = scene.endpoints("web").await;
        let exports = scene.exports("web").await;
        (endpoints.into_keys().eq(["10.1.0.1"]) && exports == ["eu.a Valid Ready NoConflicts"]).then_some(())
    };
    scene
        .daemon
        .wait("the other cluster to be taken out", only_a)
        .await;

    let more = scene.config(3, "keep");
    scene.daemon.reload(&more, true).await;
    scene
        .until(&[
            ("set", "synced"),
            ("set/a", "synced"),
            ("set/b", "stale"),
            ("set/c", "synced"),
        ])
        .await;
    scene.assert_whole(3).await;

    scene.clusters.get_mut(1).restart().await.unwrap();
    scene
        .until(&[
            ("set", "synced"),
            ("set/a", "synced"),
            ("set/b", "synced"),
            ("set/c", "synced"),
        ])
        .await;
    scene.assert_whole(3).await;
    scene.daemon.assert_no_panic();
}
