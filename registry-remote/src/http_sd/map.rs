//! From labels to the model: which service a group belongs to, and what its targets have in common.

use std::borrow::Cow;

use registry_core::{Endpoint, Health, Interner, Locality, PortDefaults, ServiceId, ServicePort, Str, short};

use super::config::HttpSdConfig;
use super::document::{self, Format, RawGroup};
use super::target::Target;

/// Longer texts are not shown whole.
const SHOWN: usize = 100;

/// Most labels of all endpoints of a document: those of a group are written once, and cost time for each of its targets.
const MOST_LABELS: usize = 32_000_000;

/// Reads documents: which labels say what, and the texts that were read before.
#[derive(Debug)]
pub(crate) struct Reading {
    config: HttpSdConfig,
    ports: PortDefaults,
    pub(crate) interner: Interner,
}

/// What one group of a document says.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) service: ServiceId,
    pub(crate) port: ServicePort,
    pub(crate) targets: Vec<Target>,
    health: Health,
    status: Str,
    weight: u32,
    locality: Locality,
    labels: Vec<(Str, Str)>,
}

type Pairs<'a> = [(Cow<'a, str>, Cow<'a, str>)];

impl Reading {
    pub(crate) fn new(config: HttpSdConfig, ports: PortDefaults) -> Self {
        Self {
            config,
            ports,
            interner: Interner::default(),
        }
    }

    /// All groups of a document.
    ///
    /// # Errors
    ///
    /// Where in the document, what was found, and what was expected.
    pub(crate) fn document(&mut self, bytes: &[u8], format: Format) -> Result<Vec<Group>, String> {
        let (mut groups, mut left) = (Vec::new(), MOST_LABELS);
        document::read(bytes, format, &mut |raw| {
            let group = self.group(raw)?;
            let labels = group
                .as_ref()
                .map_or(0, |group| group.targets.len() * group.labels.len());
            left = left
                .checked_sub(labels)
                .ok_or("found more labels of targets than a document may have in all")?;
            groups.extend(group);
            Ok(())
        })?;
        Ok(groups)
    }

    /// `None` for a group that neither has targets nor names a service.
    fn group(&mut self, raw: RawGroup<'_>) -> Result<Option<Group>, String> {
        let Self {
            config,
            ports,
            interner,
        } = self;
        let RawGroup { targets, labels } = raw;
        let names = &config.labels;
        let named = first(&labels, &names.service).map(|(_, name)| name);
        let Some(name) = named.or(config.service.as_deref()) else {
            if targets.is_empty() {
                return Ok(None);
            }
            let names = names.service.join(", ");
            return Err(format!(
                "found targets without a service, expected one of the labels {names}, or `service` in the configuration"
            ));
        };
        let mut text = |names: &[String]| {
            let found = first(&labels, names).map(|(_, text)| text);
            interner.text(found.unwrap_or_default())
        };
        let namespace = text(&names.namespace);
        let locality = Locality {
            region: text(&names.region),
            zone: text(&names.zone),
            sub_zone: Str::default(),
        };
        let port = match text(&names.port_name) {
            name if name.is_empty() => ports.port(),
            name => ServicePort {
                name,
                implicit: false,
                ..ports.port()
            },
        };
        let status = text(&names.health);
        let kept = |(key, value): &&(Cow<'_, str>, Cow<'_, str>)| {
            !value.is_empty() && (config.meta_labels || !key.starts_with("__"))
        };
        let service = ServiceId::new("", namespace, interner.text(name));
        let pairs = labels.iter().filter(kept);
        Ok(Some(Group {
            service,
            port,
            targets,
            health: health(&labels, &names.health)?,
            status,
            weight: weight(&labels, &names.weight)?,
            locality,
            labels: pairs
                .map(|(key, value)| (interner.text(key), interner.text(value)))
                .collect(),
        }))
    }
}

impl Group {
    /// One of its targets.
    pub(crate) fn endpoint(&self, target: &Target, interner: &mut Interner) -> Endpoint {
        let mut endpoint = Endpoint::builder(target.address.clone())
            .id(target.to_string())
            .health(self.health)
            .status(self.status.clone())
            .weight(self.weight)
            .locality(self.locality.clone());
        if let Some(number) = target.port {
            endpoint = endpoint.port(self.port.name.clone(), number);
        }
        for (key, value) in &self.labels {
            endpoint = endpoint.label(key.clone(), value.clone());
        }
        endpoint.build_in(interner)
    }
}

/// The first of these labels that is there and says anything.
fn first<'l>(labels: &'l Pairs<'_>, names: &'l [String]) -> Option<(&'l str, &'l str)> {
    let of = |name: &'l String| {
        // Of a label that comes twice the last one counts, as it does for Prometheus.
        let found = labels.iter().rev().find(|(key, _)| key == name)?;
        (!found.1.is_empty()).then_some((name.as_str(), &*found.1))
    };
    names.iter().find_map(of)
}

fn weight(labels: &Pairs<'_>, names: &[String]) -> Result<u32, String> {
    let Some((name, text)) = first(labels, names) else {
        return Ok(1);
    };
    let digits = text.bytes().all(|c| c.is_ascii_digit());
    text.parse().ok().filter(|_| digits).ok_or_else(|| {
        let text = short(text, SHOWN);
        format!(
            "found the weight {text:?} in the label {name}, expected a whole number up to {}",
            u32::MAX
        )
    })
}

fn health(labels: &Pairs<'_>, names: &[String]) -> Result<Health, String> {
    let Some((name, text)) = first(labels, names) else {
        return Ok(Health::Unknown);
    };
    text.to_ascii_lowercase().parse().map_err(|_| {
        let text = short(text, SHOWN);
        format!(
            "found the health {text:?} in the label {name}, expected healthy, degraded, draining, unhealthy or unknown"
        )
    })
}

#[cfg(test)]
mod tests;
