//! A new configuration for a running daemon: what is unchanged notices nothing, what is wrong changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Discovery, RegistryId, ServiceRegistry};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, RegistryConfig, Source};
use crate::error::Error;
use crate::registries;

/// How often it is looked whether a registry has synced, while others wait for that with leaving.
const LOOK: Duration = Duration::from_millis(100);

/// Applies new configurations to a running discovery.
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    current: Config,
    discovery: Discovery,
    /// Registries that are no longer configured, but stay until those have synced that came in their place.
    leaving: HashMap<RegistryId, Leaving>,
}

#[derive(Debug)]
struct Leaving {
    stay: CancellationToken,
    /// Says whether it left.
    task: JoinHandle<bool>,
}

/// What becomes of one entry.
enum Step {
    Keep,
    Adjust,
    Replace(Arc<dyn ServiceRegistry>),
    Add(Arc<dyn ServiceRegistry>),
}

impl Reloader {
    /// A reloader for a discovery that runs on that configuration.
    pub fn new(source: Source, current: Config, discovery: Discovery) -> Self {
        Self {
            source,
            current,
            discovery,
            leaving: HashMap::new(),
        }
    }

    /// Reads the configuration again and applies it. Where anything is wrong with it, that is logged, and nothing
    /// changes.
    pub async fn reload(&mut self) {
        if self.source.file().is_none() {
            tracing::info!("nothing to reload: the configuration is built in");
            return;
        }
        let outcome = match config::load(&self.source) {
            Ok(config) => self.apply(config).await,
            Err(error) => Err(error),
        };
        if let Err(error) = outcome {
            for problem in error.report().lines() {
                tracing::error!("{problem}");
            }
            tracing::error!("the configuration was not applied; the last one stays in force");
        }
    }

    /// Applies a configuration.
    ///
    /// # Errors
    ///
    /// Where a registry cannot be set up; nothing has changed then.
    pub async fn apply(&mut self, new: Config) -> Result<(), Error> {
        if new == self.current {
            tracing::info!("the configuration is unchanged");
            return Ok(());
        }
        // All that can fail comes first.
        let mut steps = Vec::with_capacity(new.registries.len());
        for (position, registry) in new.registries.iter().enumerate() {
            steps.push(self.step(position, registry)?);
        }
        self.warn_of_restart(&new);
        if new.merge != self.current.merge {
            self.discovery.set_policies(new.policies()).await;
        }
        let mut added = Vec::new();
        let mut counts = Counts::default();
        for ((position, registry), step) in new.registries.iter().enumerate().zip(steps) {
            let id = registry.id().clone();
            let options = registry.options(position);
            let result = match step {
                Step::Keep => Ok(()),
                Step::Adjust => {
                    counts.changed += 1;
                    self.discovery.replace(id.clone(), None, options).await
                }
                Step::Replace(backend) => {
                    counts.changed += 1;
                    self.discovery.replace(id.clone(), Some(backend), options).await
                }
                Step::Add(backend) => {
                    added.push(id.clone());
                    if self.stays_after_all(&id).await {
                        self.discovery.replace(id.clone(), Some(backend), options).await
                    } else {
                        self.discovery.add(id.clone(), backend, options).await
                    }
                }
            };
            if let Err(error) = result {
                tracing::error!(registry = %id, %error, "the registry could not be set up");
            }
        }
        for registry in &self.current.registries {
            let id = registry.id();
            if !new.registries.iter().any(|kept| kept.id() == id) {
                counts.removed += 1;
                let leaving = leave(
                    self.discovery.clone(),
                    id.clone(),
                    added.clone(),
                    new.start_deadline,
                );
                self.leaving.insert(id.clone(), leaving);
            }
        }
        self.leaving.retain(|_, leaving| !leaving.task.is_finished());
        tracing::info!(
            added = added.len(),
            changed = counts.changed,
            removed = counts.removed,
            "the configuration was applied"
        );
        self.current = new;
        Ok(())
    }

    fn step(&self, position: usize, new: &RegistryConfig) -> Result<Step, Error> {
        let mut held = self.current.registries.iter().enumerate();
        let Some((before, old)) = held.find(|(_, old)| old.id() == new.id()) else {
            return Ok(Step::Add(registries::build(new)?));
        };
        Ok(if !registries::same_backend(old, new) {
            Step::Replace(registries::build(new)?)
        } else if old.options(before) != new.options(position) {
            Step::Adjust
        } else {
            Step::Keep
        })
    }

    /// Stops a registry from leaving. True where it is still there.
    async fn stays_after_all(&mut self, id: &RegistryId) -> bool {
        match self.leaving.remove(id) {
            Some(leaving) => {
                leaving.stay.cancel();
                !leaving.task.await.unwrap_or(true)
            }
            None => false,
        }
    }

    fn warn_of_restart(&self, new: &Config) {
        let old = &self.current;
        let changed = [
            ("state_dir", new.state_dir != old.state_dir),
            ("http", new.http != old.http),
            ("log", new.log != old.log),
            ("start_deadline", new.start_deadline != old.start_deadline),
            ("publish_interval", new.publish_interval != old.publish_interval),
        ];
        for (key, _) in changed.into_iter().filter(|(_, changed)| *changed) {
            tracing::warn!("the change of `{key}` needs a restart");
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    changed: usize,
    removed: usize,
}

/// Removes a registry as soon as those are known that came with the same reload, or after the deadline.
fn leave(discovery: Discovery, id: RegistryId, added: Vec<RegistryId>, deadline: Duration) -> Leaving {
    let stay = CancellationToken::new();
    let token = stay.clone();
    let task = tokio::spawn(async move {
        let known = tokio::time::timeout(deadline, all_known(&discovery, &added));
        match token.run_until_cancelled(known).await {
            None => return false,
            Some(Err(_)) => {
                tracing::warn!(registry = %id, "removed, although not all that came in its place is known yet");
            }
            Some(Ok(())) => tracing::info!(registry = %id, "removed"),
        }
        discovery.remove(id).await.is_ok()
    });
    Leaving { stay, task }
}

async fn all_known(discovery: &Discovery, ids: &[RegistryId]) {
    loop {
        let snapshot = discovery.snapshot();
        let known = |id: &RegistryId| {
            let mut registries = snapshot.registries().iter();
            registries.any(|registry| registry.id() == id && registry.is_known())
        };
        if ids.iter().all(known) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}
