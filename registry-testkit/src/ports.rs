//! Ports for servers that take no port 0.
//!
//! A port that the system gives out for 0 lies in the range from which it also takes the ports of outgoing
//! connections. Between two runs of a server (a test kills it and starts it again at the same address) any
//! client on the machine may be given its port. So ports are taken from below that range.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::Error;

/// Below are the ports of well-known services.
const FIRST: u16 = 15_000;

/// Returns ports of 127.0.0.1 that nobody listens on, for TCP and UDP.
///
/// No port is given out twice by a process before all others have been. Another process may still take one
/// before the server does: the starters of this crate then try again with others.
///
/// # Errors
///
/// [`Error::Io`] when there is none left.
///
/// ```
/// let ports = registry_testkit::ports::free(3)?;
/// assert_eq!(ports.len(), 3);
/// # Ok::<(), registry_testkit::Error>(())
/// ```
pub fn free(count: usize) -> Result<Vec<u16>, Error> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let width = u32::from(ephemeral_start().saturating_sub(FIRST)).max(1);
    // Processes that start together begin at different places; 7919 is a prime, so neighbours are far apart.
    let start = std::process::id().wrapping_mul(7919) % width;
    let mut ports = Vec::with_capacity(count);
    for _ in 0..width {
        if ports.len() == count {
            return Ok(ports);
        }
        let offset = (start + NEXT.fetch_add(1, Ordering::Relaxed) % width) % width;
        let port = u16::try_from(u32::from(FIRST) + offset).unwrap_or(FIRST);
        if is_free(port) {
            ports.push(port);
        }
    }
    Err(Error::Io {
        what: format!("no {count} ports of 127.0.0.1 are free"),
        source: std::io::ErrorKind::AddrInUse.into(),
    })
}

fn is_free(port: u16) -> bool {
    let address = (Ipv4Addr::LOCALHOST, port);
    TcpListener::bind(address).is_ok() && UdpSocket::bind(address).is_ok()
}

/// Where the ports of outgoing connections begin.
fn ephemeral_start() -> u16 {
    const USUAL: u16 = 32_768;
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let start = range
        .split_whitespace()
        .next()
        .and_then(|first| first.parse().ok())
        .unwrap_or(USUAL);
    // Where the range begins low there is no room below it, and no better choice than any port.
    if start > FIRST + 1000 { start } else { USUAL }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_distinct_and_usable() {
        let mut ports = free(64).expect("there are free ports");
        ports.extend(free(64).expect("there are free ports"));
        let sockets: Vec<_> = ports
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)))
            .collect();
        assert_eq!(sockets.iter().flatten().count(), 128);
    }
}
