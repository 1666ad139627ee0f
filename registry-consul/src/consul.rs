//! The Consul registry.

mod answer;
mod config;
mod detector;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod map;
mod memory;
mod query;
mod session;
mod tracked;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

pub use config::{Consistency, ConsulConfig};

use crate::error::Error;
use crate::settings;
use memory::Memory;
use query::Queries;
use session::Session;

/// The services of one Consul data centre.
///
/// | Consul says | health | raw status |
/// |---|---|---|
/// | maintenance mode of the service or its node | draining | `maintenance` |
/// | some check critical | unhealthy | `critical` |
/// | some check warning | degraded | `warning` |
/// | all checks passing, or none | healthy | `passing` |
///
/// A node's checks count for each of its services. Instances of any health are kept.
///
/// The default hostname is `{name}.service.consul`; templates may use `{datacenter}`. An instance's labels are its
/// metadata, and `consul.tags`: its tags, sorted, joined by commas. The labels of a service say `consul.kind` where it
/// is a proxy or a gateway, and `consul.destination` which service a proxy stands in front of.
///
/// It is fresh within the wait of its polls, a sixteenth of that which servers add, and ten seconds more.
///
/// Complete knowledge that is to confirm something unlikely ([`Resync::strong`](registry_core::Resync)) is read with
/// `?consistent`, names and instances alike: the leader answers after asking a quorum, whichever server was asked. So
/// another one of several addresses is not preferred for it; it would pass the same question on to the same leader.
///
/// A loss that may be due to another server behind the address, or to one that was wiped or restored, is never told by
/// itself, but as part of such a complete listing; so is one that may be due to a token whose rights shrank.
#[derive(Debug)]
pub struct ConsulRegistry {
    config: Arc<ConsulConfig>,
    /// What was seen last, kept from one watch to the next: it tells a filtered answer from an empty one.
    memory: Arc<Mutex<Memory>>,
}

impl ConsulRegistry {
    /// A registry with that configuration. Nothing is dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: ConsulConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: Arc::new(config),
            memory: Arc::default(),
        })
    }
}

#[async_trait]
impl ServiceRegistry for ConsulRegistry {
    fn kind(&self) -> &'static str {
        "consul"
    }

    fn default_hostname(&self) -> String {
        "{name}.service.consul".to_owned()
    }

    fn target(&self) -> String {
        self.config.target()
    }

    fn freshness_bound(&self) -> Duration {
        settings::freshness_bound(self.config.wait)
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let queries = Queries::new(self.config.clone(), Some(control.clone()))?;
        queries.check_version().await?;
        let session = Session::new(queries, self.config.clone(), control, self.memory.clone());
        Ok(Box::pin(stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next_batch().await {
                Ok(batch) => Some((Ok(batch), Some(session))),
                Err(error) => Some((Err(error.into()), None)),
            }
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let queries = Queries::new(self.config.clone(), None)?;
        queries.check_version().await?;
        let response = queries.catalog(0, Consistency::Default).await?;
        answer::catalog(&response, &self.config)?;
        Ok(())
    }
}
