//! Daemons that serve a real Envoy: by the configuration of the user guide, and one in place of another that hangs.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Command, Stdio};

use registry_testkit::consul::Consul;
use registry_testkit::envoy::{Envoy, Options};
use registry_testkit::ports;
use registry_testkit::redis::{Redis, RedisClient};
use registry_testkit::upstream::{Kind, Load, LoadOptions, Upstream, client};
use rustix::process::Signal;
use serde_json::json;
use tokio::time::Instant;

use crate::daemon::{DEADLINE, Daemon};

const GUIDE: &str = include_str!("../../../../docs/envoy-on-vms.md");

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// The YAML of the guide that follows a file's name.
fn of_guide(file: &str) -> &'static str {
    let (_, rest) = GUIDE.split_once(&format!("`{file}`:\n\n```yaml\n")).unwrap();
    rest.split_once("```").unwrap().0
}

/// With each text in place of another one that has to be there.
fn with(text: &str, replaced: &[(&str, &str)]) -> String {
    replaced.iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "no {from:?} in:\n{text}");
        text.replace(from, to)
    })
}

/// What `registryd bootstrap envoy` prints.
fn bootstrap(daemon: &Daemon, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_e2e-registryd"))
        .args(["bootstrap", "envoy", "--config"])
        .arg(daemon.path("registryd.yaml"))
        .args(["--node-id", "vm-1", "--no-admin"])
        .args(arguments)
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

async fn envoy(bootstrap: &str) -> Envoy {
    let mut envoy = Envoy::start(bootstrap, &Options::default()).await.unwrap();
    envoy.ready(DEADLINE).await.unwrap();
    envoy
}

/// Who answers for a host at an Envoy.
async fn answer(outbound: SocketAddr, host: &str) -> Option<String> {
    let answer = client::http(outbound, host, "/").await.ok()?;
    (answer.status == 200).then_some(answer.body)
}

/// Acceptance test 1: from a registration in a file, and one in Consul, to an answer.
#[tokio::test]
async fn the_configuration_of_the_guide_leads_from_registrations_to_answers() {
    let consul = Consul::builder().start().await.unwrap();
    let (file, other) = (
        Upstream::start("file", Kind::Http).await.unwrap(),
        Upstream::start("consul", Kind::Http).await.unwrap(),
    );
    let redis = Redis::start().await.unwrap();
    let [xds, outbound, cache] = ports::free(3).unwrap().try_into().unwrap();
    let mut daemon = Daemon::new();
    let config = with(
        of_guide("/etc/registryd/registryd.yaml"),
        &[
            ("http://127.0.0.1:8500", consul.url()),
            (
                "127.0.0.1:7381",
                &format!("127.0.0.1:{xds}\n  outbound: {{ listen: \"127.0.0.1:{outbound}\" }}"),
            ),
            (
                "cache.mesh.internal: 6379",
                &format!("cache.mesh.internal: {cache}"),
            ),
        ],
    );
    let services = with(
        of_guide("/etc/registryd/vms.yaml"),
        &[
            ("http: 8080", &format!("http: {}", file.port())),
            (
                "10.0.0.9, ports: { redis: 6379 }",
                &format!("127.0.0.1, ports: {{ redis: {} }}", redis.address().port()),
            ),
        ],
    );
    daemon.write("vms.yaml", &services);
    daemon.write("registryd.yaml", &(daemon.head() + &config));
    daemon.start();
    daemon.ready().await;
    let envoy = envoy(&bootstrap(&daemon, &[])).await;
    let outbound = local(outbound);

    assert_eq!(
        answer(outbound, "web.mesh.internal").await.as_deref(),
        Some("file")
    );
    assert_eq!(
        answer(outbound, "web.mesh.internal:80").await.as_deref(),
        Some("file")
    );
    let mut client = RedisClient::connect(local(cache)).await.unwrap();
    assert_eq!(client.command(&["PING"]).await.unwrap().as_deref(), Some("PONG"));

    // The same service in Consul, and one that is only there and says itself what it speaks.
    for (name, meta) in [("web", json!({})), ("api", json!({ "protocol": "http" }))] {
        let service = json!({ "Name": name, "Address": "127.0.0.1", "Port": other.port(), "Meta": meta });
        consul.api().register(&service).await.unwrap();
    }
    for host in ["web.mesh.internal", "api.mesh.internal"] {
        let is_there = async || (answer(outbound, host).await? == "consul").then_some(());
        daemon.wait(&format!("{host} in Consul"), is_there).await;
    }
    assert_eq!(
        envoy.stat("cluster_manager.cds.update_rejected").await.unwrap(),
        0
    );
    assert_eq!(
        envoy.stat("listener_manager.lds.update_rejected").await.unwrap(),
        0
    );
    daemon.assert_no_panic();
}

/// A daemon whose only service is at that server.
fn daemon(xds: u16, outbound: u16, web: &Upstream) -> Daemon {
    let daemon = Daemon::new();
    let config = format!(
        "registries: [{{ name: vms, hostname: \"{{name}}.mesh.internal\", file: {{ path: vms.yaml }} }}]\n\
         xds: {{ listen: \"127.0.0.1:{xds}\", outbound: {{ listen: \"127.0.0.1:{outbound}\" }} }}\n",
    );
    daemon.write("registryd.yaml", &(daemon.head() + &config));
    write_services(&daemon, web);
    daemon
}

fn write_services(daemon: &Daemon, web: &Upstream) {
    let service = json!({
        "name": "web",
        "ports": [{ "name": "http", "number": 80, "protocol": "http" }],
        "endpoints": [{ "address": "127.0.0.1", "ports": { "http": web.port() } }],
    });
    daemon.write("vms.yaml", &json!({ "services": [service] }).to_string());
}

/// Waits until exactly one client is connected.
async fn connected(daemon: &Daemon) {
    let one = async || {
        let (_, clients) = daemon.get("/v1/xds/clients").await;
        (clients["clients"].as_array()?.len() == 1).then_some(())
    };
    daemon.wait("one client", one).await;
}

/// Acceptance test 16.
#[tokio::test]
async fn an_envoy_leaves_a_daemon_that_hangs_and_hears_nothing_more_of_it() {
    let mut servers = Vec::new();
    for id in ["old", "new", "late"] {
        servers.push(Upstream::start(id, Kind::Http).await.unwrap());
    }
    let [first, second, outbound] = ports::free(3).unwrap().try_into().unwrap();
    let mut hangs = daemon(first, outbound, &servers[0]);
    let mut goes_on = daemon(second, outbound, &servers[0]);
    for daemon in [&mut hangs, &mut goes_on] {
        daemon.start();
        daemon.ready().await;
    }
    let addresses = [local(first).to_string(), local(second).to_string()];
    let printed = bootstrap(&hangs, &["--server", &addresses[0], "--server", &addresses[1]]);
    // It pings each 20 s, which would be long for a test.
    let quick = with(
        &printed,
        &[
            ("interval: \"20s\"", "interval: 1s"),
            ("timeout: \"5s\"", "timeout: 1s"),
        ],
    );
    let envoy = envoy(&quick).await;
    let outbound = local(outbound);
    connected(&hangs).await;
    let load = Load::start(&LoadOptions::new(outbound, "web.mesh.internal"));

    hangs.signal(Signal::STOP);
    let start = Instant::now();
    connected(&goes_on).await;
    println!("at the second server after {:?}", start.elapsed());
    write_services(&goes_on, &servers[1]);
    let is_new = async || (answer(outbound, "web.mesh.internal").await? == "new").then_some(());
    goes_on.wait("what the second one says", is_new).await;

    // The first one goes on, and has news of its own, which nobody asked for any more.
    write_services(&hangs, &servers[2]);
    hangs.signal(Signal::CONT);
    let port = servers[2].port();
    let noticed = async || {
        let (_, service) = hangs.get("/v1/services/web.mesh.internal").await;
        (service["endpoints"][0]["ports"]["http"] == port).then_some(())
    };
    hangs.wait("its own news", noticed).await;
    let left = async || {
        let (_, clients) = hangs.get("/v1/xds/clients").await;
        clients["clients"].as_array()?.is_empty().then_some(())
    };
    hangs.wait("its stream to be over", left).await;
    for _ in 0..20 {
        assert_eq!(
            answer(outbound, "web.mesh.internal").await.as_deref(),
            Some("new")
        );
    }
    let report = load.stop().await;
    assert_eq!(report.failures(), 0, "{:?}", report.troubles);
    assert!(!report.by_server.contains_key("late"), "{:?}", report.by_server);
    assert_eq!(envoy.stat("control_plane.connected_state").await.unwrap(), 1);
    connected(&goes_on).await;
}
