//! Filters: which services and endpoints of a registry take part. They run before the merge.

use std::net::IpAddr;
use std::str::FromStr;

use crate::endpoint_set::EndpointSet;
use crate::hostname::Pattern;
use crate::model::{Endpoint, Labels, ServiceMeta, ServiceRecord};

/// A range of IP addresses such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cidr {
    network: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// True where the address is in the range; an IPv4 address never is in an IPv6 range or the other way round.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == ip.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                network.to_bits() & mask == ip.to_bits() & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong =
            || format!("range {text:?}: expected an IP address and a prefix length, such as 10.0.0.0/8");
        let (network, prefix) = match text.split_once('/') {
            Some((network, prefix)) => (network, Some(prefix)),
            None => (text, None),
        };
        let network: IpAddr = network.parse().map_err(|_| wrong())?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse().map_err(|_| wrong()))?;
        if prefix > bits {
            Err(wrong())
        } else {
            Ok(Self { network, prefix })
        }
    }
}

/// What a service or endpoint has to be like. Every field that is set has to match; of several values in one field one
/// is enough.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selector {
    /// Patterns for the name.
    pub names: Vec<Pattern>,
    /// Patterns for the namespace.
    pub namespaces: Vec<Pattern>,
    /// Labels, of the service or of the endpoint: key and pattern for the value.
    pub labels: Vec<(String, Pattern)>,
    /// Ranges of which one contains the endpoint's first address.
    pub cidrs: Vec<Cidr>,
}

impl Selector {
    /// True where it selects everything.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.namespaces.is_empty() && !self.looks_at_endpoints()
    }

    fn looks_at_endpoints(&self) -> bool {
        !self.labels.is_empty() || !self.cidrs.is_empty()
    }

    fn matches_service(&self, meta: &ServiceMeta) -> bool {
        let any = |patterns: &[Pattern], text: &str| {
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(text))
        };
        any(&self.names, meta.name()) && any(&self.namespaces, meta.namespace())
    }

    fn matches_endpoint(&self, meta: &ServiceMeta, endpoint: &Endpoint) -> bool {
        let has = |labels: &Labels, key: &str, pattern: &Pattern| {
            labels.get(key).is_some_and(|value| pattern.matches(value))
        };
        self.labels
            .iter()
            .all(|(key, pattern)| has(endpoint.labels(), key, pattern) || has(meta.labels(), key, pattern))
            && (self.cidrs.is_empty()
                || endpoint
                    .address()
                    .ip()
                    .is_some_and(|ip| self.cidrs.iter().any(|cidr| cidr.contains(ip))))
    }
}

/// Which services and endpoints of a registry take part: those that `include` selects and `exclude` does not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filter {
    /// What takes part; empty for everything.
    pub include: Selector,
    /// What does not; empty for nothing.
    pub exclude: Selector,
}

impl Filter {
    /// True where everything passes.
    pub fn is_empty(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// What is left of a record: nothing where the service is filtered out or none of its endpoints is left, all of it,
    /// or a part of its endpoints.
    pub(crate) fn pass(&self, record: &ServiceRecord) -> Passed {
        let meta = record.meta();
        if !self.include.matches_service(meta) {
            return Passed::Nothing;
        }
        let excludes = !self.exclude.is_empty() && self.exclude.matches_service(meta);
        if excludes && !self.exclude.looks_at_endpoints() {
            return Passed::Nothing;
        }
        if !self.include.looks_at_endpoints() && !excludes {
            return Passed::Everything;
        }
        let keep = |endpoint: &Endpoint| {
            self.include.matches_endpoint(meta, endpoint)
                && !(excludes && self.exclude.matches_endpoint(meta, endpoint))
        };
        let kept: EndpointSet = record.endpoints().iter().filter(|e| keep(e)).cloned().collect();
        match kept.len() {
            0 if !record.endpoints().is_empty() => Passed::Nothing,
            all if all == record.endpoints().len() => Passed::Everything,
            _ => Passed::Part(ServiceRecord::new(meta.clone(), kept)),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Passed {
    Nothing,
    Everything,
    Part(ServiceRecord),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Address, ServiceId};

    fn record() -> ServiceRecord {
        let endpoint = |n: u8, zone: &str| {
            Endpoint::builder(Address::V4([10, 0, n, 1].into()))
                .label("zone", zone)
                .id(format!("{n}"))
                .build()
        };
        let meta = ServiceMeta::builder(ServiceId::new("", "prod", "web")).build();
        ServiceRecord::new(meta, [endpoint(1, "a"), endpoint(2, "b")])
    }

    fn left(filter: &Filter) -> usize {
        match filter.pass(&record()) {
            Passed::Nothing => 0,
            Passed::Everything => 2,
            Passed::Part(record) => record.endpoints().len(),
        }
    }

    #[test]
    fn filters_by_name_namespace_label_and_range() {
        let selector = |f: fn(&mut Selector)| {
            let mut selector = Selector::default();
            f(&mut selector);
            selector
        };
        for (selector, included, excluded) in [
            (selector(|_| {}), 2, 2),
            (selector(|s| s.names = vec![Pattern::new("w*")]), 2, 0),
            (selector(|s| s.names = vec![Pattern::new("x")]), 0, 2),
            (
                selector(|s| s.namespaces = vec![Pattern::new("prod"), Pattern::new("dev")]),
                2,
                0,
            ),
            (
                selector(|s| s.labels = vec![("zone".into(), Pattern::new("a"))]),
                1,
                1,
            ),
            (selector(|s| s.cidrs = vec!["10.0.2.0/24".parse().unwrap()]), 1, 1),
            (selector(|s| s.cidrs = vec!["10.0.0.0/8".parse().unwrap()]), 2, 0),
        ] {
            let include = Filter {
                include: selector.clone(),
                ..Filter::default()
            };
            assert_eq!(left(&include), included, "include {selector:?}");
            let exclude = Filter {
                exclude: selector.clone(),
                ..Filter::default()
            };
            assert_eq!(left(&exclude), excluded, "exclude {selector:?}");
        }
    }

    #[test]
    fn ranges_are_checked() {
        assert!(
            "::/0"
                .parse::<Cidr>()
                .unwrap()
                .contains("2001:db8::1".parse().unwrap())
        );
        assert!(
            "0.0.0.0/0"
                .parse::<Cidr>()
                .unwrap()
                .contains("1.2.3.4".parse().unwrap())
        );
        assert!(
            !"0.0.0.0/0"
                .parse::<Cidr>()
                .unwrap()
                .contains("::1".parse().unwrap())
        );
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "10.0.0.0/x"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
