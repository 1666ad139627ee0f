//! Services in the shape of Istio's own benchmarks: 11 labels an endpoint, ids of 28 bytes, three zones.

use std::net::Ipv4Addr;
use std::sync::Arc;

use registry_core::engine::{Engine, EngineSettings};
use registry_core::{
    Address, Endpoint, EndpointSet, Event, Health, Interner, Locality, Meter, RegistryId, RegistryOptions,
    Scope, ServiceId, ServiceMeta, ServicePort, ServiceRecord, Snapshot, StaticRegistry,
};
use tokio::time::Instant;

/// A backend and the engine it feeds, after the first publication.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) registry: RegistryId,
    pub(crate) interner: Interner,
    pub(crate) records: Vec<ServiceRecord>,
    pub(crate) last: Arc<Snapshot>,
    /// How many endpoints each service has.
    pub(crate) size: u32,
    turn: u32,
}

impl World {
    pub(crate) fn new(services: u32, size: u32) -> Self {
        let mut interner = Interner::default();
        let records = records(&mut interner, services, size);
        let (mut engine, registry) = engine();
        let now = Instant::now();
        engine
            .apply(&registry, listing(records.clone()), now)
            .expect("a listing is no breach of contract");
        engine.tick(now);
        let last = engine.publish(now).expect("the first publication");
        assert_eq!(last.len(), services as usize);
        assert_eq!(last.endpoint_count(), (services * size) as usize);
        Self {
            engine,
            registry,
            interner,
            records,
            last,
            size,
            turn: 0,
        }
    }

    /// A change that is due: of which service, and the endpoint as it is now. Spread over all services.
    pub(crate) fn next_change(&mut self) -> (usize, Arc<Endpoint>) {
        self.turn += 1;
        let services = u32::try_from(self.records.len()).expect("a few services");
        // A prime apart, so that the next one is never in the cache because of the last one.
        let service = self.turn.wrapping_mul(7919) % services;
        let nth = self.turn.wrapping_mul(31) % self.size;
        let health = if (self.turn / services).is_multiple_of(2) {
            Health::Unhealthy
        } else {
            Health::Degraded
        };
        // Of a small world one and the same endpoint may come up again: its weight tells the turns apart.
        let weight = self.turn;
        let changed = endpoint(&mut self.interner, service, nth, self.size)
            .health(health)
            .weight(weight);
        (service as usize, Arc::new(changed.build_in(&mut self.interner)))
    }

    /// Changes that are due, made before the clock runs: making one touches more memory than entering it.
    pub(crate) fn next_changes(&mut self, count: usize) -> Vec<(usize, Arc<Endpoint>)> {
        (0..count).map(|_| self.next_change()).collect()
    }

    /// The record of the service with that endpoint, derived from the last one as a backend does.
    pub(crate) fn derive(&mut self, service: usize, endpoint: Arc<Endpoint>) -> ServiceRecord {
        let last = &self.records[service];
        let next = ServiceRecord::new(last.meta().clone(), last.endpoints().with(endpoint));
        self.records[service] = next.clone();
        next
    }

    /// Enters the events, merges and publishes.
    pub(crate) fn publish(&mut self, batch: Vec<Event>) -> Option<Arc<Snapshot>> {
        let now = Instant::now();
        self.engine
            .apply(&self.registry, batch, now)
            .expect("no breach of contract");
        self.engine.tick(now);
        self.engine.publish(now)
    }
}

/// An engine with shipped defaults and one registry.
pub(crate) fn engine() -> (Engine, RegistryId) {
    let mut engine = Engine::new(EngineSettings::default(), Instant::now());
    let id: RegistryId = "bench".parse().expect("a registry name");
    engine
        .add(
            id.clone(),
            &StaticRegistry::new([]),
            RegistryOptions::default(),
            Arc::new(Meter::default()),
        )
        .expect("the first of its name");
    (engine, id)
}

pub(crate) fn listing(records: Vec<ServiceRecord>) -> Vec<Event> {
    Event::listing(Scope::Registry, records)
}

pub(crate) fn records(interner: &mut Interner, services: u32, size: u32) -> Vec<ServiceRecord> {
    (0..services)
        .map(|service| record(interner, service, size))
        .collect()
}

pub(crate) fn record(interner: &mut Interner, service: u32, size: u32) -> ServiceRecord {
    let endpoints: EndpointSet = (0..size)
        .map(|nth| endpoint(interner, service, nth, size).build_in(interner))
        .collect();
    ServiceRecord::new(meta(interner, service), endpoints)
}

pub(crate) fn hostname(service: u32) -> String {
    format!("{}.static", name(service))
}

fn name(service: u32) -> String {
    format!("service-{service:06}")
}

fn meta(interner: &mut Interner, service: u32) -> Arc<ServiceMeta> {
    let port = ServicePort {
        number: Some(80),
        app_protocol: interner.text("http"),
        ..ServicePort::new(interner.text("http"))
    };
    ServiceMeta::builder(ServiceId::named(name(service)))
        .ports([port])
        .build()
}

/// One of `size` endpoints of a service. Two versions of each service run, in three zones, on 5 000 machines.
pub(crate) fn endpoint(
    interner: &mut Interner,
    service: u32,
    nth: u32,
    size: u32,
) -> registry_core::EndpointBuilder {
    let number = service * size + nth;
    let (version, node) = (nth % 2, number % 5_000);
    let mut builder = Endpoint::builder(Address::V4(Ipv4Addr::from_bits(0x0A00_0000 + number)))
        .port(interner.text("http"), 8080)
        .health(Health::Healthy)
        .status(interner.text("passing"))
        .node(interner.text(&format!("node-{:04}.example.internal", node)))
        .id(format!(
            "{:08x}-{:04x}-{:014x}",
            number ^ 0x5EED,
            number % 9973,
            u64::from(number) * 2_654_435_761
        ))
        .locality(Locality {
            region: interner.text("eu-west"),
            zone: interner.text(["eu-west-1a", "eu-west-1b", "eu-west-1c"][node as usize % 3]),
            ..Locality::default()
        });
    let labels = [
        ("app", name(service)),
        ("version", format!("v{version}")),
        ("team", format!("team-{}", service % 100)),
        (
            "tier",
            ["frontend", "backend", "data"][service as usize % 3].to_owned(),
        ),
        ("environment", "production".to_owned()),
        ("release", format!("release-{}", service % 10)),
        ("managed-by", "deployer".to_owned()),
        ("track", ["stable", "canary"][version as usize].to_owned()),
        (
            "language",
            ["rust", "go", "java"][service as usize % 3].to_owned(),
        ),
        ("topology.kubernetes.io/region", "eu-west".to_owned()),
        ("security.istio.io/tlsMode", "istio".to_owned()),
    ];
    for (key, value) in labels {
        builder = builder.label(interner.text(key), interner.text(&value));
    }
    builder
}
