//! The watch: when to look at the files, and what to tell of a look.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use registry_core::{
    Control, ErrorKind, Event, EventStream, PortDefaults, RegistryError, Scope, ServiceRegistry, async_trait,
};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::config::FileConfig;
use crate::error::Error;
use crate::files::{Files, Look, Reason, Told};
use crate::watch::Watch;

/// A file that never rests is read after this many debounce times all the same.
const PATIENCE: u32 = 10;

/// Services of VMs and physical machines from watched YAML or JSON files.
///
/// Every file is a group of its own: one that is broken, missing or half-written keeps what it last said and is
/// degraded, while all others go on. The [front page](crate) tells the shape of a file.
///
/// # What removes services
///
/// - A file that is read and valid, and does not have them any more.
/// - A file that is gone from a *configured directory*, where the directory could be listed completely. A directory
///   that is empty where another file system is not mounted says so too; there the removal guard of a discovery helps.
///
/// Nothing else does: a configured *file* that is missing, an empty file (0 bytes), one that is no valid text, a
/// directory that cannot be read or is gone, a directory in the place of a file. The way to say that there is nothing
/// is `services: []`.
///
/// Whoever writes a file should write another one beside it and rename it, as editors do. A file that is written in
/// place is read when it has rested for [`debounce`](FileConfig::debounce); a writer that pauses for longer, at a point
/// where what is there happens to be valid, is understood as it stands.
///
/// # Health
///
/// | in the file | `Health` | administrative |
/// |---|---|---|
/// | nothing | `Unknown`: routable, yields to any other registry's opinion | no |
/// | `healthy` | `Healthy`: a registry that really checks may know better | no |
/// | `unknown` | `Unknown` | no |
/// | `degraded`, `draining`, `unhealthy` | that | yes: an operator's order |
///
/// An order counts whatever other registries say, also while the file is broken and stale.
#[derive(Debug, Clone)]
pub struct FileRegistry {
    config: FileConfig,
    base: PathBuf,
}

impl FileRegistry {
    /// A registry of these files. What is wrong with the settings is said by the watch, by the probe and by
    /// [`check`](Self::check).
    pub fn new(config: FileConfig) -> Self {
        Self {
            config,
            base: PathBuf::new(),
        }
    }

    /// A registry of these files, if the settings can be used. The files need not be there yet.
    ///
    /// # Errors
    ///
    /// Names the setting that is wrong.
    pub fn try_new(config: FileConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self::new(config))
    }

    /// Takes relative paths from this directory, not from the working directory. Messages and groups show them as
    /// they are configured.
    #[must_use]
    pub fn relative_to(mut self, directory: impl Into<PathBuf>) -> Self {
        self.base = directory.into();
        self
    }

    /// The settings.
    pub fn config(&self) -> &FileConfig {
        &self.config
    }

    /// Reads and validates all files now, and returns all that is wrong with them (of each file the first hundred
    /// mistakes). It blocks the thread.
    pub fn check(&self) -> Vec<Error> {
        match self.config.validate() {
            Ok(()) => Files::new(&self.config, &self.base, PortDefaults::default()).check(),
            Err(error) => vec![error],
        }
    }
}

#[async_trait]
impl ServiceRegistry for FileRegistry {
    fn kind(&self) -> &'static str {
        "file"
    }

    fn default_hostname(&self) -> String {
        "{name}.{namespace}.file".to_owned()
    }

    fn target(&self) -> String {
        let mut paths: Vec<String> = self
            .config
            .paths()
            .map(|path| self.base.join(path).display().to_string())
            .collect();
        paths.sort_unstable();
        paths.dedup();
        paths.join("\n")
    }

    fn freshness_bound(&self) -> Duration {
        self.config.poll_interval.saturating_mul(3)
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        self.config.validate()?;
        let changed = Arc::new(Notify::new());
        let desk = Desk {
            files: Files::new(&self.config, &self.base, control.ports().clone()),
            watch: Watch::new(changed.clone()),
        };
        let session = Session {
            desk: Some(desk),
            changed,
            control,
            debounce: self.config.debounce,
            poll_interval: self.config.poll_interval,
            next_poll: Instant::now(),
            step: Step::Looking(Reason::Everything),
        };
        Ok(Box::pin(stream::unfold(session, Session::next)))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let registry = self.clone();
        let errors = tokio::task::spawn_blocking(move || registry.check())
            .await
            .map_err(|error| {
                RegistryError::new(ErrorKind::Internal, "the check of files broke off").with_source(error)
            })?;
        match errors.into_iter().next() {
            Some(first) => Err(first.into()),
            None => Ok(()),
        }
    }
}

/// What is handed to a thread that may block, and back.
struct Desk {
    files: Files,
    watch: Watch,
}

/// Where a watch stands.
enum Step {
    /// Nothing is known to have changed. A change leads to `Settling`, time and wishes to `Looking`.
    Resting,
    /// Something changes. It is read when nothing changed for the debounce time, or at the latest moment.
    Settling { quiet_at: Instant, latest: Instant },
    /// The files are looked at. A change that comes meanwhile is kept by `changed`, and leads to `Settling` again.
    Looking(Reason),
}

struct Session {
    /// Away only while a look is under way.
    desk: Option<Desk>,
    changed: Arc<Notify>,
    control: Control,
    debounce: Duration,
    poll_interval: Duration,
    next_poll: Instant,
    step: Step,
}

impl Session {
    /// The next batch, however many steps it takes.
    async fn next(mut self) -> Option<(Result<Vec<Event>, RegistryError>, Self)> {
        loop {
            self.step = match self.step {
                Step::Resting => tokio::select! {
                    () = self.changed.notified() => self.settling(),
                    () = sleep_until(self.next_poll) => Step::Looking(Reason::Poll),
                    // A wish for a part is granted with the whole: files are near, and the whole covers every part.
                    _ = self.control.resync_requested() => Step::Looking(Reason::Everything),
                },
                Step::Settling { quiet_at, latest } => tokio::select! {
                    () = self.changed.notified() => Step::Settling {
                        quiet_at: (Instant::now() + self.debounce).min(latest),
                        latest,
                    },
                    () = sleep_until(quiet_at) => Step::Looking(Reason::Change),
                },
                Step::Looking(reason) => {
                    let due = Instant::now() >= self.next_poll;
                    let reason = if due && reason == Reason::Change {
                        Reason::Poll
                    } else {
                        reason
                    };
                    if due || reason != Reason::Change {
                        self.next_poll = Instant::now() + self.poll_interval;
                    }
                    let look = self.look(reason).await?;
                    self.step = if look.again {
                        self.settling()
                    } else {
                        Step::Resting
                    };
                    let batch = self.batch(look, reason);
                    if batch.is_empty() {
                        continue;
                    }
                    return Some((Ok(batch), self));
                }
            };
        }
    }

    fn settling(&self) -> Step {
        let now = Instant::now();
        Step::Settling {
            quiet_at: now + self.debounce,
            latest: now + self.debounce.saturating_mul(PATIENCE),
        }
    }

    /// Looks at the files on a thread that may block. `None` where the runtime is shutting down.
    async fn look(&mut self, reason: Reason) -> Option<Look> {
        let mut desk = self.desk.take()?;
        let looking = tokio::task::spawn_blocking(move || {
            // Watched first, so that nothing can change unnoticed between the look and the watch.
            let before = desk.watch.renew(desk.files.paths());
            let mut look = desk.files.look(reason);
            let after = desk.watch.renew(desk.files.paths());
            look.again |= matches!(after, Ok(true));
            let watched = before.and(after);
            (desk, look, watched)
        });
        let (desk, look, watched) = match looking.await {
            Ok(done) => done,
            // The supervisor counts panics and opens the watch again.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(_) => return None,
        };
        self.desk = Some(desk);
        let meter = self.control.meter();
        for read in 0..look.reads.max(look.failures) {
            meter.count_request(read < look.failures);
        }
        meter.set_note(watched.err().map(|error| {
            let every = registry_core::duration::format(self.poll_interval);
            format!("changes are noticed only every {every}, as not all directories can be watched: {error}")
        }));
        Some(look)
    }

    /// What to tell of a look.
    fn batch(&self, look: Look, reason: Reason) -> Vec<Event> {
        let registry = self.control.registry();
        for (group, told) in &look.told {
            match told {
                Told::Failed { error, news: true } => {
                    tracing::warn!(%registry, error = error.report(), "{group} is not understood; what it last said is kept");
                }
                Told::Recovered => tracing::info!(%registry, "{group} is back, unchanged"),
                Told::Gone => tracing::info!(%registry, "{group} was removed"),
                Told::Failed { .. } | Told::Services(_) => {}
            }
        }
        if look.complete {
            complete(look)
        } else {
            partial(look, reason)
        }
    }
}

/// Everything: what is not told of here does not exist.
fn complete(look: Look) -> Vec<Event> {
    let mut batch = vec![Event::Init(Scope::Registry)];
    let mut unread = Vec::new();
    for (group, told) in look.told {
        match told {
            Told::Services(records) => batch.extend(records.into_iter().map(Event::apply)),
            Told::Failed { error, .. } => unread.push((Scope::Group(group), error)),
            Told::Recovered | Told::Gone => {}
        }
    }
    // Files that nobody can name may have said something before: of the whole registry nothing is removed.
    unread.extend(look.blind.map(|error| (Scope::Registry, error)));
    batch.push(Event::InitDone {
        scope: Scope::Registry,
        unread,
    });
    batch
}

/// What changed, file by file.
fn partial(look: Look, reason: Reason) -> Vec<Event> {
    let mut batch = Vec::new();
    let mut trouble = look.blind;
    for (group, told) in look.told {
        let scope = Scope::Group(group);
        match told {
            Told::Services(records) => batch.extend(Event::listing(scope, records)),
            Told::Gone => batch.extend(Event::listing(scope, [])),
            Told::Recovered => batch.push(Event::Confirmed(scope)),
            Told::Failed { error, .. } => {
                if !look.sound {
                    trouble.get_or_insert_with(|| error.clone());
                }
                batch.push(Event::Degraded { scope, error });
            }
        }
    }
    // Files that failed have words of their own, so this speaks for all the others. Where no path is there at all,
    // nothing was confirmed.
    match trouble {
        None if look.sound => batch.push(Event::Confirmed(Scope::Registry)),
        Some(error) if reason == Reason::Poll => batch.push(Event::Degraded {
            scope: Scope::Registry,
            error,
        }),
        _ => {}
    }
    batch
}
