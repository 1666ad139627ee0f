//! Who gets what several services want.

use registry_core::{Service, Str, Timestamp};

/// The standing of one service's wish for a domain, an address or a name. The smallest one gets it: a pure function of
/// the services, so that every replica decides alike, whoever came first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    /// How close the wish is to the service's own hostname; 0 is that hostname.
    distance: u8,
    /// In milliseconds; the greatest number where it is not known.
    created: u64,
    /// The service.
    pub(super) hostname: Str,
    /// Which one of the service's wishes.
    pub(super) index: usize,
}

impl Rank {
    /// The standing of one of a service's wishes.
    pub(super) fn new(distance: u8, created: Option<Timestamp>, hostname: &Str, index: usize) -> Self {
        Self {
            distance,
            created: created.map_or(u64::MAX, Timestamp::as_millis),
            hostname: hostname.clone(),
            index,
        }
    }
}

/// How close a name, perhaps with a port, is to a service: its hostname, one of its aliases, or something else.
pub(super) fn distance(name: &str, service: &Service) -> u8 {
    let host = match name.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|c| c.is_ascii_digit() || c == b'*') => host,
        _ => name,
    };
    if host == service.hostname().as_str() {
        0
    } else if service.aliases().iter().any(|alias| *alias == host) {
        1
    } else {
        2
    }
}
