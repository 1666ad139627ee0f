//! Another `registryd`, followed by its `/v1/watch`.

mod config;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod lineage;
mod map;
mod session;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

pub use config::DaemonConfig;

use crate::error::Error;
use session::Session;

/// The services of another `registryd`, as it merged them.
///
/// Hostnames stay as they are, and so do health, weights and all else that its API tells of services and endpoints.
/// Endpoints keep who said so in the first place ([`Claim::origins`](registry_core::Claim)); services, by which
/// registries they came. Where all of these are stale there, they are stale here, and so is this registry as soon as
/// any is.
///
/// What the other daemon announces to be gone goes at once, as it has judged the loss itself. What a full state merely
/// lacks (after a restart, from another daemon) does not, and is held back where it is much.
///
/// Several URLs are daemons that have the same registries under the same names: one of them is followed at a time, and
/// which one makes no difference to what is published. A daemon that has its services from this one in turn, by however
/// many others, is refused.
#[derive(Debug)]
pub struct DaemonRegistry {
    config: Arc<DaemonConfig>,
}

impl DaemonRegistry {
    /// A registry with that configuration. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: DaemonConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

#[async_trait]
impl ServiceRegistry for DaemonRegistry {
    fn kind(&self) -> &'static str {
        "registryd"
    }

    fn default_hostname(&self) -> String {
        "{hostname}".to_owned()
    }

    fn target(&self) -> String {
        self.config.target()
    }

    fn freshness_bound(&self) -> Duration {
        self.config.silence + Duration::from_secs(5)
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let client = session::client(&self.config)?;
        let session = Session::new(client, self.config.clone(), control);
        Ok(Box::pin(stream::unfold(session, |mut session| async move {
            let batch = session.next_batch().await;
            Some((Ok(batch), session))
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        session::probe(&self.config).await
    }
}
