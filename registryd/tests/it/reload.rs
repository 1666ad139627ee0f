//! A new configuration for a running daemon, and readiness with registries that are down.

use serde_json::Value;

use crate::daemon::{Daemon, SERVICES, errors, output};

/// Nobody listens on the port of `tcpmux`.
const NOBODY: &str = "http://127.0.0.1:1";

fn config(registries: &str) -> String {
    format!("http: {{ listen: \"127.0.0.1:0\" }}\nstart_deadline: 15s\nregistries:\n{registries}")
}

fn entry(name: &str) -> String {
    format!("  - {{ name: {name}, hostname: \"{{name}}.{name}\", file: {{ path: {name}.yaml }} }}\n")
}

async fn two() -> Daemon {
    let config = config(&format!("{}{}", entry("a"), entry("b")));
    let files = [
        ("registryd.yaml", config.as_str()),
        ("a.yaml", SERVICES),
        ("b.yaml", SERVICES),
        ("c.yaml", SERVICES),
    ];
    let daemon = Daemon::start(&files).await;
    daemon.service("payments.b").await;
    daemon
}

/// What of a service must not change when others do.
fn state(service: &Value) -> (Value, Value, Value) {
    (
        service["revision"].clone(),
        service["hash"].clone(),
        service["endpoints"].clone(),
    )
}

#[tokio::test]
async fn reload_adds_removes_and_renames_without_touching_the_rest() {
    let daemon = two().await;
    let before = daemon.service("payments.a").await;
    let (_, registries) = daemon.get("/v1/registries/a").await;

    // Renaming is removing and adding; the untouched one also moves to another place in the file.
    daemon
        .reload(&config(&format!("{}{}", entry("c"), entry("a"))))
        .await;
    daemon.service("payments.c").await;
    daemon.gone("payments.b").await;
    assert_eq!(state(&daemon.service("payments.a").await), state(&before));

    // Without a signal: the change of the file is enough.
    daemon.write("registryd.yaml", &config(&entry("a")));
    daemon.gone("payments.c").await;
    assert_eq!(state(&daemon.service("payments.a").await), state(&before));
    let (_, now) = daemon.get("/v1/registries/a").await;
    assert_eq!(
        (&now["attempts"], &now["since"]),
        (&registries["attempts"], &registries["since"])
    );
}

#[tokio::test]
async fn changed_settings_apply_without_a_new_watch() {
    let daemon = two().await;
    let config = config(&format!("{}{}", entry("a"), entry("b")));
    daemon.reload(&config.replace("{name}.b", "{name}.renamed")).await;
    daemon.service("payments.renamed").await;
    daemon.gone("payments.b").await;
    let (_, registry) = daemon.get("/v1/registries/b").await;
    assert_eq!(registry["attempts"], 1, "{registry}");

    // Another backend keeps the name, and what was known until it knows better.
    daemon.reload(&config.replace("b.yaml", "c.yaml")).await;
    daemon.service("payments.b").await;
    let (_, registry) = daemon.get("/v1/registries/b").await;
    assert_eq!(registry["id"], "b");
}

#[tokio::test]
async fn what_the_log_calls_applied_shows_to_whoever_looks_next() {
    let config = config(&entry("a")).replace("start_deadline", "publish_interval: 500ms\nstart_deadline");
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("a.yaml", SERVICES)]).await;
    daemon.service("payments.a").await;
    // Each time the last publication was just now, and the next one is not due for long.
    for name in ["b", "c", "d"] {
        daemon
            .reload(&config.replace("{name}.a", &format!("{{name}}.{name}")))
            .await;
        let (status, service) = daemon.get(&format!("/v1/services/payments.{name}")).await;
        assert_eq!(status, 200, "{service}");
    }
}

#[tokio::test]
async fn policies_are_exchanged() {
    let shared = |name: &str| entry(name).replace(&format!(".{name}\""), ".mesh\"");
    let registries = format!("{}{}", shared("a"), shared("b"));
    let other = SERVICES.replace("10.0.", "10.9.");
    let config = config(&registries);
    let daemon = Daemon::start(&[
        ("registryd.yaml", &config),
        ("a.yaml", SERVICES),
        ("b.yaml", &other),
    ])
    .await;
    let endpoints = async |count: usize| {
        daemon
            .wait("endpoints", async || {
                let (_, service) = daemon.get("/v1/services/payments.mesh").await;
                let found = service["endpoints"].as_array()?.len();
                (found == count).then_some(())
            })
            .await;
    };
    endpoints(2).await;
    daemon
        .reload(&format!(
            "{config}merge: [{{ hosts: \"*.mesh\", policy: exclusive }}]\n"
        ))
        .await;
    endpoints(1).await;
    daemon.reload(&config).await;
    endpoints(2).await;
}

fn endpoints(service: &Value) -> Option<usize> {
    service["endpoints"].as_array().map(Vec::len)
}

#[tokio::test]
async fn a_rule_that_is_taken_out_ends_at_once_whoever_leaves() {
    let shared = ["a", "b"].map(|name| entry(name).replace(&format!(".{name}\""), ".mesh\""));
    let shared = shared.concat();
    let config = |registries: &str| config(registries).replace("15s", "10m");
    let rule = "merge: [{ hosts: \"*.mesh\", policy: exclusive }]\n";
    let before = format!("{}{rule}", config(&format!("{shared}{}", entry("c"))));
    let other = SERVICES.replace("10.0.", "10.9.");
    let files = [
        ("registryd.yaml", before.as_str()),
        ("a.yaml", SERVICES),
        ("b.yaml", &other),
        ("c.yaml", SERVICES),
    ];
    let daemon = Daemon::start(&files).await;
    for name in ["payments.mesh@a", "payments.mesh@b", "payments.c"] {
        daemon.service(name).await;
    }
    assert_eq!(endpoints(&daemon.service("payments.mesh").await), Some(1));
    // Nobody knows the successor for as long as anything takes.
    let successor = format!("  - {{ name: dc1, consul: {{ address: \"{NOBODY}\" }} }}\n");
    daemon.reload(&config(&format!("{shared}{successor}"))).await;
    assert_eq!(endpoints(&daemon.service("payments.mesh").await), Some(2));
    assert_eq!(daemon.get("/v1/services/payments.c").await.0, 200, "it leaves");
}

/// A cluster at which nobody listens.
#[cfg(feature = "mcs")]
const KUBECONFIG: &str = "\
apiVersion: v1
kind: Config
current-context: a
clusters: [{ name: a, cluster: { server: \"http://127.0.0.1:1\" } }]
users: [{ name: a, user: {} }]
contexts: [{ name: a, context: { cluster: a, user: a } }]
";

/// Exports whose hostnames two files have as well, with different numbers of one port: by the policy of the clusterset only one
/// of them is reached on it.
#[cfg(feature = "mcs")]
async fn clusterset() -> (Daemon, String, String) {
    let files = ["a", "b"].map(|name| entry(name).replace(&format!(".{name}\""), ".{namespace}.set\""));
    let files = files.concat();
    let set = "  - name: set\n    required: false\n    hostname: \"{name}.{namespace}.set\"\n    \
               mcs: { clusters: [{ name: a, kubeconfig: eu.yaml, cluster: a }] }\n"
        .to_owned();
    let other = SERVICES
        .replace("10.0.", "10.9.")
        .replace("number: 80 ", "number: 81 ");
    let daemon = Daemon::start(&[
        ("registryd.yaml", &config(&format!("{files}{set}"))),
        ("a.yaml", SERVICES),
        ("b.yaml", &other),
        ("eu.yaml", KUBECONFIG),
    ])
    .await;
    for name in ["payments.default.set@a", "payments.default.set@b"] {
        daemon.service(name).await;
    }
    daemon.registry("set%2Fa").await;
    (daemon, files, set)
}

#[cfg(feature = "mcs")]
#[tokio::test]
async fn hostnames_of_exports_are_merged_as_before_until_these_have_left() {
    let (daemon, files, set) = clusterset().await;
    let config = |registries: &str, deadline: &str| config(registries).replace("15s", deadline);
    let name = "payments.default.set";
    let first = daemon.service(name).await;
    assert_eq!(endpoints(&first), Some(1), "{first}");
    let as_before = async || {
        let service = daemon.service(name).await;
        assert_eq!(service["revision"], first["revision"], "{service}");
    };
    // Nobody knows the successor for as long as anything takes.
    let successor = format!("  - {{ name: dc1, consul: {{ address: \"{NOBODY}\" }} }}\n");
    daemon
        .reload(&config(&format!("{files}{successor}"), "10m"))
        .await;
    as_before().await;
    // Another change of the configuration does not end that.
    let another = successor.replace("dc1", "dc2");
    daemon
        .reload(&config(&format!("{files}{successor}{another}"), "10m"))
        .await;
    as_before().await;
    // They stay after all, and then nothing but the deadline lets them go.
    daemon.reload(&config(&format!("{files}{set}"), "10m")).await;
    as_before().await;
    daemon.reload(&config(&format!("{files}{successor}"), "1s")).await;
    daemon
        .wait("endpoints of both", async || {
            (endpoints(&daemon.service(name).await)? == 2).then_some(())
        })
        .await;
}

#[cfg(feature = "mcs")]
#[tokio::test]
async fn hostnames_of_exports_are_merged_as_before_while_imports_come_in_their_place() {
    let (daemon, files, set) = clusterset().await;
    let config = |registries: &str| config(registries).replace("15s", "10m");
    // The deadline is that of the last configuration.
    daemon.reload(&config(&format!("{files}{set}"))).await;
    let first = daemon.service("payments.default.set").await;
    assert_eq!(endpoints(&first), Some(1), "{first}");
    let import = "  - { name: set, required: false, mcs: { import: { kubeconfig: eu.yaml } } }\n";
    daemon.reload(&config(&format!("{files}{import}"))).await;
    let leaving = daemon.service("payments.default.set").await;
    assert_eq!(leaving["revision"], first["revision"], "{leaving}");
}

#[tokio::test]
async fn a_removed_registry_stays_until_its_successor_is_known_or_the_deadline_has_passed() {
    let daemon = two().await;
    // How long a test takes decides nothing: first nobody waits for the deadline, then it passes at once.
    let config = |registries: &str, deadline: &str| config(registries).replace("15s", deadline);
    let successor = format!("  - {{ name: dc1, consul: {{ address: \"{NOBODY}\" }} }}\n");
    daemon
        .reload(&config(&format!("{}{successor}", entry("a")), "10m"))
        .await;
    assert_eq!(
        daemon.get("/v1/services/payments.b").await.0,
        200,
        "its successor knows nothing yet"
    );

    // Back again before that: it never was away.
    let before = daemon.service("payments.b").await;
    daemon
        .reload(&config(
            &format!("{}{}{successor}", entry("a"), entry("b")),
            "10m",
        ))
        .await;
    assert_eq!(daemon.service("payments.b").await["revision"], before["revision"]);

    let other = successor.replace("dc1", "dc2");
    daemon
        .reload(&config(&format!("{}{other}", entry("a")), "1s"))
        .await;
    daemon
        .wait("the old registries to go", async || {
            let (_, registries) = daemon.get("/v1/registries").await;
            let ids: Vec<&str> = registries["registries"]
                .as_array()?
                .iter()
                .filter_map(|r| r["id"].as_str())
                .collect();
            (ids == ["a", "dc2"]).then_some(())
        })
        .await;
    assert!(
        daemon
            .log()
            .contains("not all that came in its place is known yet")
    );
}

#[tokio::test]
async fn acceptance_6_an_optional_registry_that_is_down_for_ever_holds_nothing_up() {
    let down = format!("  - {{ name: dc1, required: false, consul: {{ address: \"{NOBODY}\" }} }}\n");
    let config = config(&format!("{}{down}", entry("a"))).replace("15s", "500ms");
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("a.yaml", SERVICES)]).await;
    let ready = daemon
        .wait("readiness", async || {
            let (status, ready) = daemon.get("/readyz").await;
            (status == 200).then_some(ready)
        })
        .await;
    assert_eq!(ready["awaited"][0]["registry"], "dc1", "{ready}");
    assert_eq!(daemon.get("/v1/services/payments.a").await.0, 200);
    let registry = daemon
        .wait("an attempt to fail", async || {
            let (_, registry) = daemon.get("/v1/registries/dc1").await;
            registry["last_error"].is_object().then_some(registry)
        })
        .await;
    assert_eq!(registry["phase"], "connecting");
    assert!(
        registry["last_error"]["message"]
            .as_str()
            .is_some_and(|message| message.contains(NOBODY))
    );
}

#[tokio::test]
async fn acceptance_6_a_required_registry_that_is_down_is_named() {
    let down = format!("  - {{ name: dc1, consul: {{ address: \"{NOBODY}\" }} }}\n");
    let config = config(&format!("{}{down}", entry("a"))).replace("15s", "0s");
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("a.yaml", SERVICES)]).await;
    daemon.service("payments.a").await;
    daemon
        .wait("an attempt to fail", async || {
            let (_, registry) = daemon.get("/v1/registries/dc1").await;
            registry["last_error"].is_object().then_some(())
        })
        .await;
    let (status, problem) = daemon.get("/readyz").await;
    assert_eq!(status, 503);
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|detail| detail.contains("dc1")),
        "{problem}"
    );
    let output = output(daemon.directory(), &["status", "--server", daemon.url()]);
    assert!(crate::daemon::printed(&output).starts_with("not ready: registry dc1 (required) is connecting"));
}

#[tokio::test]
async fn acceptance_6_default_hostnames_of_one_kind_do_not_merge() {
    let entry = |name: &str| format!("  - {{ name: {name}, file: {{ path: {name}.yaml }} }}\n");
    let config = config(&format!("{}{}", entry("a"), entry("b")));
    let other = SERVICES.replace("10.0.", "10.9.");
    let daemon = Daemon::start(&[
        ("registryd.yaml", &config),
        ("a.yaml", SERVICES),
        ("b.yaml", &other),
    ])
    .await;
    let second = daemon.service("payments.default.file@b").await;
    assert_eq!(second["endpoints"][0]["address"], "10.9.0.7");
    // Which of the two files is read first is nobody's guess, and until then the name is the other one's.
    let service = daemon
        .wait("the first in precedence", async || {
            let service = daemon.service("payments.default.file").await;
            (service["sources"] == serde_json::json!(["a"])).then_some(service)
        })
        .await;
    assert_eq!(service["endpoints"].as_array().map(Vec::len), Some(1));

    let output = output(daemon.directory(), &["check", "--config", "registryd.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    assert!(errors(&output).contains("warning: registries a, b all rely on the default hostname"));
}
