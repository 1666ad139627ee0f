//! What a daemon says of its xDS server, over HTTP and by commands.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::CONFIG;
use crate::daemon::{Daemon, SERVICES, errors, output};

const CLUSTER: &str = "outbound|80||payments.mesh.internal";

async fn daemon() -> Daemon {
    let daemon = Daemon::start(&[("registryd.yaml", CONFIG), ("vms.yaml", SERVICES)]).await;
    daemon.service("payments.mesh.internal").await;
    daemon
}

fn names(resources: &Value) -> Vec<&str> {
    let resources = resources.as_array().expect("a list").iter();
    resources
        .filter_map(|resource| resource["name"].as_str())
        .collect()
}

/// Everything below a value that has `#` in a key: fields that nobody wrote into the table of names.
fn unnamed(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{path}.{key}");
                if key.starts_with('#') {
                    found.push(path.clone());
                }
                unnamed(value, &path, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| unnamed(item, path, found)),
        _ => {}
    }
}

#[tokio::test]
async fn what_a_node_would_get_is_shown_without_one() {
    let daemon = daemon().await;
    let (status, set) = daemon.get("/v1/xds/resources?node=vm-1").await;
    assert_eq!(status, 200, "{set}");
    assert_eq!(
        (&set["view"]["kind"], &set["complete"]),
        (&json!("envoy"), &json!(true))
    );
    assert!(names(&set["cds"]).contains(&CLUSTER), "{set}");
    assert!(names(&set["eds"]).contains(&CLUSTER), "{set}");
    assert_eq!(names(&set["lds"]), ["outbound_127.0.0.1_15001"]);
    assert_eq!(names(&set["rds"]), ["http.15001"]);
    let payments = set["eds"]
        .as_array()
        .unwrap()
        .iter()
        .find(|eds| eds["name"] == CLUSTER);
    let endpoint = &payments.unwrap()["resource"]["endpoints"][0]["lb_endpoints"][0]["endpoint"];
    assert_eq!(
        endpoint["address"]["socket_address"],
        json!({ "address": "10.0.0.7", "port_value": 8080 })
    );

    let only = "/v1/xds/resources?node=vm-1&type=eds&type=cds&name=*payments*";
    let (_, some) = daemon.get(only).await;
    assert_eq!(
        (names(&some["cds"]), names(&some["eds"])),
        (vec![CLUSTER], vec![CLUSTER])
    );
    assert_eq!((&some["lds"], &some["rds"]), (&Value::Null, &Value::Null));

    let grpc = "/v1/xds/resources?node=%7B%22id%22:%22a%22,%22user_agent_name%22:%22gRPC%22%7D";
    let (status, set) = daemon.get(grpc).await;
    assert_eq!((status, &set["view"]["kind"]), (200, &json!("grpc")), "{set}");
    assert!(names(&set["lds"]).contains(&"inventory.mesh.internal"), "{set}");

    let (_, clients) = daemon.get("/v1/xds/clients").await;
    assert_eq!(clients, json!({ "clients": [] }));
    let (_, warnings) = daemon.get("/v1/xds/warnings").await;
    assert_eq!(warnings, json!({ "warnings": [] }));
    for (name, expected) in [
        ("registryd_xds_responses_total{type=\"cds\"}", Some(0.0)),
        ("registryd_xds_nacks_total{type=\"rds\"}", Some(0.0)),
        ("registryd_xds_resources_sent_total{type=\"eds\"}", Some(0.0)),
        ("registryd_xds_sent_bytes_total", Some(0.0)),
        ("registryd_xds_refused_total", Some(0.0)),
        ("registryd_xds_warnings", Some(0.0)),
        ("registryd_xds_streams{protocol=\"delta\",kind=\"envoy\"}", None),
    ] {
        assert_eq!(daemon.metric(name).await, expected, "{name}");
    }
}

/// Whatever is made of services, `xds dump` has names for all of it.
#[tokio::test]
async fn nothing_that_is_served_is_without_a_name() {
    let service = |name: &str, protocol: &str, number: u16, local: u16| {
        format!(
            "  - name: {name}\n    ports: [{{ name: {name}, number: {number}, protocol: {protocol} }}]\n    \
             labels: {{ registryd.local_port: \"{local}\" }}\n    endpoints:\n      - {{ address: 10.0.0.1, ports: {{ {name}: 1 }}, \
             weight: 3, health: degraded, labels: {{ version: v1 }}, locality: {{ region: eu, zone: a, sub_zone: r }} }}\n      \
             - {{ address: 10.0.0.2, ports: {{ {name}: 2 }}, health: unhealthy, labels: {{ version: v2 }} }}\n"
        )
    };
    let protocols = [
        "http",
        "http2",
        "grpc",
        "tcp",
        "tls",
        "mongo",
        "redis",
        "udp",
        "websocket",
        "mysql",
    ];
    let services: String = protocols
        .iter()
        .zip(1u16..)
        .map(|(protocol, index)| service(&format!("{protocol}-svc"), protocol, 1000 + index, 20_000 + index))
        .collect();
    let services = format!("services:\n{services}");
    let settings = "\
xds:
  listen: \"127.0.0.1:0\"
  unhealthy: send
  locality: nearest
  subsets: [{ hosts: \"*\", subsets: [{ name: v1, labels: { version: v1 } }] }]
  routes:
    - hosts: \"http-svc.*\"
      routes:
        - { path: { prefix: /api }, headers: { x-a: b }, to: [{ subset: v1, weight: 1 }, { weight: 2 }], timeout: 5s, retries: 2 }
        - { path: { exact: / } }
  upstream_tls:
    - { hosts: \"http2*\", source: { files: { certificate: /a, key: /b, ca: /c } }, identities: [\"spiffe://mesh/*\"] }
    - { hosts: \"grpc*\", source: { provider: { instance: default } } }
    - { hosts: \"tcp*\", source: { sds: { cluster: spire, certificate: a, validation: b } } }
";
    let config = CONFIG.replace("xds: { listen: \"127.0.0.1:0\" }\n", settings);
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", &services)]).await;
    daemon.service("redis-svc.mesh.internal").await;
    for (node, least) in [
        (
            json!({ "id": "vm-1", "locality": { "region": "eu", "zone": "a" } }),
            20,
        ),
        (json!({ "id": "a", "user_agent_name": "gRPC Go" }), 8),
    ] {
        let node: String = node
            .to_string()
            .bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect();
        let (status, set) = daemon.get(&format!("/v1/xds/resources?node={node}")).await;
        assert_eq!(status, 200, "{set}");
        let all: usize = ["cds", "eds", "lds", "rds"]
            .iter()
            .map(|type_| names(&set[type_]).len())
            .sum();
        assert!(all >= least, "{all}: {set}");
        let mut found = Vec::new();
        unnamed(&set, "", &mut found);
        found.sort();
        found.dedup();
        assert!(found.is_empty(), "{found:#?}");
    }
}

#[tokio::test]
async fn nothing_is_shown_before_readiness() {
    // Nobody listens on the port of `tcpmux`.
    let config = format!("{CONFIG}start_deadline: 1h\n").replace(
        "registries:\n",
        "registries:\n  - { name: dc1, consul: { address: \"http://127.0.0.1:1\" } }\n",
    );
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", SERVICES)]).await;
    daemon.service("payments.mesh.internal").await;
    let (status, problem) = daemon.get("/v1/xds/resources?node=vm-1").await;
    assert_eq!((status, &problem["awaited"]), (503, &json!(["dc1"])), "{problem}");
    assert_eq!(problem["detail"], "not ready: awaiting dc1");
}

#[tokio::test]
async fn questions_that_cannot_be_answered_say_why() {
    let without = CONFIG.replace("xds: { listen: \"127.0.0.1:0\" }\n", "");
    let daemon = Daemon::start(&[("registryd.yaml", &without), ("vms.yaml", SERVICES)]).await;
    for path in ["clients", "warnings", "resources?node=a"] {
        let (status, problem) = daemon.get(&format!("/v1/xds/{path}")).await;
        assert_eq!(status, 404);
        assert_eq!(
            problem["detail"],
            "xDS is not served: the configuration has no section `xds`"
        );
    }
    assert_eq!(daemon.metric("registryd_xds_warnings").await, None);
    assert!(!daemon.path("xds-port").exists());
    let (code, said) = daemon.ask(&["xds", "clients"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("xDS is not served"), "{said}");

    let daemon = self::daemon().await;
    for (query, detail) in [
        (
            "resources",
            "query parameter \"node\": found \"\", expected the id of an Envoy",
        ),
        (
            "resources?node=a&node=b",
            "query parameter \"node\" is given twice",
        ),
        ("resources?node=%7B", "query parameter \"node\": "),
        (
            "resources?node=a&type=sds",
            "query parameter \"type\": found \"sds\", expected one of cds, eds, lds and rds",
        ),
        (
            "resources?nod=a",
            "unknown query parameter \"nod\", did you mean \"node\"",
        ),
        (
            "clients?node=a",
            "unknown query parameter \"node\": there are none here",
        ),
    ] {
        let (status, problem) = daemon.get(&format!("/v1/xds/{query}")).await;
        let said = problem["detail"].as_str().unwrap();
        assert!(
            status == 400 && said.starts_with(detail),
            "{query}: {status} {said}"
        );
    }
}

#[tokio::test]
async fn commands_show_what_a_node_would_get() {
    let daemon = daemon().await;
    let (code, table) = daemon.ask(&["xds", "dump", "--node", "vm-1", "--type", "cds"]);
    assert_eq!(code, Some(0), "{table}");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows[0], ["TYPE", "NAME", "VERSION"]);
    assert_eq!(rows[1][..2], ["cds", CLUSTER]);
    let (_, json) = daemon.ask(&["xds", "dump", "--node", "{\"id\":\"vm-1\"}", "-o", "json"]);
    let set: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(set["cds"][0]["resource"]["name"], CLUSTER);
    let (code, clients) = daemon.ask(&["xds", "clients"]);
    assert!(code == Some(0) && clients.starts_with("NODE"), "{clients}");
    let (code, warnings) = daemon.ask(&["xds", "warnings"]);
    assert_eq!((code, warnings.as_str()), (Some(0), "SERVICE   WARNING\n"));
    let (code, _) = daemon.ask(&["xds", "dump"]);
    assert_eq!(code, Some(2));
}

#[tokio::test]
async fn a_reload_changes_what_is_served_and_says_what_needs_a_restart() {
    let daemon = daemon().await;
    let narrowed = "xds: { listen: \"127.0.0.1:0\", services: [\"inventory.*\"] }\n";
    let listen = "xds: { listen: \"127.0.0.1:0\" }\n";
    daemon.reload(&CONFIG.replace(listen, narrowed)).await;
    let clusters = async || {
        let (_, set) = daemon.get("/v1/xds/resources?node=vm-1&type=cds").await;
        names(&set["cds"])
            .into_iter()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(clusters().await, ["outbound|9000||inventory.mesh.internal"]);
    assert!(!daemon.log().contains("needs a restart"), "{}", daemon.log());

    daemon
        .reload(&CONFIG.replace(listen, "xds: { listen: \"127.0.0.1:1\" }\n"))
        .await;
    assert!(
        daemon
            .log()
            .contains("the change of `xds.listen` needs a restart")
    );
    assert_eq!(clusters().await.len(), 2);
    daemon.reload(&CONFIG.replace(listen, "")).await;
    assert!(daemon.log().contains("the change of `xds` needs a restart"));
    assert_eq!(clusters().await.len(), 2);
}

#[test]
fn a_check_tells_which_certificates_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let tls = "xds: { tls: { certificate: a.pem, key: none.key } }";
    let config = CONFIG.replace("xds: { listen: \"127.0.0.1:0\" }", tls);
    for (name, text) in [("c.yaml", config.as_str()), ("vms.yaml", SERVICES), ("a.pem", "")] {
        std::fs::write(directory.path().join(name), text).unwrap();
    }
    let output = output(directory.path(), &["check", "--offline", "--config", "c.yaml"]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        errors(&output),
        "error: xds.tls.key: none.key: cannot be read: No such file or directory (os error 2)\n"
    );
}

#[tokio::test]
async fn a_port_that_is_taken_is_an_error_that_names_the_setting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    let config = CONFIG.replace(
        "xds: { listen: \"127.0.0.1:0\" }",
        &format!("xds: {{ listen: \"{address}\" }}"),
    );
    std::fs::write(directory.path().join("c.yaml"), config).unwrap();
    let output = output(directory.path(), &["run", "--config", "c.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        errors(&output),
        format!("error: xds.listen: cannot listen on {address}: Address already in use (os error 98)\n")
    );
}
