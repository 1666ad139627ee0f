use proptest::prelude::*;

use super::*;
use crate::model::{Address, Endpoint, Health, ServiceId, ServiceRecord};

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
    Endpoint::builder(Address::V4([10, 0, 0, step.address].into()))
        .port(port, step.port)
        .health(HEALTH[step.health])
        .label(REGISTRIES[step.registry], "said it")
        .id(format!("{}-{}", step.address, step.port))
        .build()
}

/// What the three say: the last has a port that nobody named, and is stale where `stale` is.
fn merged(records: &[ServiceRecord; 3], stale: bool, last: Option<&Basis>) -> (Service, Option<Basis>) {
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
    merge(&"web.mesh".into(), &claimants, &Fallback, Vec::new(), last).unwrap()
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn merging_what_changed_ends_as_merging_everything_does(steps in steps(), every in 1..40_usize) {
        let mut records = records();
        let (mut service, mut basis) = merged(&records, false, None);
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
            (service, basis) = merged(&records, stale, basis.as_ref());
            let (fresh, _) = merged(&records, stale, None);
            prop_assert_eq!(service.hash, fresh.hash);
            prop_assert_eq!(&service.endpoints, &fresh.endpoints);
        }
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
    let (before, basis) = merged(&records, false, None);
    let changed = endpoint(&Step {
        health: 3,
        ..step(1, 7)
    });
    records[1] = ServiceRecord::new(records[1].meta().clone(), records[1].endpoints().with(changed));
    let (after, _) = merged(&records, false, basis.as_ref());
    let kept = before.endpoints.iter().zip(after.endpoints.iter());
    assert_eq!(kept.filter(|(a, b)| Arc::ptr_eq(a, b)).count(), 199);
    assert_eq!(after.endpoints.changed_places(&before.endpoints).len(), 1);
}
