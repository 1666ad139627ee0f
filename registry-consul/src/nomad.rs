//! The Nomad registry.

mod allocations;
mod answer;
mod checks;
mod config;
mod events;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod map;
mod memory;
mod plan;
mod query;
mod session;
mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

pub use config::{ChecksConfig, Ghosts, NomadConfig};

use crate::error::Error;
use crate::settings;
use memory::Memory;
use query::Queries;
use session::Session;

/// The native services of one Nomad region.
///
/// | Nomad says | health | raw status |
/// |---|---|---|
/// | the service is registered, and no more is asked | unknown | `registered` |
/// | some check of the service fails in that allocation | unhealthy | `failure` |
/// | some check has no result yet, none fails | unknown | `pending` |
/// | all checks succeed | healthy | `success` |
/// | the allocation is told to stop, and runs still | draining | `stopping` |
/// | the client of the allocation is not heard of | unknown | `disconnected` |
/// | the allocation is over, or there is none of that id, in two readings | unhealthy, or left out | `ghost` |
///
/// The catalogue has no health: results of checks come with [`checks`](NomadConfig::checks), states of allocations with
/// [`ghosts`](NomadConfig::ghosts), each at the cost of further requests. Where several apply, a ghost is a ghost, and a
/// check that fails comes before the state of the allocation, which comes before other results. Results that could not be
/// read stay for three intervals. Where all namespaces are watched, an allocation that is absent makes a ghost only in one of
/// which both readings have others: the token may not be allowed to see any of it.
///
/// The default hostname is `{name}.service.nomad`; templates may use `{namespace}`, `{datacenter}` and `{region}` (where
/// one is configured). An instance is at the address and port that Nomad allocated; its node is the id of the client, its
/// zone and cluster are the data centre. Its labels are `nomad.job`, `nomad.alloc` and `nomad.tags`: its tags, sorted,
/// joined by commas. Services with `provider = "consul"` are in Consul, and come through
/// [`ConsulRegistry`](crate::ConsulRegistry).
///
/// Each namespace is a [group](registry_core::Scope::Group) of its own: one that may not be read leaves others alone.
///
/// It is fresh within the wait of its polls, a sixteenth of that which servers add, and ten seconds more.
///
/// Complete knowledge that is to confirm something unlikely ([`Resync::strong`](registry_core::Resync)) is read from the
/// leader. What the event stream says to be removed is removed in so many words; all else is merely absent.
#[derive(Debug)]
pub struct NomadRegistry {
    config: Arc<NomadConfig>,
    /// What was seen last, kept from one watch to the next: it tells a server that was wiped from one that is behind.
    memory: Arc<Mutex<Memory>>,
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
            memory: Arc::default(),
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
        settings::freshness_bound(self.config.wait)
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let queries = Queries::new(self.config.clone(), Some(control.clone()))?;
        let session = Session::new(queries, self.config.clone(), control, self.memory.clone());
        Ok(Box::pin(stream::unfold(Some(session), |session| async move {
            let mut session = session?;
            match session.next_batch().await {
                Ok(batch) => Some((Ok(batch), Some(session))),
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let queries = Queries::new(self.config.clone(), None)?;
        for namespace in &self.config.namespaces {
            let response = queries.list(namespace, 0).await?;
            let headers = answer::Headers::of(&response);
            headers.check(self.config.max_stale, response.url())?;
            answer::list(&response, namespace, &self.config)?;
        }
        Ok(())
    }
}
