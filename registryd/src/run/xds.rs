//! The xDS output: its listener is open before any registry is asked, its server runs until the daemon ends.

use std::net::SocketAddr;
use std::path::Path;

use registry_core::Discovery;
use registry_xds::{Xds, XdsConfig};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::error::Error;

/// An xDS server that listens, and answers nobody yet.
pub(super) struct Listening {
    listener: TcpListener,
    address: SocketAddr,
    config: XdsConfig,
}

/// Opens its listener.
pub(super) async fn listen(config: &XdsConfig, port_file: Option<&Path>) -> Result<Listening, Error> {
    let (listener, address) = super::listen("xds.listen", config.listen, port_file).await?;
    Ok(Listening {
        listener,
        address,
        config: config.clone(),
    })
}

impl Listening {
    /// Serves what a discovery has until `stop`, as one of these servers.
    pub(super) fn serve(
        self,
        discovery: &Discovery,
        servers: &mut JoinSet<Result<(), Error>>,
        stop: &CancellationToken,
    ) -> Result<Xds, Error> {
        let xds = Xds::start(discovery.clone(), self.config, stop.clone()).map_err(Error::Xds)?;
        let (server, listener, stop) = (xds.clone(), self.listener, stop.clone());
        servers.spawn(async move { server.serve(listener, stop).await.map_err(Error::Xds) });
        tracing::info!("registryd serves xDS on {}", self.address);
        Ok(xds)
    }
}

/// The settings that are read at the start alone, and whether they differ.
pub(super) fn needs_restart(old: &Config, new: &Config) -> Vec<(&'static str, bool)> {
    let (Some(old), Some(new)) = (&old.xds, &new.xds) else {
        return vec![("xds", old.xds.is_some() != new.xds.is_some())];
    };
    vec![
        ("xds.listen", old.listen != new.listen),
        ("xds.insecure", old.insecure != new.insecure),
        ("xds.tls", old.tls != new.tls),
        (
            "xds.max_connection_age",
            old.max_connection_age != new.max_connection_age,
        ),
    ]
}
