//! From the model to the entries of a body.
//!
//! Every part of the model is taken apart by a pattern that names all of its fields: a new one does not compile until
//! it is written here or left out on purpose.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use super::item::{
    AddressEntry, ClaimEntry, EndpointEntry, Item, Number, OriginEntry, Pairs, PortEntry, ServiceEntry,
    VipEntry,
};
use crate::model::{
    Address, Attributes, Claim, Endpoint, EndpointParts, EndpointPort, EndpointPorts, Labels, Locality,
    MetaParts, Origin, Origins, Place, ServiceMeta, ServicePort, ServiceRecord, Traffic, Vip,
};

/// How much is encoded before it goes to the sink.
const CHUNK: usize = 64 << 10;

/// Writes records as entries, values that repeat once.
pub(super) struct Encoder<'a, W> {
    sink: W,
    buffer: Vec<u8>,
    texts: HashMap<&'a str, Number>,
    // By reference to the shared pointer: equal pointers are equal without a look at what they point to.
    ports: HashMap<&'a Arc<EndpointPorts>, Number>,
    attributes: HashMap<&'a Arc<Attributes>, Number>,
    places: HashMap<&'a Arc<Place>, Number>,
}

impl<'a, W: Write> Encoder<'a, W> {
    pub(super) fn new(sink: W) -> Self {
        Self {
            sink,
            buffer: Vec::with_capacity(CHUNK + CHUNK / 4),
            texts: HashMap::from([("", 0)]),
            ports: HashMap::new(),
            attributes: HashMap::new(),
            places: HashMap::new(),
        }
    }

    /// A service and its endpoints.
    pub(super) fn record(&mut self, record: &'a ServiceRecord) -> io::Result<()> {
        let (meta, endpoints) = record.parts();
        self.meta(meta)?;
        endpoints.iter().try_for_each(|endpoint| self.endpoint(endpoint))
    }

    /// The sink, with everything in it.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.sink.write_all(&self.buffer)?;
        Ok(self.sink)
    }

    fn emit(&mut self, item: &Item<'_>) -> io::Result<()> {
        self.buffer =
            postcard::to_extend(item, std::mem::take(&mut self.buffer)).map_err(io::Error::other)?;
        if self.buffer.len() >= CHUNK {
            self.sink.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    fn meta(&mut self, meta: &'a ServiceMeta) -> io::Result<()> {
        let MetaParts {
            id,
            aliases,
            ports,
            addresses,
            labels,
            metadata,
            variables,
            origins,
            traffic,
            created,
            resolution,
        } = meta.parts();
        let Traffic {
            session_affinity,
            distribution,
            internal_local,
        } = traffic;
        let entry = ServiceEntry {
            group: self.text(id.group())?,
            namespace: self.text(id.namespace())?,
            name: self.text(id.name())?,
            aliases: self.all(aliases, |encoder, alias| encoder.text(alias))?,
            ports: self.all(ports, Self::port)?,
            addresses: self.all(addresses, Self::vip)?,
            labels: self.labels(labels)?,
            metadata: self.labels(metadata)?,
            variables: self.labels(variables)?,
            session_affinity: *session_affinity,
            distribution: self.text(distribution)?,
            internal_local: *internal_local,
            created: created.map(|created| created.as_millis()),
            resolution,
        };
        self.emit(&Item::Service(Box::new(entry)))?;
        if origins.is_empty() {
            return Ok(());
        }
        let origins = self.all(origins, |encoder, way| encoder.text(way))?;
        self.emit(&Item::ServiceOrigins(origins))
    }

    fn port(&mut self, port: &'a ServicePort) -> io::Result<PortEntry> {
        let ServicePort {
            name,
            number,
            transport,
            app_protocol,
            implicit,
        } = port;
        Ok(PortEntry {
            name: self.text(name)?,
            number: *number,
            transport: *transport,
            app_protocol: self.text(app_protocol)?,
            implicit: *implicit,
        })
    }

    fn vip(&mut self, vip: &'a Vip) -> io::Result<VipEntry> {
        let Vip { cluster, addresses } = vip;
        Ok(VipEntry {
            cluster: self.text(cluster)?,
            addresses: self.all(addresses, Self::address)?,
        })
    }

    fn endpoint(&mut self, endpoint: &'a Endpoint) -> io::Result<()> {
        let EndpointParts {
            addresses,
            ports,
            attributes,
            place,
            id,
            status,
            first_seen,
            last_changed,
            hostname,
            node_hints,
            origins,
            claims,
            weight,
            source,
            priority,
            health,
            administrative,
        } = endpoint.parts();
        let entry = EndpointEntry {
            address: self.address(addresses.first())?,
            others: self.all(&addresses.as_slice()[1..], Self::address)?,
            ports: self.ports(ports)?,
            attributes: self.attributes(attributes)?,
            place: self.place(place)?,
            id,
            status: self.text(status)?,
            first_seen: first_seen.as_millis(),
            last_changed: last_changed.as_millis(),
            hostname: self.text(hostname.map_or("", |hostname| hostname))?,
            node_hints: self.all(node_hints, |encoder, hint| encoder.text(hint))?,
            claims: self.all(claims, Self::claim)?,
            weight,
            source,
            priority,
            health,
            administrative,
        };
        self.emit(&Item::Endpoint(entry))?;
        self.origins(0, origins)?;
        let later = claims.iter().enumerate();
        later
            .into_iter()
            .try_for_each(|(at, claim)| self.origins(at + 1, &claim.origins))
    }

    fn origins(&mut self, claim: usize, origins: &'a Origins) -> io::Result<()> {
        if origins.is_empty() {
            return Ok(());
        }
        let origins = self.all(origins, |encoder, origin| {
            let Origin {
                registry,
                id,
                status,
                first_seen,
                last_changed,
            } = origin;
            Ok(OriginEntry {
                registry: encoder.text(registry)?,
                id,
                status: encoder.text(status)?,
                first_seen: first_seen.as_millis(),
                last_changed: last_changed.as_millis(),
            })
        })?;
        self.emit(&Item::Origins { claim, origins })
    }

    fn claim(&mut self, claim: &'a Claim) -> io::Result<ClaimEntry<'a>> {
        let Claim {
            id,
            status,
            first_seen,
            last_changed,
            source,
            origins: _,
        } = claim;
        Ok(ClaimEntry {
            id,
            status: self.text(status)?,
            first_seen: first_seen.as_millis(),
            last_changed: last_changed.as_millis(),
            source: *source,
        })
    }

    fn address(&mut self, address: &'a Address) -> io::Result<AddressEntry> {
        Ok(match address {
            Address::V4(ip) => AddressEntry::V4(*ip),
            Address::V6(ip) => AddressEntry::V6(*ip),
            Address::Host(name) => AddressEntry::Host(self.text(name)?),
            Address::Unix(path) => AddressEntry::Unix(self.text(path)?),
        })
    }

    fn labels(&mut self, labels: &'a Labels) -> io::Result<Pairs> {
        labels
            .iter()
            .map(|(key, value)| Ok((self.text(key)?, self.text(value)?)))
            .collect()
    }

    fn all<T, E>(
        &mut self,
        values: &'a [T],
        mut one: impl FnMut(&mut Self, &'a T) -> io::Result<E>,
    ) -> io::Result<Vec<E>> {
        values.iter().map(|value| one(self, value)).collect()
    }

    // === values that repeat ===

    fn text(&mut self, text: &'a str) -> io::Result<Number> {
        if let Some(number) = self.texts.get(text) {
            return Ok(*number);
        }
        let number = self.texts.len();
        self.texts.insert(text, number);
        self.emit(&Item::Text(text))?;
        Ok(number)
    }

    fn ports(&mut self, ports: &'a Arc<EndpointPorts>) -> io::Result<Number> {
        if let Some(number) = self.ports.get(ports) {
            return Ok(*number);
        }
        let mut entry = Vec::new();
        for EndpointPort { name, number } in ports.iter() {
            entry.push((self.text(name)?, *number));
        }
        self.emit(&Item::Ports(entry))?;
        let number = self.ports.len();
        self.ports.insert(ports, number);
        Ok(number)
    }

    fn attributes(&mut self, attributes: &'a Arc<Attributes>) -> io::Result<Number> {
        if let Some(number) = self.attributes.get(attributes) {
            return Ok(*number);
        }
        let (labels, hints, identity) = attributes.parts();
        let entry = Item::Attributes {
            labels: self.labels(labels)?,
            hints: self.all(hints, |encoder, hint| encoder.text(hint))?,
            identity: self.text(identity)?,
        };
        self.emit(&entry)?;
        let number = self.attributes.len();
        self.attributes.insert(attributes, number);
        Ok(number)
    }

    fn place(&mut self, place: &'a Arc<Place>) -> io::Result<Number> {
        if let Some(number) = self.places.get(place) {
            return Ok(*number);
        }
        let (locality, network, cluster, node) = place.parts();
        let Locality {
            region,
            zone,
            sub_zone,
        } = locality;
        let entry = Item::Place {
            region: self.text(region)?,
            zone: self.text(zone)?,
            sub_zone: self.text(sub_zone)?,
            network: self.text(network)?,
            cluster: self.text(cluster)?,
            node: self.text(node)?,
        };
        self.emit(&entry)?;
        let number = self.places.len();
        self.places.insert(place, number);
        Ok(number)
    }
}
