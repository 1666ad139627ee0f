//! One scenario's world, and what scenarios do with it.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{ErrorKind, RegistryError, RegistryId, Scope, ServiceRegistry};
use tokio::time::Instant;

use super::reader::{Reader, Truth, Word};
use super::report::Verdicts;
use super::watching::{Found, Stop, Watching, lock};
use super::world::{Instance, World, WorldError};
use super::{Options, Rule, Subject};

/// A bound beyond which nobody waits for it.
const LONGEST_BOUND: Duration = Duration::from_secs(600);

/// A world, the truth about it, and where verdicts are written down.
pub(super) struct Case<'a> {
    subject: &'a dyn Subject,
    pub(super) world: Box<dyn World>,
    pub(super) registry: Arc<dyn ServiceRegistry>,
    pub(super) truth: Truth,
    pub(super) options: &'a Options,
    pub(super) verdicts: &'a mut Verdicts,
    pub(super) found: Found,
    instances: u8,
}

impl<'a> Case<'a> {
    pub(super) async fn start(
        subject: &'a dyn Subject,
        options: &'a Options,
        verdicts: &'a mut Verdicts,
    ) -> Result<Self, WorldError> {
        let world = subject.start().await?;
        Ok(Self {
            subject,
            registry: world.registry(),
            world,
            truth: Truth::new(),
            options,
            verdicts,
            found: Found::default(),
            instances: 0,
        })
    }

    // === the world ===

    /// An instance that was never used before.
    pub(super) fn instance(&mut self) -> Instance {
        self.instances += 1;
        Instance {
            id: format!("i-{}", self.instances),
            address: Ipv4Addr::new(10, 77, 0, self.instances),
            port: 8000 + u16::from(self.instances),
            healthy: true,
        }
    }

    pub(super) fn instances(&mut self, count: usize) -> Vec<Instance> {
        (0..count).map(|_| self.instance()).collect()
    }

    pub(super) async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), Stop> {
        self.world.set(service, instances).await?;
        self.truth.insert(service.to_owned(), instances.to_vec());
        Ok(())
    }

    pub(super) async fn remove(&mut self, service: &str) -> Result<(), Stop> {
        self.world.remove(service).await?;
        self.truth.remove(service);
        Ok(())
    }

    /// The world that most scenarios begin with: `alpha` with two instances, `beta` with one.
    pub(super) async fn populate(&mut self) -> Result<(), Stop> {
        let (alpha, beta) = (self.instances(2), self.instances(1));
        self.set("alpha", &alpha).await?;
        self.set("beta", &beta).await
    }

    // === times ===

    /// The freshness bound, where anybody can wait for it.
    pub(super) fn bound(&self) -> Option<Duration> {
        Some(self.registry.freshness_bound()).filter(|bound| *bound <= LONGEST_BOUND)
    }

    /// How long the backend may take to notice anything.
    pub(super) fn soon(&self) -> Duration {
        self.options.patience + self.bound().unwrap_or_default()
    }

    // === watches ===

    /// A watch of which nothing was read yet.
    pub(super) fn open(&self) -> Result<Watching<'a>, Stop> {
        let id: RegistryId = "conformance".parse().map_err(WorldError::failed)?;
        Ok(Watching::open(
            self.subject,
            self.registry.clone(),
            id,
            self.found.clone(),
        ))
    }

    /// A watch that has listed everything.
    pub(super) async fn watch(&self) -> Result<Watching<'a>, Stop> {
        self.watch_again(Rule::StartsWithCompleteKnowledge).await
    }

    /// A watch that has listed everything; where it does not, that rule is broken.
    pub(super) async fn watch_again(&self, rule: Rule) -> Result<Watching<'a>, Stop> {
        let mut watching = self.open()?;
        let listed = self.until(&mut watching, self.soon(), |reader| {
            reader.has_answered(0, &Scope::Registry)
        });
        let listed = listed.await?;
        let reader = &watching.reader;
        let missing = reader.differences(&self.truth);
        if listed && missing.is_empty() {
            return Ok(watching);
        }
        let missing = if listed {
            missing.join(", ")
        } else {
            format!("no complete listing within {:?}", self.soon())
        };
        Err(Stop::Needs(rule, format!("{missing}; {}", reader.excerpt(0))))
    }

    /// Takes what is said until there is what is looked for; false where there is not within that time.
    pub(super) async fn until(
        &self,
        watching: &mut Watching<'_>,
        within: Duration,
        wanted: impl FnMut(&Reader<'_>) -> bool,
    ) -> Result<bool, Stop> {
        watching.until(Instant::now() + within, wanted).await
    }

    /// As [`until`](Self::until), and breaks the rule where there is not.
    pub(super) async fn expect(
        &mut self,
        watching: &mut Watching<'_>,
        rule: Rule,
        what: &str,
        wanted: impl FnMut(&Reader<'_>) -> bool,
    ) -> Result<bool, Stop> {
        let mark = watching.reader.now();
        let (seen, within) = (self.until(watching, self.soon(), wanted).await?, self.soon());
        if seen {
            self.verdicts.pass(rule);
        } else {
            let said = watching.reader.excerpt(mark);
            self.verdicts
                .fail(rule, format!("{what}: not seen within {within:?}; {said}"));
        }
        Ok(seen)
    }

    /// Leaves the backend alone for a while.
    pub(super) async fn pause(&self, watching: &mut Watching<'_>) -> Result<(), Stop> {
        watching.run(self.options.pause).await
    }

    /// Waits until everything is held as it is.
    pub(super) async fn converge(&self, watching: &mut Watching<'_>, within: Duration) -> Result<bool, Stop> {
        self.until(watching, within, |reader| {
            reader.differences(&self.truth).is_empty()
        })
        .await
    }

    /// That a watch began with a listing of everything, and that nothing was told outside of it before.
    pub(super) fn judge_beginning(&mut self, watching: &Watching<'_>, rule: Rule) {
        let mut listing = false;
        for word in watching.reader.since(0) {
            match word {
                Word::Began(Scope::Registry) => listing = true,
                Word::Completed {
                    scope: Scope::Registry,
                    ..
                } => break,
                Word::Applied { .. } | Word::Deleted(_) | Word::Completed { .. } if !listing => {
                    let said = watching.reader.excerpt(0);
                    self.verdicts
                        .fail(rule, format!("{word} before Init(registry); {said}"));
                    return;
                }
                _ => {}
            }
        }
        self.verdicts.pass(rule);
    }

    /// What the rule on errors says of one.
    pub(super) fn judge_error(&mut self, error: &RegistryError) {
        let rule = Rule::ErrorsNameWhatWentWrong;
        let (told, debug) = (error.report(), format!("{error:?}"));
        let secrets = self.world.secrets();
        let leaked = secrets
            .iter()
            .find(|secret| told.contains(secret.as_str()) || debug.contains(secret.as_str()));
        let location = self.world.location().filter(|location| !told.contains(location));
        if leaked.is_some() {
            // Not shown: the report is no place for it either.
            let kind = error.kind().as_str();
            self.verdicts
                .fail(rule, format!("an error of kind {kind} shows a secret"));
        } else if told.trim().is_empty() {
            self.verdicts.fail(rule, "an error says nothing".to_owned());
        } else if let Some(location) = location {
            self.verdicts
                .fail(rule, format!("{told:?} does not mention {location}"));
        } else if error.kind() == ErrorKind::Internal {
            self.verdicts.fail(rule, format!("{told:?} is of kind internal"));
        } else {
            self.verdicts.pass(rule);
        }
    }

    /// Writes down what was found by the way. All watches have to be gone.
    pub(super) fn finish(&mut self) {
        let findings = std::mem::take(&mut *lock(&self.found));
        for (rule, broken) in [
            (Rule::ListingsAreWhole, findings.violations),
            (Rule::NeverPanics, findings.panics),
        ] {
            self.verdicts.pass(rule);
            for seen in broken {
                self.verdicts.fail(rule, seen);
            }
        }
    }
}
