//! Another `registryd`, followed by its `/v1/watch`.

mod config;

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

pub use config::DaemonConfig;

use crate::error::Error;

/// The services of another `registryd`, as it merged them.
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

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        unimplemented!("the session")
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        unimplemented!("one request")
    }
}
