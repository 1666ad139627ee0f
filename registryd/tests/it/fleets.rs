//! Entries that stand for many clusters: their members come and go with kubeconfigs, whether anybody can reach them or
//! not.

use serde_json::Value;

use crate::daemon::{Daemon, SERVICES, errors, output, printed};

/// The kubeconfig of a cluster at which nobody listens.
fn kubeconfig(port: u16) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: a\n\
         clusters: [{{ name: a, cluster: {{ server: \"http://127.0.0.1:{port}\" }} }}]\n\
         users: [{{ name: a, user: {{}} }}]\n\
         contexts: [{{ name: a, context: {{ cluster: a, user: a }} }}]\n"
    )
}

const ENTRY: &str = "  - { name: clusters, required: false, kubernetes: { directory: clusters.d } }\n";

fn config(registries: &str) -> String {
    format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\nstart_deadline: 1s\nregistries:\n  - {{ name: vms, file: {{ path: vms.yaml }} }}\n{registries}"
    )
}

async fn start(registries: &str) -> Daemon {
    let config = config(registries);
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", SERVICES)];
    let daemon = Daemon::start_in(&["clusters.d", "others.d"], &files).await;
    daemon.service("payments.default.file").await;
    daemon
}

/// Waits until the registries are these.
async fn registries(daemon: &Daemon, expected: &[&str]) -> Vec<Value> {
    daemon
        .wait(&format!("{expected:?}"), async || {
            let (_, all) = daemon.get("/v1/registries").await;
            let all = all["registries"].as_array()?.clone();
            let mut names: Vec<&str> = all
                .iter()
                .filter_map(|registry| registry["id"].as_str())
                .collect();
            names.sort_unstable();
            (names == expected).then(|| all.clone())
        })
        .await
}

fn put(daemon: &Daemon, name: &str, port: u16) {
    daemon.write(name, &kubeconfig(port));
}

#[tokio::test]
async fn clusters_join_and_leave_with_their_kubeconfigs() {
    let daemon = start(ENTRY).await;
    registries(&daemon, &["clusters", "vms"]).await;
    put(&daemon, "clusters.d/EU_1.kubeconfig", 1);
    registries(&daemon, &["clusters", "clusters/eu-1", "vms"]).await;
    let entry = daemon
        .registry_that("clusters", "the list", |entry| entry["phase"] == "synced")
        .await;
    assert_eq!(entry["kind"], "kubernetes-fleet");
    put(&daemon, "clusters.d/us.yaml", 2);
    registries(&daemon, &["clusters", "clusters/eu-1", "clusters/us", "vms"]).await;
    let member = daemon.registry("clusters%2Fus").await;
    assert_eq!(
        (&member["kind"], &member["required"]),
        (&"kubernetes".into(), &false.into())
    );
    std::fs::remove_file(daemon.path("clusters.d/EU_1.kubeconfig")).unwrap();
    registries(&daemon, &["clusters", "clusters/us", "vms"]).await;

    // What nobody can read takes nobody away.
    daemon.write("clusters.d/us.yaml", "{");
    daemon
        .registry_that("clusters", "the problem", |entry| {
            entry["degraded"].to_string().contains("us.yaml")
        })
        .await;
    registries(&daemon, &["clusters", "clusters/us", "vms"]).await;
}

#[tokio::test]
async fn reload_changes_all_members_takes_them_along_and_brings_them_back() {
    let daemon = start(ENTRY).await;
    put(&daemon, "clusters.d/a.yaml", 1);
    put(&daemon, "clusters.d/b.yaml", 2);
    put(&daemon, "others.d/b.yaml", 2);
    put(&daemon, "others.d/c.yaml", 3);
    let both = ["clusters", "clusters/a", "clusters/b", "vms"];
    registries(&daemon, &both).await;

    daemon
        .reload(&config(&ENTRY.replace("required: false", "required: true")))
        .await;
    for registry in registries(&daemon, &both).await {
        assert_eq!(registry["required"], true, "{registry}");
    }

    // Another place: members of both stay.
    daemon
        .reload(&config(&ENTRY.replace("clusters.d", "others.d")))
        .await;
    registries(&daemon, &["clusters", "clusters/b", "clusters/c", "vms"]).await;

    daemon.reload(&config("")).await;
    registries(&daemon, &["vms"]).await;
    daemon.reload(&config(ENTRY)).await;
    registries(&daemon, &both).await;

    // One cluster instead of many.
    put(&daemon, "one.yaml", 4);
    daemon
        .reload(&config(
            "  - { name: clusters, kubernetes: { kubeconfig: one.yaml } }\n",
        ))
        .await;
    registries(&daemon, &["clusters", "vms"]).await;
    assert_eq!(daemon.registry("clusters").await["kind"], "kubernetes");
}

#[tokio::test]
async fn an_entry_that_is_back_before_it_left_keeps_its_members() {
    let daemon = start(ENTRY).await;
    put(&daemon, "clusters.d/a.yaml", 1);
    let names = ["clusters", "clusters/a", "vms"];
    registries(&daemon, &names).await;
    // It stays as long as its successor is not known, which is never, or the deadline, which is long.
    let successor = "  - { name: dc1, consul: { address: \"http://127.0.0.1:1\" } }\n";
    let long = |text: String| text.replace("start_deadline: 1s", "start_deadline: 10m");
    daemon
        .reload(&long(config(ENTRY).replace("required: false", "required: true")))
        .await;
    daemon.reload(&long(config(successor))).await;
    let before = registries(&daemon, &["clusters", "clusters/a", "dc1", "vms"]).await;
    daemon.reload(&long(config(&format!("{successor}{ENTRY}")))).await;
    let after = registries(&daemon, &["clusters", "clusters/a", "dc1", "vms"]).await;
    let since = |all: &[Value]| {
        all.iter()
            .find(|registry| registry["id"] == "clusters/a")
            .unwrap()["since"]
            .clone()
    };
    assert_eq!(since(&before), since(&after));
    put(&daemon, "clusters.d/b.yaml", 2);
    registries(&daemon, &["clusters", "clusters/a", "clusters/b", "dc1", "vms"]).await;
}

#[tokio::test]
async fn an_entry_that_was_one_cluster_for_a_while_keeps_its_members() {
    let long = |text: &str| config(text).replace("start_deadline: 1s", "start_deadline: 10m");
    let daemon = start("").await;
    put(&daemon, "clusters.d/a.yaml", 1);
    put(&daemon, "one.yaml", 4);
    // The deadline is that of the last configuration.
    daemon.reload(&long("")).await;
    daemon.reload(&long(ENTRY)).await;
    let names = ["clusters", "clusters/a", "vms"];
    let before = registries(&daemon, &names).await;
    let one = "  - { name: clusters, required: false, kubernetes: { kubeconfig: one.yaml } }\n";
    daemon.reload(&long(one)).await;
    let kind = daemon.registry("clusters").await["kind"].clone();
    assert_eq!(kind, "kubernetes");
    registries(&daemon, &names).await;
    daemon.reload(&long(ENTRY)).await;
    put(&daemon, "clusters.d/b.yaml", 2);
    let after = registries(&daemon, &["clusters", "clusters/a", "clusters/b", "vms"]).await;
    let since = |all: &[Value]| {
        let member = all.iter().find(|registry| registry["id"] == "clusters/a");
        member.unwrap()["since"].clone()
    };
    assert_eq!(since(&before), since(&after));
    assert!(!daemon.log().contains("could not be set up"), "{}", daemon.log());
}

#[test]
fn check_warns_of_members_that_share_default_hostnames_and_names_a_wrong_kubeconfig() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::create_dir(path.join("clusters.d")).unwrap();
    std::fs::write(path.join("clusters.d/a.yaml"), kubeconfig(1)).unwrap();
    std::fs::write(path.join("vms.yaml"), SERVICES).unwrap();
    std::fs::write(path.join("registryd.yaml"), config(ENTRY)).unwrap();
    let check = || output(path, &["check", "--config", "registryd.yaml"]);
    let fine = check();
    assert_eq!(fine.status.code(), Some(0), "{}", errors(&fine));
    // The list is fine, and who is on it is asked as well.
    let table = printed(&fine);
    assert!(
        table
            .lines()
            .any(|line| line.starts_with("clusters ") && line.ends_with(" fine")),
        "{table}"
    );
    let member = |line: &str| line.starts_with("clusters/a ") && line.contains("http://127.0.0.1:1");
    assert!(table.lines().any(member), "{table}");
    assert!(errors(&fine).contains("warning: all members of registry clusters rely on the default hostname"));

    std::fs::write(path.join("clusters.d/b.yaml"), "{").unwrap();
    std::fs::write(
        path.join("registryd.yaml"),
        config(&ENTRY.replace("false", "true")),
    )
    .unwrap();
    let wrong = check();
    assert_eq!(wrong.status.code(), Some(1));
    assert!(
        printed(&wrong).contains("clusters.d/b.yaml"),
        "{}",
        printed(&wrong)
    );
}
