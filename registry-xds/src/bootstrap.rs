//! Bootstraps: all that a client needs to find this server.

mod document;
mod envoy;
mod grpc;

use std::net::SocketAddr;
use std::path::PathBuf;

use self::document::Document;
use crate::node::Kind;
use crate::session::Variant;

/// How a bootstrap is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum BootstrapFormat {
    /// YAML; of gRPC JSON, as it reads nothing else.
    #[default]
    Yaml,
    /// JSON.
    Json,
}

/// What a bootstrap says.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    /// For whom.
    pub kind: Kind,
    /// The servers, `host:port`, the preferred one first.
    pub servers: Vec<String>,
    /// The protocol; gRPC always speaks state of the world.
    pub variant: Variant,
    /// The node's id.
    pub node_id: String,
    /// The node's group.
    pub node_cluster: String,
    /// Where it runs: region, zone, sub-zone.
    pub locality: registry_core::Locality,
    /// The network it is in, where that matters.
    pub network: Option<String>,
    /// Patterns of the hostnames that it wants; empty for all.
    pub services: Vec<String>,
    /// The administration listener of Envoy; none where `None`.
    pub admin: Option<SocketAddr>,
    /// TLS to the servers: the authorities' certificates.
    pub tls_ca: Option<PathBuf>,
    /// TLS to the servers: the name that their certificate has to have; that of the server unless set.
    pub tls_name: Option<String>,
    /// TLS to the servers: the client's own certificate and key.
    pub tls_client: Option<(PathBuf, PathBuf)>,
    /// Agents beside Envoy from which it takes certificates for its connections to services.
    pub sds: Vec<SdsAgent>,
}

/// An agent on Envoy's machine that gives out certificates by SDS, such as SPIRE's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SdsAgent {
    /// The name of the cluster that leads to it, which `upstream_tls` says.
    pub cluster: String,
    /// Its Unix socket.
    pub socket: PathBuf,
}

/// The files from which a gRPC client takes certificates for its connections to services: what `upstream_tls` calls a
/// provider. It reads them again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateProvider {
    /// Its name in `upstream_tls`.
    pub instance: String,
    /// The client's own certificate, in PEM.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// The authorities of services' certificates.
    pub ca: PathBuf,
}

impl Bootstrap {
    /// Writes it: of Envoy with a comment on how to run it where the format has comments, of gRPC as JSON in either format.
    pub fn render(&self, format: BootstrapFormat) -> String {
        self.render_with(&[], format)
    }

    /// As [`render`](Self::render), for gRPC with providers of certificates; Envoy is told of files by its clusters.
    pub fn render_with(&self, providers: &[CertificateProvider], format: BootstrapFormat) -> String {
        match (self.kind, format) {
            (Kind::Envoy, BootstrapFormat::Yaml) => {
                format!("{}{}", envoy::HOW_TO_RUN, envoy::document(self).yaml())
            }
            (Kind::Envoy, BootstrapFormat::Json) => envoy::document(self).json(),
            (Kind::Grpc, _) => grpc::document(self, providers).json(),
        }
    }

    /// Who the node is, of either kind.
    fn node(&self) -> Document {
        let mut node = vec![
            ("id", self.node_id.as_str().into()),
            ("cluster", self.node_cluster.as_str().into()),
        ];
        let locality = [
            ("region", &self.locality.region),
            ("zone", &self.locality.zone),
            ("sub_zone", &self.locality.sub_zone),
        ];
        let known = locality.into_iter().filter(|(_, name)| !name.is_empty());
        let locality: Vec<_> = known.map(|(key, name)| (key, name.as_str().into())).collect();
        if !locality.is_empty() {
            node.push(("locality", Document::Map(locality)));
        }
        let mut metadata = Vec::new();
        if !self.services.is_empty() {
            let patterns = self.services.iter().map(|pattern| pattern.as_str().into());
            metadata.push(("registryd.services", Document::List(patterns.collect())));
        }
        if let Some(network) = &self.network {
            metadata.push(("registryd.network", network.as_str().into()));
        }
        if !metadata.is_empty() {
            node.push(("metadata", Document::Map(metadata)));
        }
        Document::Map(node)
    }
}

/// Host and port of `host:port`; of an IPv6 address without its brackets. Without a port the usual one.
fn host_and_port(server: &str) -> (&str, u64) {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (server, None),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host);
    (host, port.unwrap_or(USUAL_PORT))
}

const USUAL_PORT: u64 = 7381;

#[cfg(test)]
mod tests;
