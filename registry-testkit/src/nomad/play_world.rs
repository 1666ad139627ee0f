//! The play as a world: jobs without a scheduler.

use std::sync::atomic::{AtomicBool, Ordering};

use registry_core::async_trait;

use super::api::NomadApi;
use super::world::{Job, World};
use super::{Allocation, Cause, CheckResult, NomadPlay, Registration, Rights};
use crate::Error;

const TOKEN: &str = "0a0b0c0d-1111-2222-3333-444455556666";

/// A [`NomadPlay`] whose jobs run at once.
#[derive(Debug)]
pub struct PlayWorld {
    play: NomadPlay,
    api: NomadApi,
    acls: bool,
    drained: AtomicBool,
}

impl PlayWorld {
    /// A world around a play, with ACLs or without.
    ///
    /// # Errors
    ///
    /// Where the HTTP client cannot be built.
    pub fn new(play: NomadPlay, acls: bool) -> Result<Self, Error> {
        if acls {
            play.grant(TOKEN, Rights::All);
        }
        Ok(Self {
            api: NomadApi::new(&play.url(), acls.then_some(TOKEN))?,
            play,
            acls,
            drained: AtomicBool::new(false),
        })
    }

    /// The play.
    #[must_use]
    pub fn play(&self) -> &NomadPlay {
        &self.play
    }

    fn instances(job: &Job) -> impl Iterator<Item = Registration> + '_ {
        (1..=job.count).map(|number| {
            let mut instance = Registration::within(&job.namespace, &job.name, number);
            instance.tags.clone_from(&job.tags);
            instance
        })
    }

    fn is_of(job: &Job) -> impl Fn(&Registration) -> bool + '_ {
        |one| one.namespace == job.namespace && one.job_id == job.name
    }
}

#[async_trait]
impl World for PlayWorld {
    fn api(&self) -> &NomadApi {
        &self.api
    }

    fn token(&self) -> Option<&str> {
        self.acls.then_some(TOKEN)
    }

    async fn run(&self, job: &Job) -> Result<(), Error> {
        if self.drained.load(Ordering::SeqCst) {
            return Err(Error::Unexpected {
                what: "a job on a drained node".to_owned(),
            });
        }
        let wanted: Vec<_> = Self::instances(job).collect();
        let is_of = Self::is_of(job);
        let is_over = |one: &Registration| is_of(one) && !wanted.iter().any(|kept| kept.id == one.id);
        self.play.remove(Cause::Client, is_over);
        // Each client registers its own, one write after the other.
        for instance in &wanted {
            self.play.set_allocation(Allocation::of(instance));
            self.play.register(std::slice::from_ref(instance));
        }
        if job.checked {
            self.set_passing(job, true).await?;
        }
        Ok(())
    }

    async fn stop(&self, job: &Job, _: bool) -> Result<(), Error> {
        for instance in Self::instances(job) {
            self.play.set_allocation(Allocation {
                desired_status: "stop".to_owned(),
                client_status: "complete".to_owned(),
                ..Allocation::of(&instance)
            });
            self.play.remove(Cause::Client, |one| one.id == instance.id);
        }
        self.play.remove(Cause::Client, Self::is_of(job));
        Ok(())
    }

    async fn set_passing(&self, job: &Job, passes: bool) -> Result<(), Error> {
        let status = if passes { "success" } else { "failure" };
        for instance in Self::instances(job) {
            let result = CheckResult::new(&job.name, "alive", status);
            self.play.set_checks(&instance.alloc_id, &[result]);
        }
        Ok(())
    }

    async fn drain(&self, on: bool) -> Result<(), Error> {
        self.drained.store(on, Ordering::SeqCst);
        if on {
            // The clients say so, one service at a time.
            for ((namespace, service), _) in self.play.services() {
                let chosen = |one: &Registration| one.namespace == namespace && one.service_name == service;
                self.play.remove(Cause::Client, chosen);
            }
        }
        Ok(())
    }

    async fn add_namespace(&self, name: &str) -> Result<(), Error> {
        self.play.add_namespace(name);
        Ok(())
    }

    async fn remove_namespace(&self, name: &str) -> Result<(), Error> {
        self.play.remove_namespace(name);
        Ok(())
    }

    async fn grant(&self, name: &str, namespaces: &[&str]) -> Result<String, Error> {
        if !self.acls {
            return Err(Error::Unexpected {
                what: "a token where there are no ACLs".to_owned(),
            });
        }
        let secret = super::registration::uuid(name);
        self.play.grant(&secret, Rights::namespaces(namespaces));
        Ok(secret)
    }
}
