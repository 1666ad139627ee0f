//! A daemon that is killed and comes back while its registries are away.

use registry_testkit::FaultProxy;
use registry_testkit::consul::Consul;
use serde_json::{Value, json};

use super::{endpoints, entry, named, saved, services, shows};
use crate::daemon::{DEADLINE, Daemon, errors, output};

/// Nobody listens on the port of `tcpmux`.
const NOBODY: &str = "http://127.0.0.1:1";

fn config(registries: &str) -> String {
    format!("http: {{ listen: \"127.0.0.1:0\" }}\nstart_deadline: 5s\nregistries:\n{registries}")
}

fn consul(name: &str, url: &str) -> String {
    format!(
        "  - name: {name}\n    hostname: \"{{name}}.{name}\"\n    consul: {{ address: \"{url}\", wait: 10s }}\n"
    )
}

async fn registered(count: usize) -> Consul {
    let consul = Consul::builder().start().await.unwrap();
    for n in 1..=count {
        let service =
            json!({ "ID": format!("web-{n}"), "Name": "web", "Address": format!("10.0.1.{n}"), "Port": 80 });
        consul.api().register(&service).await.unwrap();
    }
    consul
}

/// Waits until so many endpoints of a registry are on disk: what was written first may be older than what came last.
async fn on_disk(daemon: &Daemon, registry: &str, endpoints: u64) {
    let path = daemon.path(&format!("lib/{registry}.state"));
    daemon
        .wait("its state on disk", async || {
            let bytes = std::fs::read(&path).ok()?;
            let line = bytes.split(|byte| *byte == b'\n').next()?;
            let line: Value = serde_json::from_slice(line).ok()?;
            (line["endpoints"] == endpoints).then_some(())
        })
        .await;
}

/// Content of everything, and of each service what may not change with a restart.
async fn picture(daemon: &Daemon) -> (Value, Vec<(Value, Value, Value)>) {
    let (_, list) = daemon.get("/v1/services").await;
    let service = |service: &Value| {
        (
            service["hostname"].clone(),
            service["hash"].clone(),
            service["endpoints"].clone(),
        )
    };
    let services = list["services"].as_array().unwrap();
    (list["root_hash"].clone(), services.iter().map(service).collect())
}

#[tokio::test]
async fn pain_3_a_killed_daemon_comes_back_with_what_was_known_while_all_registries_are_down() {
    let mut server = registered(3).await;
    let config = config(&format!("{}{}", entry("vms", ""), consul("dc1", server.url())));
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(20))];
    let mut daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.vms", 20, 0).await;
    shows(&daemon, "web.dc1", 3, 0).await;
    // Times are part of what is kept, so the picture is taken first.
    let before = picture(&daemon).await;
    saved(&daemon, "vms").await;
    // Three of `web`, and Consul itself.
    on_disk(&daemon, "dc1", 4).await;

    daemon.kill();
    server.kill().await.unwrap();
    std::fs::rename(daemon.path("vms.yaml"), daemon.path("away.yaml")).unwrap();
    let from = daemon.log().len();
    daemon.restart().await;
    let ready = daemon
        .wait("readiness", async || {
            let (status, ready) = daemon.get("/readyz").await;
            (status == 200).then_some(ready)
        })
        .await;
    assert_eq!(ready["restored"], json!(["vms", "dc1"]));
    assert_eq!(picture(&daemon).await, before);
    for id in ["vms", "dc1"] {
        let registry = daemon.registry(id).await;
        assert_eq!(
            (&registry["phase"], &registry["restored"]),
            (&json!("stale"), &json!(true)),
            "{registry}"
        );
        assert!(registry["age_s"].as_f64().is_some(), "{registry}");
        let kind = registry["kind"].as_str().unwrap();
        let metric = format!("registryd_registry_restored{{registry=\"{id}\",kind=\"{kind}\"}}");
        assert_eq!(daemon.metric(&metric).await, Some(1.0));
    }
    assert!(daemon.log()[from..].contains("restored"), "{}", daemon.log());
    let (_, table) = daemon.ask(&["status"]);
    assert_eq!(table.matches("stale, restored").count(), 2, "{table}");
    // Nothing that nobody said is said now: a name that no registry can be asked about is not known to be absent.
    let (status, _) = daemon.get("/v1/services/payments.vms").await;
    assert_eq!(status, 200);

    // They come back: the same again, and fresh.
    std::fs::rename(daemon.path("away.yaml"), daemon.path("vms.yaml")).unwrap();
    daemon
        .registry_that("vms", "the file", |registry| {
            registry["phase"] == "synced" && registry["restored"] == false
        })
        .await;
    let (_, service) = daemon.get("/v1/services/payments.vms").await;
    assert_eq!(endpoints(&service).len(), 20);
}

#[tokio::test]
async fn pain_3_what_is_gone_after_a_restart_is_let_through_or_held_as_any_loss() {
    for (left, held) in [(14, 0), (6, 14)] {
        let config = config(&entry("vms", ""));
        let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(20))];
        let mut daemon = Daemon::start(&files).await;
        shows(&daemon, "payments.vms", 20, 0).await;
        saved(&daemon, "vms").await;
        daemon.kill();
        daemon.write("vms.yaml", &services(left));
        daemon.restart().await;
        shows(&daemon, "payments.vms", left + held, held).await;
        assert_eq!(daemon.get("/readyz").await.0, 200);
    }
}

#[tokio::test]
async fn pain_3_a_slow_registry_is_never_absent_from_anything_that_is_published() {
    let server = registered(2).await;
    let proxy = FaultProxy::start(server.address().into()).await.unwrap();
    let config = config(&format!("{}{}", entry("vms", ""), consul("dc1", &proxy.url())));
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(3))];
    let mut daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    let before = shows(&daemon, "web.dc1", 2, 0).await;
    on_disk(&daemon, "dc1", 3).await;
    daemon.kill();
    proxy.black_hole(true);
    daemon.write("vms.yaml", &services(5));
    daemon.restart().await;

    // Its neighbour is fast: each of its revisions has to have the slow one's services.
    let mut revisions = Vec::new();
    for count in 5..12 {
        daemon.write("vms.yaml", &services(count));
        daemon
            .wait("the fast registry", async || {
                let (_, list) = daemon.get("/v1/services").await;
                let all = list["services"].as_array()?;
                let web = all.iter().find(|service| service["hostname"] == "web.dc1");
                let web = web.unwrap_or_else(|| panic!("the slow registry is absent from {list}"));
                assert_eq!(web["hash"], before["hash"]);
                revisions.push(list["revision"].as_u64()?);
                let payments = all.iter().find(|service| service["hostname"] == "payments.vms")?;
                (endpoints(payments).len() == count).then_some(())
            })
            .await;
    }
    assert!(revisions.is_sorted(), "{revisions:?}");
    assert_eq!(daemon.registry("dc1").await["phase"], "stale");
    proxy.black_hole(false);
    proxy.reset_all();
    daemon
        .registry_that("dc1", "the slow registry", |registry| {
            registry["phase"] == "synced"
        })
        .await;
    assert_eq!(daemon.service("web.dc1").await["hash"], before["hash"]);
}

#[tokio::test]
async fn pain_5_a_required_registry_that_is_down_leaves_the_rest_served_and_is_served_from_disk_itself() {
    // Never heard: not ready, and the others are served all the same.
    let down = consul("dc1", NOBODY);
    let config = config(&format!("{}{down}", entry("vms", "")));
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(3))];
    let mut daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    saved(&daemon, "vms").await;
    daemon
        .registry_that("dc1", "an attempt to fail", |registry| {
            registry["last_error"].is_object()
        })
        .await;
    let (status, problem) = daemon.get("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(problem["awaited"][0]["registry"], "dc1", "{problem}");
    assert_eq!(daemon.get("/v1/services/web.dc1").await.0, 503, "nobody can know");

    // After a restart with nothing there at all: what was known of the one is served, and readiness stays away.
    daemon.kill();
    std::fs::remove_file(daemon.path("vms.yaml")).unwrap();
    daemon.restart().await;
    shows(&daemon, "payments.vms", 3, 0).await;
    let (status, problem) = daemon.get("/readyz").await;
    assert_eq!(status, 503);
    assert_eq!(problem["restored"], json!(["vms"]), "{problem}");
}

#[tokio::test]
async fn pain_5_an_optional_registry_that_is_down_for_ever_delays_readiness_up_to_the_deadline_only() {
    let down = consul("dc1", NOBODY).replace("name: dc1", "name: dc1\n    required: false");
    let config =
        config(&format!("{}{down}", entry("vms", ""))).replace("start_deadline: 5s", "start_deadline: 1s");
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(3))];
    let daemon = Daemon::start(&files).await;
    let ready = daemon
        .wait("readiness", async || {
            let (status, ready) = daemon.get("/readyz").await;
            (status == 200).then_some(ready)
        })
        .await;
    assert_eq!(
        (&ready["awaited"][0]["registry"], &ready["restored"]),
        (&json!("dc1"), &json!([]))
    );
    shows(&daemon, "payments.vms", 3, 0).await;
    // It is tried for ever, and an alarm can be set on it.
    let attempts = daemon.registry("dc1").await["attempts"].as_u64().unwrap();
    daemon
        .registry_that("dc1", "another attempt", |registry| {
            registry["attempts"].as_u64().unwrap() > attempts
        })
        .await;
    let metric = "registryd_registry_phase{registry=\"dc1\",kind=\"consul\",phase=\"connecting\"}";
    assert_eq!(daemon.metric(metric).await, Some(1.0));
}

#[tokio::test]
async fn a_registry_that_was_pointed_elsewhere_while_the_daemon_was_down_starts_with_nothing() {
    let config = config(&entry("vms", ""));
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(3))];
    let mut daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    saved(&daemon, "vms").await;
    daemon.kill();
    daemon.write("registryd.yaml", &config.replace("vms.yaml", "other.yaml"));
    daemon.restart().await;
    let registry = daemon.registry("vms").await;
    assert_eq!(
        (&registry["phase"], &registry["restored"]),
        (&json!("connecting"), &json!(false))
    );
    daemon.write("other.yaml", &named("orders", 2));
    shows(&daemon, "orders.vms", 2, 0).await;
    daemon.gone("payments.vms").await;
}

#[tokio::test]
async fn an_orderly_end_writes_what_came_last() {
    let config = config(&entry("vms", ""));
    let files = [("registryd.yaml", config.as_str()), ("vms.yaml", &services(3))];
    let daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    daemon.write("vms.yaml", &services(4));
    shows(&daemon, "payments.vms", 4, 0).await;
    daemon.signal("TERM");
    daemon
        .wait("the end", async || {
            let log = daemon.log();
            log.contains("registryd ends").then_some(())
        })
        .await;
    on_disk(&daemon, "vms", 4).await;
    let ended = tokio::time::timeout(DEADLINE, daemon.ended()).await;
    assert_eq!(ended.ok().flatten(), Some(0));
}

#[tokio::test]
async fn the_sample_writes_nothing_outside_its_own_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = crate::daemon::registryd(directory.path(), &["run", "--port-file", "port"])
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let state = directory.path().join("state/registryd/sample/state");
    let found = registry_testkit::wait::until("its state", DEADLINE, async || {
        // Where the sample's port is taken it ends, and has written nothing but its services.
        (state.exists() || !matches!(child.try_wait(), Ok(None))).then_some(())
    });
    let found = found.await;
    child.kill().unwrap();
    child.wait().unwrap();
    found.unwrap();
    assert!(!directory.path().join("lib").exists());
    let checked = output(directory.path(), &["check", "--offline"]);
    assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
}
