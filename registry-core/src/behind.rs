//! Registries behind a registry: what one that is itself a [`Discovery`](crate::Discovery) says of where it knows from.
//!
//! ```text
//!  consul-dc1 ──┐
//!  vms ─────────┴─▶ parent (instance 5f…) ──▶ this one         behind "parent": [consul-dc1, vms]
//! ```
//!
//! What comes by way of another daemon is as good as the registry behind it: where that one is stale, so is what it
//! said, however many tiers lie between. [`Event::Behind`](crate::Event::Behind) tells it, and
//! [`ServiceMeta::origins`](crate::ServiceMeta::origins) says which registries a service is from.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::model::{RegistryId, Timestamp};
use crate::status::Phase;
use crate::text::Str;

/// The name of one running discovery, made up at its start: 16 hexadecimal digits.
///
/// Two daemons that read each other would hold each other's services up for ever; each knows its own name where it
/// meets it behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(u64);

impl InstanceId {
    /// One that no other has.
    pub fn random() -> Self {
        // The hasher has random keys; the time tells two processes apart even where the random source is poor.
        Self(RandomState::new().hash_one(Timestamp::now().as_millis()))
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for InstanceId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.len() == 16 && text.bytes().all(|c| c.is_ascii_hexdigit());
        let number = u64::from_str_radix(text, 16).ok().filter(|_| digits);
        number
            .map(Self)
            .ok_or_else(|| format!("instance {text:?}: expected 16 hexadecimal digits"))
    }
}

/// One registry behind a registry, and how far its knowledge can be trusted.
#[derive(Debug, Clone, PartialEq)]
pub struct Behind {
    /// Its name there.
    pub id: RegistryId,
    /// Its kind.
    pub kind: Str,
    /// How far its knowledge can be trusted.
    pub phase: Phase,
    /// True where it is [`Stale`](Phase::Stale) for some of its services alone, or for some registries behind it: the
    /// others are as fresh as ever.
    pub partly: bool,
    /// When this was said.
    pub said: Instant,
    /// Time since its last confirmation, when this was said.
    pub age: Option<Duration>,
    /// Why it cannot be read, where that is so.
    pub error: Option<Str>,
    /// The discovery that it is, where it is one.
    pub instance: Option<InstanceId>,
    /// The registries behind it, in turn.
    pub behind: Arc<[Behind]>,
}

impl Behind {
    /// A registry of that name, kind and phase, of which nothing else is said.
    pub fn new(id: RegistryId, kind: impl Into<Str>, phase: Phase) -> Self {
        Self {
            id,
            kind: kind.into(),
            phase,
            partly: false,
            said: Instant::now(),
            age: None,
            error: None,
            instance: None,
            behind: Arc::default(),
        }
    }

    /// Time since its last confirmation, as of now.
    pub fn age(&self) -> Option<Duration> {
        // Another daemon said it: it may be as large as can be.
        Some(self.age?.saturating_add(self.said.elapsed()))
    }

    /// True where both are in the same phase, with the same registries behind them in turn. Ages and errors differ from
    /// one look to the next, and which of several daemons with the same registries is asked makes no difference.
    pub(crate) fn same(&self, other: &Self) -> bool {
        let is_named = |behind: &Self| behind.instance.is_some();
        (&self.id, self.phase, self.partly, is_named(self))
            == (&other.id, other.phase, other.partly, is_named(other))
            && same(&self.behind, &other.behind)
    }

    /// This, where nothing has been heard for too long of what is before it.
    fn out_of_date(&self) -> Self {
        Self {
            phase: match self.phase {
                Phase::Connecting => Phase::Connecting,
                Phase::Synced | Phase::Stale => Phase::Stale,
            },
            partly: false,
            behind: self.behind.iter().map(Self::out_of_date).collect(),
            ..self.clone()
        }
    }
}

/// What a registry said of itself and of those behind it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Lineage {
    pub(crate) instance: Option<InstanceId>,
    pub(crate) behind: Arc<[Behind]>,
}

impl Lineage {
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.instance.is_some() == other.instance.is_some() && same(&self.behind, &other.behind)
    }

    /// This as of now: where nothing has been heard of the registry for too long, nothing behind it is fresh.
    pub(crate) fn seen(&self, stale: bool) -> Self {
        if !stale {
            return self.clone();
        }
        Self {
            instance: self.instance,
            behind: self.behind.iter().map(Behind::out_of_date).collect(),
        }
    }

    pub(crate) fn any(&self, phase: Phase) -> bool {
        self.behind.iter().any(|behind| behind.phase == phase)
    }

    /// The ways to the registries that are stale as a whole and speak for themselves.
    pub(crate) fn stale_ways(&self) -> BTreeSet<String> {
        let mut ways = BTreeSet::new();
        collect(&self.behind, "", &mut ways);
        ways
    }
}

fn collect(behind: &[Behind], before: &str, ways: &mut BTreeSet<String>) {
    for registry in behind {
        let way = format!("{before}{}", registry.id);
        if registry.behind.is_empty() {
            if registry.phase == Phase::Stale && !registry.partly {
                ways.insert(way);
            }
        } else {
            collect(&registry.behind, &format!("{way}/"), ways);
        }
    }
}

fn same(a: &[Behind], b: &[Behind]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same(b))
}

/// Which ways are stale, and since when: services that came by stale ways alone are.
#[derive(Debug, Default)]
pub(crate) struct StaleWays(BTreeMap<String, Instant>);

impl StaleWays {
    /// Takes these in place of those before. True where they differ.
    pub(crate) fn replace(&mut self, ways: BTreeSet<String>, now: Instant) -> bool {
        let same = ways.len() == self.0.len() && ways.iter().all(|way| self.0.contains_key(way));
        if !same {
            let since = |way: String| {
                let since = self.0.get(&way).copied().unwrap_or(now);
                (way, since)
            };
            self.0 = ways.into_iter().map(since).collect();
        }
        !same
    }

    /// Since when nobody vouches for what came by these ways; `None` where somebody does, or it came by none.
    pub(crate) fn since(&self, ways: &[Str]) -> Option<Instant> {
        if self.0.is_empty() || ways.is_empty() {
            return None;
        }
        let since = ways.iter().map(|way| self.nearest(way.as_str()));
        since.collect::<Option<Vec<_>>>()?.into_iter().max()
    }

    /// A registry that does not say what is behind it speaks for everything by way of it: a daemon that was restarted
    /// while its own parent is down holds services of registries that it has not been told of.
    fn nearest(&self, way: &str) -> Option<Instant> {
        let mut ways = std::iter::successors(Some(way), |way| way.rsplit_once('/').map(|(before, _)| before));
        ways.find_map(|way| self.0.get(way).copied())
    }

    pub(crate) fn times(&self) -> impl Iterator<Item = Instant> + '_ {
        self.0.values().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn behind(id: &str, phase: Phase, behind: impl IntoIterator<Item = Behind>) -> Behind {
        Behind {
            behind: behind.into_iter().collect(),
            ..Behind::new(id.parse().unwrap(), "k", phase)
        }
    }

    fn lineage(behind: impl IntoIterator<Item = Behind>) -> Lineage {
        Lineage {
            instance: None,
            behind: behind.into_iter().collect(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_came_by_a_way_that_is_fresh_as_well_is_not_stale() {
        let told = lineage([
            behind("a", Phase::Stale, []),
            behind("b", Phase::Synced, []),
            // Stale for one of the two behind it.
            behind(
                "mid",
                Phase::Stale,
                [behind("a", Phase::Synced, []), behind("b", Phase::Stale, [])],
            ),
        ]);
        let mut ways = StaleWays::default();
        let start = Instant::now();
        assert!(ways.replace(told.stale_ways(), start));
        assert!(!ways.replace(told.stale_ways(), start));
        let since = |names: &[&str]| {
            let names: Vec<Str> = names.iter().map(|name| Str::from(*name)).collect();
            ways.since(&names)
        };
        assert_eq!(since(&["a"]), Some(start));
        assert_eq!(since(&["a", "mid/b"]), Some(start));
        for fresh in [
            &["a", "b"][..],
            &["mid/a"],
            &["mid/b", "mid/a"],
            &["unheard-of"],
            &[],
        ] {
            assert_eq!(since(fresh), None, "{fresh:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_behind_a_stale_registry_is_fresh_and_a_way_keeps_its_time() {
        let told = lineage([
            behind("a", Phase::Stale, []),
            behind("mid", Phase::Synced, [behind("b", Phase::Synced, [])]),
            behind("never", Phase::Connecting, []),
        ]);
        let mut ways = StaleWays::default();
        let start = Instant::now();
        ways.replace(told.seen(false).stale_ways(), start);
        assert_eq!(ways.since(&["mid/b".into()]), None);
        let later = start + Duration::from_secs(5);
        assert!(ways.replace(told.seen(true).stale_ways(), later));
        assert_eq!(ways.since(&["mid/b".into()]), Some(later));
        assert_eq!(ways.since(&["a".into()]), Some(start));
        assert_eq!(
            ways.since(&["never".into()]),
            None,
            "nothing of it is known to be old"
        );
        assert!(told.seen(true).any(Phase::Connecting));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stale_registry_that_names_none_behind_it_speaks_for_all_by_way_of_it() {
        let told = lineage([
            behind("mid", Phase::Stale, []),
            behind("middle", Phase::Synced, []),
        ]);
        let mut ways = StaleWays::default();
        let start = Instant::now();
        ways.replace(told.stale_ways(), start);
        for way in ["mid", "mid/b", "mid/b/c"] {
            assert_eq!(ways.since(&[way.into()]), Some(start), "{way}");
        }
        assert_eq!(ways.since(&["mid/b".into(), "middle/b".into()]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_registry_that_is_partly_stale_makes_nothing_stale_until_it_is_out_of_date() {
        let partly = Behind {
            partly: true,
            ..behind("a", Phase::Stale, [])
        };
        assert!(!partly.same(&behind("a", Phase::Stale, [])));
        let told = lineage([partly]);
        assert!(told.seen(false).stale_ways().is_empty());
        assert_eq!(told.seen(true).stale_ways(), BTreeSet::from(["a".to_owned()]));
    }

    #[tokio::test(start_paused = true)]
    async fn ages_grow_and_make_no_difference() {
        let one = Behind {
            age: Some(Duration::from_secs(3)),
            ..behind("a", Phase::Stale, [])
        };
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(one.age(), Some(Duration::from_secs(7)));
        assert!(one.same(&behind("a", Phase::Stale, [])));
        assert!(!one.same(&behind("a", Phase::Synced, [])));
        let named = Behind {
            instance: Some(InstanceId::random()),
            ..one.clone()
        };
        assert!(!one.same(&named));
    }

    #[tokio::test(start_paused = true)]
    async fn the_longest_age_does_not_overflow() {
        let oldest = Behind {
            age: Some(Duration::MAX),
            ..behind("a", Phase::Stale, [])
        };
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(oldest.age(), Some(Duration::MAX));
    }

    #[test]
    fn instances_are_read_as_they_are_printed() {
        let id = InstanceId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        for wrong in ["", "5f", "+123456789abcdef", "00112233445566778"] {
            assert!(wrong.parse::<InstanceId>().is_err(), "{wrong}");
        }
    }
}
