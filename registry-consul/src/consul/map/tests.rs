use std::path::Path;

use super::*;

/// The body of a captured exchange, as the server sent it.
fn body(version: &str, name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/{version}/{name}.json"));
    let exchange: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    exchange["body"].to_string()
}

fn mapped(body: &str, tagged_address: Option<&str>) -> (ServiceRecord, Vec<String>) {
    let instances: Vec<Instance<'_>> = serde_json::from_str(body).unwrap();
    let ports = PortDefaults::default();
    record(
        "web",
        &instances,
        Mapping {
            tagged_address,
            ports: &ports,
        },
        &mut Interner::default(),
    )
}

/// `id address port status health`, one line an endpoint.
fn lines(record: &ServiceRecord) -> Vec<String> {
    let mut lines: Vec<String> = record
        .endpoints()
        .iter()
        .map(|endpoint| {
            let port = endpoint
                .ports()
                .iter()
                .map(|port| format!("{}:{}", port.name, port.number));
            let status = endpoint.claims().next().unwrap().status;
            let ports = port.collect::<Vec<_>>().join("+");
            format!(
                "{} {} {ports} {status} {}",
                endpoint.id(),
                endpoint.address(),
                endpoint.health()
            )
        })
        .collect();
    lines.sort();
    lines
}

/// One instance with overrides of `Node`, `Service` and `Checks`.
fn instance(node: &str, service: &str, checks: &str) -> String {
    format!(r#"[{{"Node":{{"Node":"n1"{node}}},"Service":{{"ID":"web-1"{service}}},"Checks":{checks}}}]"#)
}

#[test]
fn every_status_of_the_captures_is_aggregated_in_both_versions() {
    for version in ["1.8", "current"] {
        let (record, skipped) = mapped(&body(version, "health-service-web"), None);
        assert!(skipped.is_empty());
        let statuses: Vec<(String, Health)> = record
            .endpoints()
            .iter()
            .map(|endpoint| {
                (
                    endpoint.id().rsplit('/').next().unwrap().to_owned(),
                    endpoint.health(),
                )
            })
            .collect();
        let health = |id: &str| {
            statuses
                .iter()
                .find(|(held, _)| held == id)
                .map(|(_, health)| *health)
        };
        assert_eq!(
            health("web-ext"),
            Some(Health::Unhealthy),
            "{version}: the check of its node is critical"
        );
        assert_eq!(health("web-1"), Some(Health::Healthy), "{version}");
        for (capture, id) in [
            ("health-service-web-1-maintenance", "web-1"),
            ("health-service-web-node-maintenance", "web-4"),
        ] {
            let (record, _) = mapped(&body(version, capture), None);
            let endpoint = record
                .endpoints()
                .iter()
                .find(|endpoint| endpoint.id().ends_with(id))
                .unwrap();
            assert_eq!(endpoint.health(), Health::Draining, "{version} {capture}");
            assert_eq!(endpoint.claims().next().unwrap().status, "maintenance");
        }
    }
}

#[test]
fn host_names_and_bare_ipv6_addresses_are_addresses() {
    for version in ["1.8", "current"] {
        let (record, _) = mapped(&body(version, "health-service-db-hostname-and-v6"), None);
        let addresses: Vec<String> = record
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.address().to_string())
            .collect();
        assert!(
            addresses.contains(&"db.example.internal".to_owned()),
            "{version}: {addresses:?}"
        );
        assert!(
            addresses.contains(&"2001:db8::3".to_owned()),
            "{version}: {addresses:?}"
        );
    }
}

#[test]
fn a_sidecar_is_known_for_what_it_is() {
    for version in ["1.8", "current"] {
        let (record, _) = mapped(&body(version, "health-connect-pay"), None);
        assert_eq!(
            record.meta().labels().get("consul.kind").unwrap().as_str(),
            "connect-proxy"
        );
        assert_eq!(
            record.meta().labels().get("consul.destination").unwrap().as_str(),
            "pay"
        );
        // The virtual address of the mesh is no place to connect to.
        assert!(
            record
                .endpoints()
                .iter()
                .all(|endpoint| !endpoint.address().to_string().starts_with("240."))
        );
    }
}

#[test]
fn maintenance_beats_critical_beats_warning_beats_passing() {
    let check = |id: &str, status: &str| format!(r#"{{"CheckID":"{id}","Status":"{status}"}}"#);
    for (checks, expected) in [
        (vec![], "passing healthy"),
        (vec![check("a", "passing")], "passing healthy"),
        (
            vec![check("a", "passing"), check("b", "warning")],
            "warning degraded",
        ),
        (
            vec![check("a", "warning"), check("b", "critical")],
            "critical unhealthy",
        ),
        (
            vec![
                check("a", "critical"),
                check("_service_maintenance:web-1", "critical"),
            ],
            "maintenance draining",
        ),
        (
            vec![check("_node_maintenance", "critical"), check("a", "passing")],
            "maintenance draining",
        ),
    ] {
        let body = instance(
            r#","Address":"10.0.0.1""#,
            r#","Port":80"#,
            &format!("[{}]", checks.join(",")),
        );
        let (record, _) = mapped(&body, None);
        assert_eq!(
            lines(&record),
            [format!("n1/web-1 10.0.0.1 default:80 {expected}")]
        );
    }
}

#[test]
fn what_versions_leave_out_or_send_as_null_is_read() {
    let address = r#","Address":"10.0.0.1""#;
    for (node, service, checks, expected) in [
        (address, "", "[]", "n1/web-1 10.0.0.1  passing healthy"),
        (
            address,
            r#","Port":0,"Tags":null,"Meta":null,"TaggedAddresses":null"#,
            "null",
            "n1/web-1 10.0.0.1  passing healthy",
        ),
        (
            address,
            r#","Address":"10.9.9.9","Port":80,"Weights":null"#,
            "[]",
            "n1/web-1 10.9.9.9 default:80 passing healthy",
        ),
        (
            address,
            r#","Address":"db.example","Port":80"#,
            "[]",
            "n1/web-1 db.example default:80 passing healthy",
        ),
        (
            address,
            r#","Port":8080,"Ports":[{"Name":"http","Port":8080,"Default":true},{"Name":"metrics","Port":9090}]"#,
            "[]",
            "n1/web-1 10.0.0.1 http:8080+metrics:9090 passing healthy",
        ),
    ] {
        let (record, skipped) = mapped(&instance(node, service, checks), None);
        assert!(skipped.is_empty(), "{skipped:?}");
        assert_eq!(lines(&record), [expected]);
    }
}

#[test]
fn the_tagged_address_is_taken_where_there_is_one() {
    let node = r#","Address":"10.0.0.1","TaggedAddresses":{"lan":"10.0.0.1","wan":"198.51.100.1"}"#;
    let service = r#","Address":"10.1.0.1","Port":80,"TaggedAddresses":{
        "wan":{"Address":"203.0.113.7","Port":8443},"wan_ipv4":{"Address":"10.1.0.1","Port":80}}"#;
    for (node, service, tag, expected) in [
        (node, service, Some("wan"), "203.0.113.7 default:8443"),
        (node, service, Some("wan_ipv4"), "10.1.0.1 default:80"),
        (node, service, Some("lan"), "10.1.0.1 default:80"),
        (node, service, None, "10.1.0.1 default:80"),
        (node, r#","Port":80"#, Some("wan"), "198.51.100.1 default:80"),
        (
            node,
            r#","Port":80,"Address":"10.1.0.1""#,
            Some("wan"),
            "10.1.0.1 default:80",
        ),
        (node, r#","Port":80"#, Some("lan_ipv6"), "10.0.0.1 default:80"),
    ] {
        let (record, _) = mapped(&instance(node, service, "[]"), tag);
        assert_eq!(
            lines(&record),
            [format!("n1/web-1 {expected} passing healthy")],
            "{tag:?}"
        );
    }
}

#[test]
fn an_instance_that_cannot_be_used_is_named() {
    for (node, service, problem) in [
        ("", "", "found no address"),
        (r#","Address":"10.0.0.300""#, "", "expected an IP address"),
        (r#","Address":"10.0.0.1""#, r#","Port":70000"#, "found port 70000"),
    ] {
        let (record, skipped) = mapped(&instance(node, service, "[]"), None);
        assert!(record.endpoints().is_empty());
        assert!(
            skipped[0].starts_with("n1/web-1: ") && skipped[0].contains(problem),
            "{skipped:?}"
        );
    }
}

#[test]
fn weights_localities_and_tags_are_mapped() {
    let node = r#","Address":"10.0.0.1","Datacenter":"dc1","Meta":{"zone":"z-node","region":"r1"}"#;
    let service =
        r#","Port":80,"Tags":["v1","blue"],"Meta":{"zone":"z1"},"Weights":{"Passing":10,"Warning":2}"#;
    for (status, weight) in [("passing", 10), ("warning", 2)] {
        let checks = format!(r#"[{{"CheckID":"a","Status":"{status}"}}]"#);
        let (record, _) = mapped(&instance(node, service, &checks), None);
        let endpoint = record.endpoints().iter().next().unwrap();
        assert_eq!(endpoint.weight(), weight);
        assert_eq!(
            (
                endpoint.locality().region.as_str(),
                endpoint.locality().zone.as_str()
            ),
            ("r1", "z1")
        );
        assert_eq!(endpoint.labels().get("consul.tags").unwrap().as_str(), "blue,v1");
        assert_eq!(
            (endpoint.cluster().as_str(), endpoint.node().as_str()),
            ("dc1", "n1")
        );
        assert_eq!(
            record.meta().variables().get("datacenter").unwrap().as_str(),
            "dc1"
        );
    }
}
