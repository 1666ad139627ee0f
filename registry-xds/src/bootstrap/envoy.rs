//! Bootstraps of Envoy.

use std::net::IpAddr;
use std::path::Path;

use super::document::Document;
use super::{Bootstrap, SdsAgent, host_and_port};
use crate::session::Variant;
use Document::{Bool, List, Map, Number};

/// What stands above it.
pub(super) const HOW_TO_RUN: &str = "\
# Everything else comes from registryd. To be run with `envoy -c <this file>`; several on one host need a number each:
# `--base-id 1`, `--base-id 2` and so on, and an administration port each.
";

/// The cluster that leads to us.
const CLUSTER: &str = "registryd_xds";

pub(super) fn document(bootstrap: &Bootstrap) -> Document {
    let mut root = vec![("node", bootstrap.node())];
    if let Some(admin) = bootstrap.admin {
        let address = socket_address(&admin.ip().to_string(), admin.port().into());
        root.push(("admin", Map(vec![("address", address)])));
    }
    root.push(("dynamic_resources", dynamic_resources(bootstrap.variant)));
    let mut clusters = vec![cluster(bootstrap)];
    clusters.extend(bootstrap.sds.iter().map(agent));
    root.push(("static_resources", Map(vec![("clusters", List(clusters))])));
    Map(root)
}

fn dynamic_resources(variant: Variant) -> Document {
    let api_type = match variant {
        Variant::Sotw => "GRPC",
        Variant::Delta => "DELTA_GRPC",
    };
    let service = Map(vec![("envoy_grpc", Map(vec![("cluster_name", CLUSTER.into())]))]);
    // Envoy would otherwise begin after 15 s with whatever it has, which may be nothing.
    let config = Map(vec![
        ("resource_api_version", "V3".into()),
        ("initial_fetch_timeout", "0s".into()),
        ("ads", Map(vec![])),
    ]);
    Map(vec![
        (
            "ads_config",
            Map(vec![
                ("api_type", api_type.into()),
                ("transport_api_version", "V3".into()),
                ("set_node_on_first_message_only", Bool(true)),
                ("grpc_services", List(vec![service])),
            ]),
        ),
        ("cds_config", config.clone()),
        ("lds_config", config),
    ])
}

fn cluster(bootstrap: &Bootstrap) -> Document {
    let servers: Vec<(&str, u64)> = bootstrap
        .servers
        .iter()
        .map(|server| host_and_port(server))
        .collect();
    let is_address = |(host, _): &(&str, u64)| host.parse::<IpAddr>().is_ok();
    let named = !servers.iter().all(is_address);
    let mut cluster = vec![
        ("name", CLUSTER.into()),
        ("type", if named { "STRICT_DNS" } else { "STATIC" }.into()),
        ("connect_timeout", "1s".into()),
    ];
    if named {
        cluster.push(("dns_lookup_family", "ALL".into()));
    }
    if servers.len() > 1 || named {
        cluster.push(("outlier_detection", outlier_detection()));
    }
    // A server that hangs, or whose host is gone, is noticed by pings alone.
    let keepalive = Map(vec![("interval", "20s".into()), ("timeout", "5s".into())]);
    cluster.push(http2(Map(vec![("connection_keepalive", keepalive)])));
    if let Some(ca) = &bootstrap.tls_ca {
        cluster.push(("transport_socket", transport_socket(bootstrap, ca, &servers)));
    }
    let endpoints = servers.iter().enumerate().map(|(priority, (host, port))| {
        let endpoint = Map(vec![("address", socket_address(host, *port))]);
        Map(vec![
            ("priority", Number(priority as u64)),
            ("lb_endpoints", List(vec![Map(vec![("endpoint", endpoint)])])),
        ])
    });
    cluster.push((
        "load_assignment",
        Map(vec![
            ("cluster_name", CLUSTER.into()),
            ("endpoints", List(endpoints.collect())),
        ]),
    ));
    Map(cluster)
}

/// The cluster of an agent on the same machine.
fn agent(agent: &SdsAgent) -> Document {
    let path = (&*agent.socket.to_string_lossy()).into();
    let address = Map(vec![("pipe", Map(vec![("path", path)]))]);
    let endpoint = Map(vec![("address", address)]);
    let endpoints = Map(vec![(
        "lb_endpoints",
        List(vec![Map(vec![("endpoint", endpoint)])]),
    )]);
    Map(vec![
        ("name", agent.cluster.as_str().into()),
        ("type", "STATIC".into()),
        ("connect_timeout", "1s".into()),
        http2(Map(vec![])),
        (
            "load_assignment",
            Map(vec![
                ("cluster_name", agent.cluster.as_str().into()),
                ("endpoints", List(vec![endpoints])),
            ]),
        ),
    ])
}

/// A part of a cluster: HTTP/2, which gRPC needs.
fn http2(options: Document) -> (&'static str, Document) {
    let protocol = Map(vec![
        (
            "@type",
            "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions".into(),
        ),
        (
            "explicit_http_config",
            Map(vec![("http2_protocol_options", options)]),
        ),
    ]);
    let name = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    ("typed_extension_protocol_options", Map(vec![(name, protocol)]))
}

/// One stream that broke off is enough to try the next server: there is one stream, and it lasts.
fn outlier_detection() -> Document {
    Map(vec![
        ("consecutive_5xx", Number(1)),
        ("interval", "1s".into()),
        ("base_ejection_time", "10s".into()),
        ("max_ejection_percent", Number(100)),
    ])
}

fn transport_socket(bootstrap: &Bootstrap, ca: &Path, servers: &[(&str, u64)]) -> Document {
    let file = |path: &Path| Map(vec![("filename", (&*path.to_string_lossy()).into())]);
    let names: Vec<&str> = match &bootstrap.tls_name {
        Some(name) => vec![name.as_str()],
        None => servers.iter().map(|(host, _)| *host).collect(),
    };
    let is_address = |name: &str| name.parse::<IpAddr>().is_ok();
    let matchers = names.iter().map(|name| {
        let kind = if is_address(name) { "IP_ADDRESS" } else { "DNS" };
        let matcher = Map(vec![("exact", (*name).into())]);
        Map(vec![("san_type", kind.into()), ("matcher", matcher)])
    });
    let validation = Map(vec![
        ("trusted_ca", file(ca)),
        ("match_typed_subject_alt_names", List(matchers.collect())),
    ]);
    let mut common = vec![
        ("alpn_protocols", List(vec!["h2".into()])),
        ("validation_context", validation),
    ];
    if let Some((certificate, key)) = &bootstrap.tls_client {
        let certificate = Map(vec![
            ("certificate_chain", file(certificate)),
            ("private_key", file(key)),
        ]);
        common.push(("tls_certificates", List(vec![certificate])));
    }
    let mut context = vec![(
        "@type",
        "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext".into(),
    )];
    if let Some(name) = names.iter().find(|name| !is_address(name)) {
        context.push(("sni", (*name).into()));
    }
    context.push(("common_tls_context", Map(common)));
    Map(vec![
        ("name", "envoy.transport_sockets.tls".into()),
        ("typed_config", Map(context)),
    ])
}

fn socket_address(address: &str, port: u64) -> Document {
    let place = Map(vec![("address", address.into()), ("port_value", Number(port))]);
    Map(vec![("socket_address", place)])
}
