//! `bootstrap`: all that Envoy or a gRPC client needs to find this daemon.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use registry_core::Locality;
use registry_xds::{
    Bootstrap, BootstrapFormat, CertificateProvider, Kind, SdsAgent, UpstreamTlsSource, Variant, XdsConfig,
};

use super::{ConfigFile, output};
use crate::config;
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(super) enum BootstrapCommand {
    /// Print a configuration for Envoy: `registryd bootstrap envoy > envoy.yaml && envoy -c envoy.yaml`
    Envoy(EnvoyArgs),
    /// Print a bootstrap for gRPC, to be named by the variable GRPC_XDS_BOOTSTRAP
    Grpc(GrpcArgs),
}

#[derive(Debug, Args)]
pub(super) struct EnvoyArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// The port of 127.0.0.1 at which Envoy is administrated
    #[arg(long, value_name = "PORT", default_value_t = 15000, value_parser = clap::value_parser!(u16).range(1..))]
    admin_port: u16,
    /// Do without administration
    #[arg(long, conflicts_with = "admin_port")]
    no_admin: bool,
    /// Speak delta xDS, which is the default
    #[arg(long, conflicts_with = "sotw")]
    delta: bool,
    /// Speak state-of-the-world xDS
    #[arg(long)]
    sotw: bool,
    /// How to print it
    #[arg(long, value_enum, default_value_t = Format::Yaml)]
    format: Format,
    /// The name that the server's certificate has to have; that of --server unless set
    #[arg(long, value_name = "NAME", requires = "tls_ca")]
    tls_name: Option<String>,
    /// Unix socket of the agent on the node's machine that gives out certificates for services by SDS, such as SPIRE's:
    /// the way of the clusters that `xds.upstream_tls` names
    #[arg(long, value_name = "PATH")]
    sds_socket: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct GrpcArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// File with the client's own certificate for services, on its machine: of the providers that `xds.upstream_tls` names
    #[arg(long, value_name = "FILE", requires_all = ["provider_key", "provider_ca"])]
    provider_cert: Option<PathBuf>,
    /// File with its key, on its machine
    #[arg(long, value_name = "FILE", requires = "provider_cert")]
    provider_key: Option<PathBuf>,
    /// File with the authorities of services' certificates, on its machine
    #[arg(long, value_name = "FILE", requires = "provider_cert")]
    provider_ca: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct NodeArgs {
    #[command(flatten)]
    config: ConfigFile,
    /// The node's id; the name of this host unless set
    #[arg(long, value_name = "ID")]
    node_id: Option<String>,
    /// The group of nodes that it belongs to
    #[arg(long, value_name = "NAME", default_value = "default")]
    node_cluster: String,
    /// The region it runs in
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    region: String,
    /// The zone it runs in
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    zone: String,
    /// The part of the zone it runs in
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    sub_zone: String,
    /// The network it is in: endpoints of others are reached through their gateways
    #[arg(long, value_name = "NAME")]
    network: Option<String>,
    /// A pattern for hostnames that it wants, such as "*.mesh.internal"; may be repeated; all unless set
    #[arg(long, value_name = "PATTERN")]
    service: Vec<String>,
    /// The daemon, as the node reaches it; may be repeated, the preferred one first; what `xds.listen` says unless set
    #[arg(long, value_name = "HOST:PORT")]
    server: Vec<String>,
    /// File with the authorities of the server's certificate, on the node's machine
    #[arg(long, value_name = "FILE")]
    tls_ca: Option<PathBuf>,
    /// File with the node's own certificate, on its machine
    #[arg(long, value_name = "FILE", requires_all = ["tls_key", "tls_ca"])]
    tls_cert: Option<PathBuf>,
    /// File with its key, on its machine
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// As people read it, with a comment on how to run Envoy
    Yaml,
    /// As programs read it
    Json,
}

pub(super) fn print(command: BootstrapCommand) -> Result<(), Error> {
    match command {
        BootstrapCommand::Envoy(args) => {
            let xds = args.node.settings()?;
            let sds = args.agents(&xds)?;
            let mut bootstrap = args.node.bootstrap(Kind::Envoy, &xds)?;
            if args.sotw {
                bootstrap.variant = Variant::Sotw;
            }
            if !args.no_admin {
                let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
                bootstrap.admin = Some(SocketAddr::new(loopback, args.admin_port));
            }
            bootstrap.sds = sds;
            bootstrap.tls_name = args.tls_name;
            let format = match args.format {
                Format::Yaml => BootstrapFormat::Yaml,
                Format::Json => BootstrapFormat::Json,
            };
            output::print(&bootstrap.render(format))
        }
        BootstrapCommand::Grpc(args) => {
            let xds = args.node.settings()?;
            let providers = args.providers(&xds)?;
            let bootstrap = args.node.bootstrap(Kind::Grpc, &xds)?;
            output::print(&bootstrap.render_with(&providers, BootstrapFormat::Json))
        }
    }
}

impl EnvoyArgs {
    /// The agents that the configuration names, all at the same socket. Who has one elsewhere adds its cluster by hand.
    fn agents(&self, xds: &XdsConfig) -> Result<Vec<SdsAgent>, Error> {
        let named: BTreeSet<&str> = xds
            .upstream_tls
            .iter()
            .filter_map(|rule| match &rule.source {
                UpstreamTlsSource::Sds { cluster, .. } => Some(cluster.as_str()),
                _ => None,
            })
            .collect();
        let Some(socket) = &self.sds_socket else {
            for cluster in named {
                output::warn(&format!(
                    "warning: xds.upstream_tls has the SDS cluster {cluster:?}, which this bootstrap lacks: \
                     --sds-socket adds it; without it Envoy refuses the clusters of such services"
                ));
            }
            return Ok(Vec::new());
        };
        if named.is_empty() {
            return Err(Error::Usage(
                "--sds-socket: found no SDS in the configuration, expected a source of it in xds.upstream_tls"
                    .to_owned(),
            ));
        }
        if !socket.is_absolute() {
            return Err(Error::Usage(format!(
                "--sds-socket: found {socket:?}, expected a path from the root such as /run/spire/agent/public/api.sock"
            )));
        }
        let agent = |cluster: &str| SdsAgent {
            cluster: cluster.to_owned(),
            socket: socket.clone(),
        };
        Ok(named.into_iter().map(agent).collect())
    }
}

impl GrpcArgs {
    /// The providers that the configuration names, all with the same files. A client without one refuses the services
    /// that need it.
    fn providers(&self, xds: &XdsConfig) -> Result<Vec<CertificateProvider>, Error> {
        let named: BTreeSet<&str> = xds
            .upstream_tls
            .iter()
            .filter_map(|rule| match &rule.source {
                UpstreamTlsSource::Provider { instance } => Some(instance.as_str()),
                _ => None,
            })
            .collect();
        let files = (&self.provider_cert, &self.provider_key, &self.provider_ca);
        let (Some(certificate), Some(key), Some(ca)) = files else {
            return match named.first() {
                None => Ok(Vec::new()),
                Some(instance) => Err(Error::Usage(format!(
                    "the configuration has xds.upstream_tls with provider {instance:?}, expected --provider-cert, \
                     --provider-key and --provider-ca with files on the node's machine"
                ))),
            };
        };
        if named.is_empty() {
            return Err(Error::Usage(
                "--provider-cert: found no provider in the configuration, expected one in xds.upstream_tls"
                    .to_owned(),
            ));
        }
        let provider = |instance: &str| CertificateProvider {
            instance: instance.to_owned(),
            certificate: certificate.clone(),
            key: key.clone(),
            ca: ca.clone(),
        };
        Ok(named.into_iter().map(provider).collect())
    }
}

impl NodeArgs {
    /// What the configuration says of xDS.
    fn settings(&self) -> Result<XdsConfig, Error> {
        config::load(&self.config.source()?)?.xds.ok_or_else(|| {
            Error::Usage(
                "the configuration has no section `xds`, expected one such as xds: { listen: \"127.0.0.1:7381\" }"
                    .to_owned(),
            )
        })
    }

    fn bootstrap(self, kind: Kind, xds: &XdsConfig) -> Result<Bootstrap, Error> {
        let servers = self.servers(xds)?;
        let tls_client = self.tls_client(xds)?;
        for (name, value) in [
            ("--node-cluster", Some(&self.node_cluster)),
            ("--node-id", self.node_id.as_ref()),
        ] {
            if value.is_some_and(String::is_empty) {
                return Err(Error::Usage(format!(
                    "{name}: found nothing, expected a name, as Envoy asks nobody without one"
                )));
            }
        }
        Ok(Bootstrap {
            kind,
            servers,
            variant: match kind {
                Kind::Envoy => Variant::Delta,
                Kind::Grpc => Variant::Sotw,
            },
            node_id: self.node_id.unwrap_or_else(host_name),
            node_cluster: self.node_cluster,
            locality: Locality {
                region: self.region.into(),
                zone: self.zone.into(),
                sub_zone: self.sub_zone.into(),
            },
            network: self.network,
            services: self.service,
            admin: None,
            tls_ca: self.tls_ca,
            tls_name: None,
            tls_client,
            sds: Vec::new(),
        })
    }

    /// Where the daemon is, seen from the node.
    fn servers(&self, xds: &XdsConfig) -> Result<Vec<String>, Error> {
        if let Some(wrong) = self.server.iter().find(|server| !is_server(server)) {
            return Err(Error::Usage(format!(
                "--server: found {wrong:?}, expected a host and a port such as registryd.mesh.internal:7381"
            )));
        }
        if !self.server.is_empty() {
            return Ok(self.server.clone());
        }
        let listen = xds.listen;
        let problem = if listen.ip().is_unspecified() {
            "is no address that a node can reach"
        } else if listen.port() == 0 {
            "has a port that only the running daemon knows"
        } else {
            return Ok(vec![listen.to_string()]);
        };
        Err(Error::Usage(format!(
            "xds.listen: {listen} {problem}, expected --server with one such as registryd.mesh.internal:7381"
        )))
    }

    /// The node's certificate and key, where the server wants one.
    fn tls_client(&self, xds: &XdsConfig) -> Result<Option<(PathBuf, PathBuf)>, Error> {
        if let Some(tls) = &xds.tls {
            let missing = |setting: &str, expected: &str| {
                Err(Error::Usage(format!(
                    "the configuration has {setting}, expected {expected} with files on the node's machine"
                )))
            };
            if self.tls_ca.is_none() {
                return missing("xds.tls", "--tls-ca");
            }
            if tls.client_ca.is_some() && self.tls_cert.is_none() {
                return missing("xds.tls.client_ca", "--tls-cert and --tls-key");
            }
        }
        Ok(self.tls_cert.clone().zip(self.tls_key.clone()))
    }
}

fn is_server(server: &str) -> bool {
    let Some((host, port)) = server.rsplit_once(':') else {
        return false;
    };
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match bracketed {
        Some(host) => host.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
            !host.is_empty() && host.bytes().all(fits)
        }
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// The name of this host, which is where Envoy runs in most cases.
fn host_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "node".to_owned(),
        name => name.to_owned(),
    }
}
