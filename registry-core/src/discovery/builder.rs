//! Putting a discovery together.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::keeper::Place;
use super::task::Task;
use super::{Discovery, Latency, Shared};
use crate::behind::InstanceId;
use crate::cell::Cell;
use crate::engine::EngineSettings;
use crate::error::Error;
use crate::hostname::Pattern;
use crate::merge::MergePolicy;
use crate::model::RegistryId;
use crate::options::RegistryOptions;
use crate::registry::ServiceRegistry;

/// Puts a [`Discovery`] together.
#[derive(Default)]
pub struct DiscoveryBuilder {
    registries: Vec<(RegistryId, Arc<dyn ServiceRegistry>, RegistryOptions)>,
    settings: EngineSettings,
    publish_interval: Option<Duration>,
    state_dir: Option<PathBuf>,
}

impl DiscoveryBuilder {
    /// Adds a registry with default options: required, with the hostnames and the guard of its kind.
    ///
    /// # Errors
    ///
    /// Where the name is no registry name.
    pub fn registry(self, id: &str, registry: impl ServiceRegistry) -> Result<Self, Error> {
        let options = RegistryOptions {
            guard: Some(registry.default_guard()),
            ..RegistryOptions::default()
        };
        self.registry_with(id, registry, options)
    }

    /// Adds a registry with options of its own.
    ///
    /// # Errors
    ///
    /// Where the name is no registry name.
    pub fn registry_with(
        self,
        id: &str,
        registry: impl ServiceRegistry,
        options: RegistryOptions,
    ) -> Result<Self, Error> {
        Ok(self.add(id.parse()?, Arc::new(registry), options))
    }

    /// Adds a registry that is shared already.
    #[must_use]
    pub fn add(
        mut self,
        id: RegistryId,
        registry: Arc<dyn ServiceRegistry>,
        options: RegistryOptions,
    ) -> Self {
        self.registries.push((id, registry, options));
        self
    }

    /// The policy for hostnames that match the pattern; the first that matches counts.
    #[must_use]
    pub fn policy(self, pattern: &str, policy: impl MergePolicy) -> Self {
        self.shared_policy(Pattern::new(pattern), Arc::new(policy))
    }

    /// As [`policy`](Self::policy), for one that is shared already.
    #[must_use]
    pub fn shared_policy(mut self, pattern: Pattern, policy: Arc<dyn MergePolicy>) -> Self {
        self.settings.policies.push((pattern, policy));
        self
    }

    /// How long readiness waits for registries that are not required; 30 seconds unless set.
    #[must_use]
    pub fn start_deadline(mut self, deadline: Duration) -> Self {
        self.settings.start_deadline = deadline;
        self
    }

    /// The shortest time between two publications while changes keep coming; 10 ms unless set. The first change after
    /// a quiet spell is published at once.
    #[must_use]
    pub fn publish_interval(mut self, interval: Duration) -> Self {
        self.publish_interval = Some(interval);
        self
    }

    /// The directory in which what each registry said last is kept, for a start while registries are down. Created
    /// where it is missing; nothing is kept unless set.
    #[must_use]
    pub fn state_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.state_dir = Some(dir.into());
        self
    }

    /// Starts to watch all registries, on the Tokio runtime it is called from.
    ///
    /// # Errors
    ///
    /// Where two registries have the same name, or there is no runtime.
    pub fn start(self) -> Result<Discovery, Error> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let place = Arc::new(Place::open(self.state_dir.as_deref()));
        let (inputs, receiver) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            instance: InstanceId::random(),
            snapshot: Cell::new(Arc::default()),
            revisions: watch::Sender::new(0),
            readiness: watch::Sender::default(),
            inputs,
            stop: stop.clone(),
            tasks: TaskTracker::new(),
            latency: Latency::default(),
            place: Mutex::new(place.clone()),
        });
        let interval = self.publish_interval.unwrap_or(Duration::from_millis(10));
        let mut task = Task::new(shared.clone(), self.settings, interval);
        for (id, registry, options) in self.registries {
            let saved = place.load(&id, &*registry);
            task.add(id, registry, options, saved)?;
        }
        task.begin();
        shared.tasks.spawn_on(task.run(receiver), &runtime);
        Ok(Discovery {
            shared,
            _alive: Arc::new(stop.drop_guard()),
        })
    }
}

impl std::fmt::Debug for DiscoveryBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&RegistryId> = self.registries.iter().map(|(id, _, _)| id).collect();
        f.debug_struct("DiscoveryBuilder")
            .field("registries", &names)
            .finish_non_exhaustive()
    }
}
