//! What registries have, as the walk believes, and changes of it that are plausible.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Change;
use super::by_hostname;
use crate::random::Random;
use crate::truth::{Attributes, Claim};

pub(crate) const CONSUL: &str = "consul";
pub(crate) const VMS: &str = "vms";

/// How far back the daemon adds up losses, in the runs.
pub(crate) const WINDOW: Duration = Duration::from_secs(10);

/// As far back the walk looks for what the daemon may still be adding up. Its clock counts pauses alone, so it is never
/// ahead of the daemon's.
pub(super) const HORIZON: Duration = Duration::from_secs(12);

/// Where the names of services come from: `(prefix, how many, registries)`. Those of both registries merge.
const NAMES: [(&str, usize, &[&str]); 3] = [
    ("web", 10, &[CONSUL]),
    ("vm", 4, &[VMS]),
    ("mix", 3, &[CONSUL, VMS]),
];

#[derive(Debug)]
pub(super) struct World {
    /// The time that has passed at least.
    pub(super) now: Duration,
    /// When all had settled last.
    pub(super) settled: Duration,
    claims: BTreeMap<Claim, Attributes>,
    /// What was there, and since when it is not.
    gone: Vec<(Duration, Claim, Attributes)>,
    /// What came.
    gained: Vec<(Duration, Claim)>,
    next: usize,
}

/// The file that has a service: the services' names end in a number.
pub(crate) fn file_of(hostname: &str) -> usize {
    let name = hostname.split('.').next().unwrap_or_default();
    name.bytes().last().map_or(0, |last| usize::from(last % 2))
}

/// What every run begins with.
pub(crate) fn initial() -> Vec<Change> {
    World::new()
        .claims
        .into_iter()
        .map(|(claim, attributes)| Change::new(claim, attributes))
        .collect()
}

/// What a registry has that comes with a configuration.
pub(crate) fn extra_claims(extra: usize) -> Vec<Claim> {
    let claim = |host: usize| Claim {
        registry: format!("extra-{extra}"),
        hostname: format!("some.extra-{extra}"),
        address: format!("10.9.{extra}.{host}"),
    };
    (1..=3).map(claim).collect()
}

impl World {
    pub(super) fn new() -> Self {
        let mut world = Self {
            now: Duration::ZERO,
            settled: Duration::ZERO,
            claims: BTreeMap::new(),
            gone: Vec::new(),
            gained: Vec::new(),
            next: 0,
        };
        let mut random = Random::new(0);
        for (prefix, count, registries) in NAMES {
            for number in 0..count {
                for registry in registries {
                    let hostname = format!("{prefix}-{number}.mesh.internal");
                    let changes = world.instances(&mut random, registry, &hostname, 6);
                    world.apply(&changes);
                }
            }
        }
        world.gained.clear();
        world
    }

    pub(super) fn count(&self, registry: &str) -> usize {
        self.claims
            .keys()
            .filter(|claim| claim.registry == registry)
            .count()
    }

    pub(super) fn apply(&mut self, changes: &[Change]) {
        for Change { claim, to, .. } in changes {
            let before = match to {
                Some(attributes) => self.claims.insert(claim.clone(), attributes.clone()),
                None => self.claims.remove(claim),
            };
            match (before, to) {
                (Some(before), None) => self.gone.push((self.now, claim.clone(), before)),
                (None, Some(_)) => self.gained.push((self.now, claim.clone())),
                _ => {}
            }
        }
    }

    /// More instances of a service, which may be a new one.
    pub(super) fn register(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
    ) -> Option<Vec<Change>> {
        let hostname = random.pick(&hostnames(registry, file))?;
        let count = random.within(1, 5);
        Some(self.instances(random, registry, &hostname, count))
    }

    fn instances(
        &mut self,
        random: &mut Random,
        registry: &str,
        hostname: &str,
        count: usize,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        for _ in 0..count {
            self.next += 1;
            let network = if registry == CONSUL { 1 } else { 2 };
            let mut address = format!("10.{network}.{}.{}", self.next / 250, self.next % 250 + 1);
            let mut attributes = Attributes {
                port: 8080,
                health: if registry == CONSUL { "healthy" } else { "unknown" },
                weight: 1,
                version: 1,
            };
            // A machine of a file that registered with Consul as well: one endpoint, two claims.
            let shared = self.claims.iter().filter(|(claim, _)| {
                claim.registry == CONSUL && claim.hostname == hostname && registry == VMS
            });
            let shared: Vec<_> = shared
                .map(|(claim, held)| (claim.address.clone(), held.port))
                .collect();
            if let Some((held, port)) = random.pick(&shared)
                && random.chance(40)
                && !self.knows(registry, hostname, &held)
            {
                address = held;
                attributes.port = port;
            }
            let claim = Claim {
                registry: registry.to_owned(),
                hostname: hostname.to_owned(),
                address,
            };
            if !changes.iter().any(|change: &Change| change.claim == claim) {
                changes.push(Change::new(claim, attributes));
            }
        }
        changes
    }

    /// Whether it is or was there: what comes back follows rules of its own.
    fn knows(&self, registry: &str, hostname: &str, address: &str) -> bool {
        let same = |claim: &Claim| {
            claim.registry == registry && claim.hostname == hostname && claim.address == address
        };
        self.claims.keys().any(same) || self.gone.iter().any(|(_, claim, _)| same(claim))
    }

    /// What went comes back, after everybody has seen that it went.
    pub(super) fn revive(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
    ) -> Option<Vec<Change>> {
        let before = self.settled.min(self.now.saturating_sub(HORIZON));
        let old: Vec<_> = self
            .gone
            .iter()
            .filter(|(at, claim, _)| *at < before && claim.registry == registry && in_file(claim, file))
            .map(|(_, claim, attributes)| (claim.clone(), attributes.clone()))
            .collect();
        let count = random.within(1, 3);
        let back = random.some(&old, count);
        self.gone
            .retain(|(_, claim, _)| !back.iter().any(|(again, _)| again == claim));
        let changes: Vec<_> = back
            .into_iter()
            .map(|(claim, attributes)| Change::new(claim, attributes))
            .collect();
        (!changes.is_empty()).then_some(changes)
    }

    /// Some instances of one service go, not all of them.
    pub(super) fn deregister(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
    ) -> Option<Vec<Change>> {
        let service = self.service(random, registry, file)?;
        let count = random.within(1, (service.len() / 2).max(1));
        self.plausible(registry, random.some(&service, count))
    }

    pub(super) fn remove_service(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
    ) -> Option<Vec<Change>> {
        let service = self.service(random, registry, file)?;
        self.plausible(registry, service)
    }

    pub(super) fn change_health(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
    ) -> Option<Vec<Change>> {
        let words: &[&'static str] = if registry == CONSUL {
            &["healthy", "healthy", "degraded", "unhealthy"]
        } else {
            &["unknown", "healthy", "draining"]
        };
        self.change(random, registry, file, |random, attributes| {
            attributes.health = random.pick(words).unwrap();
        })
    }

    /// Another weight or port, or other labels.
    pub(super) fn edit(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
    ) -> Option<Vec<Change>> {
        self.change(random, registry, file, |random, attributes| {
            match random.below(3) {
                0 => attributes.weight = attributes.weight % 5 + 1,
                1 => attributes.port = if attributes.port == 8080 { 9090 } else { 8080 },
                _ => attributes.version += 1,
            }
        })
    }

    fn change(
        &mut self,
        random: &mut Random,
        registry: &str,
        file: Option<usize>,
        mut edit: impl FnMut(&mut Random, &mut Attributes),
    ) -> Option<Vec<Change>> {
        let service = self.service(random, registry, file)?;
        let count = random.within(1, service.len());
        let mut changes = Vec::new();
        for claim in random.some(&service, count) {
            let mut attributes = self.claims.get(&claim)?.clone();
            edit(random, &mut attributes);
            changes.push(Change::other(claim, attributes));
        }
        Some(changes)
    }

    /// Most of what there is, in whole services that gained nothing of late: gains make up for losses.
    pub(super) fn most_of(&mut self, random: &mut Random, registry: &str) -> Option<Vec<Change>> {
        let from = self.now.saturating_sub(HORIZON);
        let gained: BTreeSet<&str> = self
            .gained
            .iter()
            .filter(|(at, claim)| *at >= from && claim.registry == registry)
            .map(|(_, claim)| claim.hostname.as_str())
            .collect();
        let all = self.claims.iter().filter(|(claim, _)| claim.registry == registry);
        let services: Vec<Vec<Claim>> = by_hostname(all)
            .into_iter()
            .filter(|(hostname, _)| !gained.contains(hostname))
            .map(|(_, claims)| claims.into_iter().map(|(claim, _)| claim.clone()).collect())
            .collect();
        let total = self.count(registry);
        let mut order = services.clone();
        let mut gone = Vec::new();
        // Over two thirds: what the daemon sees first may still be believed.
        while gone.len() * 3 <= total * 2 && !order.is_empty() {
            gone.extend(order.remove(random.below(order.len())));
        }
        let enough = gone.len() * 3 > total * 2 && total >= 45;
        enough.then(|| gone.into_iter().map(Change::gone).collect())
    }

    /// The claims of some service.
    fn service(&self, random: &mut Random, registry: &str, file: Option<usize>) -> Option<Vec<Claim>> {
        let claims = self.claims.iter();
        let claims = claims.filter(|(claim, _)| claim.registry == registry && in_file(claim, file));
        let services: Vec<_> = by_hostname(claims).into_values().collect();
        let service = random.pick(&services)?;
        Some(service.into_iter().map(|(claim, _)| claim.clone()).collect())
    }

    /// The removal, where nobody has to doubt it: with all that was lost since the last settling, or within the window,
    /// it is less than a quarter.
    fn plausible(&self, registry: &str, gone: Vec<Claim>) -> Option<Vec<Change>> {
        let from = self.settled.min(self.now.saturating_sub(HORIZON));
        let lost = self
            .gone
            .iter()
            .filter(|(at, claim, _)| *at >= from && claim.registry == registry)
            .count();
        let plausible = (lost + gone.len()) * 4 < self.count(registry) + lost;
        plausible.then(|| gone.into_iter().map(Change::gone).collect())
    }
}

fn in_file(claim: &Claim, file: Option<usize>) -> bool {
    file.is_none_or(|file| file_of(&claim.hostname) == file)
}

fn hostnames(registry: &str, file: Option<usize>) -> Vec<String> {
    let mut hostnames = Vec::new();
    for (prefix, count, registries) in NAMES {
        if registries.contains(&registry) {
            hostnames.extend((0..count).map(|number| format!("{prefix}-{number}.mesh.internal")));
        }
    }
    hostnames.retain(|hostname| file.is_none_or(|file| file_of(hostname) == file));
    hostnames
}
