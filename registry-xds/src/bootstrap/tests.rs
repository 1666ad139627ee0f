use serde_json::{Value, json};

use super::*;

fn bootstrap(kind: Kind, servers: &[&str]) -> Bootstrap {
    Bootstrap {
        kind,
        servers: servers.iter().map(|server| (*server).to_owned()).collect(),
        variant: Variant::Delta,
        node_id: "vm-1".into(),
        node_cluster: "vms".into(),
        locality: registry_core::Locality::default(),
        network: None,
        services: Vec::new(),
        admin: Some(SocketAddr::from(([127, 0, 0, 1], 15000))),
        tls_ca: None,
        tls_name: None,
        tls_client: None,
        sds: Vec::new(),
    }
}

fn json_of(bootstrap: &Bootstrap) -> Value {
    serde_json::from_str(&bootstrap.render(BootstrapFormat::Json)).expect("JSON")
}

#[test]
fn a_bootstrap_of_envoy_says_no_more_than_where_we_are() {
    let yaml = bootstrap(Kind::Envoy, &["127.0.0.1:7381"]).render(BootstrapFormat::Yaml);
    assert_eq!(
        yaml,
        "\
# Everything else comes from registryd. To be run with `envoy -c <this file>`; several on one host need a number each:
# `--base-id 1`, `--base-id 2` and so on, and an administration port each.
node:
  id: vm-1
  cluster: vms
admin:
  address:
    socket_address:
      address: \"127.0.0.1\"
      port_value: 15000
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services:
      - envoy_grpc:
          cluster_name: registryd_xds
  cds_config:
    resource_api_version: V3
    initial_fetch_timeout: \"0s\"
    ads: {}
  lds_config:
    resource_api_version: V3
    initial_fetch_timeout: \"0s\"
    ads: {}
static_resources:
  clusters:
    - name: registryd_xds
      type: STATIC
      connect_timeout: \"1s\"
      typed_extension_protocol_options:
        envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
          \"@type\": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
          explicit_http_config:
            http2_protocol_options:
              connection_keepalive:
                interval: \"20s\"
                timeout: \"5s\"
      load_assignment:
        cluster_name: registryd_xds
        endpoints:
          - priority: 0
            lb_endpoints:
              - endpoint:
                  address:
                    socket_address:
                      address: \"127.0.0.1\"
                      port_value: 7381
"
    );
}

#[test]
fn several_servers_are_taken_in_order_and_left_when_they_fail() {
    let value = json_of(&bootstrap(
        Kind::Envoy,
        &["xds-1.mesh:7400", "[::1]:7401", "xds-3.mesh"],
    ));
    let cluster = &value["static_resources"]["clusters"][0];
    assert_eq!(cluster["type"], "STRICT_DNS");
    assert_eq!(cluster["outlier_detection"]["consecutive_5xx"], 1);
    let at = |index: usize| {
        let endpoint = &cluster["load_assignment"]["endpoints"][index];
        let address = &endpoint["lb_endpoints"][0]["endpoint"]["address"]["socket_address"];
        (endpoint["priority"].clone(), address.clone())
    };
    assert_eq!(
        at(0),
        (json!(0), json!({ "address": "xds-1.mesh", "port_value": 7400 }))
    );
    assert_eq!(at(1), (json!(1), json!({ "address": "::1", "port_value": 7401 })));
    assert_eq!(
        at(2),
        (json!(2), json!({ "address": "xds-3.mesh", "port_value": 7381 }))
    );
}

#[test]
fn what_a_node_is_and_wants_is_in_its_description() {
    let mut wanted = bootstrap(Kind::Envoy, &["127.0.0.1:7381"]);
    wanted.variant = Variant::Sotw;
    wanted.admin = None;
    wanted.locality.region = "eu".into();
    wanted.locality.zone = "eu-1".into();
    wanted.network = Some("dc1".into());
    wanted.services = vec!["*.mesh".into(), "a: \"b\"\n".into()];
    let value = json_of(&wanted);
    assert_eq!(
        value["node"],
        json!({ "id": "vm-1", "cluster": "vms", "locality": { "region": "eu", "zone": "eu-1" },
                "metadata": { "registryd.services": ["*.mesh", "a: \"b\"\n"], "registryd.network": "dc1" } })
    );
    assert_eq!(value["dynamic_resources"]["ads_config"]["api_type"], "GRPC");
    assert_eq!(value["admin"], Value::Null);
    let yaml = wanted.render(BootstrapFormat::Yaml);
    assert!(yaml.contains("- \"a: \\\"b\\\"\\n\"\n"), "{yaml}");
}

#[test]
fn tls_checks_the_name_of_the_server_and_shows_our_own_certificate() {
    let mut secured = bootstrap(Kind::Envoy, &["xds.mesh:7381", "10.0.0.1:7381"]);
    secured.tls_ca = Some("/ca.pem".into());
    secured.tls_client = Some(("/me.pem".into(), "/me.key".into()));
    let context = |secured: &Bootstrap| {
        let value = json_of(secured);
        value["static_resources"]["clusters"][0]["transport_socket"]["typed_config"].clone()
    };
    assert_eq!(
        context(&secured),
        json!({
            "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
            "sni": "xds.mesh",
            "common_tls_context": {
                "alpn_protocols": ["h2"],
                "validation_context": {
                    "trusted_ca": { "filename": "/ca.pem" },
                    "match_typed_subject_alt_names": [
                        { "san_type": "DNS", "matcher": { "exact": "xds.mesh" } },
                        { "san_type": "IP_ADDRESS", "matcher": { "exact": "10.0.0.1" } },
                    ],
                },
                "tls_certificates": [
                    { "certificate_chain": { "filename": "/me.pem" }, "private_key": { "filename": "/me.key" } },
                ],
            },
        })
    );
    secured.tls_name = Some("registryd.mesh".into());
    let context = context(&secured);
    let names = &context["common_tls_context"]["validation_context"]["match_typed_subject_alt_names"];
    assert_eq!(names.as_array().map(Vec::len), Some(1));
    assert_eq!(context["sni"], "registryd.mesh");
}

#[test]
fn envoy_finds_the_agents_beside_it_at_their_sockets() {
    let mut wanted = bootstrap(Kind::Envoy, &["127.0.0.1:7381"]);
    wanted.sds = vec![SdsAgent {
        cluster: "spire_agent".into(),
        socket: "/run/spire/api.sock".into(),
    }];
    let value = json_of(&wanted);
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    assert_eq!(
        value["static_resources"]["clusters"][1],
        json!({
            "name": "spire_agent",
            "type": "STATIC",
            "connect_timeout": "1s",
            "typed_extension_protocol_options": { options: {
                "@type": format!("type.googleapis.com/{options}"),
                "explicit_http_config": { "http2_protocol_options": {} },
            } },
            "load_assignment": {
                "cluster_name": "spire_agent",
                "endpoints": [{ "lb_endpoints": [
                    { "endpoint": { "address": { "pipe": { "path": "/run/spire/api.sock" } } } },
                ] }],
            },
        })
    );
    assert_eq!(
        value["static_resources"]["clusters"].as_array().map(Vec::len),
        Some(2)
    );
}

#[test]
fn a_bootstrap_of_grpc_is_json_in_either_format() {
    let mut grpc = bootstrap(Kind::Grpc, &["127.0.0.1:7381", "10.0.0.2:7381"]);
    assert_eq!(
        grpc.render(BootstrapFormat::Yaml),
        grpc.render(BootstrapFormat::Json)
    );
    let server = |uri: &str, credentials: Value| json!({ "server_uri": uri, "channel_creds": [credentials], "server_features": ["xds_v3"] });
    let insecure = json!({ "type": "insecure" });
    assert_eq!(
        json_of(&grpc),
        json!({
            "xds_servers": [server("127.0.0.1:7381", insecure.clone()), server("10.0.0.2:7381", insecure)],
            "node": { "id": "vm-1", "cluster": "vms" },
        })
    );
    grpc.tls_ca = Some("/ca.pem".into());
    grpc.tls_client = Some(("/me.pem".into(), "/me.key".into()));
    let credentials = &json_of(&grpc)["xds_servers"][0]["channel_creds"][0];
    assert_eq!(
        *credentials,
        json!({ "type": "tls", "config": {
            "ca_certificate_file": "/ca.pem", "certificate_file": "/me.pem", "private_key_file": "/me.key",
        } })
    );
}

#[test]
fn texts_that_look_like_something_else_are_quoted() {
    let document = Document::Map(vec![
        ("a", "yes".into()),
        ("b", "10".into()),
        ("c", "".into()),
        (
            "d",
            Document::List(vec![Document::Map(vec![("e", Document::List(vec![]))])]),
        ),
        ("f", "a#b".into()),
    ]);
    assert_eq!(
        document.yaml(),
        "a: \"yes\"\nb: \"10\"\nc: \"\"\nd:\n  - e: []\nf: \"a#b\"\n"
    );
}
