//! What a play and a real server can both do.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use registry_core::async_trait;

use super::api::NomadApi;
use super::{ADDRESS, NomadPlay, PlayWorld, RealNomad, TOKEN};
use crate::Error;

/// A service to run: a job of its own with one group, whose instances listen on ports that are allocated.
#[derive(Debug, Clone)]
pub struct Job {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) count: u8,
    pub(super) tags: Vec<String>,
    pub(super) checked: bool,
}

impl Job {
    /// A job in the namespace `default` with one instance. Job and service have the name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            namespace: "default".to_owned(),
            count: 1,
            tags: Vec::new(),
            checked: false,
        }
    }

    /// In another namespace.
    #[must_use]
    pub fn within(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// With so many instances.
    #[must_use]
    pub fn count(mut self, count: u8) -> Self {
        self.count = count;
        self
    }

    /// With these tags.
    #[must_use]
    pub fn tagged(mut self, tags: &[&str]) -> Self {
        self.tags = tags.iter().map(|&tag| tag.to_owned()).collect();
        self
    }

    /// With a check of its instances, which passes until it is [told](World::set_passing) not to.
    #[must_use]
    pub fn checked(mut self) -> Self {
        self.checked = true;
        self
    }

    /// The name of the job and of its service.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
}

/// A Nomad server, and hands to move it. Every call returns when the server's own API shows it done.
///
/// A real server is shared by tests and keeps what they leave, so each has names of its own.
#[async_trait]
pub trait World: Send + Sync {
    /// The server, with the right to everything.
    fn api(&self) -> &NomadApi;

    /// The token of [`api`](Self::api), where ACLs are on.
    fn token(&self) -> Option<&str>;

    /// Runs a job, or scales and changes it.
    ///
    /// # Errors
    ///
    /// Where the server refuses, or its instances do not come.
    async fn run(&self, job: &Job) -> Result<(), Error>;

    /// Stops a job: its instances go. `purge` takes the job itself with them.
    ///
    /// # Errors
    ///
    /// Where the server refuses, or its instances stay.
    async fn stop(&self, job: &Job, purge: bool) -> Result<(), Error>;

    /// Makes the check of a job pass or fail.
    ///
    /// # Errors
    ///
    /// Where its results do not follow.
    async fn set_passing(&self, job: &Job, passes: bool) -> Result<(), Error>;

    /// Drains the only node: all instances go. Or takes that back.
    ///
    /// # Errors
    ///
    /// Where the server refuses.
    async fn drain(&self, on: bool) -> Result<(), Error>;

    /// Makes a namespace.
    ///
    /// # Errors
    ///
    /// Where the server refuses.
    async fn add_namespace(&self, name: &str) -> Result<(), Error>;

    /// Deletes a namespace whose jobs were purged.
    ///
    /// # Errors
    ///
    /// Where the server refuses.
    async fn remove_namespace(&self, name: &str) -> Result<(), Error>;

    /// Gives the token of that name the right to read these namespaces and no others, and returns its secret.
    ///
    /// # Errors
    ///
    /// Where the server refuses, or its ACLs are off.
    async fn grant(&self, name: &str, namespaces: &[&str]) -> Result<String, Error>;
}

/// The worlds that a test runs on: the play, and the real server where there is one that fits.
///
/// With `acls` both have ACLs; without, the real one may have them, too. What is left out is told on the standard error.
///
/// # Errors
///
/// Where the play cannot be started.
pub async fn worlds(acls: bool) -> Result<Vec<Box<dyn World>>, Error> {
    let play = NomadPlay::start().await.map_err(|source| Error::Io {
        what: "cannot start the play".to_owned(),
        source,
    })?;
    let mut worlds: Vec<Box<dyn World>> = vec![Box::new(PlayWorld::new(play, acls)?)];
    match RealNomad::from_env()? {
        None => eprintln!("on the play alone: {ADDRESS} is not set"),
        Some(real) if acls && real.token().is_none() => eprintln!("on the play alone: {TOKEN} is not set"),
        Some(real) => worlds.push(Box::new(real)),
    }
    Ok(worlds)
}

/// A name that no other test uses, nor this one in another run.
#[must_use]
pub fn unique(prefix: &str) -> String {
    static NAMES: AtomicU32 = AtomicU32::new(0);
    let number = NAMES.fetch_add(1, Ordering::Relaxed);
    let run = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
        % 1_000_000;
    format!("{prefix}-{run}-{}-{number}", std::process::id())
}
