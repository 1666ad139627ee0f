//! The names of resources: stable, and readable in the dashboards of those who know Envoy.
//!
//! | resource | name |
//! |---|---|
//! | cluster and its endpoints | `outbound\|<port>\|<subset>\|<hostname>` |
//! | route configuration of a shared listener | `http.<port>` |
//! | listener | `outbound_<address>_<port>` |
//! | gRPC: listener | the authority, `<hostname>` or `<hostname>:<port>` |
//! | gRPC: route configuration | `grpc\|<authority>` |
//! | endpoints that are never sent | `tombstone\|<cluster>` |
//!
//! `<port>` of a cluster is the number of the service's port where it has one, else its name.

use std::net::SocketAddr;

use registry_core::ServicePort;

use crate::resource::ResourceType;

/// How a port is written in names: by its number, else by its name.
pub(crate) fn port(port: &ServicePort) -> String {
    match port.number {
        Some(number) => number.to_string(),
        None => port.name.to_string(),
    }
}

/// The name of a cluster and of its endpoints; `subset` is empty for all of them.
pub(crate) fn cluster(port: &str, subset: &str, hostname: &str) -> String {
    format!("outbound|{port}|{subset}|{hostname}")
}

/// Of a cluster that is no more: the name of endpoints that no client ever gets.
pub(crate) fn tombstone(cluster: &str) -> String {
    format!("{TOMBSTONE}{cluster}")
}

/// True for the name of endpoints that no client ever gets.
pub(crate) fn is_tombstone(endpoints: &str) -> bool {
    endpoints.starts_with(TOMBSTONE)
}

const TOMBSTONE: &str = "tombstone|";

/// The name of a listener.
pub(crate) fn listener(address: SocketAddr) -> String {
    format!("outbound_{}_{}", address.ip(), address.port())
}

/// The name of the route configuration of a listener that hosts share.
pub(crate) fn shared_routes(port: u16) -> String {
    format!("http.{port}")
}

/// The name of the route configuration of a target of gRPC.
pub(crate) fn grpc_routes(authority: &str) -> String {
    format!("grpc|{authority}")
}

/// The service that a resource of that name belongs to; `None` where it stands for several.
pub(crate) fn hostname(type_: ResourceType, name: &str) -> Option<&str> {
    let authority = |authority: &str| -> usize {
        // `host:port`; an IPv6 address has more colons and is no authority that we name.
        authority.rfind(':').unwrap_or(authority.len())
    };
    match type_ {
        ResourceType::Cluster | ResourceType::Endpoints => name
            .strip_prefix("outbound|")?
            .rsplit_once('|')
            .map(|(_, hostname)| hostname),
        ResourceType::Listener => (!name.starts_with("outbound_")).then(|| &name[..authority(name)]),
        ResourceType::Route => {
            let name = name.strip_prefix("grpc|")?;
            Some(&name[..authority(name)])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_service() {
        let cluster = cluster("80", "v1", "web.mesh.internal");
        assert_eq!(cluster, "outbound|80|v1|web.mesh.internal");
        for (type_, name, expected) in [
            (ResourceType::Cluster, cluster.as_str(), Some("web.mesh.internal")),
            (
                ResourceType::Listener,
                "web.mesh.internal:80",
                Some("web.mesh.internal"),
            ),
            (
                ResourceType::Listener,
                "web.mesh.internal",
                Some("web.mesh.internal"),
            ),
            (ResourceType::Listener, "outbound_127.0.0.1_15001", None),
            (ResourceType::Route, "grpc|web:80", Some("web")),
            (ResourceType::Route, "http.15001", None),
            (ResourceType::Cluster, "anything", None),
        ] {
            assert_eq!(hostname(type_, name), expected, "{name}");
        }
    }
}
