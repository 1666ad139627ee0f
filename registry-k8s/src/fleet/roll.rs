//! Which clusters there are: what was found last, and what of it is believed. Synchronous, and without a clock of its own.
//!
//! Whatever a source says is a complete list of names. What is new in it, or missing, is believed when it has been so for
//! a moment (editors replace files in two steps). Where most members are missing at once it takes longer: a file system
//! that is not mounted looks like an empty directory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{ErrorKind, RegistryError, Str};
use tokio::time::Instant;

use super::kubeconfig::{Candidate, Kubeconfig};
use super::members::Member;

/// How long it takes to believe that most members are gone where nobody said so.
pub(super) const HOLD: Duration = Duration::from_secs(30);

/// As many that are missing at once are doubted where they are more than half; all of them always are.
const MANY: usize = 10;

/// A content that changes for so long without ever resting is a problem.
const RESTLESS: Duration = Duration::from_secs(10);

/// Makes the member of a kubeconfig.
pub(super) type Build = Box<dyn Fn(&Candidate, &Kubeconfig) -> Result<Member, Arc<RegistryError>> + Send>;

/// All names that are known, and what is known of each.
pub(super) struct Roll {
    entries: BTreeMap<Str, Entry>,
    /// How long something has to be as it is.
    grace: Duration,
    known: bool,
    build: Build,
}

#[derive(Default)]
struct Entry {
    /// With the last good kubeconfig.
    member: Option<Member>,
    /// The content that was judged last, and what is wrong with it.
    judged: Option<(u128, Option<Arc<RegistryError>>)>,
    /// Another content, which may still be changing.
    unsettled: Option<Unsettled>,
    /// Why there was no content.
    unread: Option<Arc<RegistryError>>,
    clash: Option<Arc<RegistryError>>,
    missing: Option<Instant>,
}

struct Unsettled {
    content: u128,
    since: Instant,
    first: Instant,
}

/// What is believed now.
#[derive(Debug)]
pub(super) struct Verdict {
    /// Whether the members are others than before.
    pub(super) changed: bool,
    /// What is wrong, by name.
    pub(super) problems: BTreeMap<Str, Arc<RegistryError>>,
    /// Why members are kept that are missing.
    pub(super) held: Option<Arc<RegistryError>>,
    /// When to look again, where something is not believed yet.
    pub(super) due: Option<Instant>,
}

// === impl Roll ===

impl Roll {
    pub(super) fn new(grace: Duration, build: Build) -> Self {
        Self {
            entries: BTreeMap::new(),
            grace,
            known: false,
            build,
        }
    }

    /// The members, by name.
    pub(super) fn members(&self) -> Vec<Member> {
        let members = self.entries.values().filter_map(|entry| entry.member.clone());
        members.collect()
    }

    /// Takes in a complete list. The names in `announced` were removed in so many words.
    pub(super) fn take_in(
        &mut self,
        candidates: &[Candidate],
        announced: &BTreeSet<Str>,
        now: Instant,
    ) -> Verdict {
        let mut changed = !self.known;
        let grace = if self.known { self.grace } else { Duration::ZERO };
        self.known = true;
        let mut listed = BTreeSet::new();
        for candidate in candidates {
            listed.insert(&candidate.name);
            let entry = self.entries.entry(candidate.name.clone()).or_default();
            changed |= entry.take_in(candidate, grace, now, &self.build);
        }
        self.entries.retain(|name, entry| {
            if listed.contains(name) {
                return true;
            }
            entry.missing.get_or_insert(now);
            let goes = announced.contains(name) || entry.is_blank();
            changed |= goes && entry.member.is_some();
            !goes
        });
        let (lost, of) = self.lost();
        let doubted = lost > 0 && lost * 2 > of && (lost >= MANY || lost == of);
        let patience = if doubted { HOLD } else { self.grace };
        self.entries.retain(|_, entry| {
            let goes = entry.missing.is_some_and(|since| now >= since + patience);
            changed |= goes && entry.member.is_some();
            !goes
        });
        let (lost, _) = self.lost();
        let held = doubted && lost > 0;
        let missing = self.entries.values().filter_map(|entry| entry.missing);
        let unsettled = self.entries.values().filter_map(|entry| entry.unsettled.as_ref());
        Verdict {
            changed,
            problems: self.problems(),
            held: held.then(|| doubt(lost, of)),
            due: missing
                .map(|since| since + patience)
                .chain(unsettled.map(|content| content.since + grace))
                .min(),
        }
    }

    /// How many members are missing, and how many there are with them.
    fn lost(&self) -> (usize, usize) {
        let members = || self.entries.values().filter(|entry| entry.member.is_some());
        (
            members().filter(|entry| entry.missing.is_some()).count(),
            members().count(),
        )
    }

    fn problems(&self) -> BTreeMap<Str, Arc<RegistryError>> {
        let problem = |(name, entry): (&Str, &Entry)| Some((name.clone(), entry.problem()?.clone()));
        self.entries.iter().filter_map(problem).collect()
    }
}

fn doubt(lost: usize, of: usize) -> Arc<RegistryError> {
    Arc::new(RegistryError::new(
        ErrorKind::Unavailable,
        format!("{lost} of {of} clusters are missing at once; they are kept until that is so for {HOLD:?}"),
    ))
}

// === impl Entry ===

impl Entry {
    /// True where the member is another one now.
    fn take_in(&mut self, candidate: &Candidate, grace: Duration, now: Instant, build: &Build) -> bool {
        self.missing = None;
        self.clash = candidate.clash.clone();
        let kubeconfig = match &candidate.found {
            Ok(kubeconfig) => kubeconfig,
            Err(error) => {
                self.unread = Some(error.clone());
                self.unsettled = None;
                return false;
            }
        };
        let content = kubeconfig.hash();
        if self.judged.as_ref().is_some_and(|(judged, _)| *judged == content) {
            self.unread = None;
            self.unsettled = None;
            return false;
        }
        let fresh = Unsettled {
            content,
            since: now,
            first: now,
        };
        let unsettled = self.unsettled.get_or_insert(fresh);
        if unsettled.content != content {
            unsettled.content = content;
            unsettled.since = now;
        }
        if now < unsettled.since + grace {
            if now >= unsettled.first + RESTLESS {
                let problem = format!("{}: found another content at each look", candidate.place);
                self.unread = Some(Arc::new(RegistryError::new(ErrorKind::Configuration, problem)));
            }
            return false;
        }
        self.unsettled = None;
        self.unread = None;
        match build(candidate, kubeconfig) {
            Ok(member) => {
                self.judged = Some((content, None));
                // A good content that comes back after a bad one is no change.
                let same = |held: &Member| held.fingerprint == member.fingerprint;
                if self.member.as_ref().is_some_and(same) {
                    return false;
                }
                self.member = Some(member);
                true
            }
            Err(error) => {
                self.judged = Some((content, Some(error)));
                false
            }
        }
    }

    fn problem(&self) -> Option<&Arc<RegistryError>> {
        let judged = self.judged.as_ref().and_then(|(_, problem)| problem.as_ref());
        self.unread.as_ref().or(judged).or(self.clash.as_ref())
    }

    /// True where nothing was ever believed of it, so that it may go at once.
    fn is_blank(&self) -> bool {
        self.member.is_none() && self.problem().is_none()
    }
}
