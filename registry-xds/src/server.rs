//! The gRPC server: methods, streams, TLS, and who is connected.

mod accept;
mod body;
mod budget;
mod call;
mod clients;
mod codec;
mod health;
mod method;
mod stream;
mod tls;

use std::sync::Arc;

use registry_core::Discovery;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub use accept::GRACE;
pub use clients::{ClientStatus, Clients, Nack, TypeStatus, XdsMetrics};
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use codec::decode;

use crate::config::XdsConfig;
use crate::error::Error;
use crate::views::Views;
use call::Shared;

/// An xDS server for one discovery. Cloning it shares it.
#[derive(Debug, Clone)]
pub struct Xds {
    shared: Arc<Shared>,
}

impl Xds {
    /// Starts to follow a discovery, until `stop`. Within a Tokio runtime.
    ///
    /// # Errors
    ///
    /// Where the configuration cannot be meant.
    pub fn start(discovery: Discovery, config: XdsConfig, stop: CancellationToken) -> Result<Self, Error> {
        config.check()?;
        let views = Views::start(discovery, config, stop);
        Ok(Self {
            shared: Arc::new(Shared {
                ready: views.ready(),
                views,
                clients: Arc::default(),
                unfinished: Arc::default(),
            }),
        })
    }

    /// Serves on that listener until `stop`; then streams end with `UNAVAILABLE`, after a GOAWAY. Nothing is answered
    /// before discovery is ready, nor what was restored before its registry could say what it says now.
    ///
    /// Each connection is served by the settings that are in force when it comes; one whose client may no longer have
    /// anything by later ones, or may by these alone, ends. Files of certificates are looked at when
    /// somebody connects, and read again where they changed; where they cannot be used any more, those that were read
    /// before stay in force.
    ///
    /// # Errors
    ///
    /// Where certificates cannot be read at the start.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) -> Result<(), Error> {
        accept::serve(listener, self.shared.clone(), stop).await
    }

    /// Puts other settings in force: see [`Views::reconfigure`]. Where the server listens is not among them.
    ///
    /// # Errors
    ///
    /// Where they cannot be meant. The old ones stay in force then.
    pub fn reconfigure(&self, config: XdsConfig) -> Result<(), Error> {
        config.check()?;
        self.shared.views.reconfigure(config);
        Ok(())
    }

    /// Its views.
    pub fn views(&self) -> &Views {
        &self.shared.views
    }

    /// Who is connected.
    pub fn clients(&self) -> &Clients {
        &self.shared.clients
    }
}
