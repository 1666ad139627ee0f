//! An engine with registries under the test's control.

use std::sync::Arc;
use std::time::Duration;

use registry_core::engine::{Engine, EngineSettings};
use registry_core::{
    Address, Control, Endpoint, EndpointBuilder, Event, EventStream, Health, MergePolicy, Pattern,
    RegistryError, RegistryId, RegistryOptions, Scope, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    ServiceRegistry, Snapshot, async_trait,
};
use tokio::time::Instant;

/// A backend of which the engine needs only the kind: the test says its events itself.
pub(crate) struct Kind(pub(crate) &'static str);

#[async_trait]
impl ServiceRegistry for Kind {
    fn kind(&self) -> &'static str {
        self.0
    }

    async fn watch(&self, _: Control) -> Result<EventStream, RegistryError> {
        Ok(Box::pin(futures_util::stream::pending()))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// An engine, and the newest snapshot that it published.
pub(crate) struct World {
    pub(crate) engine: Engine,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) now: Instant,
}

pub(crate) fn id(name: &str) -> RegistryId {
    name.parse().unwrap()
}

/// Options with that hostname template, and without a guard: most tests have few endpoints, and take them away.
pub(crate) fn hostname(template: &str) -> RegistryOptions {
    RegistryOptions {
        hostname: Some(template.parse().unwrap()),
        guard: None,
        ..RegistryOptions::default()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Vec::new())
    }

    pub(crate) fn with(policies: Vec<(Pattern, Arc<dyn MergePolicy>)>) -> Self {
        let now = Instant::now();
        let settings = EngineSettings {
            policies,
            start_deadline: Duration::from_secs(30),
        };
        Self {
            engine: Engine::new(settings, now),
            snapshot: Arc::default(),
            now,
        }
    }

    pub(crate) fn add(mut self, name: &str, options: RegistryOptions) -> Self {
        self.engine
            .add(id(name), &Kind("test"), options, Arc::default())
            .unwrap();
        self
    }

    /// One registry `a`, two, three …, all with the hostname template `{name}.mesh`.
    pub(crate) fn merging(names: &[&str]) -> Self {
        names.iter().fold(Self::new(), |world, name| {
            world.add(name, hostname("{name}.mesh"))
        })
    }

    pub(crate) fn say(&mut self, registry: &str, batch: Vec<Event>) {
        self.engine.apply(&id(registry), batch, self.now).unwrap();
    }

    /// These are all services of the registry.
    pub(crate) fn list(&mut self, registry: &str, records: impl IntoIterator<Item = ServiceRecord>) {
        self.say(registry, Event::listing(Scope::Registry, records));
    }

    /// True where something was published.
    pub(crate) fn publish(&mut self) -> bool {
        self.engine.tick(self.now);
        match self.engine.publish(self.now) {
            Some(snapshot) => {
                self.snapshot = snapshot;
                true
            }
            None => false,
        }
    }

    pub(crate) fn pass(&mut self, time: Duration) {
        self.now += time;
        self.engine.tick(self.now);
    }

    /// `address:port health priority registries` of each endpoint of a service, sorted; `None` where there is no such
    /// service.
    pub(crate) fn lines(&mut self, name: &str) -> Option<Vec<String>> {
        self.publish();
        lines(&self.snapshot, name)
    }
}

pub(crate) fn lines(snapshot: &Snapshot, name: &str) -> Option<Vec<String>> {
    let service = snapshot.get(name)?;
    let mut lines: Vec<String> = service
        .endpoints()
        .iter()
        .map(|endpoint| {
            let ports: Vec<String> = endpoint
                .ports()
                .iter()
                .map(|port| format!("{}={}", port.name, port.number))
                .collect();
            let sources: Vec<String> = endpoint
                .claims()
                .map(|claim| service.registry_of(&claim).unwrap().to_string())
                .collect();
            let (address, health, priority) = (endpoint.address(), endpoint.health(), endpoint.priority());
            format!(
                "{address} {} {health} {priority} {}",
                ports.join("+"),
                sources.join("+")
            )
        })
        .collect();
    lines.sort();
    Some(lines)
}

/// An endpoint at `10.0.0.N` that serves `http` on that port.
pub(crate) fn endpoint(n: u8, port: u16) -> EndpointBuilder {
    Endpoint::builder(Address::V4([10, 0, 0, n].into()))
        .port("http", port)
        .health(Health::Healthy)
        .id(format!("i-{n}-{port}"))
}

pub(crate) fn record(name: &str, endpoints: impl IntoIterator<Item = EndpointBuilder>) -> ServiceRecord {
    record_with(name, [ServicePort::new("http")], endpoints)
}

pub(crate) fn record_with(
    name: &str,
    ports: impl IntoIterator<Item = ServicePort>,
    endpoints: impl IntoIterator<Item = EndpointBuilder>,
) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named(name)).ports(ports).build();
    ServiceRecord::new(
        meta,
        endpoints
            .into_iter()
            .map(EndpointBuilder::build)
            .collect::<Vec<_>>(),
    )
}
