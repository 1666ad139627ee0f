use envoy_types::pb::envoy::config::core::v3::address::Address as ProtoAddress;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use registry_core::EndpointBuilder;

use super::*;
use crate::config::GatewayConfig;
use crate::translate::tests::{endpoint, meta, port, service, view};

/// An endpoint as tests write it: priority, locality (`region/zone`), address, status, weight.
type Seen = (u32, String, String, HealthStatus, u32);

fn at(address: &str) -> EndpointBuilder {
    endpoint(address, "http", 80)
}

fn seen(assignment: &ClusterLoadAssignment) -> Vec<Seen> {
    let mut seen = Vec::new();
    for group in &assignment.endpoints {
        let locality = group.locality.as_ref().unwrap();
        let place = format!("{}/{}", locality.region, locality.zone);
        let mut sum = 0;
        for endpoint in &group.lb_endpoints {
            let weight = endpoint.load_balancing_weight.unwrap().value;
            sum += weight;
            let Some(lb_endpoint::HostIdentifier::Endpoint(inner)) = &endpoint.host_identifier else {
                panic!("{endpoint:?}")
            };
            seen.push((
                group.priority,
                place.clone(),
                text(inner.address.as_ref().unwrap().address.as_ref().unwrap()),
                endpoint.health_status(),
                weight,
            ));
        }
        assert_eq!(group.load_balancing_weight.unwrap().value, sum);
    }
    seen
}

fn text(address: &ProtoAddress) -> String {
    match address {
        ProtoAddress::SocketAddress(socket) => match socket.port_specifier {
            Some(PortSpecifier::PortValue(port)) => format!("{}:{port}", socket.address),
            _ => panic!("{socket:?}"),
        },
        ProtoAddress::Pipe(pipe) => pipe.path.clone(),
        ProtoAddress::EnvoyInternalAddress(_) => panic!("{address:?}"),
    }
}

struct Case {
    view: View,
    config: XdsConfig,
    warnings: Vec<String>,
}

impl Case {
    fn new(kind: Kind) -> Self {
        Self {
            view: view(kind),
            config: XdsConfig::default(),
            warnings: Vec::new(),
        }
    }

    fn run(&mut self, all: impl IntoIterator<Item = EndpointBuilder>) -> Endpoints {
        self.subset(all, Subset::All)
    }

    fn subset(&mut self, all: impl IntoIterator<Item = EndpointBuilder>, subset: Subset<'_>) -> Endpoints {
        let service = service(meta("web", [port("http:80")]), all);
        endpoints(
            "c",
            (&service, "http", subset),
            &self.view,
            &self.config,
            &mut self.warnings,
        )
    }

    fn eds(&mut self, all: impl IntoIterator<Item = EndpointBuilder>) -> Vec<Seen> {
        match self.run(all) {
            Endpoints::Eds(assignment) => seen(&assignment),
            other => panic!("{other:?}"),
        }
    }

    /// Addresses and statuses alone.
    fn statuses(&mut self, all: impl IntoIterator<Item = EndpointBuilder>) -> Vec<(String, HealthStatus)> {
        let all = self.eds(all);
        all.into_iter()
            .map(|(_, _, address, status, _)| (address, status))
            .collect()
    }
}

fn in_zone(address: &str, region: &str, zone: &str) -> EndpointBuilder {
    at(address).locality(Locality {
        region: region.into(),
        zone: zone.into(),
        sub_zone: Str::default(),
    })
}

#[test]
fn health_follows_the_table() {
    use HealthStatus as Is;
    let all = || {
        [
            at("10.0.0.1").health(Health::Healthy),
            at("10.0.0.2").health(Health::Degraded),
            at("10.0.0.3").health(Health::Unknown),
            at("10.0.0.4").health(Health::Draining),
            at("10.0.0.5").health(Health::Unhealthy),
        ]
    };
    let expect = |statuses: &[(&str, Is)]| -> Vec<(String, Is)> {
        statuses
            .iter()
            .map(|(last, status)| (format!("10.0.0.{last}:80"), *status))
            .collect()
    };
    let usable = |degraded: Is| expect(&[("1", Is::Healthy), ("2", degraded), ("3", Is::Unknown)]);
    let (mut envoy, mut grpc) = (Case::new(Kind::Envoy), Case::new(Kind::Grpc));
    assert_eq!(envoy.statuses(all()), usable(Is::Degraded));
    assert_eq!(grpc.statuses(all()), usable(Is::Healthy));
    envoy.config.unhealthy = UnhealthyMode::Send;
    grpc.config.unhealthy = UnhealthyMode::Send;
    let mut sent = usable(Is::Degraded);
    sent.extend(expect(&[("4", Is::Draining), ("5", Is::Unhealthy)]));
    assert_eq!(envoy.statuses(all()), sent);
    assert_eq!(grpc.statuses(all()), usable(Is::Healthy));
}

/// Acceptance test 18: both kinds have nothing usable, or the same.
#[test]
fn where_nothing_is_routable_draining_endpoints_are_used_and_unhealthy_ones_never() {
    use HealthStatus as Is;
    let draining = || {
        [
            at("10.0.0.1").health(Health::Draining),
            at("10.0.0.2").health(Health::Unhealthy),
        ]
    };
    let one = |status: Is| vec![("10.0.0.1:80".to_owned(), status)];
    assert_eq!(Case::new(Kind::Envoy).statuses(draining()), one(Is::Degraded));
    assert_eq!(Case::new(Kind::Grpc).statuses(draining()), one(Is::Healthy));
    for kind in [Kind::Envoy, Kind::Grpc] {
        let failing = [at("10.0.0.2").health(Health::Unhealthy)];
        assert_eq!(Case::new(kind).statuses(failing), vec![]);
        assert_eq!(Case::new(kind).statuses([]), vec![]);
    }
}

#[test]
fn priorities_have_no_gaps_and_localities_weigh_what_is_in_them() {
    let found = Case::new(Kind::Grpc).eds([
        in_zone("10.0.0.1", "eu", "a").priority(2).weight(3),
        in_zone("10.0.0.2", "eu", "a").priority(2).weight(4),
        in_zone("10.0.0.3", "eu", "b").priority(7),
        in_zone("10.0.0.4", "eu", "b").priority(2),
    ]);
    let places: Vec<(u32, &str, &str, u32)> = found
        .iter()
        .map(|(priority, place, address, _, weight)| (*priority, place.as_str(), address.as_str(), *weight))
        .collect();
    assert_eq!(
        places,
        [
            (0, "eu/a", "10.0.0.1:80", 3),
            (0, "eu/a", "10.0.0.2:80", 4),
            (0, "eu/b", "10.0.0.4:80", 1),
            (1, "eu/b", "10.0.0.3:80", 1),
        ]
    );
}

#[test]
fn the_nearest_come_first_within_the_priorities_of_registries() {
    let all = || {
        [
            in_zone("10.0.0.1", "us", "x"),
            in_zone("10.0.0.2", "eu", "b"),
            in_zone("10.0.0.3", "eu", "a"),
            in_zone("10.0.0.4", "eu", "a").priority(1),
            at("10.0.0.5"),
        ]
    };
    let mut case = Case::new(Kind::Envoy);
    case.view.locality = Locality {
        region: "eu".into(),
        zone: "a".into(),
        sub_zone: Str::default(),
    };
    let priorities = |found: Vec<Seen>| -> Vec<(u32, String)> {
        found
            .into_iter()
            .map(|(priority, _, address, ..)| (priority, address))
            .collect()
    };
    let weighted = priorities(case.eds(all()));
    assert_eq!(weighted.iter().map(|(priority, _)| *priority).max(), Some(1));
    case.config.locality = LocalityMode::Nearest;
    let expected: Vec<(u32, String)> = [(0, 3), (1, 2), (2, 5), (2, 1), (3, 4)]
        .map(|(priority, last)| (priority, format!("10.0.0.{last}:80")))
        .into();
    assert_eq!(priorities(case.eds(all())), expected);
}

#[test]
fn weight_0_takes_no_traffic_unless_all_have_it() {
    let weights = |found: Vec<Seen>| -> Vec<u32> { found.into_iter().map(|seen| seen.4).collect() };
    let mut case = Case::new(Kind::Envoy);
    let one = case.eds([at("10.0.0.1").weight(0), at("10.0.0.2").weight(5)]);
    assert_eq!(weights(one), [5]);
    let none = case.eds([at("10.0.0.1").weight(0), at("10.0.0.2").weight(0)]);
    assert_eq!(weights(none), [1, 1]);
    let unusable = case.eds([
        at("10.0.0.1").weight(0),
        at("10.0.0.2").weight(5).health(Health::Unhealthy),
    ]);
    assert_eq!(weights(unusable), [1]);
}

#[test]
fn weights_together_stay_a_number_that_proxies_can_hold() {
    let weight = |last: u8| at(&format!("10.0.0.{last}")).weight(u32::MAX);
    let found = Case::new(Kind::Grpc).eds([weight(1), weight(2), weight(3), at("10.0.0.4").weight(1)]);
    let total: u64 = found.iter().map(|seen| u64::from(seen.4)).sum();
    assert!(total <= u64::from(u32::MAX), "{total}");
    assert_eq!(found[0].4, found[2].4);
    assert_eq!(found[3].4, 1);
}

#[test]
fn endpoints_of_other_networks_are_behind_their_gateways() {
    let mut case = Case::new(Kind::Envoy);
    case.view.network = "a".into();
    let gateways = ["192.0.2.1:15443", "192.0.2.2:15443"].map(|gateway| gateway.parse().unwrap());
    case.config.networks.insert(
        "b".to_owned(),
        GatewayConfig {
            gateways: gateways.to_vec(),
        },
    );
    let found = case.eds([
        in_zone("10.0.0.1", "eu", "a").network("a").weight(2),
        in_zone("10.0.0.2", "eu", "b").network("b").weight(6),
        in_zone("10.0.0.3", "eu", "c").network("b").weight(4),
        in_zone("10.0.0.4", "eu", "d").network("no-gateway").weight(1),
        in_zone("10.0.0.5", "eu", "d").network("b").weight(1).priority(1),
    ]);
    let found: Vec<(u32, &str, &str, u32)> = found
        .iter()
        .map(|(priority, place, address, _, weight)| (*priority, place.as_str(), address.as_str(), *weight))
        .collect();
    assert_eq!(
        found,
        [
            (0, "eu/a", "10.0.0.1:80", 2),
            (0, "eu/b", "192.0.2.1:15443", 5),
            (0, "eu/b", "192.0.2.2:15443", 5),
            (0, "eu/d", "10.0.0.4:80", 1),
        ]
    );
    case.view.network = "b".into();
    let own: Vec<String> = case
        .eds([at("10.0.0.2").network("b")])
        .into_iter()
        .map(|seen| seen.2)
        .collect();
    assert_eq!(own, ["10.0.0.2:80"]);
}

#[test]
fn further_addresses_are_for_envoy_alone() {
    let dual = || {
        let addresses = ["10.0.0.1", "2001:db8::1"].map(|text| text.parse::<Address>().unwrap());
        let [first, second] = addresses;
        [Endpoint::builder(registry_core::Addresses::new(first, [second]))
            .port("http", 80)
            .health(Health::Healthy)
            .id("dual")]
    };
    for (kind, expected) in [
        (Kind::Envoy, vec!["2001:db8::1:80".to_owned()]),
        (Kind::Grpc, vec![]),
    ] {
        let Endpoints::Eds(assignment) = Case::new(kind).run(dual()) else {
            panic!("by DNS")
        };
        assert_eq!(seen(&assignment)[0].2, "10.0.0.1:80");
        let Some(lb_endpoint::HostIdentifier::Endpoint(inner)) =
            &assignment.endpoints[0].lb_endpoints[0].host_identifier
        else {
            panic!("{assignment:?}")
        };
        let others: Vec<String> = inner
            .additional_addresses
            .iter()
            .map(|other| text(other.address.as_ref().unwrap().address.as_ref().unwrap()))
            .collect();
        assert_eq!(others, expected);
    }
}

#[test]
fn host_names_are_resolved_by_envoy_beside_addresses_and_by_grpc_one_alone() {
    let addresses = |endpoints: Endpoints| -> (bool, Vec<String>) {
        match endpoints {
            Endpoints::Eds(assignment) => (false, seen(&assignment).into_iter().map(|seen| seen.2).collect()),
            Endpoints::Dns(assignment) => (true, seen(&assignment).into_iter().map(|seen| seen.2).collect()),
        }
    };
    let mixed = || [at("db.example.com"), at("10.0.0.1")];
    let names = || [at("b.example.com"), at("a.example.com")];
    let mut envoy = Case::new(Kind::Envoy);
    let both = ["10.0.0.1:80", "db.example.com:80"].map(str::to_owned).to_vec();
    assert_eq!(addresses(envoy.run(mixed())), (true, both));
    let both = ["a.example.com:80", "b.example.com:80"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(addresses(envoy.run(names())), (true, both));
    assert_eq!(envoy.warnings, Vec::<String>::new());

    let mut grpc = Case::new(Kind::Grpc);
    assert_eq!(
        addresses(grpc.run(mixed())),
        (false, vec!["10.0.0.1:80".to_owned()])
    );
    assert_eq!(
        addresses(grpc.run(names())),
        (true, vec!["a.example.com:80".to_owned()])
    );
    assert_eq!(grpc.warnings.len(), 2, "{:?}", grpc.warnings);
    // gRPC refuses a DNS cluster without a name.
    let failing = [at("a.example.com").health(Health::Unhealthy)];
    assert_eq!(addresses(grpc.run(failing)), (false, vec![]));
}

#[test]
fn the_type_of_a_cluster_does_not_change_with_health() {
    let found = Case::new(Kind::Envoy).run([at("db.example.com").health(Health::Unhealthy), at("10.0.0.1")]);
    assert!(matches!(found, Endpoints::Dns(_)), "{found:?}");
}

#[test]
fn unix_sockets_are_for_envoy_alone() {
    let all = || [at("unix:/run/web.sock"), at("10.0.0.1")];
    let mut envoy = Case::new(Kind::Envoy);
    let found: Vec<String> = envoy.eds(all()).into_iter().map(|seen| seen.2).collect();
    assert_eq!(found, ["10.0.0.1:80", "/run/web.sock"]);
    assert!(envoy.warnings.is_empty());
    let mut grpc = Case::new(Kind::Grpc);
    assert_eq!(grpc.eds(all()).len(), 1);
    assert!(grpc.warnings[0].contains("Unix"), "{:?}", grpc.warnings);
}

#[test]
fn what_no_proxy_would_take_is_left_out_with_a_word() {
    let long = format!("unix:/{}", "x".repeat(200));
    for address in ["0.0.0.0", "224.0.0.1", "::", long.as_str()] {
        let mut case = Case::new(Kind::Envoy);
        assert_eq!(case.eds([at(address), at("10.0.0.1")]).len(), 1, "{address}");
        assert_eq!(case.warnings.len(), 1, "{address}");
    }
    let long = "x".repeat(300);
    let place = Case::new(Kind::Envoy).eds([in_zone("10.0.0.1", &long, "a")]);
    assert_eq!(place[0].1, "/");
}

#[test]
fn subsets_have_the_endpoints_with_all_labels() {
    let config = SubsetConfig {
        name: "v2".to_owned(),
        labels: [("version", "v2"), ("track", "stable")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
    };
    let labelled = |address: &str, version: &str, track: &str| {
        at(address).label("version", version).label("track", track)
    };
    let found = Case::new(Kind::Envoy).subset(
        [
            labelled("10.0.0.1", "v2", "stable"),
            labelled("10.0.0.2", "v2", "canary"),
            labelled("10.0.0.3", "v1", "stable"),
            at("10.0.0.4"),
        ],
        Subset::Labels(&config),
    );
    let Endpoints::Eds(assignment) = found else {
        panic!("by DNS")
    };
    let found = seen(&assignment);
    assert_eq!((found.len(), found[0].2.as_str()), (1, "10.0.0.1:80"));
}

#[test]
fn endpoints_without_the_port_are_left_out() {
    let found = Case::new(Kind::Envoy).eds([endpoint("10.0.0.1", "other", 81), at("10.0.0.2")]);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].2, "10.0.0.2:80");
}

/// Acceptance test 17: equal content gives equal bytes, in whatever order it was heard.
#[test]
fn the_order_in_which_endpoints_were_heard_of_changes_no_byte() {
    use prost::Message;
    let all = |reverse: bool| {
        let mut all: Vec<EndpointBuilder> = (0..200)
            .map(|i| {
                in_zone(&format!("10.0.{}.{}", i / 100, i % 100), "eu", ["a", "b"][i % 2])
                    .weight(1 + u32::from(i % 3 == 0))
            })
            .collect();
        if reverse {
            all.reverse();
        }
        match Case::new(Kind::Envoy).run(all) {
            Endpoints::Eds(assignment) | Endpoints::Dns(assignment) => assignment.encode_to_vec(),
        }
    };
    assert_eq!(all(false), all(true));
}
