use registry_core::Labels;

use super::*;
use crate::wire::{Port, Status};

fn instance() -> Instance<'static> {
    Instance {
        instance_id: Some("host1:orders:8080".into()),
        host_name: Some("host1.example".into()),
        ip_addr: Some("10.0.0.1".into()),
        status: Status::Up,
        port: enabled(8080),
        secure_port: Port {
            number: Some(8443),
            enabled: false,
        },
        ..Instance::default()
    }
}

fn amazon() -> Instance<'static> {
    Instance {
        instance_id: None,
        data_center: vec![
            ("instance-id".into(), "i-0abc".into()),
            ("availability-zone".into(), "us-east-1c".into()),
        ],
        ..instance()
    }
}

fn enabled(number: i64) -> Port {
    Port {
        number: Some(number),
        enabled: true,
    }
}

fn with_metadata(pairs: &[(&'static str, &'static str)]) -> Instance<'static> {
    Instance {
        metadata: pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        ..instance()
    }
}

#[derive(Default)]
struct Read {
    config: EurekaConfig,
    ports: PortDefaults,
}

impl Read {
    fn noted(&self, instance: &Instance<'_>) -> (Result<Endpoint, String>, Vec<String>) {
        let mapping = Mapping {
            config: &self.config,
            ports: &self.ports,
        };
        let mut notes = Vec::new();
        let key = key(instance).unwrap();
        let endpoint = endpoint(instance, key, mapping, &mut Interner::default(), &mut notes);
        (endpoint, notes)
    }

    fn endpoint(&self, instance: &Instance<'_>) -> Endpoint {
        let (endpoint, notes) = self.noted(instance);
        assert!(notes.is_empty(), "{notes:?}");
        endpoint.unwrap()
    }
}

fn read(instance: &Instance<'_>) -> Endpoint {
    Read::default().endpoint(instance)
}

fn ports(endpoint: &Endpoint) -> Vec<(&str, u16)> {
    endpoint
        .ports()
        .iter()
        .map(|port| (&*port.name, port.number))
        .collect()
}

#[test]
fn an_instance_is_known_by_the_first_of_three_names_that_says_anything() {
    assert_eq!(key(&instance()), Some("host1:orders:8080"));
    assert_eq!(key(&amazon()), Some("i-0abc"));
    let mut bare = instance();
    bare.instance_id = Some("".into());
    assert_eq!(key(&bare), Some("host1.example"));
    bare.host_name = Some("".into());
    assert_eq!(key(&bare), None);
}

#[test]
fn each_status_has_its_health_and_stays_as_the_raw_word() {
    for (status, health, word) in [
        (Status::Up, Health::Healthy, "UP"),
        (Status::OutOfService, Health::Draining, "OUT_OF_SERVICE"),
        (Status::Down, Health::Unhealthy, "DOWN"),
        (Status::Starting, Health::Unhealthy, "STARTING"),
        (Status::Unknown, Health::Unhealthy, "UNKNOWN"),
    ] {
        let endpoint = read(&Instance { status, ..instance() });
        assert_eq!(endpoint.health(), health);
        assert_eq!(endpoint.claims().next().unwrap().status, word);
        assert!(!endpoint.administrative(), "{word} is the instance's own word");
    }
}

#[test]
fn only_an_override_that_takes_an_instance_out_is_an_operators_hand() {
    for (status, overridden, by_hand) in [
        (Status::OutOfService, Status::OutOfService, true),
        (Status::Down, Status::Down, true),
        (Status::Up, Status::Up, false),
        (Status::Starting, Status::Starting, false),
        // The instance's own word goes before the override.
        (Status::Down, Status::OutOfService, false),
        (Status::Unknown, Status::Unknown, false),
    ] {
        let endpoint = read(&Instance {
            status,
            overridden,
            ..instance()
        });
        assert_eq!(endpoint.administrative(), by_hand, "{status:?} {overridden:?}");
    }
}

#[test]
fn the_address_is_the_one_that_was_chosen_where_it_is_one() {
    for (ip, host, by_ip, by_host) in [
        ("10.0.0.1", "h1", "10.0.0.1", "h1"),
        ("", "h1", "h1", "h1"),
        ("10.0.0.1", "", "10.0.0.1", "10.0.0.1"),
        ("db8.example", "H1", "h1", "h1"),
        ("db8.example", "", "db8.example", "db8.example"),
        ("2001:DB8::1", "h1", "2001:db8::1", "h1"),
        ("[2001:db8::1]", "h1", "2001:db8::1", "h1"),
        ("10.0.0.1", "a b", "10.0.0.1", "10.0.0.1"),
        ("10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.2"),
        ("10.0.0.256", "h1", "h1", "h1"),
    ] {
        let instance = Instance {
            ip_addr: Some(ip.into()),
            host_name: Some(host.into()),
            ..instance()
        };
        assert_eq!(read(&instance).address().to_string(), by_ip, "{ip:?} {host:?}");
        let mut by_name = Read::default();
        by_name.config.address = AddressChoice::Hostname;
        let address = by_name.endpoint(&instance).address().to_string();
        assert_eq!(address, by_host, "{ip:?} {host:?}");
    }
}

#[test]
fn an_instance_without_a_usable_address_is_named_with_the_field() {
    let problem = |ip: &'static str, host: &'static str| {
        let instance = Instance {
            ip_addr: Some(ip.into()),
            host_name: Some(host.into()),
            ..instance()
        };
        Read::default().noted(&instance).0.unwrap_err()
    };
    assert_eq!(
        problem("", ""),
        "found neither ipAddr nor hostName, expected one of them"
    );
    assert_eq!(
        problem("", "a\nb"),
        "hostName: found \"a b\", expected an IP address or a host name"
    );
    let long: &'static str = "-".repeat(5000).leak();
    assert!(problem(long, "").starts_with("ipAddr: found \"---") && problem(long, "").len() < 250);
    // From the network nobody may choose a socket of this machine.
    assert!(problem("", "unix:/run/docker.sock").starts_with("hostName"));
}

#[test]
fn the_enabled_ports_are_named_http_and_https() {
    let with = |plain: bool, secure: bool| {
        let mut instance = instance();
        instance.port.enabled = plain;
        instance.secure_port.enabled = secure;
        read(&instance)
    };
    assert_eq!(ports(&with(true, false)), [("http", 8080)]);
    assert_eq!(ports(&with(false, true)), [("https", 8443)]);
    assert_eq!(ports(&with(true, true)), [("http", 8080), ("https", 8443)]);
    assert!(ports(&with(false, false)).is_empty());
}

#[test]
fn a_port_that_is_none_costs_the_port_alone() {
    for number in [Some(0), Some(-1), Some(65_536), Some(i64::MAX), None] {
        let mut instance = instance();
        instance.port.number = number;
        instance.secure_port.enabled = true;
        let (endpoint, notes) = Read::default().noted(&instance);
        assert_eq!(ports(&endpoint.unwrap()), [("https", 8443)]);
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("port: found "), "{notes:?}");
    }
}

#[test]
fn the_plain_port_is_called_as_the_operator_says() {
    let mut read = Read::default();
    read.ports.name = Some("grpc".into());
    assert_eq!(ports(&read.endpoint(&instance())), [("grpc", 8080)]);
    read.ports.name = Some("https".into());
    let mut both = instance();
    both.secure_port.enabled = true;
    let (endpoint, notes) = read.noted(&both);
    assert_eq!(ports(&endpoint.unwrap()), [("https", 8080)]);
    assert_eq!(notes, ["securePort: there is a port \"https\" already; left out"]);
}

#[test]
fn further_ports_come_from_metadata_where_they_are_others() {
    let endpoint = read(&with_metadata(&[("management.port", " 8081 ")]));
    assert_eq!(ports(&endpoint), [("http", 8080), ("management", 8081)]);
    let endpoint = read(&with_metadata(&[("management.port", "8080")]));
    assert_eq!(ports(&endpoint), [("http", 8080)]);
    for wrong in ["0", "none", "70000", "-1"] {
        let (endpoint, notes) = Read::default().noted(&with_metadata(&[("management.port", wrong)]));
        assert_eq!(ports(&endpoint.unwrap()), [("http", 8080)]);
        assert!(
            notes[0].starts_with("metadata management.port: found"),
            "{notes:?}"
        );
    }
    let mut read = Read::default();
    read.config.metadata.ports = [("http", "a"), ("x", "b"), ("y", "c")]
        .map(|(name, key)| (name.to_owned(), key.to_owned()))
        .into();
    let endpoint = read.endpoint(&with_metadata(&[("a", "1"), ("b", "2"), ("c", "2")]));
    assert_eq!(ports(&endpoint), [("http", 8080), ("x", 2)]);
}

#[test]
fn ports_of_the_service_are_named_by_eureka_and_numbered_by_the_operator() {
    let none = PortDefaults::default();
    let http = ports::of_service("http", &none);
    assert_eq!(
        (http.number, &*http.app_protocol, http.implicit),
        (None, "http", false)
    );
    let https = ports::of_service("https", &none);
    assert_eq!(
        (https.number, &*https.app_protocol, https.implicit),
        (None, "https", false)
    );
    let management = ports::of_service("management", &none);
    assert_eq!((management.number, &*management.app_protocol), (None, ""));
    let set = PortDefaults {
        name: Some("grpc".into()),
        number: Some(80),
        app_protocol: Some("grpc".into()),
    };
    let grpc = ports::of_service("grpc", &set);
    assert_eq!((grpc.number, &*grpc.app_protocol), (Some(80), "grpc"));
    assert_eq!(ports::of_service("https", &set).number, None);
}

#[test]
fn zone_region_and_node_are_what_is_told_most_closely() {
    let place = |read: &Read, instance: &Instance<'_>| {
        let endpoint = read.endpoint(instance);
        let locality = endpoint.locality();
        [&locality.region, &locality.zone, endpoint.node()].map(|text| text.to_string())
    };
    let plain = Read::default();
    assert_eq!(place(&plain, &instance()), ["", "", "host1.example"]);
    assert_eq!(place(&plain, &amazon()), ["us-east-1", "us-east-1c", "i-0abc"]);
    let mut configured = Read::default();
    configured.config.region = Some("eu".into());
    assert_eq!(place(&configured, &amazon()), ["eu", "us-east-1c", "i-0abc"]);
    let told = Instance {
        metadata: vec![("zone".into(), "z1".into()), ("region".into(), "r1".into())],
        ..amazon()
    };
    assert_eq!(place(&configured, &told), ["r1", "z1", "i-0abc"]);
    configured.config.metadata.zone = "rack".into();
    assert_eq!(place(&configured, &told), ["r1", "us-east-1c", "i-0abc"]);
}

#[test]
fn the_weight_is_that_of_the_metadata_where_it_is_a_number() {
    for (text, weight) in [
        ("3", 3),
        (" 3 ", 3),
        ("0", 0),
        ("-1", 1),
        ("heavy", 1),
        ("", 1),
        ("1.5", 1),
    ] {
        assert_eq!(
            read(&with_metadata(&[("weight", text)])).weight(),
            weight,
            "{text:?}"
        );
    }
    assert_eq!(read(&instance()).weight(), 1);
}

#[test]
fn metadata_and_groups_are_labels() {
    let mut instance = with_metadata(&[("version", "v1"), ("zone", "z1"), ("empty", "")]);
    instance.asg_name = Some("orders-v7".into());
    instance.app_group_name = Some("".into());
    let expected: Labels = [
        ("version", "v1"),
        ("zone", "z1"),
        ("empty", ""),
        ("eureka.asg", "orders-v7"),
    ]
    .into_iter()
    .collect();
    assert_eq!(read(&instance).labels(), &expected);
}

#[test]
fn a_text_beyond_the_limit_is_left_out_and_not_the_instance() {
    let long: &'static str = "x".repeat(longest() + 1).leak();
    let mut instance = with_metadata(&[("version", "v1"), ("big", long), ("zone", long)]);
    instance.asg_name = Some(long.into());
    let (endpoint, notes) = Read::default().noted(&instance);
    let endpoint = endpoint.unwrap();
    assert_eq!(endpoint.labels().iter().len(), 1);
    assert!(endpoint.locality().zone.is_empty());
    assert_eq!(notes.len(), 3);
    assert_eq!(
        notes[0],
        "big: found 65537 bytes, expected at most 65536; left out"
    );
    instance.instance_id = Some(long.into());
    let (endpoint, _) = Read::default().noted(&instance);
    assert_eq!(
        endpoint.unwrap_err(),
        "found an id of 65537 bytes, expected at most 65536"
    );
}
