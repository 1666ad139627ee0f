//! From what stands in a file to services: the one place that knows what is right.
//!
//! Pure: text in, records or errors out. All mistakes of a file are found, up to [`MAX_ERRORS`].

mod endpoint;
mod judge;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use registry_core::{
    Address, Interner, Labels, PortDefaults, Resolution, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    Str, Transport, Vip, short,
};

use self::judge::{Judge, Path};
use crate::error::Error;
use crate::wire::{self, At, Document, Items, Maybe, Pairs, Position, Word};

/// Beyond this many errors nobody reads on.
const MAX_ERRORS: usize = 100;

/// The namespace of services that name none.
const DEFAULT_NAMESPACE: &str = "default";

/// Reads the services of one file. The file is named as operators know it; that name is their group, too.
pub(crate) fn services(
    file: &str,
    source: &str,
    ports: &PortDefaults,
    interner: &mut Interner,
) -> Result<Vec<ServiceRecord>, Vec<Error>> {
    if source.is_empty() {
        return Err(vec![Error::Empty {
            file: file.to_owned(),
        }]);
    }
    let document = wire::read(source).map_err(|error| vec![syntax(file, &error)])?;
    let mut mapper = Mapper {
        judge: Judge::new(file, source),
        ports,
        interner,
    };
    let records = mapper.document(&document);
    mapper.judge.verdict(records)
}

fn syntax(file: &str, error: &serde_saphyr::Error) -> Error {
    let error = error.without_snippet();
    let (line, column) = error
        .location()
        .map_or((1, 1), |location| (location.line(), location.column()));
    if let serde_saphyr::Error::DuplicateMappingKey { key: Some(key), .. } = error {
        return Error::Value {
            file: file.to_owned(),
            line: u32::try_from(line).unwrap_or(u32::MAX),
            column: u32::try_from(column).unwrap_or(u32::MAX),
            field: short(key, 200),
            found: "the key a second time".to_owned(),
            expected: "each key once".to_owned(),
        };
    }
    let mut found = error.render_with_formatter(&serde_saphyr::UserMessageFormatter);
    // Some messages end with the place, which stands at the front of ours.
    if let Some(at) = found.rfind(" at line ") {
        found.truncate(at);
    }
    Error::Syntax {
        file: file.to_owned(),
        line,
        column,
        found: short(&found, 300),
    }
}

struct Mapper<'a> {
    judge: Judge<'a>,
    ports: &'a PortDefaults,
    interner: &'a mut Interner,
}

impl Mapper<'_> {
    fn document(&mut self, document: &At<Maybe<'_, Document<'_>>>) -> Vec<ServiceRecord> {
        let root = Path::Root;
        let expected = "a mapping with the list `services`";
        let Some(fields) = self.judge.fields(document, &root, expected) else {
            return Vec::new();
        };
        let path = root.field("services");
        let Some(services) = &fields.services else {
            self.judge.wrong(
                document.position,
                &path,
                "nothing",
                "a list of services (`services: []` where there are none)",
            );
            return Vec::new();
        };
        let expected = "a list of services (`services: []` where there are none)";
        let mut seen = HashMap::new();
        let mut records = Vec::new();
        for (at, service) in self.judge.items(services, &path, expected).iter().enumerate() {
            records.extend(self.service(service, &path.item(at), &mut seen));
        }
        records
    }

    fn service(
        &mut self,
        at: &At<Maybe<'_, wire::Service<'_>>>,
        path: &Path<'_>,
        seen: &mut HashMap<ServiceId, u32>,
    ) -> Option<ServiceRecord> {
        let fields = self.judge.fields(at, path, "a service")?;
        let name_path = path.field("name");
        let (name_at, name) = match &fields.name {
            None => {
                self.judge
                    .wrong(at.position, &name_path, "nothing", "the name of the service");
                (at.position, None)
            }
            Some(name) => (
                name.position,
                self.judge.name(name, &name_path, "the name of the service"),
            ),
        };
        let namespace = self.optional_name(
            &fields.namespace,
            &path.field("namespace"),
            "the name of a namespace",
        );

        let aliases = self.aliases(fields.aliases.as_ref(), &path.field("aliases"));
        let mut ports = self.service_ports(fields.ports.as_ref(), &path.field("ports"));
        let labels = self.labels(fields.labels.as_ref(), &path.field("labels"));
        let metadata = self.labels(fields.metadata.as_ref(), &path.field("metadata"));
        let resolution = self.resolution(fields.resolution.as_ref(), &path.field("resolution"));
        let vips = self.vips(fields.addresses.as_ref(), &path.field("addresses"));
        let endpoints = self.endpoints(fields.endpoints.as_ref(), &path.field("endpoints"), &mut ports);

        let namespace = namespace.unwrap_or_else(|| self.interner.text(DEFAULT_NAMESPACE));
        let group = self.interner.text(self.judge.file());
        let id = ServiceId::new(group, namespace, Str::from(&*name?));
        match seen.entry(id.clone()) {
            Entry::Vacant(place) => place.insert(name_at.line),
            Entry::Occupied(first) => {
                let found = format!(
                    "{:?} of namespace {:?} again, first at line {}",
                    id.name(),
                    id.namespace(),
                    first.get()
                );
                self.judge
                    .wrong(name_at, &name_path, found, "each service once in a file");
                return None;
            }
        };
        let meta = ServiceMeta::builder(id)
            .aliases(aliases)
            .ports(ports)
            .labels(labels)
            .metadata(metadata)
            .resolution(resolution)
            .addresses(vips)
            .build();
        Some(ServiceRecord::new(meta, endpoints))
    }

    fn optional_name(
        &mut self,
        value: &Option<At<Word<'_>>>,
        path: &Path<'_>,
        expected: &str,
    ) -> Option<Str> {
        let text = self.judge.name(value.as_ref()?, path, expected)?;
        Some(self.interner.text(&text))
    }

    fn aliases(&mut self, list: Option<&At<Maybe<'_, Items<Word<'_>>>>>, path: &Path<'_>) -> Vec<Str> {
        let Some(list) = list else { return Vec::new() };
        let mut aliases = Vec::new();
        for (at, alias) in self.judge.items(list, path, "a list of names").iter().enumerate() {
            let alias = self.judge.name(alias, &path.item(at), "a name");
            aliases.extend(alias.map(|alias| Str::from(&*alias)));
        }
        aliases
    }

    fn service_ports(
        &mut self,
        list: Option<&At<Maybe<'_, Items<Maybe<'_, wire::Port<'_>>>>>>,
        path: &Path<'_>,
    ) -> Vec<ServicePort> {
        let Some(list) = list else { return Vec::new() };
        let mut ports: Vec<(ServicePort, Position)> = Vec::new();
        for (at, port) in self.judge.items(list, path, "a list of ports").iter().enumerate() {
            let path = path.item(at);
            let Some(fields) = self
                .judge
                .fields(port, &path, "a port, such as { name: http, number: 80 }")
            else {
                continue;
            };
            let expected = "the name of the port";
            if fields.name.is_none() {
                self.judge
                    .wrong(port.position, &path.field("name"), "nothing", expected);
            }
            let position = fields.name.as_ref().map_or(port.position, |name| name.position);
            let name = self.optional_name(&fields.name, &path.field("name"), expected);
            let number = fields
                .number
                .as_ref()
                .and_then(|number| self.judge.port(number, &path.field("number")));
            let protocol = self.optional_name(
                &fields.protocol,
                &path.field("protocol"),
                "a protocol such as http",
            );
            let transport = fields.transport.as_ref().and_then(|transport| {
                self.judge
                    .word::<Transport>(transport, &path.field("transport"), "tcp, udp or sctp")
            });
            let Some(name) = name else { continue };
            if let Some((_, first)) = ports.iter().find(|(held, _)| held.name == name) {
                let found = format!("{name:?} again, first at line {}", first.line);
                self.judge
                    .wrong(position, &path.field("name"), found, "each port once");
                continue;
            }
            let port = ServicePort {
                name,
                number,
                transport: transport.unwrap_or_default(),
                app_protocol: protocol.unwrap_or_default(),
                implicit: false,
            };
            ports.push((port, position));
        }
        ports.into_iter().map(|(port, _)| port).collect()
    }

    fn labels(&mut self, pairs: Option<&At<Maybe<'_, Pairs<'_>>>>, path: &Path<'_>) -> Labels {
        let texts = self.texts(pairs, path);
        texts.into_iter().collect()
    }

    fn texts(&mut self, pairs: Option<&At<Maybe<'_, Pairs<'_>>>>, path: &Path<'_>) -> Vec<(Str, Str)> {
        let Some(pairs) = pairs else { return Vec::new() };
        let mut texts = Vec::new();
        for (key, value) in self.judge.pairs(pairs, path, "a mapping of names to texts") {
            let path = path.field(&key.value);
            if key.value.is_empty() {
                self.judge.wrong(key.position, &path, "an empty name", "a name");
            }
            if let Some(text) = self.judge.text(value, &path, "a text (`\"\"` for an empty one)") {
                texts.push((self.interner.text(&key.value), self.interner.text(&text)));
            }
        }
        texts
    }

    fn resolution(&mut self, word: Option<&At<Word<'_>>>, path: &Path<'_>) -> Resolution {
        let Some(word) = word else {
            return Resolution::default();
        };
        let expected = "static, headless or dns";
        let all = [Resolution::Static, Resolution::Headless, Resolution::Dns];
        self.judge
            .one_of(word, path, expected, |text| {
                all.into_iter().find(|resolution| resolution.as_str() == text)
            })
            .unwrap_or_default()
    }

    fn vips(&mut self, list: Option<&At<Maybe<'_, Items<Word<'_>>>>>, path: &Path<'_>) -> Vec<Vip> {
        let Some(list) = list else { return Vec::new() };
        let mut addresses = Vec::new();
        for (at, address) in self
            .judge
            .items(list, path, "a list of IP addresses")
            .iter()
            .enumerate()
        {
            let read = self
                .judge
                .one_of(address, &path.item(at), "an IP address", |text| {
                    let address = text.parse::<Address>().ok()?;
                    address.ip().map(|_| address)
                });
            addresses.extend(read);
        }
        if addresses.is_empty() {
            return Vec::new();
        }
        let cluster = Str::default();
        vec![Vip { cluster, addresses }]
    }
}

#[cfg(test)]
mod tests;
