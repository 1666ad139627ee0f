//! The Nomad registry.

mod config;

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

pub use config::{ChecksConfig, Ghosts, NomadConfig};

use crate::error::Error;

/// The native services of one Nomad region.
#[derive(Debug)]
pub struct NomadRegistry {
    config: Arc<NomadConfig>,
}

impl NomadRegistry {
    /// A registry with that configuration. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: NomadConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

#[async_trait]
impl ServiceRegistry for NomadRegistry {
    fn kind(&self) -> &'static str {
        "nomad"
    }

    fn default_hostname(&self) -> String {
        "{name}.service.nomad".to_owned()
    }

    fn target(&self) -> String {
        self.config.target()
    }

    fn freshness_bound(&self) -> Duration {
        self.config.wait + Duration::from_secs(10)
    }

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        unimplemented!("the session")
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        unimplemented!("one listing")
    }
}
