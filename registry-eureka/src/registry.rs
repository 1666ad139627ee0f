//! The Eureka registry.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use registry_core::{Control, EventStream, Guard, RegistryError, ServiceRegistry, async_trait};

use crate::config::EurekaConfig;
use crate::error::Error;
use crate::session::Session;
use crate::transport::Transport;

/// The applications of the Eureka servers of one region.
///
/// | Eureka says | health |
/// |---|---|
/// | `UP` | healthy |
/// | `OUT_OF_SERVICE` | draining |
/// | `DOWN`, `STARTING`, `UNKNOWN`, any other word | unhealthy |
///
/// Instances of any status are kept, the word is the raw status. An operator's override counts as set by hand.
///
/// It is fresh within three polls and the time that fetching everything may take. What a delta says was removed is told
/// as announced; what a full fetch merely lacks is not, and is held back where it is much.
///
/// Complete knowledge that is to confirm something unlikely ([`Resync::strong`](registry_core::Resync)) is asked of
/// another server than the one in use, where there is one that answers. That one is in use then.
#[derive(Debug)]
pub struct EurekaRegistry {
    config: Arc<EurekaConfig>,
}

impl EurekaRegistry {
    /// A registry with that configuration. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: EurekaConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

#[async_trait]
impl ServiceRegistry for EurekaRegistry {
    fn kind(&self) -> &'static str {
        "eureka"
    }

    fn default_hostname(&self) -> String {
        "{name}.eureka".to_owned()
    }

    fn target(&self) -> String {
        self.config.target()
    }

    fn freshness_bound(&self) -> Duration {
        // Three polls, and the time that fetching everything may take.
        self.config.interval * 3 + self.config.full_timeout + self.config.http.request_timeout
    }

    fn default_guard(&self) -> Guard {
        self.config.guard()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let transport = Transport::new(self.config.clone()).map_err(RegistryError::from)?;
        let session = Session::new(transport, self.config.clone(), control);
        Ok(Box::pin(stream::unfold(session, |mut session| async move {
            let batch = session.next_batch().await;
            Some((Ok(batch), session))
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let transport = Transport::new(self.config.clone()).map_err(RegistryError::from)?;
        Ok(transport.probe().await?)
    }
}
