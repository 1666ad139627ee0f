use registry_core::Health;

use super::*;

fn read(text: &str) -> Result<Vec<ServiceRecord>, Vec<Error>> {
    services(
        "vms.yaml",
        text,
        &PortDefaults::default(),
        &mut Interner::default(),
    )
}

fn right(text: &str) -> Vec<ServiceRecord> {
    read(text).unwrap_or_else(|errors| panic!("{text}\n{errors:?}"))
}

fn wrong(text: &str) -> Vec<String> {
    let errors = read(text).expect_err(text);
    errors.iter().map(Error::report).collect()
}

/// A file with one service whose only endpoint has these fields.
fn endpoint(fields: &str) -> String {
    format!(
        "services:\n  - name: a\n    ports: [{{ name: http, number: 80 }}]\n    endpoints:\n      - {{ address: 10.0.0.1, {fields} }}\n"
    )
}

const FULL: &str = r#"
services:
  - name: payments
    namespace: prod
    aliases: [pay.internal]
    ports:
      - { name: http, number: 80, protocol: http }
      - { name: dns, number: 53, transport: udp }
    labels: { team: money, version: 1.10, flag: no, on: yes }
    metadata: { owner: "a@b" }
    resolution: headless
    addresses: [10.96.0.1, "2001:db8::1"]
    endpoints:
      - address: 10.0.0.7
        ports: { http: 8080, dns: 5353 }
        weight: 3
        health: draining
        locality: { region: eu, zone: eu-1a, sub_zone: rack-7 }
        labels: { version: v2 }
        hostname: p-0
        node: vm-7
        network: blue
        cluster: dc1
        identity: spiffe://x/payments
        id: payments-7
        priority: 1
      - addresses: [10.0.0.8, "2001:db8::8"]
        health: healthy
"#;

#[test]
fn every_field_arrives() {
    let records = right(FULL);
    let meta = records[0].meta();
    assert_eq!(meta.id().to_string(), "vms.yaml/prod/payments");
    assert_eq!(meta.aliases(), [Str::from("pay.internal")]);
    assert_eq!(meta.ports().len(), 2);
    assert_eq!(meta.ports()[0].transport, Transport::Udp);
    assert_eq!(meta.ports()[1].app_protocol.as_str(), "http");
    for (key, value) in [
        ("team", "money"),
        ("version", "1.10"),
        ("flag", "no"),
        ("on", "yes"),
    ] {
        assert_eq!(meta.labels().get(key).map(Str::as_str), Some(value), "{key}");
    }
    assert_eq!(meta.metadata().get("owner").unwrap().as_str(), "a@b");
    assert_eq!(meta.resolution(), Resolution::Headless);
    assert_eq!(meta.addresses()[0].addresses.len(), 2);

    let endpoints: Vec<_> = records[0].endpoints().iter().collect();
    let one = endpoints
        .iter()
        .find(|endpoint| endpoint.id() == "payments-7")
        .unwrap();
    assert_eq!(one.ports().get("dns"), Some(5353));
    assert_eq!((one.weight(), one.priority()), (3, 1));
    assert_eq!((one.health(), one.administrative()), (Health::Draining, true));
    assert_eq!(one.locality().sub_zone.as_str(), "rack-7");
    assert_eq!((one.node().as_str(), one.network().as_str()), ("vm-7", "blue"));
    assert_eq!((one.cluster().as_str(), one.hostname()), ("dc1", "p-0"));
    assert_eq!(one.identity().as_str(), "spiffe://x/payments");
    assert_eq!(one.claims().next().unwrap().status.as_str(), "draining");

    let other = endpoints
        .iter()
        .find(|endpoint| endpoint.id() != "payments-7")
        .unwrap();
    assert_eq!(other.addresses().len(), 2);
    assert_eq!(other.ports().get("http"), Some(80), "the service's own number");
    assert_eq!(other.id(), "10.0.0.8:53");
    assert_eq!((other.health(), other.administrative()), (Health::Healthy, false));
}

#[test]
fn what_is_left_out_has_its_default() {
    let records =
        right("services: [{ name: a, endpoints: [{ address: 10.0.0.1 }, { address: '::1', port: 80 }] }]");
    let meta = records[0].meta();
    assert_eq!(meta.id().namespace().as_str(), "default");
    assert!(meta.ports()[0].implicit, "{:?}", meta.ports());
    let ids: Vec<String> = records[0]
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.id().to_string())
        .collect();
    assert!(
        ids.contains(&"10.0.0.1".to_owned()) && ids.contains(&"[::1]:80".to_owned()),
        "{ids:?}"
    );
    let endpoint = records[0].endpoints().iter().next().unwrap();
    assert_eq!(
        (endpoint.health(), endpoint.administrative()),
        (Health::Unknown, false)
    );
    assert_eq!(endpoint.claims().next().unwrap().status.as_str(), "");
    assert_eq!(endpoint.weight(), 1);
}

#[test]
fn the_registry_names_the_port_that_a_service_leaves_unnamed() {
    let ports = PortDefaults {
        name: Some("http".into()),
        number: Some(80),
        app_protocol: None,
    };
    let text = "services: [{ name: a, endpoints: [{ address: 10.0.0.1, port: 8080 }] }]";
    let records = services("vms.yaml", text, &ports, &mut Interner::default()).unwrap();
    assert_eq!(records[0].meta().ports()[0].number, Some(80));
    assert_eq!(
        records[0].endpoints().iter().next().unwrap().ports().get("http"),
        Some(8080)
    );
}

#[test]
fn json_is_read_as_well() {
    let text = "{\n\t\"services\": [\n\t\t{ \"name\": \"caf\\u00e9 \\ud83d\\ude00\\/\", \"endpoints\": [ { \"address\": \"10.0.0.1\", \"port\": 80, \"weight\": 2 } ], \"labels\": { \"n\": 1 } }\n\t]\n}\n";
    let records = right(text);
    assert_eq!(records[0].id().name().as_str(), "café 😀/");
    assert_eq!(records[0].meta().labels().get("n").unwrap().as_str(), "1");
    assert_eq!(
        wrong("{\"services\": [\n  {\"name\": \"a\", \"endpoints\": [\n    {\"address\": \"x y\"}]}]}"),
        [
            "vms.yaml:3:17: services[0].endpoints[0].address: found \"x y\", expected an IP address, a host name or unix:/path"
        ]
    );
}

#[test]
fn anchors_aliases_and_a_byte_order_mark_are_fine() {
    let text = "\u{feff}services:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1, labels: &common { version: 1.10 } }\n      - { address: 10.0.0.2, labels: *common }\n      - { address: 10.0.0.3, labels: { <<: *common, b: c } }\n";
    let records = right(text);
    for endpoint in records[0].endpoints().iter() {
        assert_eq!(endpoint.labels().get("version").unwrap().as_str(), "1.10");
    }
}

#[test]
fn an_empty_list_says_that_there_are_no_services() {
    assert!(right("services: []\n").is_empty());
}

#[test]
fn wrong_files_are_told_where_and_what() {
    let cases: &[(&str, &str)] = &[
        (
            "",
            "vms.yaml: found an empty file, expected `services:` (`services: []` where there are none)",
        ),
        (
            "# nothing\n",
            "vms.yaml:2:1: the file: found nothing, expected a mapping with the list `services`",
        ),
        (
            "- a\n",
            "vms.yaml:1:1: the file: found a list, expected a mapping with the list `services`",
        ),
        (
            "{}\n",
            "vms.yaml:1:1: services: found nothing, expected a list of services (`services: []` where there are none)",
        ),
        (
            "services:\n",
            "vms.yaml:1:9: services: found nothing, expected a list of services (`services: []` where there are none)",
        ),
        (
            "services: {}\n",
            "vms.yaml:1:11: services: found a mapping, expected a list of services (`services: []` where there are none)",
        ),
        (
            "services: []\nversion: 1\n",
            "vms.yaml:2:1: version: found an unknown field, expected one of services",
        ),
        (
            "service: []\nservices: []\n",
            "vms.yaml:1:1: service: found an unknown field, expected `services`",
        ),
        (
            "services:\n  - payments\n",
            "vms.yaml:2:5: services[0]: found \"payments\", expected a service",
        ),
        (
            "services:\n  - namespace: x\n",
            "vms.yaml:2:5: services[0].name: found nothing, expected the name of the service",
        ),
        (
            "services:\n  - name: ''\n",
            "vms.yaml:2:11: services[0].name: found an empty text, expected the name of the service",
        ),
        (
            "services:\n  - name: [a]\n",
            "vms.yaml:2:11: services[0].name: found a list, expected the name of the service",
        ),
        (
            "services:\n  - name: a\n    endpoint: []\n",
            "vms.yaml:3:5: services[0].endpoint: found an unknown field, expected `endpoints`",
        ),
        (
            "services:\n  - name: a\n    ports: [{ number: 80 }]\n",
            "vms.yaml:3:13: services[0].ports[0].name: found nothing, expected the name of the port",
        ),
        (
            "services:\n  - name: a\n    ports: [{ name: x }, { name: x }]\n",
            "vms.yaml:3:34: services[0].ports[1].name: found \"x\" again, first at line 3, expected each port once",
        ),
        (
            "services:\n  - name: a\n    ports: [{ name: x, transport: ipx }]\n",
            "vms.yaml:3:35: services[0].ports[0].transport: found \"ipx\", expected tcp, udp or sctp",
        ),
        (
            "services:\n  - name: a\n    ports: [{ name: x, number: 0 }]\n",
            "vms.yaml:3:32: services[0].ports[0].number: found 0, expected 1 to 65535",
        ),
        (
            "services:\n  - name: a\n    resolution: magic\n",
            "vms.yaml:3:17: services[0].resolution: found \"magic\", expected static, headless or dns",
        ),
        (
            "services:\n  - name: a\n    addresses: [db.example]\n",
            "vms.yaml:3:17: services[0].addresses[0]: found \"db.example\", expected an IP address",
        ),
        (
            "services:\n  - name: a\n    labels: [x]\n",
            "vms.yaml:3:13: services[0].labels: found a list, expected a mapping of names to texts",
        ),
        (
            "services:\n  - name: a\n    labels: { x: { y: z } }\n",
            "vms.yaml:3:18: services[0].labels.x: found a mapping, expected a text (`\"\"` for an empty one)",
        ),
        (
            "services:\n  - name: a\n    labels:\n      x:\n",
            "vms.yaml:4:8: services[0].labels.x: found nothing, expected a text (`\"\"` for an empty one)",
        ),
        (
            "services:\n  - name: a\n    endpoints: [{ port: 80 }]\n",
            "vms.yaml:3:17: services[0].endpoints[0].address: found nothing, expected an IP address, a host name or unix:/path",
        ),
        (
            "services:\n  - name: a\n    endpoints: [{ address: 10.0.0.256 }]\n",
            "vms.yaml:3:28: services[0].endpoints[0].address: found \"10.0.0.256\", expected an IP address, a host name or unix:/path",
        ),
        (
            "services:\n  - name: a\n    endpoints: [{ addresses: [] }]\n",
            "vms.yaml:3:30: services[0].endpoints[0].addresses: found an empty list, expected at least one address",
        ),
        (
            "services:\n  - name: a\n  - name: b\n  - name: a\n",
            "vms.yaml:4:11: services[2].name: found \"a\" of namespace \"default\" again, first at line 2, expected each service once in a file",
        ),
        (
            "services:\n  - name: a\n    ports: [{ name: http }]\n    endpoints: [{ address: 10.0.0.1 }]\n",
            "vms.yaml:4:17: services[0].endpoints[0].port: found nothing, expected a number, as port \"http\" of the service has none",
        ),
        (
            "services:\n  - name: a\n    ports: [{ name: x, number: 1 }, { name: y, number: 2 }]\n    endpoints: [{ address: 10.0.0.1, port: 8080 }]\n",
            "vms.yaml:4:44: services[0].endpoints[0].port: found a single port, expected `ports`, as the service has several: x, y",
        ),
        (
            "services:\n  - name: a\n    endpoints: [{ address: 10.0.0.1, ports: { http: 80 } }]\n",
            "vms.yaml:3:47: services[0].endpoints[0].ports.http: found an unknown port, expected a port of the service, which declares none",
        ),
        (
            "services:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1, port: 80 }\n      - { address: 10.0.0.1, port: 80 }\n",
            "vms.yaml:5:9: services[0].endpoints[1]: found 10.0.0.1 port 80 again, first at line 4, expected each address and port once in a service",
        ),
        (
            "services:\n  - name: a\n    endpoints:\n      - { address: 10.0.0.1, id: x }\n      - { address: 10.0.0.2, id: x }\n",
            "vms.yaml:5:34: services[0].endpoints[1].id: found \"x\" again, first at line 4, expected each id once in a service",
        ),
        (
            &endpoint("port: 70000"),
            "vms.yaml:5:36: services[0].endpoints[0].port: found 70000, expected 1 to 65535",
        ),
        (
            &endpoint("port: \"80\""),
            "vms.yaml:5:36: services[0].endpoints[0].port: found \"80\", expected 1 to 65535",
        ),
        (
            &endpoint("port: -1"),
            "vms.yaml:5:36: services[0].endpoints[0].port: found -1, expected 1 to 65535",
        ),
        (
            &endpoint("port: 80.5"),
            "vms.yaml:5:36: services[0].endpoints[0].port: found 80.5, expected 1 to 65535",
        ),
        (
            &endpoint("ports: { htp: 80 }"),
            "vms.yaml:5:39: services[0].endpoints[0].ports.htp: found an unknown port, expected a port of the service: http",
        ),
        (
            &endpoint("health: sick"),
            "vms.yaml:5:38: services[0].endpoints[0].health: found \"sick\", expected healthy, degraded, draining, unhealthy or unknown",
        ),
        (
            &endpoint("weight: 65536"),
            "vms.yaml:5:38: services[0].endpoints[0].weight: found 65536, expected 0 to 65535",
        ),
        (
            &endpoint("priority: high"),
            "vms.yaml:5:40: services[0].endpoints[0].priority: found \"high\", expected 0 to 127",
        ),
        (
            &endpoint("locality: eu"),
            "vms.yaml:5:40: services[0].endpoints[0].locality: found \"eu\", expected a mapping of region, zone and sub_zone",
        ),
        (
            &endpoint("wieght: 1"),
            "vms.yaml:5:30: services[0].endpoints[0].wieght: found an unknown field, expected `weight`",
        ),
        (
            &endpoint("port: 1, ports: { http: 2 }"),
            "vms.yaml:5:46: services[0].endpoints[0].ports: found a mapping beside `port`, expected either `port` or `ports`",
        ),
        (
            &endpoint("addresses: [10.0.0.2]"),
            "vms.yaml:5:41: services[0].endpoints[0].addresses: found a list beside `address`, expected either `address` or `addresses`",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(wrong(text), [expected.to_owned()], "{text}");
    }
}

#[test]
fn texts_that_are_no_yaml_are_told_where() {
    for (text, start) in [
        ("services:\n  - name: a\n    endpoints: [", "vms.yaml:"),
        ("services:\n  - name: a\n\tnamespace: b\n", "vms.yaml:"),
        (
            "services:\n  - name: a\n    name: b\n",
            "vms.yaml:3:5: name: found the key a second time, expected each key once",
        ),
        ("services: *nowhere\n", "vms.yaml:1:11: found a mistake"),
        ("services: []\n---\nservices: []\n", "vms.yaml:"),
        (
            "{\"services\": [}",
            "vms.yaml:1:14: found a mistake in the syntax (mismatched bracket",
        ),
    ] {
        let errors = wrong(text);
        assert!(errors[0].starts_with(start), "{errors:?}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_in_the_order_of_its_lines() {
    let text = "services:\n  - name: a\n    endpoints:\n      - { address: nope nope }\n      - { address: 10.0.0.1, weight: x }\n    prots: []\n  - nam: b\n";
    let places: Vec<String> = wrong(text).iter().map(|error| error[..14].to_owned()).collect();
    assert_eq!(
        places,
        [
            "vms.yaml:4:20:",
            "vms.yaml:5:38:",
            "vms.yaml:6:5: ",
            "vms.yaml:7:5: ",
            "vms.yaml:7:5: "
        ]
    );
    let many = format!("services:\n{}", "  - { nam: a }\n".repeat(1000));
    assert_eq!(wrong(&many).len(), MAX_ERRORS);
}

#[test]
fn aliases_that_multiply_are_stopped() {
    let mut text = String::from("x0: &x0 { a: b }\n");
    for level in 1..12 {
        let before = format!("*x{}, ", level - 1).repeat(10);
        text.push_str(&format!("x{level}: &x{level} [{before}]\n"));
    }
    text.push_str("services: []\n");
    assert!(wrong(&text)[0].starts_with("vms.yaml:"));
}

#[test]
fn a_long_text_that_aliases_repeat_is_stopped() {
    let long = "x".repeat(100_000);
    let text = format!(
        "services:\n  - name: a\n    aliases: [&a {long}{}]\n",
        ", *a".repeat(2_000)
    );
    let told = wrong(&text);
    assert!(told[0].contains("found a mistake in the syntax"), "{told:?}");
}

#[test]
fn what_stands_in_a_file_is_shown_shortened_and_on_one_line() {
    let long = "x\\n".repeat(10_000);
    for text in [
        format!("services: []\n\"{long}\": 1\n"),
        format!("\"{long}\": 1\n\"{long}\": 2\n"),
        format!(
            "services: [{{ name: \"{long}\" }}, {{ name: a, ports: 0.{}1 }}]\n",
            "0".repeat(10_000)
        ),
    ] {
        for told in wrong(&text) {
            assert!(
                told.chars().count() < 1000 && !told.contains(char::is_control),
                "{told}"
            );
        }
    }
}
