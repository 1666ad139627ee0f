//! Policies: who takes part in a service that several registries claim.

use std::cmp::Ordering;
use std::fmt;

use crate::model::{Conflict, RegistryId, ServiceMeta, ServicePort, ServiceRecord};

/// One registry's claim to a hostname.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The registry.
    pub registry: &'a RegistryId,
    /// Its precedence; the lowest number goes first.
    pub order: u32,
    /// What it says.
    pub record: &'a ServiceRecord,
    /// True where its word is older than its bound.
    pub stale: bool,
    /// True where what it calls healthy counts as degraded, because it is stale.
    pub degraded: bool,
}

/// Decides which claimants take part in a service, in which order, and at which priority.
///
/// A policy is a value without state, and pure: the same claimants give the same answer.
pub trait MergePolicy: fmt::Debug + Send + Sync + 'static {
    /// The name in the configuration.
    fn name(&self) -> &'static str;

    /// Whose word counts first. By default: precedence, then the older service (unknown last), then the name.
    fn precedence(&self, a: &Claimant<'_>, b: &Claimant<'_>) -> Ordering {
        let created = |claimant: &Claimant<'_>| {
            claimant
                .record
                .meta()
                .created()
                .map_or(u64::MAX, |time| time.as_millis())
        };
        a.order
            .cmp(&b.order)
            .then_with(|| created(a).cmp(&created(b)))
            .then_with(|| a.registry.cmp(b.registry))
            .then_with(|| a.record.id().cmp(b.record.id()))
    }

    /// For each claimant, in order of precedence: `None` to leave it out, or the priority of its endpoints (0 first).
    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>>;

    /// When the ports of two claimants are at odds.
    fn ports(&self) -> PortRule {
        PortRule::default()
    }

    /// What a claimant says that is spoken on one of its ports, where that is compared; `None` where it has no word on it. The
    /// port of the service speaks what the first one's does, whatever word that has.
    fn app_protocol<'a>(&self, _meta: &'a ServiceMeta, port: &'a ServicePort) -> Option<&'a str> {
        Some(&port.app_protocol)
    }

    /// Whose labels the service has.
    fn labels(&self) -> LabelRule {
        LabelRule::default()
    }

    /// What else those that take part disagree about, in order of precedence, beyond ports and resolution.
    fn conflicts(&self, _claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
        Vec::new()
    }
}

/// When the ports of two claimants are at odds. Then the one with precedence has the port, endpoints of the other lose
/// it, and one that has no port left by that is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PortRule {
    /// Where ports of one name have different transports. Endpoints keep the port where only its number differs, since
    /// the number is the service's and each endpoint has its own.
    #[default]
    Lenient,
    /// Where ports of one name differ in transport or number, or ports of different names have the same of both, as
    /// clients that connect by number need it: those of a headless service connect to the numbers of its endpoints, so that
    /// only names and transports count there. What is spoken on a port is then the word of the one with precedence, even
    /// where it has none.
    Strict,
}

/// Whose labels a service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LabelRule {
    /// Each label has the value of the first that has it.
    #[default]
    PerKey,
    /// All are those of the first, even where it has none.
    First,
}

/// All take part with equal rights. The default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Union;

impl MergePolicy for Union {
    fn name(&self) -> &'static str {
        "union"
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        vec![Some(0); claimants.len()]
    }
}

/// All take part; later registries serve only when earlier ones cannot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Fallback;

impl MergePolicy for Fallback {
    fn name(&self) -> &'static str {
        "fallback"
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        (0..claimants.len())
            .map(|place| Some(u8::try_from(place).unwrap_or(u8::MAX)))
            .collect()
    }
}

/// The first that has the service owns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Exclusive;

impl MergePolicy for Exclusive {
    fn name(&self) -> &'static str {
        "exclusive"
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        (0..claimants.len())
            .map(|place| (place == 0).then_some(0))
            .collect()
    }
}
