//! Where Envoys listen for a port of a service, beside the listener that all HTTP services share.
//!
//! - At the service's virtual addresses, those of all clusters, with the port's number: TCP always, HTTP in the layout
//!   `vips`.
//! - At its local port, for any protocol: what `xds.local_ports` says of `hostname:port`, else of `hostname`; else what
//!   the registry says (`registryd.local_port.<port name>`, `registryd.local_port`). What is said of the service as a
//!   whole is meant for one port: its first that is not HTTP, else its first.
//!
//! Registries choose among the addresses of 127.0.0.0/8 and `::1` alone: nobody who may register a service opens a port
//! of a machine to others.

use std::net::{IpAddr, SocketAddr};

use registry_core::{Address, Vip};

use super::{Context, Port, check};
use crate::config::{Layout, LocalPort};

/// The addresses for a port, each once; virtual ones first.
pub(crate) fn addresses(
    context: &Context<'_>,
    port: &Port<'_>,
    warnings: &mut Vec<String>,
) -> Vec<SocketAddr> {
    let mut addresses = Vec::new();
    let at_vips = !port.protocol.is_http() || context.config.outbound.layout == Layout::Vips;
    if let (true, Some(number)) = (at_vips, port.port.number) {
        for ip in vips(context.service.addresses()) {
            if ip.is_unspecified() || ip.is_multicast() {
                warnings.push(format!("virtual address {ip}: nothing can be listened for there"));
            } else {
                addresses.push(SocketAddr::new(ip, number));
            }
        }
    }
    addresses.extend(local(context, port, warnings));
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn vips(vips: &[Vip]) -> impl Iterator<Item = IpAddr> + '_ {
    vips.iter()
        .flat_map(|vip| vip.addresses.iter().filter_map(Address::ip))
}

fn local(context: &Context<'_>, port: &Port<'_>, warnings: &mut Vec<String>) -> Option<SocketAddr> {
    let hostname = context.service.hostname();
    let local_ports = &context.config.local_ports;
    let of_service = context.main_port.as_deref() == Some(port.key.as_str());
    let configured = local_ports
        .get(&format!("{hostname}:{}", port.key))
        .or_else(|| local_ports.get(&format!("{hostname}:{}", port.port.name)))
        .or_else(|| local_ports.get(hostname.as_str()).filter(|_| of_service));
    if let Some(configured) = configured {
        return Some(configured.address()).filter(|address| address.port() != 0);
    }
    let said = context
        .said
        .get(&format!("registryd.local_port.{}", port.port.name))
        .or_else(|| context.said.get("registryd.local_port").filter(|_| of_service))?;
    match read(said) {
        Ok(address) => Some(address),
        Err(problem) => {
            let said = check::short(said);
            warnings.push(format!("registryd.local_port {said:?}: {problem}"));
            None
        }
    }
}

fn read(text: &str) -> Result<SocketAddr, &'static str> {
    let text = text.trim();
    let address = match (text.parse::<u16>(), text.parse::<SocketAddr>()) {
        (Ok(port), _) => LocalPort::Port(port).address(),
        (_, Ok(address)) => address,
        _ => return Err("expected a port, or an IP address and a port"),
    };
    if address.port() == 0 {
        Err("expected a port from 1 to 65535")
    } else if !address.ip().is_loopback() {
        Err("expected an address of this host's loopback")
    } else {
        Ok(address)
    }
}
