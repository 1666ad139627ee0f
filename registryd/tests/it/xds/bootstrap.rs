//! Bootstraps, as the command prints them.

use std::path::Path;

use serde_json::{Value, json};

use crate::daemon::{errors, output, printed};

const REGISTRIES: &str = "registries: [{ name: vms, file: { path: vms.yaml } }]\n";

/// Runs `bootstrap` with that section `xds`; the exit code, and what was printed or said.
fn bootstrap(xds: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("c.yaml"), format!("{REGISTRIES}{xds}\n")).unwrap();
    run(directory.path(), arguments)
}

fn run(directory: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let mut all = vec!["bootstrap"];
    all.extend(arguments);
    all.extend(["--config", "c.yaml"]);
    let output = output(directory, &all);
    let said = if output.status.success() {
        printed(&output)
    } else {
        errors(&output)
    };
    (output.status.code(), said)
}

fn json_of(xds: &str, arguments: &[&str]) -> Value {
    let (code, text) = bootstrap(xds, arguments);
    assert_eq!(code, Some(0), "{text}");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn envoy_finds_the_daemon_where_it_listens() {
    let value = json_of(
        "xds: { listen: \"127.0.0.1:7400\" }",
        &["envoy", "--node-id", "vm-1", "--format", "json"],
    );
    assert_eq!(value["node"], json!({ "id": "vm-1", "cluster": "default" }));
    assert_eq!(value["dynamic_resources"]["ads_config"]["api_type"], "DELTA_GRPC");
    let address = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
    assert_eq!(
        value.pointer(address),
        Some(&json!({ "address": "127.0.0.1", "port_value": 7400 }))
    );
    assert_eq!(
        value["admin"]["address"]["socket_address"],
        json!({ "address": "127.0.0.1", "port_value": 15000 })
    );
    // Without a name a node is called as its host.
    let named = json_of("xds: {}", &["envoy", "--format", "json"]);
    assert!(named["node"]["id"].as_str().is_some_and(|id| !id.is_empty()));
}

#[test]
fn all_that_is_said_of_a_node_is_in_its_bootstrap() {
    let value = json_of(
        "xds: {}",
        &[
            "envoy",
            "--sotw",
            "--no-admin",
            "--format",
            "json",
            "--node-id",
            "a",
            "--node-cluster",
            "web",
            "--region",
            "eu",
            "--zone",
            "eu-1",
            "--sub-zone",
            "r1",
            "--network",
            "dc1",
            "--service",
            "*.mesh",
            "--service",
            "a.b",
            "--server",
            "one.mesh:7381",
            "--server",
            "[::1]:7382",
            "--tls-ca",
            "/ca.pem",
            "--tls-cert",
            "/a.pem",
            "--tls-key",
            "/a.key",
            "--tls-name",
            "xds.mesh",
        ],
    );
    assert_eq!(
        value["node"],
        json!({ "id": "a", "cluster": "web", "locality": { "region": "eu", "zone": "eu-1", "sub_zone": "r1" },
                "metadata": { "registryd.services": ["*.mesh", "a.b"], "registryd.network": "dc1" } })
    );
    assert_eq!(value["dynamic_resources"]["ads_config"]["api_type"], "GRPC");
    assert_eq!(value["admin"], Value::Null);
    let cluster = &value["static_resources"]["clusters"][0];
    assert_eq!(cluster["type"], "STRICT_DNS");
    assert_eq!(cluster["load_assignment"]["endpoints"][1]["priority"], 1);
    let context = &cluster["transport_socket"]["typed_config"];
    assert_eq!(context["sni"], "xds.mesh");
    assert_eq!(
        context["common_tls_context"]["validation_context"]["trusted_ca"]["filename"],
        "/ca.pem"
    );
}

#[test]
fn grpc_gets_json_with_its_credentials() {
    let tls = "xds: { listen: \"127.0.0.1:7381\", tls: { certificate: a.pem, key: a.key } }";
    let value = json_of(tls, &["grpc", "--node-id", "g", "--tls-ca", "/ca.pem"]);
    assert_eq!(
        value,
        json!({
            "xds_servers": [{
                "server_uri": "127.0.0.1:7381",
                "channel_creds": [{ "type": "tls", "config": { "ca_certificate_file": "/ca.pem" } }],
                "server_features": ["xds_v3"],
            }],
            "node": { "id": "g", "cluster": "default" },
        })
    );
}

#[test]
fn grpc_gets_the_providers_of_certificates_that_services_need() {
    let provider = "{ hosts: \"*\", source: { provider: { instance: spire } } }";
    let xds = format!("xds: {{ upstream_tls: [{provider}] }}");
    let arguments = [
        "grpc",
        "--provider-cert",
        "/me.pem",
        "--provider-key",
        "/me.key",
        "--provider-ca",
        "/ca.pem",
    ];
    let value = json_of(&xds, &arguments);
    let files = json!({
        "certificate_file": "/me.pem", "private_key_file": "/me.key", "ca_certificate_file": "/ca.pem",
    });
    assert_eq!(
        value["certificate_providers"],
        json!({ "spire": { "plugin_name": "file_watcher", "config": files } })
    );
    let (code, said) = bootstrap(&xds, &["grpc"]);
    let expected = "xds.upstream_tls with provider \"spire\", expected --provider-cert";
    assert!(code == Some(2) && said.contains(expected), "{code:?} {said}");
    let (code, said) = bootstrap("xds: {}", &arguments);
    assert!(
        code == Some(2) && said.contains("found no provider"),
        "{code:?} {said}"
    );
}

#[test]
fn envoy_gets_the_clusters_of_the_agent_that_services_need() {
    let rule = |cluster: &str| {
        format!(
            "{{ hosts: \"*\", source: {{ sds: {{ cluster: {cluster}, certificate: a, validation: b }} }} }}"
        )
    };
    let xds = format!(
        "xds: {{ upstream_tls: [{}, {}, {}] }}",
        rule("two"),
        rule("one"),
        rule("two")
    );
    let value = json_of(
        &xds,
        &["envoy", "--format", "json", "--sds-socket", "/run/agent.sock"],
    );
    let clusters = value["static_resources"]["clusters"].as_array().unwrap();
    let names: Vec<&Value> = clusters.iter().map(|cluster| &cluster["name"]).collect();
    assert_eq!(names, ["registryd_xds", "one", "two"]);
    let path = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path";
    assert_eq!(clusters[2].pointer(path), Some(&json!("/run/agent.sock")));

    // Who leads there some other way is reminded to.
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("c.yaml"), format!("{REGISTRIES}{xds}\n")).unwrap();
    let output = output(directory.path(), &["bootstrap", "envoy", "--config", "c.yaml"]);
    assert!(output.status.success(), "{output:?}");
    let said = errors(&output);
    assert!(
        said.contains("the SDS cluster \"one\", which this bootstrap lacks"),
        "{said}"
    );
    assert!(!printed(&output).contains("pipe"), "{output:?}");
}

#[test]
fn what_cannot_work_is_refused() {
    let mutual = "xds: { listen: \"127.0.0.1:7381\", tls: { certificate: a, key: b, client_ca: c } }";
    for (xds, arguments, expected) in [
        (
            "",
            &["envoy"][..],
            "the configuration has no section `xds`, expected one",
        ),
        (
            "xds: { listen: \"0.0.0.0:7381\", insecure: true }",
            &["envoy"],
            "xds.listen: 0.0.0.0:7381 is no address that a node can reach, expected --server",
        ),
        (
            "xds: { listen: \"127.0.0.1:0\" }",
            &["grpc"],
            "xds.listen: 127.0.0.1:0 has a port that only the running daemon knows, expected --server",
        ),
        (
            "xds: {}",
            &["envoy", "--server", "mesh"],
            "--server: found \"mesh\", expected a host and a port",
        ),
        (
            "xds: {}",
            &["envoy", "--server", "a:b:1"],
            "--server: found \"a:b:1\", expected a host and a port",
        ),
        (
            "xds: {}",
            &["envoy", "--node-id", ""],
            "--node-id: found nothing, expected a name",
        ),
        (
            mutual,
            &["envoy"],
            "the configuration has xds.tls, expected --tls-ca",
        ),
        (
            mutual,
            &["envoy", "--tls-ca", "/ca"],
            "the configuration has xds.tls.client_ca, expected --tls-cert and --tls-key",
        ),
        (
            "xds: {}",
            &["envoy", "--tls-cert", "/a"],
            "required arguments were not provided",
        ),
        ("xds: {}", &["envoy", "--sotw", "--delta"], "cannot be used with"),
        (
            "xds: {}",
            &["envoy", "--sds-socket", "/run/agent.sock"],
            "--sds-socket: found no SDS in the configuration",
        ),
        (
            "xds: { upstream_tls: [{ hosts: \"*\", source: { sds: { cluster: c, certificate: a, validation: b } } }] }",
            &["envoy", "--sds-socket", "agent.sock"],
            "--sds-socket: found \"agent.sock\", expected a path from the root",
        ),
    ] {
        let (code, said) = bootstrap(xds, arguments);
        assert!(
            code == Some(2) && said.contains(expected),
            "{arguments:?}: {code:?} {said}"
        );
    }
}
