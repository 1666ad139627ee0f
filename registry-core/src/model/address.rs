//! Where an endpoint can be reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

use crate::Str;
use crate::hash::Hasher;

/// One address of an endpoint or service, without a port.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
    /// A host name that the consumer resolves, in lower case.
    Host(Str),
    /// The path of a Unix socket.
    Unix(Str),
}

impl Address {
    /// The IP address, where it is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::V4(ip) => Some(IpAddr::V4(*ip)),
            Self::V6(ip) => Some(IpAddr::V6(*ip)),
            Self::Host(_) | Self::Unix(_) => None,
        }
    }

    pub(crate) fn feed(&self, hasher: &mut Hasher) {
        match self {
            Self::V4(ip) => hasher.bytes(&ip.octets()),
            Self::V6(ip) => hasher.bytes(&ip.octets()),
            Self::Host(name) => {
                hasher.byte(1);
                hasher.text(name);
            }
            Self::Unix(path) => {
                hasher.byte(2);
                hasher.text(path);
            }
        }
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => Self::V4(ip),
            IpAddr::V6(ip) => Self::V6(ip),
        }
    }
}

impl FromStr for Address {
    type Err = String;

    /// Reads an IP address (IPv6 with or without brackets), a host name, or `unix:` and an absolute path.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = text.strip_prefix("unix:") {
            return if path.starts_with('/') && !path.contains('\0') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(format!(
                    "address {text:?}: expected an absolute path after \"unix:\""
                ))
            };
        }
        let bare = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .unwrap_or(text);
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(ip.into());
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'))
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        // A name of digits and dots alone is an IP address with a mistake in it, never a host.
        let numeric = name
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|c| c.is_ascii_digit()));
        if name.len() <= 253 && !numeric && name.split('.').all(label) {
            Ok(Self::Host(name.to_ascii_lowercase().into()))
        } else {
            Err(format!(
                "address {text:?}: expected an IP address, a host name or unix:/path"
            ))
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(ip) => fmt::Display::fmt(ip, f),
            Self::V6(ip) => fmt::Display::fmt(ip, f),
            Self::Host(name) => f.write_str(name),
            Self::Unix(path) => write!(f, "unix:{path}"),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The addresses of one endpoint, never none: several where it is dual-stack. The first identifies it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses(Repr);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Repr {
    One(Address),
    Many(Arc<[Address]>),
}

impl Addresses {
    /// The first address and, for dual-stack endpoints, the others.
    pub fn new(first: Address, others: impl IntoIterator<Item = Address>) -> Self {
        let mut others = others.into_iter().filter(|other| *other != first).peekable();
        if others.peek().is_none() {
            return Self(Repr::One(first));
        }
        Self(Repr::Many(std::iter::once(first.clone()).chain(others).collect()))
    }

    /// The address that identifies the endpoint.
    pub fn first(&self) -> &Address {
        &self.as_slice()[0]
    }

    /// All addresses, the first one first.
    pub fn as_slice(&self) -> &[Address] {
        match &self.0 {
            Repr::One(address) => std::slice::from_ref(address),
            Repr::Many(addresses) => addresses,
        }
    }
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self(Repr::One(address))
    }
}

impl fmt::Debug for Addresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.as_slice()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_every_kind_are_read_and_printed() {
        for (text, printed) in [
            ("10.0.0.7", "10.0.0.7"),
            ("[2001:db8::3]", "2001:db8::3"),
            ("2001:DB8::3", "2001:db8::3"),
            ("DB.Example.internal.", "db.example.internal"),
            ("unix:/run/a.sock", "unix:/run/a.sock"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), printed);
        }
        for wrong in [
            "",
            "10.0.0",
            "10.0.0.256",
            "a b",
            "-a.b",
            "unix:relative",
            "http://x",
            "a..b",
            "1.2.3.4:80",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_endpoint_of_one_address_needs_no_allocation() {
        assert_eq!(size_of::<Addresses>(), 24);
    }
}
