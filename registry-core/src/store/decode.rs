//! From the entries of a body to the model, sharing what repeats as backends do.
//!
//! What is read was proved by its checksum to be what was written, which is no proof of who wrote it: nothing here
//! panics, and nothing allocates more than a small multiple of the body, whatever stands in it. Labels, ports and
//! hashes are made by the model's own constructors, so no file can break their rules.

use std::sync::Arc;

use super::item::{
    AddressEntry, ClaimEntry, EndpointEntry, Item, Number, OriginEntry, Pairs, PortEntry, ServiceEntry,
    VipEntry,
};
use crate::endpoint_set::EndpointSet;
use crate::model::{
    Address, Addresses, Attributes, Claim, Endpoint, EndpointParts, EndpointPorts, Labels, Locality, Origin,
    Origins, Place, ServiceId, ServiceMeta, ServicePort, ServiceRecord, Timestamp, Traffic, Vip,
};
use crate::text::Str;

/// Where a body stops making sense, and why.
#[derive(Debug, thiserror::Error)]
#[error("at byte {at} of the body: {what}")]
pub(super) struct Fault {
    at: usize,
    what: What,
}

#[derive(Debug, thiserror::Error)]
enum What {
    #[error(transparent)]
    Entry(#[from] postcard::Error),
    #[error("{kind} {number}, which is not among those before it")]
    Unknown { kind: &'static str, number: Number },
    #[error("an endpoint of no service")]
    Orphan,
    #[error("origins of nothing before them")]
    NoClaim,
}

/// The records of a body.
pub(super) fn decode(body: &[u8]) -> Result<Vec<ServiceRecord>, Fault> {
    let mut decoder = Decoder::default();
    let mut rest = body;
    while !rest.is_empty() {
        let fault = |what| Fault {
            at: body.len() - rest.len(),
            what,
        };
        let (item, next) = postcard::take_from_bytes(rest).map_err(|error| fault(error.into()))?;
        decoder.item(item).map_err(fault)?;
        rest = next;
    }
    decoder.end_service();
    Ok(decoder.records)
}

struct Decoder {
    texts: Vec<Str>,
    ports: Vec<Arc<EndpointPorts>>,
    attributes: Vec<Arc<Attributes>>,
    places: Vec<Arc<Place>>,
    /// The service whose endpoints are being read.
    service: Option<Arc<ServiceMeta>>,
    endpoints: Vec<Arc<Endpoint>>,
    records: Vec<ServiceRecord>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            texts: vec![Str::default()],
            ports: Vec::new(),
            attributes: Vec::new(),
            places: Vec::new(),
            service: None,
            endpoints: Vec::new(),
            records: Vec::new(),
        }
    }
}

impl Decoder {
    fn item(&mut self, item: Item<'_>) -> Result<(), What> {
        match item {
            Item::Text(text) => self.texts.push(text.into()),
            Item::Ports(entries) => {
                let ports: Result<EndpointPorts, What> = entries
                    .into_iter()
                    .map(|(name, number)| Ok((self.text(name)?, number)))
                    .collect();
                self.ports.push(Arc::new(ports?));
            }
            Item::Attributes {
                labels,
                hints,
                identity,
            } => {
                let labels = self.labels(&labels)?;
                let hints = all(&hints, |hint| self.text(*hint))?;
                let attributes = Attributes::new(labels, hints, self.text(identity)?);
                self.attributes.push(Arc::new(attributes));
            }
            Item::Place {
                region,
                zone,
                sub_zone,
                network,
                cluster,
                node,
            } => {
                let locality = Locality {
                    region: self.text(region)?,
                    zone: self.text(zone)?,
                    sub_zone: self.text(sub_zone)?,
                };
                let place = Place::new(
                    locality,
                    self.text(network)?,
                    self.text(cluster)?,
                    self.text(node)?,
                );
                self.places.push(Arc::new(place));
            }
            Item::Service(entry) => {
                let meta = self.meta(&entry)?;
                self.end_service();
                self.service = Some(meta);
            }
            Item::Endpoint(entry) => {
                if self.service.is_none() {
                    return Err(What::Orphan);
                }
                let endpoint = self.endpoint(&entry)?;
                self.endpoints.push(Arc::new(endpoint));
            }
            Item::ServiceOrigins(ways) => {
                let meta = self.service.take().ok_or(What::NoClaim)?;
                let ways: Vec<Str> = all(&ways, |way| self.text(*way))?;
                self.service = Some(meta.to_builder().origins(ways).build());
            }
            Item::Origins { claim, origins } => {
                let origins: Origins = all(&origins, |origin| self.origin(origin))?;
                let endpoint = self.endpoints.last_mut().and_then(Arc::get_mut);
                let set = endpoint.is_some_and(|endpoint| endpoint.set_origins(claim, origins));
                if !set {
                    return Err(What::NoClaim);
                }
            }
        }
        Ok(())
    }

    fn end_service(&mut self) {
        if let Some(meta) = self.service.take() {
            let endpoints: EndpointSet = self.endpoints.drain(..).collect();
            self.records.push(ServiceRecord::new(meta, endpoints));
        }
    }

    fn meta(&self, entry: &ServiceEntry) -> Result<Arc<ServiceMeta>, What> {
        let ServiceEntry {
            group,
            namespace,
            name,
            aliases,
            ports,
            addresses,
            labels,
            metadata,
            variables,
            session_affinity,
            distribution,
            internal_local,
            created,
            resolution,
        } = entry;
        let aliases: Vec<Str> = all(aliases, |alias| self.text(*alias))?;
        let ports: Vec<ServicePort> = all(ports, |port| self.port(port))?;
        let addresses: Vec<Vip> = all(addresses, |vip| self.vip(vip))?;
        let id = ServiceId::new(self.text(*group)?, self.text(*namespace)?, self.text(*name)?);
        Ok(ServiceMeta::builder(id)
            .aliases(aliases)
            .ports(ports)
            .addresses(addresses)
            .labels(self.labels(labels)?)
            .metadata(self.labels(metadata)?)
            .variables(self.labels(variables)?)
            .traffic(Traffic {
                session_affinity: *session_affinity,
                distribution: self.text(*distribution)?,
                internal_local: *internal_local,
            })
            .created(created.map(Timestamp::from_millis))
            .resolution(*resolution)
            .build())
    }

    fn port(&self, entry: &PortEntry) -> Result<ServicePort, What> {
        let PortEntry {
            name,
            number,
            transport,
            app_protocol,
            implicit,
        } = entry;
        Ok(ServicePort {
            name: self.text(*name)?,
            number: *number,
            transport: *transport,
            app_protocol: self.text(*app_protocol)?,
            implicit: *implicit,
        })
    }

    fn vip(&self, entry: &VipEntry) -> Result<Vip, What> {
        let VipEntry { cluster, addresses } = entry;
        Ok(Vip {
            cluster: self.text(*cluster)?,
            addresses: all(addresses, |address| self.address(address))?,
        })
    }

    fn endpoint(&self, entry: &EndpointEntry<'_>) -> Result<Endpoint, What> {
        let EndpointEntry {
            address,
            others,
            ports,
            attributes,
            place,
            id,
            status,
            first_seen,
            last_changed,
            hostname,
            node_hints,
            claims,
            weight,
            source,
            priority,
            health,
            administrative,
        } = entry;
        let others: Vec<Address> = all(others, |other| self.address(other))?;
        let claims: Vec<Claim> = all(claims, |claim| self.claim(claim))?;
        let hostname = known(&self.texts, *hostname, "text")?;
        let node_hints: Vec<Str> = all(node_hints, |hint| self.text(*hint))?;
        Ok(Endpoint::from_parts(&EndpointParts {
            addresses: &Addresses::new(self.address(address)?, others),
            ports: known(&self.ports, *ports, "set of ports")?,
            attributes: known(&self.attributes, *attributes, "attributes")?,
            place: known(&self.places, *place, "place")?,
            id,
            status: known(&self.texts, *status, "text")?,
            first_seen: Timestamp::from_millis(*first_seen),
            last_changed: Timestamp::from_millis(*last_changed),
            hostname: Some(hostname).filter(|hostname| !hostname.is_empty()),
            node_hints: &node_hints,
            origins: &Origins::default(),
            claims: &claims,
            weight: *weight,
            source: *source,
            priority: *priority,
            health: *health,
            administrative: *administrative,
        }))
    }

    fn claim(&self, entry: &ClaimEntry<'_>) -> Result<Claim, What> {
        let ClaimEntry {
            id,
            status,
            first_seen,
            last_changed,
            source,
        } = entry;
        Ok(Claim {
            id: Str::from(*id),
            status: self.text(*status)?,
            first_seen: Timestamp::from_millis(*first_seen),
            last_changed: Timestamp::from_millis(*last_changed),
            source: *source,
            origins: Origins::default(),
        })
    }

    fn origin(&self, entry: &OriginEntry<'_>) -> Result<Origin, What> {
        let OriginEntry {
            registry,
            id,
            status,
            first_seen,
            last_changed,
        } = entry;
        Ok(Origin {
            registry: self.text(*registry)?,
            id: Str::from(*id),
            status: self.text(*status)?,
            first_seen: Timestamp::from_millis(*first_seen),
            last_changed: Timestamp::from_millis(*last_changed),
        })
    }

    fn address(&self, entry: &AddressEntry) -> Result<Address, What> {
        Ok(match entry {
            AddressEntry::V4(ip) => Address::V4(*ip),
            AddressEntry::V6(ip) => Address::V6(*ip),
            AddressEntry::Host(name) => Address::Host(self.text(*name)?),
            AddressEntry::Unix(path) => Address::Unix(self.text(*path)?),
        })
    }

    fn labels(&self, pairs: &Pairs) -> Result<Labels, What> {
        pairs
            .iter()
            .map(|(key, value)| Ok((self.text(*key)?, self.text(*value)?)))
            .collect()
    }

    fn text(&self, number: Number) -> Result<Str, What> {
        known(&self.texts, number, "text").cloned()
    }
}

fn all<E, T, C: FromIterator<T>>(entries: &[E], one: impl Fn(&E) -> Result<T, What>) -> Result<C, What> {
    entries.iter().map(one).collect()
}

fn known<'a, T>(values: &'a [T], number: Number, kind: &'static str) -> Result<&'a T, What> {
    values.get(number).ok_or(What::Unknown { kind, number })
}
