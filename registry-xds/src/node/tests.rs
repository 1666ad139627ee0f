//! Nodes and views from what clients say of themselves.

use std::collections::HashMap;

use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::envoy::config::core::v3::{BuildVersion, Locality as ProtoLocality};
use envoy_types::pb::envoy::r#type::v3::SemanticVersion;
use envoy_types::pb::google::protobuf::value::Kind as ProtoKind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value as ProtoValue};

use super::*;
use crate::config::GatewayConfig;

fn value(kind: ProtoKind) -> ProtoValue {
    ProtoValue { kind: Some(kind) }
}

fn text(text: &str) -> ProtoValue {
    value(ProtoKind::StringValue(text.to_owned()))
}

fn object(fields: impl IntoIterator<Item = (&'static str, ProtoValue)>) -> Struct {
    let fields = fields.into_iter().map(|(key, value)| (key.to_owned(), value));
    Struct {
        fields: fields.collect(),
    }
}

#[test]
fn a_request_describes_a_node_with_nested_metadata() {
    let list = ListValue {
        values: vec![text("web.*"), text("api.*")],
    };
    let ours = object([
        ("services", value(ProtoKind::ListValue(list))),
        ("outbound", value(ProtoKind::NumberValue(15_002.0))),
    ]);
    let node = Node::from_proto(&ProtoNode {
        id: "vm-1".to_owned(),
        cluster: "vm".to_owned(),
        user_agent_name: "envoy".to_owned(),
        user_agent_version_type: Some(UserAgentVersionType::UserAgentBuildVersion(BuildVersion {
            version: Some(SemanticVersion {
                major_number: 1,
                minor_number: 40,
                patch: 0,
            }),
            metadata: None,
        })),
        locality: Some(ProtoLocality {
            region: "eu".to_owned(),
            zone: "eu-1a".to_owned(),
            sub_zone: String::new(),
        }),
        metadata: Some(object([
            ("registryd", value(ProtoKind::StructValue(ours))),
            ("registryd.network", text("blue")),
        ])),
        ..ProtoNode::default()
    });
    assert_eq!(
        (node.user_agent.as_str(), node.kind()),
        ("envoy 1.40.0", Kind::Envoy)
    );
    assert_eq!(node.locality.zone, "eu-1a");
    let metadata: Vec<(&str, &str)> = node
        .metadata
        .iter()
        .map(|(k, v)| (k.as_str(), v.as_str()))
        .collect();
    assert_eq!(
        metadata,
        [
            ("registryd.network", "blue"),
            ("registryd.outbound", "15002"),
            ("registryd.services", "web.*,api.*"),
        ]
    );
}

#[test]
fn a_stranger_cannot_describe_itself_without_end() {
    let long = "ö".repeat(20_000);
    let items = vec![text("some-service.mesh.internal"); 10_000];
    let mut fields: HashMap<String, ProtoValue> = (0..500).map(|n| (format!("a{n}"), text(&long))).collect();
    fields.insert(
        "registryd.services".to_owned(),
        value(ProtoKind::ListValue(ListValue { values: items })),
    );
    let mut deep = object([("end", text("x"))]);
    for _ in 0..90 {
        deep = object([("d", value(ProtoKind::StructValue(deep)))]);
    }
    fields.insert("deep".to_owned(), value(ProtoKind::StructValue(deep)));
    let node = Node::from_proto(&ProtoNode {
        id: long.clone(),
        cluster: long.clone(),
        user_agent_name: long.clone(),
        metadata: Some(Struct { fields }),
        client_features: vec![long.clone(); 1_000],
        ..ProtoNode::default()
    });
    assert!(node.id.len() <= 256 && node.cluster.len() <= 256 && node.user_agent.len() <= 256);
    assert_eq!((node.metadata.len(), node.features.len()), (128, 64));
    assert!(node.metadata.values().all(|value| value.len() <= 16 * 1024));
    let services = &node.metadata["registryd.services"];
    assert!(
        services
            .split(',')
            .all(|item| item == "some-service.mesh.internal")
    );
}

#[test]
fn the_node_of_a_bootstrap_is_read_and_anything_else_is_the_id_of_an_envoy() {
    let node = Node::parse(
        r#"{ "id": "grpc-1", "cluster": "vm", "user_agent_name": "gRPC Go", "userAgentVersion": "1.85.1",
             "locality": { "region": "eu", "zone": "eu-1a", "subZone": "rack-1" },
             "metadata": { "registryd.services": "a, b", "n": 1.5, "flag": true, "none": null },
             "client_features": ["envoy.lb.does_not_support_overprovisioning"], "extensions": [] }"#,
    )
    .unwrap();
    assert_eq!(
        (node.kind(), node.user_agent.as_str()),
        (Kind::Grpc, "gRPC Go 1.85.1")
    );
    assert_eq!(
        (node.id.as_str(), node.locality.sub_zone.as_str()),
        ("grpc-1", "rack-1")
    );
    assert_eq!(
        (node.metadata["n"].as_str(), node.metadata["flag"].as_str()),
        ("1.5", "true")
    );
    assert_eq!((node.metadata.len(), node.features.len()), (3, 1));

    let node = Node::parse(" vm-7 ").unwrap();
    assert_eq!((node.id.as_str(), node.kind()), ("vm-7", Kind::Envoy));
}

#[test]
fn a_description_that_cannot_be_meant_says_what_is_wrong() {
    for (text, problem) in [
        ("", "node: found nothing, expected an id or a JSON object"),
        (r#"{ "id": 5 }"#, "node: id: found 5, expected a text"),
        (
            r#"{ "metadata": [] }"#,
            "node: metadata: found [], expected an object",
        ),
        (
            r#"{ "locality": "eu" }"#,
            "node: locality: found \"eu\", expected an object",
        ),
        (
            r#"{ "client_features": 1 }"#,
            "node: client_features: found 1, expected a list",
        ),
    ] {
        assert_eq!(Node::parse(text).unwrap_err().to_string(), problem);
    }
    assert!(
        Node::parse("{")
            .unwrap_err()
            .to_string()
            .starts_with("node: no JSON: ")
    );
}

fn node(metadata: &[(&str, &str)]) -> Node {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Node {
        metadata: metadata.collect(),
        locality: Locality {
            region: "eu".into(),
            zone: "eu-1a".into(),
            sub_zone: "rack-1".into(),
        },
        ..Node::default()
    }
}

#[test]
fn a_view_holds_only_what_makes_a_difference() {
    let said = node(&[
        ("registryd.network", "blue"),
        ("registryd.outbound", "15001"),
        ("zone", "x"),
    ]);
    let mut config = XdsConfig::default();
    assert_eq!(View::of(&said, &config), View::of(&Node::default(), &config));

    config.locality = LocalityMode::Nearest;
    let gateway = GatewayConfig {
        gateways: vec!["10.0.0.1:443".parse().unwrap()],
    };
    config.networks.insert("green".to_owned(), gateway.clone());
    let view = View::of(&said, &config);
    assert_eq!(
        (view.locality.zone.as_str(), view.locality.sub_zone.as_str()),
        ("eu-1a", "")
    );
    assert_eq!(
        view.network, "",
        "no other network's endpoints are reached in another way from there"
    );

    config.networks.insert("blue".to_owned(), gateway);
    assert_eq!(View::of(&said, &config).network, "blue");
}

#[test]
fn nodes_that_want_the_same_services_share_a_view() {
    let config = XdsConfig::default();
    let view = |list: &str| View::of(&node(&[("registryd.services", list)]), &config);
    assert_eq!(view("B.mesh., a.mesh,,a.mesh").services, ["a.mesh", "b.mesh"]);
    assert_eq!(view("a.mesh,b.mesh"), view(" b.mesh ,a.mesh"));
    assert_eq!(view("a.mesh,*"), view(""));
    assert_eq!(view(&"x".repeat(300)), view(""), "it can match no hostname");
    let endless: Vec<String> = (0..5_000).map(|n| format!("s{n}")).collect();
    assert_eq!(view(&endless.join(",")).services.len(), PATTERNS);
}

#[test]
fn an_envoy_may_choose_its_shared_listener() {
    let config = XdsConfig::default();
    for (said, expected) in [
        ("15006", Some("127.0.0.1:15006")),
        ("[::1]:15006", Some("[::1]:15006")),
        ("127.0.0.1:15001", None),
        ("0", None),
        ("127.0.0.1:0", None),
        ("70000", None),
        ("anywhere", None),
    ] {
        let said = node(&[("registryd.outbound", said)]);
        let expected: Option<SocketAddr> = expected.map(|address| address.parse().unwrap());
        assert_eq!(View::of(&said, &config).outbound, expected);
    }
    let mut grpc = node(&[("registryd.outbound", "15006")]);
    grpc.user_agent = "gRPC C-core linux Python".to_owned();
    let view = View::of(&grpc, &config);
    assert_eq!((view.kind, view.outbound), (Kind::Grpc, None));
}
