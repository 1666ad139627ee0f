//! From what another daemon sends to the model. Pure, but for values that repeat, which are shared.
//!
//! A service is known by its hostname, which stays as it is; what it is called in its own registry, and where, are the
//! variables `name` and `namespace`.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Address, Addresses, Behind, Endpoint, Health, InstanceId, Interner, Labels, Locality, Origin, Phase,
    RegistryId, RegistryIdError, Resolution, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    SessionAffinity, Str, Timestamp, Traffic, Transport, Vip, short,
};
use tokio::time::Instant;

use super::wire;
use super::wire::Text;

/// A chain of more daemons than this is taken for a mistake.
const TIERS: usize = 16;

/// The longest message of an error that is passed on, in characters.
const MESSAGE: usize = 500;

/// Reads services, and shares what they have in common.
#[derive(Debug, Default)]
pub(crate) struct Mapper {
    interner: Interner,
}

impl Mapper {
    /// The service on a line.
    ///
    /// # Errors
    ///
    /// What cannot be read in it, and of which service, where that much can be read.
    pub(crate) fn service(&mut self, line: &[u8]) -> Result<ServiceRecord, (Option<ServiceId>, String)> {
        let name = || serde_json::from_slice::<wire::Named<'_>>(line).ok();
        let id = |named: wire::Named<'_>| identity(&named.hostname.0);
        let service: wire::Service<'_> =
            serde_json::from_slice(line).map_err(|error| (name().map(id), told(&error)))?;
        let unreadable = |problem| (Some(identity(&service.hostname.0)), problem);
        let meta = self.meta(&service).map_err(unreadable)?;
        let endpoints: Result<Vec<Endpoint>, String> = service
            .endpoints
            .iter()
            .map(|endpoint| {
                let told = self.endpoint(endpoint);
                told.map_err(|problem| format!("endpoint {:?}: {problem}", short(&endpoint.address.0, 100)))
            })
            .collect();
        Ok(ServiceRecord::new(meta, endpoints.map_err(unreadable)?))
    }

    fn meta(&mut self, service: &wire::Service<'_>) -> Result<Arc<ServiceMeta>, String> {
        let resolution = match &*service.resolution.0 {
            "static" => Resolution::Static,
            "headless" => Resolution::Headless,
            "dns" => Resolution::Dns,
            "nothing" => Resolution::Nothing,
            other => {
                return Err(unexpected(
                    "resolution",
                    other,
                    "static, headless, dns or nothing",
                ));
            }
        };
        let ports: Result<Vec<ServicePort>, String> =
            service.ports.iter().map(|port| self.port(port)).collect();
        let vips: Result<Vec<Vip>, String> = service.addresses.iter().map(|vip| self.vip(vip)).collect();
        let created = service.created.as_ref().map(|text| parse(text)).transpose()?;
        let mut variables = vec![("hostname", &service.hostname), ("name", &service.name)];
        if !service.namespace.0.is_empty() {
            variables.push(("namespace", &service.namespace));
        }
        let variables: Vec<(Str, Str)> = variables
            .into_iter()
            .map(|(key, value)| (self.interner.text(key), self.interner.text(&value.0)))
            .collect();
        // Of several registries that say the same key the first in precedence counts.
        let mut metadata = Labels::default();
        for source in &service.sources {
            let told = service
                .metadata
                .0
                .iter()
                .filter(|(registry, _)| registry == source);
            for (_, pairs) in told {
                metadata = metadata.or(&self.labels(pairs));
            }
        }
        Ok(ServiceMeta::builder(identity(&service.hostname.0))
            .aliases(service.aliases.iter().map(|alias| Str::from(&*alias.0)))
            .ports(ports?)
            .addresses(vips?)
            .labels(self.labels(&service.labels))
            .metadata(metadata)
            .variables(variables.into_iter().collect())
            .origins(self.ways(service))
            .traffic(self.traffic(service.traffic.as_ref())?)
            .created(created)
            .resolution(resolution)
            .build())
    }

    /// The ways to the registries that have the service, in the order of precedence there.
    fn ways(&mut self, service: &wire::Service<'_>) -> Vec<Str> {
        let mut ways = Vec::new();
        for source in &service.sources {
            let beyond = service.origins.0.iter().find(|(registry, _)| registry == source);
            match beyond.map(|(_, beyond)| beyond.as_slice()) {
                None | Some([]) => ways.push(self.interner.text(&source.0)),
                Some(beyond) => {
                    ways.extend(
                        beyond
                            .iter()
                            .map(|way| self.interner.text(&format!("{}/{}", source.0, way.0))),
                    );
                }
            }
        }
        ways
    }

    fn port(&mut self, port: &wire::Port<'_>) -> Result<ServicePort, String> {
        let transport = port.transport.as_ref().map(|word| word.0.parse()).transpose()?;
        Ok(ServicePort {
            name: self.interner.text(&port.name.0),
            number: port.number,
            transport: transport.unwrap_or(Transport::Tcp),
            app_protocol: self.interner.text(&port.protocol.0),
            implicit: port.implicit,
        })
    }

    fn vip(&mut self, vip: &wire::Vip<'_>) -> Result<Vip, String> {
        let addresses: Result<Vec<Address>, String> = vip.addresses.iter().map(|text| parse(text)).collect();
        Ok(Vip {
            cluster: self.interner.text(&vip.cluster.0),
            addresses: addresses?,
        })
    }

    fn traffic(&mut self, traffic: Option<&wire::Traffic<'_>>) -> Result<Traffic, String> {
        let Some(traffic) = traffic else {
            return Ok(Traffic::default());
        };
        Ok(Traffic {
            session_affinity: match &*traffic.session_affinity.0 {
                "" => SessionAffinity::None,
                "client_ip" => SessionAffinity::ClientIp,
                other => return Err(unexpected("session affinity", other, "client_ip")),
            },
            distribution: self.interner.text(&traffic.distribution.0),
            internal_local: match &*traffic.internal_policy.0 {
                "" => false,
                "local" => true,
                other => return Err(unexpected("internal policy", other, "local")),
            },
        })
    }

    fn endpoint(&mut self, endpoint: &wire::Endpoint<'_>) -> Result<Endpoint, String> {
        let first: Address = parse(&endpoint.address)?;
        let others: Result<Vec<Address>, String> = endpoint
            .addresses
            .iter()
            .skip(1)
            .map(|text| parse(text))
            .collect();
        let health: Health = parse(&endpoint.health)?;
        let mut origins = Vec::with_capacity(endpoint.sources.len());
        for source in &endpoint.sources {
            self.origins(source, &mut origins)?;
        }
        let source = endpoint
            .sources
            .first()
            .ok_or("found no sources, expected at least one")?;
        let text = &mut self.interner;
        let locality = Locality {
            region: text.text(&endpoint.locality.region.0),
            zone: text.text(&endpoint.locality.zone.0),
            sub_zone: text.text(&endpoint.locality.sub_zone.0),
        };
        let mut built = Endpoint::builder(Addresses::new(first, others?))
            .health(health)
            .administrative(endpoint.administrative)
            .held(endpoint.held)
            .weight(endpoint.weight)
            .priority(endpoint.priority)
            .locality(locality)
            .network(text.text(&endpoint.network.0))
            .cluster(text.text(&endpoint.cluster.0))
            .node(text.text(&endpoint.node.0))
            .hostname(text.text(&endpoint.hostname.0))
            .identity(text.text(&endpoint.identity.0))
            .hints(endpoint.hints.iter().map(|hint| text.text(&hint.0)))
            .node_hints(endpoint.node_hints.iter().map(|hint| text.text(&hint.0)))
            .origins(origins)
            // Two registries may call two endpoints at one address the same.
            .id(format!("{}/{}", source.registry.0, source.id.0))
            .status(text.text(&source.status.0));
        for (name, number) in &endpoint.ports.0 {
            if *number == 0 {
                return Err(format!("port {:?}: 0, expected more", short(&name.0, 100)));
            }
            built = built.port(text.text(&name.0), *number);
        }
        for (key, value) in &endpoint.labels.0 {
            built = built.label(text.text(&key.0), text.text(&value.0));
        }
        Ok(built.build_in(text))
    }

    fn origins(&mut self, source: &wire::Source<'_>, origins: &mut Vec<Origin>) -> Result<(), String> {
        if source.origins.is_empty() {
            let registry = self.interner.text(&source.registry.0);
            origins.push(self.origin(registry, source)?);
        }
        for beyond in &source.origins {
            let way = format!("{}/{}", source.registry.0, beyond.registry.0);
            let way = self.interner.text(&way);
            origins.push(self.origin(way, beyond)?);
        }
        Ok(())
    }

    fn origin(&mut self, registry: Str, said: &wire::Source<'_>) -> Result<Origin, String> {
        Ok(Origin {
            registry,
            id: Str::from(&*said.id.0),
            status: self.interner.text(&said.status.0),
            first_seen: parse::<Timestamp>(&said.first_seen)?,
            last_changed: parse::<Timestamp>(&said.last_changed)?,
        })
    }

    fn labels(&mut self, pairs: &wire::Pairs<'_>) -> Labels {
        let pairs = pairs.0.iter();
        pairs
            .map(|(key, value)| (self.interner.text(&key.0), self.interner.text(&value.0)))
            .collect()
    }
}

/// What identifies the service of that hostname here.
pub(crate) fn identity(hostname: &str) -> ServiceId {
    ServiceId::named(hostname)
}

/// The registries behind the daemon, as of now.
pub(super) fn behind(registries: &wire::Registries<'_>, now: Instant) -> Result<Vec<Behind>, String> {
    behind_at(registries, now, TIERS)
}

fn behind_at(registries: &wire::Registries<'_>, now: Instant, tiers: usize) -> Result<Vec<Behind>, String> {
    let Some(tiers) = tiers.checked_sub(1) else {
        return Err(format!("found a chain of more than {TIERS} daemons"));
    };
    let registries = registries.0.iter();
    registries
        .map(|(id, said)| {
            let id: RegistryId = id.0.parse().map_err(|error: RegistryIdError| told(&error))?;
            let phase = Phase::ALL
                .into_iter()
                .find(|phase| phase.as_str() == said.phase.0);
            let expected = "connecting, synced or stale";
            let phase = phase.ok_or_else(|| unexpected("phase", &said.phase.0, expected))?;
            let instance = said
                .instance
                .as_ref()
                .map(|text| parse::<InstanceId>(text))
                .transpose()?;
            Ok(Behind {
                partly: said.partly,
                said: now,
                age: said.age_s.and_then(|age| Duration::try_from_secs_f64(age).ok()),
                error: said.error.as_ref().map(|error| short(&error.0, MESSAGE).into()),
                instance,
                behind: behind_at(&said.behind, now, tiers)?.into(),
                ..Behind::new(id, short(&said.kind.0, 63), phase)
            })
        })
        .collect()
}

fn parse<T: FromStr<Err = String>>(text: &Text<'_>) -> Result<T, String> {
    text.0.parse().map_err(|problem: String| told(&problem))
}

/// The message of an error that quotes what was found, however long that is.
pub(super) fn told(error: &impl std::fmt::Display) -> String {
    short(&error.to_string(), MESSAGE)
}

fn unexpected(what: &str, found: &str, expected: &str) -> String {
    format!("{what} {:?}: expected {expected}", short(found, 100))
}

#[cfg(test)]
mod tests;
