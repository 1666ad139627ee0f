use proptest::prelude::*;

use super::*;
use crate::model::{Address, Endpoint, Health, ServiceId, ServicePort, ServiceRecord};

const REGISTRIES: [&str; 3] = ["a", "b", "c"];

/// One endpoint that one of the three says, or takes back.
#[derive(Debug, Clone)]
struct Step {
    registry: usize,
    address: u8,
    port: u16,
    health: usize,
    gone: bool,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..3_usize, 0_u8..200, 0_u16..3, 0..5_usize, any::<bool>());
    let step = step.prop_map(|(registry, address, port, health, gone)| Step {
        registry,
        address,
        port: 80 + port,
        health,
        gone: gone && health > 0,
    });
    prop::collection::vec(step, 1..600)
}

fn endpoint(step: &Step) -> Endpoint {
    const HEALTH: [Health; 5] = [
        Health::Healthy,
        Health::Degraded,
        Health::Draining,
        Health::Unhealthy,
        Health::Unknown,
    ];
    let port = if step.registry == 2 {
        ServicePort::DEFAULT_NAME
    } else {
        "http"
    };
    let mut builder = Endpoint::builder(Address::V4([10, 0, 0, step.address].into())).port(port, step.port);
    if step.registry == 1 && step.address.is_multiple_of(2) {
        builder = builder.port("metrics", 9000);
    }
    builder
        .health(HEALTH[step.health])
        .label(REGISTRIES[step.registry], "said it")
        .id(format!("{}-{}", step.address, step.port))
        .build()
}

/// Ports have to be the same.
#[derive(Debug)]
struct Strict;

impl MergePolicy for Strict {
    fn name(&self) -> &'static str {
        "strict"
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        Union.select(claimants)
    }

    fn ports(&self) -> PortRule {
        PortRule::Strict
    }
}

/// What the three say: the last has a port that nobody named, and is stale where `stale` is.
fn merged(
    policy: &dyn MergePolicy,
    records: &[ServiceRecord; 3],
    stale: bool,
    last: Option<&Basis>,
) -> (Service, Option<Basis>) {
    let ids = REGISTRIES.map(|name| name.parse::<RegistryId>().unwrap());
    let claimants: Vec<Claimant<'_>> = (0..3)
        .map(|at| Claimant {
            registry: &ids[at],
            order: u32::try_from(at).unwrap(),
            record: &records[at],
            stale: stale && at == 2,
            degraded: false,
        })
        .collect();
    merge(&"web.mesh".into(), &claimants, policy, Vec::new(), last).unwrap()
}

fn records() -> [ServiceRecord; 3] {
    std::array::from_fn(|at| {
        let port = if at == 2 {
            ServicePort {
                implicit: true,
                ..ServicePort::new(ServicePort::DEFAULT_NAME)
            }
        } else {
            ServicePort::new("http")
        };
        let meta = ServiceMeta::builder(ServiceId::named("web"))
            .ports([port])
            .build();
        ServiceRecord::new(meta, [])
    })
}

/// The record with that number for its port `http`. It has another, which every second endpoint serves.
fn with_number(record: &ServiceRecord, number: u16) -> ServiceRecord {
    let ports = [("http", number), ("metrics", 90)].map(|(name, number)| ServicePort {
        number: Some(number),
        ..ServicePort::new(name)
    });
    let meta = record.meta().to_builder().ports(ports).build();
    ServiceRecord::new(meta, record.endpoints().clone())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn merging_what_changed_ends_as_merging_everything_does(
        steps in steps(),
        every in 1..40_usize,
        strict in any::<bool>(),
    ) {
        let policy: &dyn MergePolicy = if strict { &Strict } else { &Fallback };
        let mut records = records();
        let (mut service, mut basis) = merged(policy, &records, false, None);
        for (turn, some) in steps.chunks(every).enumerate() {
            for step in some {
                let record = &mut records[step.registry];
                let endpoints = if step.gone {
                    record.endpoints().without(&endpoint(step))
                } else {
                    record.endpoints().with(endpoint(step))
                };
                *record = ServiceRecord::new(record.meta().clone(), endpoints);
            }
            let stale = turn % 5 == 4;
            if strict && turn % 7 == 3 {
                // The second takes another number for its port, or goes back.
                records[1] = with_number(&records[1], if turn % 2 == 0 { 80 } else { 81 });
            }
            (service, basis) = merged(policy, &records, stale, basis.as_ref());
            let (fresh, _) = merged(policy, &records, stale, None);
            prop_assert_eq!(service.hash, fresh.hash);
            prop_assert_eq!(&service.endpoints, &fresh.endpoints);
        }
        let without = service.endpoints.iter().find(|endpoint| endpoint.ports().is_empty());
        prop_assert!(without.is_none(), "{:?}", without);
        // No service port lists an address and port twice.
        let mut places: Vec<String> = service
            .endpoints
            .iter()
            .flat_map(|endpoint| endpoint.ports().iter().map(|port| format!("{} {port:?}", endpoint.address())))
            .collect();
        let all = places.len();
        places.sort();
        places.dedup();
        prop_assert_eq!(places.len(), all);
    }
}

#[test]
fn one_changed_endpoint_leaves_the_other_buckets_of_the_result_alone() {
    let mut records = records();
    let step = |registry, address| Step {
        registry,
        address,
        port: 80,
        health: 0,
        gone: false,
    };
    for (registry, record) in records.iter_mut().enumerate().take(2) {
        let endpoints: EndpointSet = (0..200).map(|n| endpoint(&step(registry, n))).collect();
        *record = ServiceRecord::new(record.meta().clone(), endpoints);
    }
    let (before, basis) = merged(&Fallback, &records, false, None);
    let changed = endpoint(&Step {
        health: 3,
        ..step(1, 7)
    });
    records[1] = ServiceRecord::new(records[1].meta().clone(), records[1].endpoints().with(changed));
    let (after, _) = merged(&Fallback, &records, false, basis.as_ref());
    let kept = before.endpoints.iter().zip(after.endpoints.iter());
    assert_eq!(kept.filter(|(a, b)| Arc::ptr_eq(a, b)).count(), 199);
    assert_eq!(after.endpoints.changed_places(&before.endpoints).len(), 1);
}

#[test]
fn one_changed_endpoint_costs_its_bucket_where_others_lost_their_port() {
    let mut records = records();
    let step = |registry, address, health| Step {
        registry,
        address,
        port: 80,
        health,
        gone: false,
    };
    for (registry, record) in records.iter_mut().enumerate().take(2) {
        let endpoints: EndpointSet = (0..200).map(|n| endpoint(&step(registry, n, 0))).collect();
        *record = with_number(
            &ServiceRecord::new(record.meta().clone(), endpoints),
            if registry == 0 { 80 } else { 81 },
        );
    }
    let (before, basis) = merged(&Strict, &records, false, None);
    assert_eq!((before.endpoints.len(), before.conflicts.len()), (200, 1));
    for (address, claims) in [(7, 1), (8, 2)] {
        let changed = records[1].endpoints().with(endpoint(&step(1, address, 3)));
        records[1] = ServiceRecord::new(records[1].meta().clone(), changed);
        let (after, _) = merged(&Strict, &records, false, basis.as_ref());
        let kept = before.endpoints.iter().zip(after.endpoints.iter());
        let changed = kept.filter(|(a, b)| !Arc::ptr_eq(a, b)).count();
        assert_eq!(changed, claims - 1, "who lost its port has no word");
        let place = endpoint(&step(0, address, 0));
        let at = after.endpoints.at_address_of(&place).next().unwrap();
        assert_eq!(at.claims().count(), claims);
    }
}

#[test]
fn a_port_that_nobody_named_or_numbered_is_the_services_only_port_under_strict_rules() {
    let port = |name: &str, number: Option<u16>, app_protocol: &str| ServicePort {
        number,
        implicit: name == ServicePort::DEFAULT_NAME,
        app_protocol: app_protocol.into(),
        ..ServicePort::new(name)
    };
    let merged_with = |default: ServicePort| {
        let [record, _, third] = records();
        let with = |record: &ServiceRecord, port, n| {
            let meta = record.meta().to_builder().ports([port]).build();
            let step = Step {
                registry: n,
                address: u8::try_from(n).unwrap(),
                port: 8000,
                health: 0,
                gone: false,
            };
            ServiceRecord::new(meta, [endpoint(&step)])
        };
        let http = || port("http", Some(80), "http");
        let records = [
            with(&record, http(), 0),
            with(&record, http(), 1),
            with(&third, default, 2),
        ];
        merged(&Strict, &records, false, None).0
    };
    let names = |service: &Service| -> Vec<String> {
        let ports = service.ports().iter().map(|port| port.name.to_string());
        ports.collect()
    };
    let service = merged_with(port(ServicePort::DEFAULT_NAME, None, ""));
    assert_eq!(names(&service), ["http"]);
    assert!(service.conflicts.is_empty(), "{:?}", service.conflicts);
    assert_eq!(service.endpoints.len(), 3);
    for endpoint in service.endpoints.iter() {
        assert!(endpoint.ports().iter().any(|port| port.name == "http"));
    }
    // One that has a number is known by it.
    let service = merged_with(port(ServicePort::DEFAULT_NAME, Some(90), ""));
    assert_eq!(names(&service), ["default", "http"]);
}
