//! A new configuration for a running daemon: what is unchanged notices nothing, what is wrong changes nothing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Discovery, RegistryId, RegistryOptions};

use super::fleets::{Fleets, Roster};
use super::leave::{Leaving, Wait, leave};
use super::policies::Policies;
use crate::config::{self, Config, RegistryConfig, Source};
use crate::error::Error;
use crate::registries::{self, Built};

/// How long a reload waits for its effect to be published, before it says that it was applied.
const PUBLISHED: Duration = Duration::from_secs(10);

/// Applies new configurations to a running discovery.
#[derive(Debug)]
pub struct Reloader {
    source: Source,
    current: Config,
    discovery: Discovery,
    /// Registries that are no longer configured, and members of entries that have none any more: by entry. They stay until
    /// those have synced that came in their place.
    leaving: HashMap<RegistryId, (Leaving, Option<Roster>)>,
    fleets: Fleets,
    policies: Policies,
    #[cfg(feature = "xds")]
    xds: Option<registry_xds::Xds>,
}

/// What becomes of one entry.
enum Step {
    Keep,
    Adjust,
    Replace(Built),
    Add(Built),
}

impl Reloader {
    /// A reloader for a discovery that runs on that configuration, and the members of its entries.
    pub fn new(source: Source, current: Config, discovery: Discovery, fleets: Fleets) -> Self {
        Self {
            source,
            current,
            policies: Policies::new(discovery.clone()),
            discovery,
            leaving: HashMap::new(),
            fleets,
            #[cfg(feature = "xds")]
            xds: None,
        }
    }

    /// With an xDS server, which gets new settings as well.
    #[cfg(feature = "xds")]
    #[must_use]
    pub fn with_xds(mut self, xds: registry_xds::Xds) -> Self {
        self.xds = Some(xds);
        self
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
        #[cfg(feature = "xds")]
        if let (Some(xds), Some(config)) = (&self.xds, &new.xds)
            && new.xds != self.current.xds
        {
            let settings = super::xds::applicable(config, &xds.views().config());
            xds.reconfigure(settings).map_err(Error::Xds)?;
        }
        self.policies.change(&self.current, &new).await;
        let mut added = Vec::new();
        let mut counts = Counts::default();
        for ((position, registry), step) in new.registries.iter().enumerate().zip(steps) {
            let id = registry.id().clone();
            let options = registry.options(position);
            let result = match step {
                Step::Keep => Ok(()),
                Step::Adjust => {
                    counts.changed += 1;
                    self.fleets.adjust(&id, &options).await;
                    self.discovery.replace(id.clone(), None, options).await
                }
                Step::Replace(built) => {
                    counts.changed += 1;
                    let roster = self.members_of(&id).await;
                    self.put(&id, built, options, true, roster).await
                }
                Step::Add(built) => {
                    added.push(id.clone());
                    let (stays, roster) = self.stays_after_all(&id).await;
                    self.put(&id, built, options, stays, roster).await
                }
            };
            if let Err(error) = result {
                tracing::error!(registry = %id, %error, "the registry could not be set up");
            }
        }
        let before: Vec<RegistryId> = self
            .current
            .registries
            .iter()
            .map(|old| old.id().clone())
            .collect();
        for id in &before {
            if !new.registries.iter().any(|kept| kept.id() == id) {
                counts.removed += 1;
                let roster = self.members_of(id).await;
                if let Some(roster) = &roster {
                    roster.forget().await;
                }
                let members = roster.iter().flat_map(Roster::members);
                let ids = std::iter::once(id.clone()).chain(members).collect();
                let wait = Wait {
                    hold: Duration::ZERO,
                    successors: added.clone(),
                    deadline: new.start_deadline,
                };
                let leaving = leave(self.discovery.clone(), ids, wait);
                self.leaving.insert(id.clone(), (leaving, roster));
            }
        }
        self.leaving.retain(|_, (leaving, _)| !leaving.is_finished());
        let leaving = self.leaving.iter();
        let leaving = leaving
            .map(|(id, (leaving, _))| (id.clone(), leaving.ended()))
            .collect();
        self.policies.settle(&new, &leaving).await;
        // Whoever looks after the line in the log should find it so. Where that takes longer it is in force all the same.
        let _ = tokio::time::timeout(PUBLISHED, self.discovery.published()).await;
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

    /// Who is on the list of an entry, which is not followed any more. Of an entry that has no members now these are its
    /// last ones, where they have not left yet; they stay.
    async fn members_of(&mut self, id: &RegistryId) -> Option<Roster> {
        match self.fleets.stop(id).await {
            Some(roster) => Some(roster),
            None => self.stays_after_all(id).await.1,
        }
    }

    /// Stops a registry from leaving. True where it is still there, with the members that it had.
    async fn stays_after_all(&mut self, id: &RegistryId) -> (bool, Option<Roster>) {
        if let Some((leaving, roster)) = self.leaving.remove(id)
            && leaving.stay().await
        {
            return (true, roster);
        }
        (false, None)
    }

    /// Puts a backend in place of what is there of an entry, if anything is.
    async fn put(
        &mut self,
        id: &RegistryId,
        built: Built,
        options: RegistryOptions,
        is_there: bool,
        roster: Option<Roster>,
    ) -> Result<(), registry_core::Error> {
        let Built { registry, members } = built;
        let (backend, settings) = (Arc::clone(&registry), options.clone());
        if is_there {
            self.discovery
                .replace(id.clone(), Some(backend), settings)
                .await?;
        } else {
            self.discovery.add(id.clone(), backend, settings).await?;
        }
        match (members, roster) {
            (Some(members), roster) => {
                self.fleets.follow(id, &*registry, members, options, roster).await;
            }
            // The entry stands for one registry from now on.
            (None, Some(roster)) => {
                roster.forget().await;
                let wait = Wait {
                    hold: Duration::ZERO,
                    successors: vec![id.clone()],
                    deadline: self.current.start_deadline,
                };
                let leaving = leave(self.discovery.clone(), roster.members(), wait);
                self.leaving.insert(id.clone(), (leaving, Some(roster)));
            }
            (None, None) => {}
        }
        Ok(())
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
        #[cfg(feature = "xds")]
        let changed = changed.into_iter().chain(super::xds::needs_restart(old, new));
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
