//! The ports of an endpoint.

use std::fmt;

use crate::text::Str;

/// The port on which an endpoint serves the service port of that name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EndpointPort {
    /// The name of the service's port.
    pub name: Str,
    /// The number on the endpoint, 1 to 65535.
    pub number: u16,
}

/// The ports of an endpoint, sorted by name, each name once. Endpoints with the same ports share one of these.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EndpointPorts(Box<[EndpointPort]>);

impl EndpointPorts {
    /// All ports in the order of their names.
    pub fn iter(&self) -> std::slice::Iter<'_, EndpointPort> {
        self.0.iter()
    }

    /// The number of the port with that name.
    pub fn get(&self, name: &str) -> Option<u16> {
        self.0
            .iter()
            .find(|port| port.name == name)
            .map(|port| port.number)
    }

    /// True where the endpoint names no port.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True where both list a port of the same number, or neither lists any: at one address, that is one endpoint.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        (self.is_empty() && other.is_empty())
            || self
                .iter()
                .any(|port| other.iter().any(|held| held.number == port.number))
    }
}

impl<N: Into<Str>> FromIterator<(N, u16)> for EndpointPorts {
    /// Of ports with the same name the first one counts.
    fn from_iter<I: IntoIterator<Item = (N, u16)>>(ports: I) -> Self {
        let mut ports: Vec<EndpointPort> = ports
            .into_iter()
            .map(|(name, number)| EndpointPort {
                name: name.into(),
                number,
            })
            .collect();
        ports.sort_by(|a, b| a.name.cmp(&b.name));
        ports.dedup_by(|a, b| a.name == b.name);
        Self(ports.into())
    }
}

impl<'a> IntoIterator for &'a EndpointPorts {
    type Item = &'a EndpointPort;
    type IntoIter = std::slice::Iter<'a, EndpointPort>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl fmt::Debug for EndpointPorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|port| (&port.name, port.number)))
            .finish()
    }
}
