//! The model of the truth: what registries really have, and what of it everybody has to see.
//!
//! ```text
//!             told to the registry      known to it          to be taken back         known to be gone
//!  (unknown) ─────────────────────▶ new ───────────▶ there ─────────────────▶ leaving ────────────────▶ gone ─▶ new …
//! ```
//!
//! An endpoint may be seen from `new` on. Whoever saw it while it is `there` has to see it until it is `leaving`. When
//! it stops being seen after that is checked only when everything was healed and had time to settle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use tokio::time::Instant;

/// The daemon writes behind: what it published less than this time before it was killed may be forgotten.
pub(crate) const WRITTEN_AFTER: Duration = Duration::from_secs(15);

/// A registry's word that an endpoint exists.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Claim {
    pub(crate) registry: String,
    pub(crate) hostname: String,
    pub(crate) address: String,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} by {}", self.address, self.hostname, self.registry)
    }
}

/// What a registry says of the endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) port: u16,
    /// In the words of the API.
    pub(crate) health: &'static str,
    pub(crate) weight: u32,
    pub(crate) version: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    New,
    There,
    Leaving,
    Gone,
}

#[derive(Debug)]
struct Entry {
    life: Life,
    /// Which life this is: an endpoint may come back.
    number: u64,
    attributes: Option<Attributes>,
}

/// The truth, as it changes.
#[derive(Debug, Default)]
pub(crate) struct Truth {
    entries: BTreeMap<Claim, Entry>,
    /// When the daemon was killed.
    kills: Vec<Instant>,
    /// How often the daemon was started or ended.
    pub(crate) turn: u64,
}

/// What one reader saw of claims, with the life in which it saw them, and since when.
#[derive(Debug, Default)]
pub(crate) struct Seen(BTreeMap<Claim, (u64, Instant)>);

// === impl Truth ===

impl Truth {
    /// The registry is about to be told that it is so.
    pub(crate) fn comes(&mut self, claim: &Claim, attributes: Option<Attributes>) {
        let new = Entry {
            life: Life::Gone,
            number: 0,
            attributes: None,
        };
        let entry = self.entries.entry(claim.clone()).or_insert(new);
        if matches!(entry.life, Life::Gone | Life::Leaving) {
            entry.life = Life::New;
            entry.number += 1;
        }
        entry.attributes = attributes;
    }

    /// The registry is about to be told that it is so no more.
    pub(crate) fn goes(&mut self, claim: &Claim) {
        if let Some(entry) = self.entries.get_mut(claim) {
            entry.life = Life::Leaving;
        }
    }

    /// The registry was told.
    pub(crate) fn done(&mut self, claim: &Claim) {
        if let Some(entry) = self.entries.get_mut(claim) {
            entry.life = match entry.life {
                Life::New | Life::There => Life::There,
                Life::Leaving | Life::Gone => Life::Gone,
            };
        }
    }

    pub(crate) fn killed(&mut self) {
        self.kills.push(Instant::now());
    }

    /// All that exists.
    pub(crate) fn there(&self) -> BTreeSet<Claim> {
        let there = |(claim, entry): (&Claim, &Entry)| (entry.life == Life::There).then(|| claim.clone());
        self.entries.iter().filter_map(there).collect()
    }

    /// All that registries were told of and that is not to go, with what is said of it.
    pub(crate) fn expected(&self) -> Vec<(Claim, Attributes)> {
        let expected = |(claim, entry): (&Claim, &Entry)| match entry.life {
            Life::New | Life::There => Some((claim.clone(), entry.attributes.clone()?)),
            Life::Leaving | Life::Gone => None,
        };
        self.entries.iter().filter_map(expected).collect()
    }

    pub(crate) fn attributes(&self, claim: &Claim) -> Option<&Attributes> {
        self.entries.get(claim)?.attributes.as_ref()
    }

    /// What is wrong with a state in which these claims are, read by someone who saw those before; notes what is seen.
    pub(crate) fn judge(&self, claims: &BTreeSet<Claim>, seen: &mut Seen) -> Vec<String> {
        let mut wrong = Vec::new();
        let now = Instant::now();
        for claim in claims {
            match self.entries.get(claim) {
                None => wrong.push(format!("{claim} is there, and never was")),
                Some(entry) if entry.life == Life::There => {
                    let first = (entry.number, now);
                    let known = seen.0.entry(claim.clone()).or_insert(first);
                    if known.0 != entry.number {
                        *known = first;
                    }
                }
                Some(_) => {}
            }
        }
        for (claim, (number, since)) in &seen.0 {
            let Some(entry) = self.entries.get(claim) else {
                continue;
            };
            if entry.life == Life::There && entry.number == *number && !claims.contains(claim) {
                wrong.push(format!(
                    "{claim} is absent, though it exists and was seen for {:?}",
                    since.elapsed()
                ));
            }
        }
        wrong
    }

    /// What a reader may no longer expect of a daemon that was started again: what it saw too short a time before the
    /// kill, or later still, in what was on its way. The one that was killed had answered a request made `then`.
    pub(crate) fn forget_unwritten(&self, then: Instant, seen: &mut Seen) {
        if let Some(kill) = self.kills.iter().find(|kill| **kill > then) {
            seen.0.retain(|_, (_, since)| *since + WRITTEN_AFTER <= *kill);
        }
    }

    /// Whether the daemon was killed so short a time after that, that it may have forgotten it.
    pub(crate) fn may_be_forgotten(&self, then: Instant) -> bool {
        self.kills
            .iter()
            .any(|kill| *kill > then && *kill < then + WRITTEN_AFTER)
    }

    /// How a state differs from what exists.
    pub(crate) fn differences(&self, claims: &BTreeSet<Claim>) -> Vec<String> {
        let there = self.there();
        let missing = there
            .difference(claims)
            .map(|claim| format!("{claim} is missing"));
        let ghosts = claims
            .difference(&there)
            .map(|claim| format!("{claim} is gone, but shown"));
        missing.chain(ghosts).collect()
    }
}

// === impl Seen ===

impl Seen {
    /// Whoever reads for the first time has to find what another one saw.
    pub(crate) fn of(other: &Self) -> Self {
        Self(other.0.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(address: &str) -> Claim {
        Claim {
            registry: "consul".to_owned(),
            hostname: "web.mesh.internal".to_owned(),
            address: address.to_owned(),
        }
    }

    fn state(addresses: &[&str]) -> BTreeSet<Claim> {
        addresses.iter().map(|address| claim(address)).collect()
    }

    fn with(addresses: &[&str]) -> Truth {
        let mut truth = Truth::default();
        for address in addresses {
            truth.comes(&claim(address), None);
            truth.done(&claim(address));
        }
        truth
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_and_exists_must_not_be_absent() {
        let mut truth = with(&["a", "b"]);
        let mut seen = Seen::default();
        assert!(
            truth.judge(&state(&["a"]), &mut seen).is_empty(),
            "b was not seen yet"
        );
        assert!(truth.judge(&state(&["a", "b"]), &mut seen).is_empty());
        let wrong = truth.judge(&state(&["b"]), &mut seen);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("a of web.mesh.internal by consul is absent"));
        truth.goes(&claim("a"));
        assert!(
            truth.judge(&state(&["b"]), &mut seen).is_empty(),
            "it may go at any time"
        );
        truth.done(&claim("a"));
        assert!(
            truth.judge(&state(&["a", "b"]), &mut seen).is_empty(),
            "nobody knows yet"
        );
        assert_eq!(truth.differences(&state(&["a"])).len(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_never_existed_must_not_be_there() {
        let truth = with(&["a"]);
        let wrong = truth.judge(&state(&["a", "b"]), &mut Seen::default());
        assert_eq!(
            wrong,
            ["b of web.mesh.internal by consul is there, and never was"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_comes_back_has_to_be_seen_anew() {
        let mut truth = with(&["a"]);
        let mut seen = Seen::default();
        truth.judge(&state(&["a"]), &mut seen);
        truth.goes(&claim("a"));
        truth.done(&claim("a"));
        truth.comes(&claim("a"), None);
        truth.done(&claim("a"));
        assert!(truth.judge(&state(&[]), &mut seen).is_empty());
        truth.judge(&state(&["a"]), &mut seen);
        assert_eq!(truth.judge(&state(&[]), &mut seen).len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_kill_forgives_only_what_was_seen_just_before() {
        let mut truth = with(&["old", "young", "late"]);
        let (start, mut seen) = (Instant::now(), Seen::default());
        truth.judge(&state(&["old"]), &mut seen);
        tokio::time::advance(WRITTEN_AFTER).await;
        truth.judge(&state(&["old", "young"]), &mut seen);
        tokio::time::advance(Duration::from_secs(1)).await;
        truth.killed();
        let killed = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        truth.judge(&state(&["old", "young", "late"]), &mut seen);
        truth.forget_unwritten(killed, &mut seen);
        assert_eq!(
            truth.judge(&state(&[]), &mut seen).len(),
            3,
            "asked after the kill"
        );
        truth.forget_unwritten(start, &mut seen);
        let wrong = truth.judge(&state(&[]), &mut seen);
        assert_eq!(wrong.len(), 1, "{wrong:?}");
        assert!(wrong[0].starts_with("old "));
    }
}
