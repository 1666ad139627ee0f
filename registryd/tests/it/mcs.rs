//! Clustersets: clusters that are listed are members of their entry, whether anybody can reach them or not.

use serde_json::Value;

use crate::daemon::{Daemon, SERVICES, errors, output, printed};

/// The kubeconfig of clusters at which nobody listens, each in a context of its own.
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: a
clusters: [{ name: none, cluster: { server: \"http://127.0.0.1:1\" } }]
users: [{ name: none, user: {} }]
contexts:
  - { name: a, context: { cluster: none, user: none } }
  - { name: b, context: { cluster: none, user: none } }
  - { name: c, context: { cluster: none, user: none } }
";

/// An entry with these clusters, which are ids and contexts alike, and further keys of `mcs`.
fn entry(clusters: &[&str], keys: &str) -> String {
    let clusters: Vec<String> = clusters
        .iter()
        .map(|name| format!("{{ name: {name}, context: {name}, cluster: id-{name} }}"))
        .collect();
    format!(
        "  - name: set\n    required: false\n    mcs:\n      kubernetes: {{ kubeconfig: all.yaml }}\n      clusters: [{}]\n{keys}",
        clusters.join(", ")
    )
}

fn config(registries: &str) -> String {
    format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\nstart_deadline: 1s\nregistries:\n  - {{ name: vms, file: {{ path: vms.yaml }} }}\n{registries}"
    )
}

async fn start(registries: &str) -> Daemon {
    let config = config(registries);
    let files = [
        ("registryd.yaml", config.as_str()),
        ("vms.yaml", SERVICES),
        ("all.yaml", KUBECONFIG),
    ];
    let daemon = Daemon::start_in(&[], &files).await;
    daemon.service("payments.default.file").await;
    daemon
}

/// Waits until the registries besides the file are these, and returns them.
async fn registries(daemon: &Daemon, expected: &[&str]) -> Vec<Value> {
    daemon
        .wait(&format!("{expected:?}"), async || {
            let (_, all) = daemon.get("/v1/registries").await;
            let mut all = all["registries"].as_array()?.clone();
            all.retain(|registry| registry["id"] != "vms");
            all.sort_by_key(|registry| registry["id"].to_string());
            let names = all.iter().filter_map(|registry| registry["id"].as_str());
            names.eq(expected.iter().copied()).then_some(all)
        })
        .await
}

fn since(all: &[Value], id: &str) -> Value {
    let registry = all.iter().find(|registry| registry["id"] == id).unwrap();
    registry["since"].clone()
}

#[tokio::test]
async fn a_reload_adds_removes_and_keeps_clusters() {
    let daemon = start(&entry(&["a", "b"], "")).await;
    let before = registries(&daemon, &["set", "set/a", "set/b"]).await;
    assert_eq!(before[1]["kind"], "mcs");
    assert_eq!(before[1]["required"], false);
    let list = daemon
        .registry_that("set", "the list", |entry| entry["phase"] == "synced")
        .await;
    assert_eq!(
        (&list["kind"], &list["services"]),
        (&"mcs-clusters".into(), &0.into())
    );

    daemon.reload(&config(&entry(&["b", "c"], ""))).await;
    let after = registries(&daemon, &["set", "set/b", "set/c"]).await;
    assert_eq!(since(&before, "set/b"), since(&after, "set/b"));

    // What concerns all of them makes none of them come or go.
    daemon
        .reload(&config(&entry(&["b", "c"], "      domain: set.example\n")))
        .await;
    registries(&daemon, &["set", "set/b", "set/c"]).await;

    daemon.reload(&config("")).await;
    registries(&daemon, &[]).await;
    daemon.reload(&config(&entry(&["a"], ""))).await;
    registries(&daemon, &["set", "set/a"]).await;
}

#[tokio::test]
async fn a_start_knows_the_clusters_of_the_configuration_and_no_others() {
    let mut daemon = start(&entry(&["a", "b"], "")).await;
    registries(&daemon, &["set", "set/a", "set/b"]).await;
    daemon.kill();
    daemon.write("registryd.yaml", &config(&entry(&["c"], "")));
    daemon.restart().await;
    registries(&daemon, &["set", "set/c"]).await;
    let log = daemon.log();
    // Nobody doubts what the operator says.
    for doubt in ["are not restored", "the list lacks many members"] {
        assert!(!log.contains(doubt), "{log}");
    }
}

#[test]
fn check_asks_each_cluster_and_expects_their_services_to_merge() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("all.yaml"), KUBECONFIG).unwrap();
    std::fs::write(path.join("vms.yaml"), SERVICES).unwrap();
    std::fs::write(path.join("registryd.yaml"), config(&entry(&["a", "b"], ""))).unwrap();
    let checked = output(path, &["check", "--config", "registryd.yaml"]);
    assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
    let table = printed(&checked);
    let line = |name: &str| {
        let line = table.lines().find(|line| line.starts_with(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name}\n{table}"))
    };
    assert!(line("set").ends_with(" fine"), "{table}");
    for member in ["set/a", "set/b"] {
        assert!(line(member).contains("http://127.0.0.1:1"), "{table}");
    }
    assert!(!errors(&checked).contains("warning"), "{}", errors(&checked));
}

#[test]
fn check_warns_of_imports_that_are_called_as_exports_are() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    std::fs::write(path.join("all.yaml"), KUBECONFIG).unwrap();
    std::fs::write(path.join("vms.yaml"), SERVICES).unwrap();
    let warnings = |import: &str| {
        let registries = format!("{}{import}", entry(&["a"], ""));
        std::fs::write(path.join("registryd.yaml"), config(&registries)).unwrap();
        let checked = output(path, &["check", "--offline", "--config", "registryd.yaml"]);
        assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
        errors(&checked)
    };
    let import = "  - name: imported\n    mcs: { import: { kubeconfig: all.yaml, context: b } }\n";
    let warned = warnings(import);
    let expected = "warning: registry imported relies on the default hostname \"{name}.{namespace}.svc.clusterset.local\", \
                    which is that of set as well";
    assert!(warned.contains(expected), "{warned}");
    for fine in [
        import.replace("import: {", "domain: other.local, import: {"),
        import.replace(
            "    mcs:",
            "    hostname: \"{name}.{namespace}.imported\"\n    mcs:",
        ),
    ] {
        assert_eq!(warnings(&fine), "", "{fine}");
    }
}
