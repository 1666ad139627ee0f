//! The clusters of a fleet as their user takes them: the newest complete set, and a word back when it is applied.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use registry_core::ServiceRegistry;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// How soon a set that was dropped without being applied is handed out again.
const AGAIN: Duration = Duration::from_secs(1);

/// One cluster of a fleet.
#[derive(Clone)]
pub struct Member {
    /// The name of the file without its ending, of the Secret, or of the key in it.
    pub name: String,
    /// Its registry; the very same one for as long as its kubeconfig is unchanged.
    pub registry: Arc<dyn ServiceRegistry>,
    /// Equal for equal names, kubeconfigs and settings, also of another fleet or process.
    pub fingerprint: u128,
}

/// Hands out the clusters of a [`Fleet`](crate::Fleet) while its watch is running.
pub struct Members {
    sets: watch::Receiver<Option<Arc<Roster>>>,
    answers: watch::Sender<Answers>,
    taken: u64,
}

/// All clusters of a fleet at one time. Whoever took it adds, replaces and removes registries accordingly and then says
/// [`done`](Self::done).
///
/// One that is dropped instead is handed out again a second later.
pub struct MemberSet {
    /// The clusters, by name.
    pub members: Vec<Member>,
    answer: Answer,
}

/// A set as it is published.
pub(super) struct Roster {
    number: u64,
    members: Vec<Member>,
}

/// What became of the sets that were handed out.
#[derive(Debug, Default, Clone, Copy)]
struct Answers {
    /// The newest set that was applied.
    applied: u64,
    /// The set that was dropped last, and when.
    dropped: Option<(u64, Instant)>,
    /// Nobody takes sets any more.
    abandoned: bool,
}

struct Answer {
    number: u64,
    answers: watch::Sender<Answers>,
    given: bool,
}

/// The fleet's end of the line.
pub(super) struct Desk {
    sets: watch::Sender<Option<Arc<Roster>>>,
    answers: watch::Sender<Answers>,
}

// === impl Desk ===

impl Desk {
    pub(super) fn new() -> (Self, Members) {
        let sets = watch::Sender::new(None);
        let answers = watch::Sender::new(Answers::default());
        let members = Members {
            sets: sets.subscribe(),
            answers: answers.clone(),
            taken: 0,
        };
        (Self { sets, answers }, members)
    }

    /// These are the clusters now.
    pub(super) fn publish(&self, members: Vec<Member>) {
        self.sets.send_modify(|held| {
            let number = held.as_ref().map_or(0, |roster| roster.number) + 1;
            *held = Some(Arc::new(Roster { number, members }));
        });
    }

    /// True where the newest set is applied, or nobody is there to apply any.
    pub(super) fn is_applied(&self) -> bool {
        let newest = self.sets.borrow().as_ref().map_or(0, |roster| roster.number);
        let answers = *self.answers.borrow();
        answers.abandoned || answers.applied >= newest
    }

    /// Resolves once [`is_applied`](Self::is_applied).
    pub(super) async fn applied(&self) {
        let mut answers = self.answers.subscribe();
        while !self.is_applied() {
            // The other end is held by `self`: it cannot be closed.
            let _ = answers.changed().await;
        }
    }
}

// === impl Members ===

impl Members {
    /// The complete set of clusters: the first as soon as it is known, and then another one whenever it changes. Who is
    /// slow gets only the newest. `None` once the fleet is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<MemberSet> {
        let mut answers = self.answers.subscribe();
        loop {
            let newest = self.sets.borrow_and_update().clone();
            let mut again = None;
            if let Some(roster) = newest {
                let dropped = answers.borrow_and_update().dropped;
                again = dropped
                    .filter(|(number, _)| *number == roster.number && self.taken == roster.number)
                    .map(|(_, at)| at + AGAIN);
                let due = again.is_some_and(|again| again <= Instant::now());
                if roster.number > self.taken || due {
                    return Some(self.take(&roster));
                }
            }
            tokio::select! {
                changed = self.sets.changed() => changed.ok()?,
                // A set that is out may be dropped while the next one is waited for.
                _ = answers.changed() => {}
                () = at(again) => {}
            }
        }
    }

    fn take(&mut self, roster: &Roster) -> MemberSet {
        self.taken = roster.number;
        self.answers.send_modify(|answers| answers.dropped = None);
        MemberSet {
            members: roster.members.clone(),
            answer: Answer {
                number: roster.number,
                answers: self.answers.clone(),
                given: false,
            },
        }
    }
}

/// Resolves then, or never.
pub(super) async fn at(when: Option<Instant>) {
    match when {
        Some(when) => sleep_until(when).await,
        None => std::future::pending().await,
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        self.answers.send_modify(|answers| answers.abandoned = true);
    }
}

// === impl MemberSet ===

impl MemberSet {
    /// Tells the fleet that the set is applied: only then does it count as synced.
    pub fn done(mut self) {
        self.answer.given = true;
        let number = self.answer.number;
        let applied = |answers: &mut Answers| answers.applied = answers.applied.max(number);
        self.answer.answers.send_modify(applied);
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if !self.given {
            let dropped = Some((self.number, Instant::now()));
            // Of several that are out the newest matters.
            let newest = |answers: &mut Answers| answers.dropped = answers.dropped.max(dropped);
            self.answers.send_modify(newest);
        }
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member")
            .field("name", &self.name)
            .field("fingerprint", &format_args!("{:032x}", self.fingerprint))
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").finish_non_exhaustive()
    }
}

impl fmt::Debug for MemberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemberSet")
            .field("members", &self.members)
            .finish_non_exhaustive()
    }
}
