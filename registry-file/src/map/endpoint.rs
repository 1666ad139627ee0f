//! The endpoints of one service.

use std::collections::HashMap;

use registry_core::{Address, Addresses, Endpoint, Health, Locality, ServicePort, Str};

use super::Mapper;
use super::judge::Path;
use crate::wire::{self, At, Items, Maybe, Pairs, Position, Word};

/// The largest weight: that of Consul, and small enough for the sum of a service's weights.
const MAX_WEIGHT: u64 = 65_535;

/// The largest priority: Envoy's.
const MAX_PRIORITY: u64 = 127;

/// Where endpoints of a service were seen, to name both lines when one comes again.
#[derive(Default)]
struct Seen {
    places: HashMap<(Str, Address, Option<u16>), u32>,
    ids: HashMap<Str, u32>,
}

impl Mapper<'_> {
    /// All endpoints. Where the service declares no port and an endpoint has one, `ports` gets the default port.
    pub(super) fn endpoints(
        &mut self,
        list: Option<&At<Maybe<'_, Items<Maybe<'_, wire::Endpoint<'_>>>>>>,
        path: &Path<'_>,
        ports: &mut Vec<ServicePort>,
    ) -> Vec<Endpoint> {
        let Some(list) = list else { return Vec::new() };
        let mut seen = Seen::default();
        let declared = std::mem::take(ports);
        let default = [self.ports.port()];
        let mut default_used = false;
        let mut endpoints = Vec::new();
        for (at, endpoint) in self
            .judge
            .items(list, path, "a list of endpoints")
            .iter()
            .enumerate()
        {
            let path = path.item(at);
            let Some(fields) = self.judge.fields(
                endpoint,
                &path,
                "an endpoint, such as { address: 10.0.0.7, port: 8080 }",
            ) else {
                continue;
            };
            let numbers = if declared.is_empty() && fields.ports.is_none() {
                default_used |= fields.port.is_some();
                let ports: &[ServicePort] = if fields.port.is_some() { &default } else { &[] };
                self.endpoint_ports(endpoint.position, fields, &path, ports)
            } else {
                self.endpoint_ports(endpoint.position, fields, &path, &declared)
            };
            endpoints.extend(self.endpoint(endpoint.position, fields, &path, numbers, &mut seen));
        }
        *ports = if default_used { default.into() } else { declared };
        endpoints
    }

    fn endpoint(
        &mut self,
        position: Position,
        fields: &wire::Endpoint<'_>,
        path: &Path<'_>,
        ports: Vec<(Str, u16)>,
        seen: &mut Seen,
    ) -> Option<Endpoint> {
        let addresses = self.addresses(position, fields, path);
        let weight = fields
            .weight
            .as_ref()
            .and_then(|weight| self.judge.number(weight, &path.field("weight"), 0..=MAX_WEIGHT));
        let priority = fields.priority.as_ref().and_then(|priority| {
            self.judge
                .number(priority, &path.field("priority"), 0..=MAX_PRIORITY)
        });
        let health = fields.health.as_ref().and_then(|health| {
            let expected = "healthy, degraded, draining, unhealthy or unknown";
            self.judge.word::<Health>(health, &path.field("health"), expected)
        });
        let locality = self.locality(fields.locality.as_ref(), &path.field("locality"));
        let labels = self.texts(fields.labels.as_ref(), &path.field("labels"));
        let mut name = |value, field: &str, expected| {
            let path = path.field(field);
            self.optional_name(value, &path, expected)
        };
        let hostname = name(&fields.hostname, "hostname", "the name of a DNS record");
        let node = name(&fields.node, "node", "the name of a machine");
        let network = name(&fields.network, "network", "the name of a network").unwrap_or_default();
        let cluster = name(&fields.cluster, "cluster", "the name of a cluster");
        let identity = name(&fields.identity, "identity", "an identity such as a SPIFFE ID");
        let id = name(&fields.id, "id", "an id");

        let addresses = addresses?;
        self.check_place(position, path, &network, addresses.first(), &ports, seen);
        if let (Some(id), Some(at)) = (&id, &fields.id) {
            if let Some(first) = seen.ids.get(id) {
                let found = format!("{id:?} again, first at line {first}");
                self.judge
                    .wrong(at.position, &path.field("id"), found, "each id once in a service");
            } else {
                seen.ids.insert(id.clone(), at.position.line);
            }
        }
        let id = id.unwrap_or_else(|| default_id(addresses.first(), &ports).into());
        // `healthy` is what the operator expects, which a registry that checks may know better. All other words are
        // orders, which count whatever others say, also while the file is broken.
        let ordered = matches!(
            health,
            Some(Health::Degraded | Health::Draining | Health::Unhealthy)
        );
        let mut endpoint = Endpoint::builder(addresses)
            .health(health.unwrap_or_default())
            .administrative(ordered)
            .status(health.map_or("", Health::as_str))
            .weight(weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1))
            .priority(
                priority
                    .and_then(|priority| u8::try_from(priority).ok())
                    .unwrap_or(0),
            )
            .locality(locality)
            .network(network)
            .cluster(cluster.unwrap_or_default())
            .node(node.unwrap_or_default())
            .identity(identity.unwrap_or_default())
            .hostname(hostname.unwrap_or_default())
            .id(id);
        for (name, number) in ports {
            endpoint = endpoint.port(name, number);
        }
        for (key, value) in labels {
            endpoint = endpoint.label(key, value);
        }
        Some(endpoint.build_in(self.interner))
    }

    fn addresses(
        &mut self,
        position: Position,
        fields: &wire::Endpoint<'_>,
        path: &Path<'_>,
    ) -> Option<Addresses> {
        let expected = "an IP address, a host name or unix:/path";
        match (&fields.address, &fields.addresses) {
            (Some(address), None) => self
                .judge
                .word::<Address>(address, &path.field("address"), expected)
                .map(Addresses::from),
            (None, Some(list)) => {
                let path = path.field("addresses");
                let items = self.judge.items(list, &path, "a list of addresses");
                if items.is_empty() && list.value.0.is_ok() {
                    self.judge
                        .wrong(list.position, &path, "an empty list", "at least one address");
                }
                let mut addresses = Vec::new();
                for (at, address) in items.iter().enumerate() {
                    addresses.extend(self.judge.word::<Address>(address, &path.item(at), expected));
                }
                let mut addresses = addresses.into_iter();
                addresses.next().map(|first| Addresses::new(first, addresses))
            }
            (None, None) => {
                self.judge
                    .wrong(position, &path.field("address"), "nothing", expected);
                None
            }
            (Some(_), Some(list)) => {
                let expected = "either `address` or `addresses`";
                self.judge.wrong(
                    list.position,
                    &path.field("addresses"),
                    "a list beside `address`",
                    expected,
                );
                None
            }
        }
    }

    /// The ports of an endpoint, by the names of the service's ports.
    fn endpoint_ports(
        &mut self,
        position: Position,
        fields: &wire::Endpoint<'_>,
        path: &Path<'_>,
        declared: &[ServicePort],
    ) -> Vec<(Str, u16)> {
        match (&fields.port, &fields.ports) {
            (None, None) => self.inherited_ports(position, fields, path, declared),
            (None, Some(pairs)) => self.named_ports(pairs, &path.field("ports"), declared),
            (Some(port), None) => {
                let path = path.field("port");
                let number = self.judge.port(port, &path);
                if let [only] = declared {
                    return number
                        .map(|number| (only.name.clone(), number))
                        .into_iter()
                        .collect();
                }
                let expected = format!("`ports`, as the service has several: {}", names(declared));
                self.judge.wrong(port.position, &path, "a single port", expected);
                Vec::new()
            }
            (Some(_), Some(pairs)) => {
                let found = "a mapping beside `port`";
                self.judge.wrong(
                    pairs.position,
                    &path.field("ports"),
                    found,
                    "either `port` or `ports`",
                );
                Vec::new()
            }
        }
    }

    fn named_ports(
        &mut self,
        pairs: &At<Maybe<'_, Pairs<'_>>>,
        path: &Path<'_>,
        declared: &[ServicePort],
    ) -> Vec<(Str, u16)> {
        let mut ports = Vec::new();
        let expected = "a mapping of port names to numbers";
        for (name, number) in self.judge.pairs(pairs, path, expected) {
            let path = path.field(&name.value);
            let number = self.judge.port(number, &path);
            match declared.iter().find(|port| port.name == *name.value) {
                Some(port) => ports.extend(number.map(|number| (port.name.clone(), number))),
                None => {
                    let expected = match declared {
                        [] => "a port of the service, which declares none".to_owned(),
                        some => format!("a port of the service: {}", names(some)),
                    };
                    self.judge
                        .wrong(name.position, &path, "an unknown port", expected);
                }
            }
        }
        ports
    }

    /// An endpoint that says nothing of ports serves on the service's own numbers, unless it is a Unix socket.
    fn inherited_ports(
        &mut self,
        position: Position,
        fields: &wire::Endpoint<'_>,
        path: &Path<'_>,
        declared: &[ServicePort],
    ) -> Vec<(Str, u16)> {
        let socket =
            |address: &At<Word<'_>>| matches!(&address.value, Word::Text(text) if text.starts_with("unix:"));
        if fields.address.as_ref().is_some_and(socket) {
            return Vec::new();
        }
        if let Some(port) = declared.iter().find(|port| port.number.is_none()) {
            let field = if declared.len() == 1 { "port" } else { "ports" };
            let expected = format!("a number, as port {:?} of the service has none", port.name);
            self.judge
                .wrong(position, &path.field(field), "nothing", expected);
            return Vec::new();
        }
        declared
            .iter()
            .filter_map(|port| Some((port.name.clone(), port.number?)))
            .collect()
    }

    fn locality(&mut self, at: Option<&At<Maybe<'_, wire::Locality<'_>>>>, path: &Path<'_>) -> Locality {
        let expected = "a mapping of region, zone and sub_zone";
        let Some(fields) = at.and_then(|at| self.judge.fields(at, path, expected)) else {
            return Locality::default();
        };
        let mut part = |value, field: &str, expected| {
            let path = path.field(field);
            self.optional_name(value, &path, expected).unwrap_or_default()
        };
        Locality {
            region: part(&fields.region, "region", "the name of a region"),
            zone: part(&fields.zone, "zone", "the name of a zone"),
            sub_zone: part(&fields.sub_zone, "sub_zone", "the name of a part of a zone"),
        }
    }

    /// One address and port is one endpoint: a second line for it would silently change the first.
    fn check_place(
        &mut self,
        position: Position,
        path: &Path<'_>,
        network: &Str,
        address: &Address,
        ports: &[(Str, u16)],
        seen: &mut Seen,
    ) {
        let mut numbers: Vec<Option<u16>> = ports.iter().map(|(_, number)| Some(*number)).collect();
        if numbers.is_empty() {
            numbers.push(None);
        }
        numbers.sort_unstable();
        numbers.dedup();
        for number in numbers {
            let place = (network.clone(), address.clone(), number);
            if let Some(first) = seen.places.get(&place) {
                let port = number.map(|number| format!(" port {number}")).unwrap_or_default();
                let found = format!("{address}{port} again, first at line {first}");
                let expected = "each address and port once in a service";
                return self.judge.wrong(position, path, found, expected);
            }
            seen.places.insert(place, position.line);
        }
    }
}

fn names(ports: &[ServicePort]) -> String {
    let names: Vec<&str> = ports.iter().map(|port| port.name.as_str()).collect();
    names.join(", ")
}

/// What an endpoint is called that has no id: its address and its first port by name.
fn default_id(address: &Address, ports: &[(Str, u16)]) -> String {
    match (address, ports.iter().min()) {
        (Address::V6(ip), Some((_, number))) => format!("[{ip}]:{number}"),
        (address, Some((_, number))) => format!("{address}:{number}"),
        (address, None) => address.to_string(),
    }
}
