use serde_json::{Value, json};

use super::*;

fn config(fields: Value) -> XdsConfig {
    serde_json::from_value(fields).expect("a configuration")
}

/// What is wrong with a configuration, as `field: found, expected`.
fn faults(fields: Value) -> Vec<String> {
    let told = |fault: Fault| {
        let path: String = fault.path.iter().map(ToString::to_string).collect();
        format!("{}: {}, {}", &path[1..], fault.found, fault.expected)
    };
    config(fields).faults().into_iter().map(told).collect()
}

#[test]
fn the_defaults_and_a_configuration_with_everything_are_fine() {
    XdsConfig::default().check().unwrap();
    let everything = json!({
        "listen": "0.0.0.0:7381",
        "tls": { "certificate": "a.pem", "key": "a.key", "client_ca": "ca.pem", "clients": ["spiffe://mesh/*"] },
        "services": ["*.mesh.internal"],
        "exclude_services": ["secret.*"],
        "outbound": { "listen": "127.0.0.1:15001", "layout": "vips" },
        "local_ports": { "cache.mesh.internal": 16379, "db.mesh.internal:mongo": "127.0.0.5:27017" },
        "protocols": [{ "hosts": "cache.*", "port": "6379", "protocol": "redis" }],
        "subsets": [{ "hosts": "web.*", "subsets": [{ "name": "v1", "labels": { "version": "v1" } }] }],
        "routes": [{ "hosts": "web.mesh.internal", "routes": [
            { "path": { "prefix": "/api" }, "headers": { ":method": "GET", "x-a": "b" }, "timeout": "5s", "retries": 2,
              "to": [{ "subset": "v1", "weight": 1 }, { "weight": 9 }] },
            { "path": { "exact": "/" } },
        ] }],
        "networks": { "dc2": { "gateways": ["10.0.0.1:15443"] } },
        "outlier_detection": null,
        "upstream_tls": [
            { "hosts": "*", "source": { "files": { "certificate": "/a", "key": "/b", "ca": "/c" } },
              "identities": ["spiffe://mesh/web"], "server_name": "web" },
            { "hosts": "a", "source": { "sds": { "cluster": "spire", "certificate": "default", "validation": "ROOTCA" } } },
            { "hosts": "b", "source": { "provider": { "instance": "default" } } },
        ],
    });
    assert_eq!(faults(everything.clone()), Vec::<String>::new());
    let read = config(everything);
    assert_eq!(config(serde_json::to_value(&read).unwrap()), read);
}

#[test]
fn each_setting_that_cannot_be_meant_is_told_with_its_place() {
    let tls = |client_ca: Value| json!({ "certificate": "a", "key": "b", "client_ca": client_ca, "clients": ["x"] });
    let route = |route: Value| {
        json!({
            "subsets": [{ "hosts": "web.*", "subsets": [{ "name": "v1", "labels": { "version": "v1" } }] }],
            "routes": [{ "hosts": "web.a", "routes": [route] }],
        })
    };
    for (fields, expected) in [
        (
            json!({ "listen": "0.0.0.0:7381" }),
            "listen: 0.0.0.0:7381, which other hosts can reach, without authentication, an address of this host",
        ),
        (
            json!({ "listen": "[::]:7381", "tls": { "certificate": "a", "key": "b" } }),
            "listen: [::]:7381, which other hosts can reach",
        ),
        (
            json!({ "insecure": true, "tls": tls("ca".into()) }),
            "insecure: true beside tls.client_ca",
        ),
        (
            json!({ "tls": tls(Value::Null) }),
            "tls.clients: names of clients without client_ca",
        ),
        (
            json!({ "tls": { "certificate": "", "key": "b" } }),
            "tls.certificate: nothing, the path",
        ),
        (
            json!({ "max_connection_age": "10ms" }),
            "max_connection_age: 10ms, 1s to 30d",
        ),
        (
            json!({ "connect_timeout": "0s" }),
            "connect_timeout: 0s, 1ms to 1h",
        ),
        (
            json!({ "services": ["Web"] }),
            "services[0]: \"Web\", a hostname in lower case",
        ),
        (
            json!({ "exclude_services": ["a", ""] }),
            "exclude_services[1]: \"\", a hostname in lower case",
        ),
        (
            json!({ "outbound": { "listen": "127.0.0.1:0" } }),
            "outbound.listen: port 0, a port from 1",
        ),
        (
            json!({ "local_ports": { "cache.mesh": 0 } }),
            "local_ports.cache.mesh: port 0, a port from 1",
        ),
        (
            json!({ "local_ports": { "cache:": 1 } }),
            "local_ports.cache:: the key \"cache:\", a hostname in lower case",
        ),
        (
            json!({ "local_ports": { "a": 15001 } }),
            "local_ports.a: 127.0.0.1:15001, which outbound.listen has already",
        ),
        (
            json!({ "local_ports": { "a": 1, "b": "127.0.0.1:1" } }),
            "local_ports.b: 127.0.0.1:1, which a has already",
        ),
        (
            json!({ "protocols": [{ "hosts": "a", "protocol": "htpp" }] }),
            "protocols[0].protocol: \"htpp\", one of http, http2, grpc",
        ),
        (
            json!({ "protocols": [{ "hosts": "a b", "protocol": "tcp" }] }),
            "protocols[0].hosts: \"a b\"",
        ),
        (
            json!({ "protocols": [{ "hosts": "a", "port": "70000", "protocol": "tcp" }] }),
            "protocols[0].port: \"70000\", the number",
        ),
        (
            json!({ "subsets": [{ "hosts": "a", "subsets": [] }] }),
            "subsets[0].subsets: no subset",
        ),
        (
            json!({ "subsets": [{ "hosts": "a", "subsets": [{ "name": "a|b", "labels": { "a": "b" } }] }] }),
            "subsets[0].subsets[0].name: \"a|b\", a name of letters",
        ),
        (
            json!({ "subsets": [{ "hosts": "a", "subsets": [
                { "name": "a", "labels": { "a": "b" } }, { "name": "a", "labels": { "a": "c" } },
            ] }] }),
            "subsets[0].subsets[1].name: the name \"a\" for the second time",
        ),
        (
            json!({ "subsets": [{ "hosts": "a", "subsets": [{ "name": "a", "labels": {} }] }] }),
            "subsets[0].subsets[0].labels: no label",
        ),
        (
            route(json!({ "to": [{ "subset": "v2", "weight": 1 }] })),
            "routes[0].routes[0].to[0].subset: \"v2\", one of v1",
        ),
        (
            route(json!({ "to": [{ "weight": 1 }, { "weight": 1 }] })),
            "routes[0].routes[0].to[1].subset: \"\" for the second time",
        ),
        (
            route(json!({ "to": [{ "weight": 0 }] })),
            "routes[0].routes[0].to: weights that are all 0",
        ),
        (
            route(json!({ "to": [{ "weight": u32::MAX }, { "subset": "v1", "weight": 1 }] })),
            "routes[0].routes[0].to: weights of 4294967296 together",
        ),
        (
            route(json!({ "path": { "prefix": "api" } })),
            "routes[0].routes[0].path.prefix: \"api\", a path",
        ),
        (
            route(json!({ "headers": { "X-A": "b" } })),
            "routes[0].routes[0].headers.X-A: the header \"X-A\"",
        ),
        (
            json!({ "routes": [{ "hosts": "b", "routes": [{ "to": [{ "subset": "v1", "weight": 1 }] }] }] }),
            "routes[0].routes[0].to[0].subset: \"v1\", nothing, as these hosts have no subsets",
        ),
        (
            json!({ "networks": { "dc2": { "gateways": [] } } }),
            "networks.dc2.gateways: no gateway",
        ),
        (
            json!({ "networks": { "dc2": { "gateways": ["0.0.0.0:1"] } } }),
            "networks.dc2.gateways[0]: 0.0.0.0:1, an address that others can reach",
        ),
        (
            json!({ "outlier_detection": { "max_ejection_percent": 101 } }),
            "outlier_detection.max_ejection_percent: 101, a percentage",
        ),
        (
            json!({ "circuit_breakers": { "requests": 0 } }),
            "circuit_breakers.requests: 0, a whole number from 1",
        ),
        (
            json!({ "upstream_tls": [{ "hosts": "*", "source": { "files": { "certificate": "a", "key": "/b", "ca": "/c" } } }] }),
            "upstream_tls[0].source.files.certificate: \"a\", an absolute path",
        ),
        (
            json!({ "upstream_tls": [{ "hosts": "*", "source": { "sds": { "cluster": "", "certificate": "a", "validation": "b" } } }] }),
            "upstream_tls[0].source.sds.cluster: \"\", the name of a cluster",
        ),
    ] {
        let found = faults(fields.clone());
        assert!(
            found.len() == 1 && found[0].starts_with(expected),
            "{fields}: expected {expected:?}, found {found:?}"
        );
    }
}

#[test]
fn a_misspelt_setting_of_a_source_of_certificates_is_an_error() {
    let fields = json!({ "upstream_tls": [{ "hosts": "*", "source": { "provider": { "instance": "a", "instanc": "b" } } }] });
    let error = serde_json::from_value::<XdsConfig>(fields)
        .unwrap_err()
        .to_string();
    assert!(error.contains("unknown field `instanc`"), "{error}");
}

#[test]
fn the_first_fault_is_an_error_with_its_name() {
    let error = config(json!({ "local_ports": { "a.b": 0 } }))
        .check()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "xds.local_ports.a.b: found port 0, expected a port from 1 to 65535"
    );
}
