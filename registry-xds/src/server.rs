//! The gRPC server: methods, streams, TLS, and who is connected.

mod accept;
mod clients;
mod codec;
mod method;
mod stream;
mod tls;

use std::sync::Arc;

use registry_core::Discovery;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use clients::{ClientStatus, Clients, Nack, TypeStatus, XdsMetrics};

use crate::config::XdsConfig;
use crate::error::Error;
use crate::views::Views;

/// An xDS server for one discovery.
#[derive(Debug, Clone)]
pub struct Xds {
    views: Views,
    clients: Arc<Clients>,
}

impl Xds {
    /// Starts to follow a discovery. Within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be meant.
    pub fn start(_discovery: Discovery, _config: XdsConfig, _stop: CancellationToken) -> Result<Self, Error> {
        unimplemented!("server")
    }

    /// Serves on that listener until `stop`; then streams end with `UNAVAILABLE`, after a GOAWAY.
    ///
    /// # Errors
    ///
    /// Where certificates cannot be read, or the listener breaks.
    pub async fn serve(&self, _listener: TcpListener, _stop: CancellationToken) -> Result<(), Error> {
        unimplemented!("server")
    }

    /// Its views.
    pub fn views(&self) -> &Views {
        &self.views
    }

    /// Who is connected.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }
}
