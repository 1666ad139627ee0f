//! The daemon in front of a real API server: set up as the pages say, with one cluster and with many.

use registry_testkit::kubernetes::Kubernetes;
use serde_json::{Value, json};

use crate::daemon::{Daemon, errors, output, printed};

/// The kind of user that a machine outside of the cluster is.
pub(super) const USER: &str = "registryd";

async fn cluster() -> Kubernetes {
    let kubernetes = Kubernetes::builder().persistent().start().await.unwrap();
    let api = kubernetes.api();
    let region = json!({ "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "eu-1a" });
    api.node("n1", &region).await.unwrap();
    for (namespace, address) in [("shop", "10.0.0.7"), ("pay", "10.0.1.7"), ("secret", "10.0.2.7")] {
        api.namespace(namespace).await.unwrap();
        let spec = json!({ "ports": [{ "name": "http", "port": 80 }] });
        api.service(namespace, "web", &spec).await.unwrap();
        let slice = json!({
            "endpoints": [{ "addresses": [address], "nodeName": "n1", "conditions": { "ready": true } }],
            "ports": [{ "name": "http", "port": 8080 }],
        });
        api.endpoint_slice(namespace, "web-1", "web", &slice)
            .await
            .unwrap();
    }
    kubernetes
}

fn config(kubernetes: &str) -> String {
    format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\nstate_dir: kept\nregistries:\n  - {{ name: eu, kubernetes: {{ {kubernetes} }} }}\n"
    )
}

/// Gives the user what the documents allow.
pub(super) fn grant(kubernetes: &Kubernetes, documents: &str) {
    let mut rules = 0;
    for document in documents.split("---\n") {
        let role: Value = serde_saphyr::from_str(document).unwrap();
        let namespace = role["metadata"]["namespace"].as_str();
        for rule in role["rules"].as_array().into_iter().flatten() {
            let resource = rule["resources"][0].as_str().unwrap();
            // One object alone cannot be granted here, but for a namespace, which is in itself.
            let single = rule["resourceNames"][0].as_str();
            let single = single.filter(|_| resource == "namespaces");
            kubernetes
                .allow(USER, single.or(namespace).unwrap_or("*"), resource)
                .unwrap();
            rules += 1;
        }
    }
    assert!(rules > 0, "{documents}");
}

#[tokio::test]
async fn the_rights_that_are_printed_suffice() {
    for (settings, visible, hidden) in [
        ("", &["shop", "pay", "secret"][..], &[][..]),
        (", namespaces: [shop, pay]", &["shop", "pay"], &["secret"]),
        (
            ", namespace_selector: \"kubernetes.io/metadata.name in (shop, pay)\"",
            &["shop", "pay"],
            &["secret"],
        ),
    ] {
        let kubernetes = cluster().await;
        let kubeconfig = std::fs::read_to_string(kubernetes.kubeconfig(USER).unwrap()).unwrap();
        let config = config(&format!("kubeconfig: eu.yaml{settings}"));
        let files = [
            ("registryd.yaml", config.as_str()),
            ("eu.yaml", kubeconfig.as_str()),
        ];
        let directory = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).unwrap();
        }
        let run = |arguments: &[&str]| {
            output(
                directory.path(),
                &[arguments, &["--config", "registryd.yaml"]].concat(),
            )
        };
        let forbidden = run(&["check"]);
        assert_eq!(forbidden.status.code(), Some(1), "{}", printed(&forbidden));
        assert!(printed(&forbidden).contains("403"), "{}", printed(&forbidden));
        grant(&kubernetes, &printed(&run(&["rbac", "kubernetes"])));
        let fine = run(&["check"]);
        assert_eq!(fine.status.code(), Some(0), "{}{}", printed(&fine), errors(&fine));

        let daemon = Daemon::start(&files).await;
        for namespace in visible {
            let service = daemon
                .service(&format!("web.{namespace}.svc.cluster.local"))
                .await;
            let endpoint = &service["endpoints"][0];
            assert_eq!(endpoint["ports"], json!({ "http": 8080 }));
            assert_eq!(endpoint["health"], "healthy");
            assert_eq!(
                endpoint["sources"][0]["status"],
                "ready=true serving=unset terminating=unset"
            );
        }
        let registry = daemon
            .registry_that("eu", "everything", |registry| registry["phase"] == "synced")
            .await;
        assert_eq!(registry["degraded"], json!([]), "{registry}");
        daemon
            .wait("the region", async || {
                let service = daemon.service("web.shop.svc.cluster.local").await;
                (service["endpoints"][0]["locality"]["region"] == "eu").then_some(())
            })
            .await;
        for namespace in hidden {
            assert_eq!(
                daemon
                    .get(&format!("/v1/services/web.{namespace}.svc.cluster.local"))
                    .await
                    .0,
                404
            );
        }
    }
}

#[tokio::test]
async fn members_are_served_from_disk_while_neither_they_nor_their_list_can_be_read() {
    let mut kubernetes = cluster().await;
    let kubeconfig = std::fs::read_to_string(kubernetes.kubeconfig("admin").unwrap()).unwrap();
    let config = config("directory: clusters.d").replace(
        "{ name: eu,",
        "{ name: eu, hostname: \"{name}.{namespace}.{cluster}\",",
    );
    let mut daemon = Daemon::start_in(&["clusters.d"], &[("registryd.yaml", &config)]).await;
    for name in ["clusters.d/a.yaml", "clusters.d/b.yaml"] {
        daemon.write(name, &kubeconfig);
    }
    for name in ["web.shop.a", "web.shop.b"] {
        daemon.service(name).await;
    }
    for member in ["eu%2Fa", "eu%2Fb"] {
        daemon
            .registry_that(member, "its file", |registry| registry["saved"].is_string())
            .await;
    }
    let before = daemon.service("web.shop.b").await;

    let from = daemon.log().len();
    kubernetes.kill().await.unwrap();
    daemon
        .registry_that("eu%2Fa", "the outage", |registry| registry["phase"] == "stale")
        .await;
    daemon.kill();
    std::fs::rename(daemon.path("clusters.d"), daemon.path("away")).unwrap();
    daemon.restart().await;
    assert_eq!(daemon.service("web.shop.b").await["hash"], before["hash"]);
    let (status, ready) = daemon.get("/readyz").await;
    assert_eq!(
        (status, &ready["restored"]),
        (200, &json!(["eu", "eu/a", "eu/b"])),
        "{ready}"
    );

    std::fs::rename(daemon.path("away"), daemon.path("clusters.d")).unwrap();
    kubernetes.restart().await.unwrap();
    for member in ["eu%2Fa", "eu%2Fb"] {
        let heard = |registry: &Value| registry["phase"] == "synced" && registry["restored"] == false;
        daemon.registry_that(member, "both clusters", heard).await;
    }
    assert_eq!(daemon.service("web.shop.b").await["hash"], before["hash"]);
    assert!(!daemon.log()[from..].contains("kube_client"), "{}", daemon.log());
}
