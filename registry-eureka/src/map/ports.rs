//! Ports of instances and services.
//!
//! Eureka has two ports, which are real names (`http` and `https`) and merge as such, unlike the port of a registry
//! that has no names. The plain one is called as the operator set it.

use std::borrow::Cow;

use registry_core::{PortDefaults, ServicePort};

use super::{Mapping, of_metadata};
use crate::error::short;
use crate::wire::{Instance, Port};

/// The plain port, unless the operator calls it otherwise.
const PLAIN: &str = "http";
/// The port that speaks TLS.
const SECURE: &str = "https";

/// The ports of an instance: those of the two that are enabled, and those that its metadata tell. A number that is none
/// costs the port, not the instance.
pub(super) fn of<'m>(
    instance: &Instance<'_>,
    mapping: Mapping<'m>,
    notes: &mut Vec<String>,
) -> Vec<(&'m str, u16)> {
    let plain = mapping.ports.name.as_deref().unwrap_or(PLAIN);
    let mut ports: Vec<(&str, u16)> = Vec::with_capacity(2);
    for (field, name, port) in [
        ("port", plain, instance.port),
        ("securePort", SECURE, instance.secure_port),
    ] {
        match number(port) {
            None => {}
            Some(Ok(_)) if ports.iter().any(|(taken, _)| *taken == name) => {
                notes.push(format!("{field}: there is a port {name:?} already; left out"));
            }
            Some(Ok(number)) => ports.push((name, number)),
            Some(Err(found)) => {
                notes.push(format!("{field}: found {found}, expected 1 to 65535; left out"));
            }
        }
    }
    for (name, key) in &mapping.config.metadata.ports {
        let Some(text) = of_metadata(instance, key) else {
            continue;
        };
        match text.trim().parse::<u16>() {
            Ok(0) | Err(_) => {
                let text = short(text, 20);
                notes.push(format!(
                    "metadata {key}: found {text:?}, expected 1 to 65535; left out"
                ));
            }
            Ok(number) => {
                let taken = ports
                    .iter()
                    .any(|(held, held_number)| held == name || *held_number == number);
                if !taken {
                    ports.push((name, number));
                }
            }
        }
    }
    ports
}

/// The number of a port that is enabled, or what stands in its place.
fn number(port: Port) -> Option<Result<u16, Cow<'static, str>>> {
    port.enabled.then(|| match port.number {
        Some(number) => match u16::try_from(number) {
            Ok(valid) if valid != 0 => Ok(valid),
            _ => Err(number.to_string().into()),
        },
        None => Err("none".into()),
    })
}

/// The port of a service of which instances have a port of that name.
pub(crate) fn of_service(name: &str, defaults: &PortDefaults) -> ServicePort {
    let plain = defaults.name.as_deref().unwrap_or(PLAIN);
    if name == plain {
        return ServicePort {
            name: plain.into(),
            number: defaults.number,
            app_protocol: defaults.app_protocol.clone().unwrap_or_else(|| PLAIN.into()),
            // Eureka's own names are names, not what is said for want of one.
            implicit: false,
            ..ServicePort::default()
        };
    }
    let mut port = ServicePort::new(name);
    if name == SECURE {
        port.app_protocol = SECURE.into();
    }
    port
}
