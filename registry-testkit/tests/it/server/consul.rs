//! One server: its life and what tests do to its catalogue.

use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

use registry_testkit::consul::{ADMIN_ADDRESS, Consul, ConsulApi};
use registry_testkit::{Error, sockets, wait};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// Waits until the instances of `web` are as wanted: their statuses, in any order.
async fn await_web(consul: &Consul, wanted: &[&str]) {
    let what = format!("web with checks {wanted:?}");
    wait::until(what, DEADLINE, async || {
        let instances = consul.api().get("/v1/health/service/web").await.ok()?;
        let mut statuses: Vec<String> = instances
            .as_array()?
            .iter()
            .flat_map(|instance| instance["Checks"].as_array().cloned().unwrap_or_default())
            .filter(|check| check["CheckID"] != "serfHealth")
            .filter_map(|check| check["Status"].as_str().map(str::to_owned))
            .collect();
        statuses.sort();
        (statuses == wanted).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_service_goes_through_its_life() {
    let consul = Consul::builder().start().await.unwrap();
    let web = json!({ "Name": "web", "Port": 8080, "Check": { "CheckID": "web", "TTL": "10m", "Status": "passing" } });
    consul.api().register(&web).await.unwrap();
    await_web(&consul, &["passing"]).await;
    consul
        .api()
        .set_agent_check("web", "warning", "slow")
        .await
        .unwrap();
    await_web(&consul, &["warning"]).await;
    consul.api().maintenance("web", true).await.unwrap();
    await_web(&consul, &["critical", "warning"]).await;
    consul.api().maintenance("web", false).await.unwrap();
    await_web(&consul, &["warning"]).await;
    consul.api().node_maintenance(true).await.unwrap();
    await_web(&consul, &["critical", "warning"]).await;
    consul.api().node_maintenance(false).await.unwrap();
    consul.api().deregister("web").await.unwrap();
    await_web(&consul, &[]).await;
}

#[tokio::test]
async fn the_catalogue_takes_external_nodes() {
    let consul = Consul::builder().node("elsewhere").start().await.unwrap();
    assert_eq!(consul.node(), "elsewhere");
    let registration = json!({
        "Node": "ext-1", "Address": "192.0.2.1", "NodeMeta": { "external-node": "true" },
        "Service": { "ID": "web-1", "Service": "web", "Port": 80 },
        "Check": { "Node": "ext-1", "CheckID": "service:web-1", "Name": "web", "ServiceID": "web-1", "Status": "passing" },
    });
    consul.api().catalog_register(&registration).await.unwrap();
    await_web(&consul, &["passing"]).await;
    consul
        .api()
        .set_check("ext-1", "service:web-1", Some("web-1"), "critical")
        .await
        .unwrap();
    await_web(&consul, &["critical"]).await;
    consul
        .api()
        .catalog_deregister(&json!({ "Node": "ext-1" }))
        .await
        .unwrap();
    await_web(&consul, &[]).await;
}

#[tokio::test]
async fn a_persistent_server_has_its_data_again_until_it_is_wiped() {
    let mut consul = Consul::builder().persistent().start().await.unwrap();
    let (url, pid) = (consul.url().to_owned(), consul.pid());
    consul.api().register(&json!({ "Name": "web" })).await.unwrap();
    let path = "/v1/catalog/service/web";
    wait::until("web in the catalogue", DEADLINE, async || {
        consul
            .api()
            .get(path)
            .await
            .ok()
            .filter(|found| found != &json!([]))
    })
    .await
    .unwrap();

    consul.kill().await.unwrap();
    assert_eq!(consul.pid(), None);
    assert!(matches!(consul.kill().await, Err(Error::State { .. })));
    consul.restart().await.unwrap();
    assert_eq!(consul.url(), url);
    assert_ne!(consul.pid(), pid);
    assert_ne!(consul.api().get(path).await.unwrap(), json!([]));

    assert!(matches!(consul.wipe(), Err(Error::State { .. })));
    let before = consul.api().answer(path).await.unwrap().index;
    consul.terminate().await.unwrap();
    consul.wipe().unwrap();
    consul.restart().await.unwrap();
    let answer = consul.api().answer(path).await.unwrap();
    assert_eq!(answer.body.trim(), "[]");
    assert!(answer.index < before, "{answer:?} after {before:?}");
}

#[tokio::test]
async fn a_development_server_forgets() {
    let mut consul = Consul::builder().start().await.unwrap();
    consul.api().register(&json!({ "Name": "web" })).await.unwrap();
    consul.restart().await.unwrap();
    let services = consul.api().get("/v1/agent/services").await.unwrap();
    assert_eq!(services, json!({}));
}

#[tokio::test]
async fn a_paused_server_is_silent_until_it_resumes() {
    let consul = Consul::builder().start().await.unwrap();
    consul.pause().await.unwrap();
    let look = tokio::time::timeout(Duration::from_millis(500), consul.api().get("/v1/status/leader")).await;
    assert!(look.is_err(), "{look:?}");
    consul.resume().unwrap();
    let leader = wait::until("an answer", DEADLINE, async || {
        consul.api().get("/v1/status/leader").await.ok()
    });
    assert!(leader.await.unwrap().is_string());
}

#[tokio::test]
async fn a_dropped_server_leaves_no_process() {
    let consul = Consul::builder().start().await.unwrap();
    let process = format!("/proc/{}", consul.pid().unwrap());
    assert!(std::fs::exists(&process).unwrap());
    drop(consul);
    assert!(!std::fs::exists(&process).unwrap());
}

#[tokio::test]
async fn the_administrator_is_not_counted_among_the_clients() {
    let consul = Consul::builder().start().await.unwrap();
    let client = ConsulApi::new(consul.url(), None).unwrap();
    client.get("/v1/status/leader").await.unwrap();
    assert_eq!(
        sockets::established(Ipv4Addr::LOCALHOST, consul.address()).unwrap(),
        1
    );
    assert!(sockets::established(ADMIN_ADDRESS, consul.address()).unwrap() >= 1);
}

#[tokio::test]
async fn options_of_any_kind_reach_the_server() {
    let consul = Consul::builder()
        .datacenter("eu-1")
        .http_max_conns_per_client(3000)
        .extra_hcl("node_meta { rack = \"r7\" }")
        .start()
        .await
        .unwrap();
    let own = consul.api().get("/v1/agent/self").await.unwrap();
    assert_eq!(own["Config"]["Datacenter"], "eu-1");
    assert_eq!(own["DebugConfig"]["HTTPMaxConnsPerClient"], 3000);
    assert_eq!(own["Meta"]["rack"], "r7");
    assert_eq!(own["Config"]["Version"], "1.8.7");
}

#[tokio::test]
async fn a_server_that_does_not_come_up_shows_its_log() {
    let error = Consul::builder()
        .extra_hcl("no_such_option = 1")
        .start()
        .await
        .unwrap_err();
    assert!(matches!(error, Error::Ended { .. }), "{error}");
    assert!(error.to_string().contains("no_such_option"), "{error}");
}

#[tokio::test]
async fn a_refused_request_is_an_error_with_the_servers_words() {
    let consul = Consul::builder().start().await.unwrap();
    let error = consul
        .api()
        .put("/v1/agent/service/register", &json!({ "Port": 1 }))
        .await
        .unwrap_err();
    let Error::Status { status, body, .. } = error else {
        panic!("{error}")
    };
    assert_eq!(
        (status, body.contains("Missing service name")),
        (400, true),
        "{body}"
    );
    assert!(matches!(
        consul.api().get("/v1/kv/none").await,
        Err(Error::Status { status: 404, .. })
    ));
    assert_eq!(
        consul.api().get("/v1/health/service/none").await.unwrap(),
        Value::Array(Vec::new())
    );
}

#[tokio::test]
async fn a_killed_test_binary_takes_its_servers_along() {
    const CHILD: &str = "REGISTRY_TESTKIT_CHILD";
    if std::env::var_os(CHILD).is_some() {
        // This is the binary that will be killed.
        let consul = Consul::builder().start().await.unwrap();
        println!("\npid {}", consul.pid().unwrap());
        tokio::time::sleep(10 * DEADLINE).await;
        return;
    }
    let name = "server::consul::a_killed_test_binary_takes_its_servers_along";
    // A killed process leaves its files: they are to lie where this test removes them.
    let folder = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, "1")
        .env("TMPDIR", folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pid = lines
        .map_while(Result::ok)
        .find_map(|line| Some(line.strip_prefix("pid ")?.to_owned()))
        .unwrap();
    let process = format!("/proc/{pid}");
    assert!(std::fs::exists(&process).unwrap());
    child.kill().unwrap();
    child.wait().unwrap();
    wait::until("the end of the server", DEADLINE, async || {
        // Whoever adopted it may take its time to collect it; dead it is.
        let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    })
    .await
    .unwrap();
}
