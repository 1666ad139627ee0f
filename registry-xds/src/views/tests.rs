//! Views of services whose labels say what they translate to.

mod conflicts;
mod following;
mod history;
mod restored;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use envoy_types::pb::envoy::config::listener::v3::filter::ConfigType;
use envoy_types::pb::envoy::config::listener::v3::{Filter, Listener};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_connection_manager::RouteSpecifier;
use prost::Message;
use registry_core::engine::{Engine, EngineSettings};
use registry_core::{
    Address, Endpoint, Event, Labels, RegistryId, RegistryOptions, Scope, Service, ServiceId, ServiceMeta,
    ServiceRecord, Snapshot, StaticRegistry, Str, Timestamp,
};
use tokio::time::Instant;

use super::pool::Pool;
use super::state::{State, Translate};
use super::warnings::{self, Listed};
use crate::config::XdsConfig;
use crate::names;
use crate::node::{Kind, View};
use crate::resource::{Doubt, Resource, ResourceSet, ResourceType};
use crate::translate::{ListenerPart, ListenerTarget, Translation, VirtualHost};

/// A service before it is in any registry.
#[derive(Debug, Clone, Default)]
struct Draft {
    name: String,
    created: Option<u64>,
    aliases: Vec<String>,
    endpoints: u8,
    labels: BTreeMap<&'static str, String>,
}

fn service(name: &str) -> Draft {
    Draft {
        name: name.to_owned(),
        endpoints: 1,
        ..Draft::default()
    }
}

impl Draft {
    fn created(mut self, at: u64) -> Self {
        self.created = Some(at);
        self
    }

    fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    fn endpoints(mut self, number: u8) -> Self {
        self.endpoints = number;
        self
    }

    /// See [`fake`].
    fn label(mut self, key: &'static str, value: &str) -> Self {
        self.labels.insert(key, value.to_owned());
        self
    }

    fn record(&self) -> ServiceRecord {
        let meta = ServiceMeta::builder(ServiceId::named(self.name.as_str()))
            .aliases(self.aliases.iter().map(Str::from))
            .labels(
                self.labels
                    .iter()
                    .map(|(key, value)| (*key, value.as_str()))
                    .collect::<Labels>(),
            )
            .created(self.created.map(Timestamp::from_millis))
            .build();
        let endpoint = |n| {
            Endpoint::builder(Address::V4([10, 0, 0, n].into()))
                .port("http", 80)
                .build()
        };
        ServiceRecord::new(meta, (1..=self.endpoints).map(endpoint).collect::<Vec<_>>())
    }
}

/// Services as they are published, one snapshot after another. Hostnames are `<name>.static`.
struct World {
    engine: Engine,
    id: RegistryId,
    now: Instant,
    snapshot: Arc<Snapshot>,
}

impl World {
    fn new(services: impl IntoIterator<Item = Draft>) -> Self {
        let now = Instant::now();
        let settings = EngineSettings {
            policies: Vec::new(),
            start_deadline: std::time::Duration::from_secs(30),
        };
        let mut engine = Engine::new(settings, now);
        let id: RegistryId = "vms".parse().unwrap();
        let options = RegistryOptions {
            guard: None,
            ..RegistryOptions::default()
        };
        engine
            .add(
                id.as_str().parse().unwrap(),
                &StaticRegistry::new([]),
                options,
                Arc::default(),
            )
            .unwrap();
        let mut world = Self {
            engine,
            id,
            now,
            snapshot: Arc::default(),
        };
        world.list(services);
        world
    }

    /// These are all services now.
    fn list(&mut self, services: impl IntoIterator<Item = Draft>) {
        let records = services.into_iter().map(|service| service.record());
        let batch = Event::listing(Scope::Registry, records);
        self.engine.apply(&self.id, batch, self.now).unwrap();
        if let Some(snapshot) = self.engine.publish(self.now) {
            self.snapshot = snapshot;
        }
    }

    fn state(&self) -> State {
        self.state_of(envoy(), XdsConfig::default())
    }

    fn state_of(&self, view: View, config: XdsConfig) -> State {
        State::new(
            view,
            Arc::new(config),
            fake(),
            Arc::new(Pool::default()),
            &self.snapshot,
        )
    }
}

fn view(kind: Kind) -> View {
    View {
        kind,
        locality: registry_core::Locality::default(),
        network: Str::default(),
        services: Vec::new(),
        outbound: None,
    }
}

fn envoy() -> View {
    view(Kind::Envoy)
}

/// A translation that goes by labels:
///
/// | label | such as | gives |
/// |---|---|---|
/// | `ports` | `80 81` | clusters, and their endpoints |
/// | `hosts` | `http.15001=a,b http.80=*` | virtual hosts |
/// | `listen` | `tcp@127.0.0.1:5 sni@127.0.0.1:6@a,b http@127.0.0.1:7@http.7` | parts of listeners |
/// | `warn` | `text` | a warning |
fn fake() -> Arc<Translate> {
    Arc::new(|service, _, _| translate(service))
}

fn translate(service: &Service) -> Translation {
    let said = |key: &str| service.labels().get(key).cloned().unwrap_or_default();
    let words = |key: &str| {
        said(key)
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let list = |text: &str| {
        text.split(',')
            .filter(|word| !word.is_empty())
            .map(Str::from)
            .collect::<Vec<_>>()
    };
    let hostname = service.hostname();
    let cluster = |name: &str| Resource::from_body(ResourceType::Cluster, name, hostname.as_bytes());
    let mut translation = Translation::default();
    for port in words("ports") {
        let name = names::cluster(&port, "", hostname);
        let endpoints = format!("{} {}", service.endpoints().len(), service.hash());
        let endpoints = Resource::from_body(ResourceType::Endpoints, name.as_str(), endpoints.as_bytes());
        translation.resources.extend([cluster(&name), endpoints]);
    }
    for (index, host) in words("hosts").iter().enumerate() {
        let (routes, domains) = host.split_once('=').unwrap();
        translation.virtual_hosts.push(VirtualHost {
            routes: routes.into(),
            name: format!("{hostname}:{index}").into(),
            domains: list(domains),
            body: Default::default(),
        });
    }
    for wish in words("listen") {
        let parts: Vec<&str> = wish.split('@').collect();
        let filter = Filter {
            name: hostname.to_string(),
            ..Filter::default()
        };
        let filters = vec![filter.encode_to_vec().into()];
        translation.listeners.push(ListenerPart {
            address: parts[1].parse().unwrap(),
            created: service.created(),
            target: match parts[0] {
                "tcp" => ListenerTarget::Tcp { filters },
                "sni" => ListenerTarget::Sni {
                    names: list(parts[2]),
                    filters,
                },
                _ => ListenerTarget::Http {
                    routes: parts[2].into(),
                },
            },
        });
    }
    translation.warnings.extend(words("warn"));
    translation
}

fn set_of(state: &mut State, world: &World) -> Arc<ResourceSet> {
    state.set(&world.snapshot, Doubt::None).0
}

fn warnings_of(state: &mut State) -> Vec<String> {
    shown(&[state.warnings().unwrap_or_default()])
}

fn shown(lists: &[Arc<Listed>]) -> Vec<String> {
    let line = |warning: &super::Warning| format!("{}: {}", warning.hostname, warning.problem);
    warnings::together(lists).iter().map(line).collect()
}

fn names_of(set: &ResourceSet, type_: ResourceType) -> Vec<String> {
    let mut names: Vec<String> = set
        .iter(type_)
        .map(|resource| resource.name().to_string())
        .collect();
    names.sort();
    names
}

/// Each virtual host of a route configuration, in order: its name and domains.
fn hosts_of(set: &ResourceSet, routes: &str) -> Vec<String> {
    let resource = set
        .get(ResourceType::Route, routes)
        .expect("no such route configuration");
    let message = RouteConfiguration::decode(resource.body()).unwrap();
    assert_eq!(message.name, routes);
    let hosts = message.virtual_hosts.iter();
    hosts
        .map(|host| format!("{} {}", host.name, host.domains.join(",")))
        .collect()
}

/// What a listener does: `http <routes>`, or `<server names> <filter>` for each of its chains.
fn listener_of(set: &ResourceSet, address: &str) -> Option<Vec<String>> {
    let address: SocketAddr = address.parse().unwrap();
    let resource = set.get(ResourceType::Listener, &names::listener(address))?;
    let message = Listener::decode(resource.body()).unwrap();
    let chains = message.filter_chains.iter().map(|chain| {
        if let Some(ConfigType::TypedConfig(any)) = &chain.filters[0].config_type {
            let manager = HttpConnectionManager::decode(any.value.as_slice()).unwrap();
            let Some(RouteSpecifier::Rds(rds)) = manager.route_specifier else {
                panic!("not by RDS: {manager:?}");
            };
            return format!("http {}", rds.route_config_name);
        }
        let names = chain
            .filter_chain_match
            .as_ref()
            .map(|matches| matches.server_names.join(","));
        format!("{} {}", names.unwrap_or_default(), chain.filters[0].name)
    });
    Some(chains.collect())
}
