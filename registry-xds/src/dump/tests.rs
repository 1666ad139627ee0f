use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CommonLbConfig, DiscoveryType, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, OutlierDetection};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    AggregatedConfigSource, ApiVersion, ConfigSource, Metadata, UpstreamHttpProtocolOptions,
};
use envoy_types::pb::envoy::config::route::v3::{
    RetryPolicy, Route, RouteAction, RouteConfiguration, VirtualHost, route,
};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::HttpProtocolOptions;
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{
    Any, BoolValue, Duration, ListValue, Struct, UInt32Value, Value as ProtoValue,
};
use prost::Message as _;

use super::*;

fn dump(type_: ResourceType, message: &impl prost::Message) -> Value {
    Resource::new(type_, "a", message).to_json()
}

#[test]
fn a_cluster_reads_as_envoy_shows_it() {
    let options = HttpProtocolOptions {
        upstream_http_protocol_options: Some(UpstreamHttpProtocolOptions {
            auto_sni: true,
            ..UpstreamHttpProtocolOptions::default()
        }),
        ..HttpProtocolOptions::default()
    };
    let any = |type_: &str, value| Any {
        type_url: format!("type.googleapis.com/{type_}"),
        value,
    };
    let kind = |kind| ProtoValue { kind: Some(kind) };
    let list = ListValue {
        values: vec![kind(Kind::NumberValue(1.5)), kind(Kind::BoolValue(true))],
    };
    let labels = Struct {
        fields: [
            ("a".to_owned(), kind(Kind::StringValue("b".to_owned()))),
            ("c".to_owned(), kind(Kind::ListValue(list))),
        ]
        .into(),
    };
    let cluster = Cluster {
        name: "outbound|80||web".into(),
        cluster_discovery_type: Some(ClusterDiscoveryType::Type(DiscoveryType::Eds.into())),
        eds_cluster_config: Some(EdsClusterConfig {
            eds_config: Some(ConfigSource {
                resource_api_version: ApiVersion::V3.into(),
                config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
                ..ConfigSource::default()
            }),
            ..EdsClusterConfig::default()
        }),
        connect_timeout: Some(Duration {
            seconds: 1,
            nanos: 250_000_000,
        }),
        lb_policy: LbPolicy::Maglev.into(),
        common_lb_config: Some(CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            ..CommonLbConfig::default()
        }),
        outlier_detection: Some(OutlierDetection {
            consecutive_5xx: Some(UInt32Value { value: 5 }),
            max_ejection_percent: Some(UInt32Value { value: 0 }),
            successful_active_health_check_uneject_host: Some(BoolValue { value: false }),
            ..OutlierDetection::default()
        }),
        typed_extension_protocol_options: [
            (
                "http".to_owned(),
                any(
                    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    options.encode_to_vec(),
                ),
            ),
            ("other".to_owned(), any("no.such.Message", vec![0x08, 0x05])),
        ]
        .into(),
        metadata: Some(Metadata {
            filter_metadata: [("registryd".to_owned(), labels)].into(),
            ..Metadata::default()
        }),
        ..Cluster::default()
    };
    assert_eq!(
        dump(ResourceType::Cluster, &cluster),
        json!({
            "name": "outbound|80||web",
            "type": "EDS",
            "eds_cluster_config": { "eds_config": { "ads": {}, "resource_api_version": "V3" } },
            "connect_timeout": "1.250s",
            "lb_policy": "MAGLEV",
            "common_lb_config": { "healthy_panic_threshold": {} },
            "outlier_detection": {
                "consecutive_5xx": 5,
                "max_ejection_percent": 0,
                "successful_active_health_check_uneject_host": false,
            },
            "typed_extension_protocol_options": {
                "http": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "upstream_http_protocol_options": { "auto_sni": true },
                },
                "other": { "@type": "type.googleapis.com/no.such.Message", "#1": 5 },
            },
            "metadata": { "filter_metadata": { "registryd": { "a": "b", "c": [1.5, true] } } },
        })
    );
}

#[test]
fn routes_read_in_their_order_with_packed_numbers() {
    let route = |prefix: u32| Route {
        name: prefix.to_string(),
        action: Some(route::Action::Route(RouteAction {
            timeout: Some(Duration::default()),
            retry_policy: Some(RetryPolicy {
                retriable_status_codes: vec![503, prefix],
                ..RetryPolicy::default()
            }),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let routes = RouteConfiguration {
        virtual_hosts: vec![VirtualHost {
            domains: vec!["b".into(), "a".into()],
            routes: vec![route(1), route(2)],
            ..VirtualHost::default()
        }],
        ..RouteConfiguration::default()
    };
    let shown = |number: u32| {
        json!({ "name": number.to_string(),
                "route": { "timeout": "0s", "retry_policy": { "retriable_status_codes": [503, number] } } })
    };
    assert_eq!(
        dump(ResourceType::Route, &routes),
        json!({ "virtual_hosts": [{ "domains": ["b", "a"], "routes": [shown(1), shown(2)] }] })
    );
}

#[test]
fn what_is_not_known_is_shown_by_its_number_and_what_is_broken_ends() {
    // Field 1 000, a number, twice; then a text that is longer than what is left.
    let body = [
        0xc0, 0x3e, 0x01, 0xc0, 0x3e, 0x02, 0x0a, 0x02, b'a', b'b', 0x0a, 0x7f,
    ];
    let resource = Resource::from_body(ResourceType::Endpoints, "a", &body);
    assert_eq!(
        resource.to_json(),
        json!({ "#1000": [1, 2], "cluster_name": "ab" })
    );
    assert_eq!(
        Resource::from_body(ResourceType::Cluster, "a", &[0xff; 20]).to_json(),
        json!({})
    );
}

#[test]
fn a_message_nested_without_end_is_not_followed_for_ever() {
    // A structure in a structure: a `Value` whose field 5 is a `Struct` whose only entry is such a `Value`.
    let mut value = ProtoValue {
        kind: Some(Kind::NullValue(0)),
    };
    for _ in 0..200 {
        let fields = [(String::new(), value)].into();
        value = ProtoValue {
            kind: Some(Kind::StructValue(Struct { fields })),
        };
    }
    let Some(Kind::StructValue(structure)) = value.kind else {
        panic!("a structure");
    };
    let cluster = Cluster {
        metadata: Some(Metadata {
            filter_metadata: [("a".to_owned(), structure)].into(),
            ..Metadata::default()
        }),
        ..Cluster::default()
    };
    assert!(dump(ResourceType::Cluster, &cluster)["metadata"]["filter_metadata"]["a"].is_object());
}

#[test]
fn all_resources_are_listed_by_type_and_name() {
    let mut set = ResourceSet::default();
    for name in ["b", "a"] {
        let cluster = Cluster {
            name: name.into(),
            ..Cluster::default()
        };
        set.insert(std::sync::Arc::new(Resource::new(
            ResourceType::Cluster,
            name,
            &cluster,
        )));
    }
    let json = set.to_json();
    assert_eq!(json["cds"][0]["name"], "a");
    assert_eq!(json["cds"][1]["resource"], json!({ "name": "b" }));
    assert_eq!(json["cds"][0]["version"].as_str().map(str::len), Some(16));
    assert_eq!((&json["eds"], &json["rds"]), (&json!([]), &json!([])));
}
