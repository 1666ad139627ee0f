//! The Eureka registry.

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

use crate::config::EurekaConfig;
use crate::error::Error;

/// The applications of the Eureka servers of one region.
///
/// | Eureka says | health |
/// |---|---|
/// | `UP` | healthy |
/// | `OUT_OF_SERVICE` | draining |
/// | `DOWN`, `STARTING`, `UNKNOWN`, any other word | unhealthy |
///
/// Instances of any status are kept, the word is the raw status. An operator's override counts as set by hand.
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
        // Three polls, and the time that the last one may take.
        self.config.interval * 3 + self.config.http.request_timeout
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let _ = control;
        unimplemented!("session")
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        unimplemented!("session")
    }
}
