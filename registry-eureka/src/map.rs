//! From Eureka's instances to the model: pure functions.
//!
//! | Eureka says | the model has |
//! |---|---|
//! | `status` | health (see [`EurekaRegistry`](crate::EurekaRegistry)), and the word as raw status |
//! | `ipAddr`, `hostName` | the address, by [`AddressChoice`] |
//! | `port`, `securePort`, metadata | ports by name, see [`ports`] |
//! | metadata, `availability-zone` of Amazon | zone, region, weight, see [`place`] |
//! | `instance-id` of Amazon, else `hostName` | the node |
//! | `metadata` | labels |
//! | `vipAddress`, `secureVipAddress` | aliases of the service, see [`vips`] |

mod place;
pub(crate) mod ports;
pub(crate) mod vips;

use std::borrow::Cow;
use std::net::IpAddr;

use registry_core::{Address, Endpoint, Health, Interner, Limits, PortDefaults};

use crate::config::{AddressChoice, EurekaConfig};
use crate::error::short;
use crate::wire::{Instance, Status};

/// How to read instances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping<'a> {
    pub(crate) config: &'a EurekaConfig,
    /// Settings of ports: the name and number of the plain one.
    pub(crate) ports: &'a PortDefaults,
}

/// What the server keys an instance by within its application.
pub(crate) fn key<'i>(instance: &'i Instance<'_>) -> Option<&'i str> {
    told(instance.instance_id.as_ref())
        .or_else(|| of_data_center(instance, "instance-id"))
        .or_else(|| told(instance.host_name.as_ref()))
}

/// The endpoint of an instance whose key is known, or why there is none. What of it had to be left out goes to `notes`.
pub(crate) fn endpoint(
    instance: &Instance<'_>,
    key: &str,
    mapping: Mapping<'_>,
    interner: &mut Interner,
    notes: &mut Vec<String>,
) -> Result<Endpoint, String> {
    if !fits(key) {
        return Err(format!(
            "found an id of {} bytes, expected at most {}",
            key.len(),
            longest()
        ));
    }
    let (zone, region) = place::zone_and_region(instance, mapping.config);
    let mut builder = Endpoint::builder(address(instance, mapping.config.address)?)
        .id(key)
        .status(interner.text(instance.status.as_str()))
        .health(health(instance.status))
        .administrative(administrative(instance))
        .weight(place::weight(instance, mapping.config))
        .node(interner.text(place::node(instance)))
        .locality(registry_core::Locality {
            region: interner.text(region),
            zone: interner.text(zone),
            ..registry_core::Locality::default()
        });
    for (name, number) in ports::of(instance, mapping, notes) {
        builder = builder.port(interner.text(name), number);
    }
    let groups = [
        ("eureka.asg", &instance.asg_name),
        ("eureka.app_group", &instance.app_group_name),
    ];
    let groups = groups
        .into_iter()
        .filter_map(|(label, value)| Some((label, told(value.as_ref())?)));
    let metadata = instance.metadata.iter().map(|(key, value)| (&**key, &**value));
    for (key, value) in metadata.chain(groups) {
        if fits(key) && fits(value) {
            builder = builder.label(interner.text(key), interner.text(value));
        } else {
            let (key, length) = (short(key, 100), key.len().max(value.len()));
            notes.push(format!(
                "{key}: found {length} bytes, expected at most {}; left out",
                longest()
            ));
        }
    }
    Ok(builder.build_in(interner))
}

fn health(status: Status) -> Health {
    match status {
        Status::Up => Health::Healthy,
        Status::OutOfService => Health::Draining,
        Status::Down | Status::Starting | Status::Unknown => Health::Unhealthy,
    }
}

/// Whether an operator took the instance out by hand, which counts also while the registry is stale. An override that
/// puts one in is no reason to trust it longer than any other `UP`.
fn administrative(instance: &Instance<'_>) -> bool {
    instance.overridden == instance.status && matches!(instance.status, Status::OutOfService | Status::Down)
}

/// The address to use: of those that an instance may be at, the first that is one.
fn address(instance: &Instance<'_>, choice: AddressChoice) -> Result<Address, String> {
    let ip_addr = told(instance.ip_addr.as_ref()).map(|text| ("ipAddr", text));
    let host_name = told(instance.host_name.as_ref()).map(|text| ("hostName", text));
    let candidates = match choice {
        AddressChoice::Ip if ip_addr.is_some_and(|(_, text)| is_ip(text)) => [ip_addr, host_name],
        AddressChoice::Ip | AddressChoice::Hostname => [host_name, ip_addr],
    };
    let mut problem = None;
    for (field, text) in candidates.into_iter().flatten() {
        // A path of a socket is none of what these fields hold, whoever sent it.
        match text.trim().parse::<Address>() {
            Ok(address) if !matches!(address, Address::Unix(_)) => return Ok(address),
            _ => {
                problem.get_or_insert_with(|| {
                    format!(
                        "{field}: found {:?}, expected an IP address or a host name",
                        short(text, 100)
                    )
                });
            }
        }
    }
    Err(problem.unwrap_or_else(|| "found neither ipAddr nor hostName, expected one of them".to_owned()))
}

fn is_ip(text: &str) -> bool {
    let text = text.trim();
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    bare.unwrap_or(text).parse::<IpAddr>().is_ok()
}

/// A text, where it is there and says anything.
fn told<'t>(text: Option<&'t Cow<'_, str>>) -> Option<&'t str> {
    text.map(AsRef::as_ref).filter(|text: &&str| !text.is_empty())
}

/// The value of a key of the metadata.
fn of_metadata<'t>(instance: &'t Instance<'_>, key: &str) -> Option<&'t str> {
    of_pairs(&instance.metadata, key)
}

/// The value of a key of an Amazon data centre's metadata.
fn of_data_center<'t>(instance: &'t Instance<'_>, key: &str) -> Option<&'t str> {
    of_pairs(&instance.data_center, key)
}

/// Of equal keys the last one counts, as in labels.
fn of_pairs<'t>(pairs: &'t [(Cow<'_, str>, Cow<'_, str>)], key: &str) -> Option<&'t str> {
    let (_, value) = pairs.iter().rev().find(|(held, _)| held == key)?;
    told(Some(value))
}

/// The longest text that registries are granted unless configured. One that is longer would have the whole service
/// refused.
fn longest() -> usize {
    Limits::default().text_bytes
}

fn fits(text: &str) -> bool {
    text.len() <= longest()
}

#[cfg(test)]
mod tests;
