//! Documents in the shape of Prometheus' HTTP service discovery.

mod config;

use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

pub use config::HttpSdConfig;

use crate::error::Error;

/// The targets of one document in the shape of Prometheus' HTTP SD and file SD.
#[derive(Debug)]
pub struct HttpSdRegistry {
    config: Arc<HttpSdConfig>,
}

impl HttpSdRegistry {
    /// A registry with that configuration. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: HttpSdConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

#[async_trait]
impl ServiceRegistry for HttpSdRegistry {
    fn kind(&self) -> &'static str {
        "http_sd"
    }

    fn default_hostname(&self) -> String {
        "{name}.http-sd".to_owned()
    }

    fn target(&self) -> String {
        self.config.target()
    }

    fn freshness_bound(&self) -> Duration {
        self.config.interval * 3 + self.config.http.request_timeout
    }

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        unimplemented!("the session")
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        unimplemented!("one poll")
    }
}
