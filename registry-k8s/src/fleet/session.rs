//! One watch of a fleet: what the source says, what is believed of it, and what becomes of it.
//!
//! ```text
//!  Source ── Heard ─▶ Roll ── Verdict ─▶ events
//!                       └──── members ─▶ Desk ◀─ done ── whoever applies them
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, ErrorKind, Event, RegistryError, Scope, Str};
use tokio::time::Instant;

use super::Shared;
use super::members::at;
use super::roll::Verdict;
use super::source::{Heard, Listing, Source};

/// A set of members that is not applied for longer is worth a word.
const PATIENCE: Duration = Duration::from_secs(30);

/// A watch under way.
pub(super) struct Session {
    shared: Arc<Shared>,
    source: Source,
    control: Control,
    owed: Owed,
    /// When to look again, where something is not believed yet, unless that was done.
    due: Option<Instant>,
    /// What is wrong with single members, as last told.
    told: BTreeMap<Str, Arc<RegistryError>>,
    held: Option<Arc<RegistryError>>,
    /// Since when there is a set that waits to be applied.
    waits: Option<Instant>,
}

/// Complete knowledge that somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Owed {
    Nothing,
    /// The list has to be read first.
    Look,
    /// The list is read; its members have to be applied.
    Application,
}

// === impl Session ===

impl Session {
    pub(super) fn new(shared: Arc<Shared>, source: Source, control: Control) -> Self {
        Self {
            shared,
            source,
            control,
            owed: Owed::Look,
            due: None,
            told: BTreeMap::new(),
            held: None,
            waits: None,
        }
    }

    /// What there is to tell next; never an empty batch.
    pub(super) async fn next_batch(&mut self) -> Vec<Event> {
        loop {
            let batch = tokio::select! {
                heard = self.source.next() => self.hear(heard).await,
                // A wish for a part is granted with the whole: there is nothing in it.
                _ = self.control.resync_requested() => {
                    self.owed = Owed::Look;
                    self.source.look_again();
                    continue;
                }
                () = at(self.due) => {
                    self.due = None;
                    self.source.look_again();
                    continue;
                }
                () = self.shared.desk.applied(), if self.owed == Owed::Application => self.word(),
            };
            if !batch.is_empty() {
                return batch;
            }
        }
    }

    async fn hear(&mut self, heard: Heard) -> Vec<Event> {
        let mut batch = Vec::new();
        if let Some(listing) = heard.listing {
            let verdict = judge(self.shared.clone(), listing).await;
            self.due = verdict.due;
            self.held = verdict.held;
            batch = self.tell(verdict.problems);
            if heard.right.is_ok() && self.owed == Owed::Look {
                self.owed = Owed::Application;
            }
        }
        match heard.right {
            Ok(()) => batch.extend(self.word()),
            Err(error) => batch.push(Event::degraded(Scope::Registry, error)),
        }
        batch
    }

    /// What is new about single members.
    fn tell(&mut self, problems: BTreeMap<Str, Arc<RegistryError>>) -> Vec<Event> {
        let registry = self.control.registry();
        let mut batch = Vec::new();
        for (name, error) in &problems {
            let before = self.told.get(name);
            if before.is_none_or(|before| before.report() != error.report()) {
                tracing::warn!(%registry, member = %name, error = error.report(), "a kubeconfig cannot be used; the last good one is kept");
                batch.push(Event::degraded(Scope::Group(name.clone()), error.clone()));
            }
        }
        let names: BTreeSet<&Str> = problems.keys().collect();
        for name in self.told.keys().filter(|name| !names.contains(name)) {
            tracing::info!(%registry, member = %name, "nothing is wrong with this kubeconfig any more");
            batch.extend(Event::listing(Scope::Group(name.clone()), []));
        }
        self.told = problems;
        batch
    }

    /// What there is to say of the whole, where the source says that its list is right.
    fn word(&mut self) -> Vec<Event> {
        let applied = self.shared.desk.is_applied();
        self.waits = match (applied, self.waits) {
            (true, _) => None,
            (false, since) => Some(since.unwrap_or_else(Instant::now)),
        };
        let mut batch = Vec::new();
        if applied && self.owed == Owed::Application {
            self.owed = Owed::Nothing;
            batch = Event::listing(Scope::Registry, []);
            let problems = self.told.iter();
            // Not among what is unread of the listing: the list of clusters is known all the same.
            batch.extend(
                problems.map(|(name, error)| Event::degraded(Scope::Group(name.clone()), error.clone())),
            );
        }
        let late = self.waits.is_some_and(|since| since.elapsed() >= PATIENCE);
        if let Some(held) = &self.held {
            batch.push(Event::degraded(Scope::Registry, held.clone()));
        } else if late {
            let message = "the clusters that were found are not in use yet".to_owned();
            let error = RegistryError::new(ErrorKind::Internal, message);
            batch.push(Event::degraded(Scope::Registry, error));
        } else if batch.is_empty() && self.owed == Owed::Nothing {
            batch.push(Event::Confirmed(Scope::Registry));
        }
        batch
    }
}

/// Decides what is believed, on a thread that may block: kubeconfigs are parsed.
async fn judge(shared: Arc<Shared>, listing: Listing) -> Verdict {
    let now = Instant::now();
    let judging = tokio::task::spawn_blocking(move || {
        let mut roll = shared
            .roll
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let verdict = roll.take_in(&listing.candidates, &listing.announced, now);
        // Here, where nothing is cancelled: what changed would not be found changed again.
        if verdict.changed {
            shared.desk.publish(roll.members());
        }
        verdict
    });
    match judging.await {
        Ok(verdict) => verdict,
        // The supervisor counts panics and opens the watch again.
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime is shutting down.
        Err(_) => std::future::pending().await,
    }
}
