//! Targets: `host:port` as Prometheus writes it.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use registry_core::{Address, short};

/// Longer texts than any host and port are not shown whole.
const SHOWN: usize = 100;

/// One target of a group.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) port: Option<u16>,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |expected: &str| format!("found {:?}, expected {expected}", short(text, SHOWN));
        if text.contains("://") {
            return Err(wrong("host:port, not a URL"));
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest
                    .split_once(']')
                    .ok_or_else(|| wrong("a bracket after the IPv6 address"))?;
                let port = match rest.strip_prefix(':') {
                    Some(port) => Some(port),
                    None if rest.is_empty() => None,
                    None => return Err(wrong("a colon after the bracket")),
                };
                let ip: Ipv6Addr = host
                    .parse()
                    .map_err(|_| wrong("an IPv6 address between the brackets"))?;
                (Address::V6(ip), port)
            }
            None => {
                let (host, port) = match text.split_once(':') {
                    // With a port or without: who knows where the address ends?
                    Some((_, port)) if port.contains(':') => {
                        return Err(wrong("an IPv6 address in brackets, as in \"[2001:db8::7]:9100\""));
                    }
                    Some((host, port)) => (host, Some(port)),
                    None => (text, None),
                };
                let address = host
                    .parse()
                    .map_err(|_| wrong("an IP address or a host name before the port"))?;
                (address, port)
            }
        };
        let number = |port: &str| {
            let digits = !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit());
            let number = port.parse().ok().filter(|number| digits && *number > 0);
            number.ok_or_else(|| wrong("a port from 1 to 65535 after the host"))
        };
        Ok(Self {
            address: host,
            port: port.map(number).transpose()?,
        })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.address, self.port) {
            (address, None) => write!(f, "{address}"),
            (Address::V6(ip), Some(port)) => write!(f, "[{ip}]:{port}"),
            (address, Some(port)) => write!(f, "{address}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_addresses_are_read_with_and_without_ports() {
        for (text, printed) in [
            ("10.0.0.7:9100", "10.0.0.7:9100"),
            ("10.0.0.7", "10.0.0.7"),
            ("DB.example.com:5432", "db.example.com:5432"),
            ("localhost", "localhost"),
            ("[2001:DB8::7]:9100", "[2001:db8::7]:9100"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("h:065", "h:65"),
        ] {
            let target: Target = text.parse().unwrap_or_else(|wrong| panic!("{wrong}"));
            assert_eq!(target.to_string(), printed);
        }
    }

    #[test]
    fn what_is_no_target_is_shown_with_what_was_expected() {
        for (text, expected) in [
            ("", "an IP address or a host name"),
            (":80", "an IP address or a host name"),
            ("a b:80", "an IP address or a host name"),
            ("10.0.0.256:80", "an IP address or a host name"),
            ("h:", "a port from 1"),
            ("h:http", "a port from 1"),
            ("h:+80", "a port from 1"),
            ("h:0", "a port from 1"),
            ("h:65536", "a port from 1"),
            ("2001:db8::7", "in brackets"),
            ("2001:db8::7:9100", "in brackets"),
            ("unix:/run/a.sock", "a port from 1"),
            ("[2001:db8::7", "a bracket after"),
            ("[2001:db8::7]9100", "a colon after"),
            ("[h]:80", "an IPv6 address between"),
            ("[fe80::1%eth0]:80", "an IPv6 address between"),
            ("http://h:80/metrics", "not a URL"),
        ] {
            let wrong = text.parse::<Target>().expect_err(text);
            assert!(wrong.starts_with(&format!("found {text:?}, expected")), "{wrong}");
            assert!(wrong.contains(expected), "{wrong}");
        }
        let long = format!("{}:x", "a".repeat(100_000))
            .parse::<Target>()
            .unwrap_err();
        assert!(long.len() < 300, "{}", long.len());
    }
}
