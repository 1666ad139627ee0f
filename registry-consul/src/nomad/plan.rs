//! Which services have to be read, by the one rule that Nomad's indexes allow.
//!
//! The index of every answer is that of the whole table of registrations: an answer at index 7 holds everything up to 7.
//! So of each service two numbers are kept. What was `seen` is the index of its last answer; what is `needed` is the index
//! that its next answer has to reach. An event of a service raises what it needs; a change of the table that no event
//! tells of raises what all of them need. A service is due while it has seen less than it needs.

use std::collections::{HashMap, VecDeque};

use registry_core::ServiceId;

/// How soon something is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Haste {
    /// In its turn: nobody knows whether it changed.
    Turn,
    /// As soon as there is room.
    Now,
}

/// What an answer is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It holds all that was needed when it was asked for.
    Taken,
    /// The server that gave it has not come so far.
    Behind,
}

/// A reading that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// The service.
    pub(super) service: ServiceId,
    /// The index that the answer has to reach.
    pub(super) needed: u64,
}

/// Which services have to be read.
#[derive(Debug, Default)]
pub(super) struct Plan {
    services: HashMap<ServiceId, Standing>,
    /// In the order in which they became due; entries that no longer hold are skipped.
    now: VecDeque<ServiceId>,
    turns: VecDeque<ServiceId>,
    /// All of them, the one that was compared longest ago first; entries of forgotten ones are skipped.
    ring: VecDeque<ServiceId>,
}

#[derive(Debug, Default)]
struct Standing {
    seen: u64,
    needed: u64,
    /// To be read whatever was seen.
    wanted: bool,
    reading: bool,
    queued: Option<Haste>,
}

impl Standing {
    fn is_due(&self) -> bool {
        self.wanted || self.seen < self.needed
    }
}

impl Plan {
    /// Keeps a service from now on.
    pub(super) fn keep(&mut self, service: &ServiceId) {
        if !self.services.contains_key(service) {
            self.services.insert(service.clone(), Standing::default());
            self.ring.push_back(service.clone());
        }
    }

    pub(super) fn forget(&mut self, service: &ServiceId) {
        self.services.remove(service);
        // One that comes and goes leaves an entry each time, which only the comparison would take out.
        if self.ring.len() > 2 * self.services.len() + 64 {
            let mut kept = std::collections::HashSet::new();
            let services = &self.services;
            self.ring
                .retain(|service| services.contains_key(service) && kept.insert(service.clone()));
        }
    }

    /// How many services there are.
    pub(super) fn len(&self) -> usize {
        self.services.len()
    }

    /// Up to which index a service was read.
    pub(super) fn seen(&self, service: &ServiceId) -> u64 {
        self.services.get(service).map_or(0, |standing| standing.seen)
    }

    /// True where what was read of a service is not known to be all there is.
    pub(super) fn is_due(&self, service: &ServiceId) -> bool {
        self.services.get(service).is_some_and(Standing::is_due)
    }

    /// Something happened at that index: what was read of the service before it is out of date.
    pub(super) fn need(&mut self, service: &ServiceId, index: u64, haste: Haste) {
        if let Some(standing) = self.services.get_mut(service) {
            standing.needed = standing.needed.max(index);
            self.enqueue(service, haste);
        }
    }

    /// The same for every service that the condition holds for.
    pub(super) fn need_all(
        &mut self,
        index: u64,
        haste: Haste,
        mut condition: impl FnMut(&ServiceId) -> bool,
    ) {
        let services: Vec<ServiceId> = self
            .services
            .keys()
            .filter(|service| condition(service))
            .cloned()
            .collect();
        for service in &services {
            self.need(service, index, haste);
        }
    }

    /// Wants another answer, whatever was seen; also where one is on its way.
    pub(super) fn want(&mut self, service: &ServiceId, haste: Haste) {
        if let Some(standing) = self.services.get_mut(service) {
            standing.wanted = true;
            self.enqueue(service, haste);
        }
    }

    /// Begins the next reading of that haste, if any is due.
    pub(super) fn begin(&mut self, haste: Haste) -> Option<Reading> {
        loop {
            let queue = match haste {
                Haste::Now => &mut self.now,
                Haste::Turn => &mut self.turns,
            };
            let service = queue.pop_front()?;
            let Some(standing) = self.services.get_mut(&service) else {
                continue;
            };
            if standing.queued != Some(haste) {
                continue;
            }
            standing.queued = None;
            if standing.is_due() && !standing.reading {
                return Some(Self::started(service, standing));
            }
        }
    }

    /// Begins the reading of the service that was compared longest ago, of those that the condition holds for.
    pub(super) fn begin_comparison(&mut self, condition: impl Fn(&ServiceId) -> bool) -> Option<Reading> {
        for _ in 0..self.ring.len() {
            let service = self.ring.pop_front()?;
            let Some(standing) = self.services.get_mut(&service) else {
                continue;
            };
            self.ring.push_back(service.clone());
            if !standing.reading && condition(&service) {
                return Some(Self::started(service, standing));
            }
        }
        None
    }

    fn started(service: ServiceId, standing: &mut Standing) -> Reading {
        standing.reading = true;
        standing.wanted = false;
        Reading {
            service,
            needed: standing.needed.max(standing.seen),
        }
    }

    /// An answer came. One that is behind leaves the service as due as it was, for whoever asks again.
    pub(super) fn answered(&mut self, reading: &Reading, index: u64) -> Verdict {
        let Some(standing) = self.services.get_mut(&reading.service) else {
            return Verdict::Taken;
        };
        standing.reading = false;
        if index < reading.needed {
            return Verdict::Behind;
        }
        standing.seen = standing.seen.max(index);
        // It may have become due while this was on its way.
        self.enqueue(&reading.service, Haste::Now);
        Verdict::Taken
    }

    /// No answer came, or none that is worth anything. It is read again when somebody wants it.
    pub(super) fn failed(&mut self, reading: &Reading) {
        if let Some(standing) = self.services.get_mut(&reading.service) {
            standing.reading = false;
        }
    }

    /// Gives up an index that the leader itself does not know of.
    pub(super) fn settle(&mut self, service: &ServiceId, index: u64) {
        if let Some(standing) = self.services.get_mut(service) {
            (standing.seen, standing.needed) = (index, index);
        }
    }

    /// The indexes count another history: what was seen and needed means nothing in it.
    pub(super) fn reset(&mut self) {
        for standing in self.services.values_mut() {
            (standing.seen, standing.needed) = (0, 0);
        }
    }

    /// True where something waits for its turn.
    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// True where something is to be read as soon as there is room.
    pub(super) fn has_haste(&self) -> bool {
        !self.now.is_empty()
    }

    fn enqueue(&mut self, service: &ServiceId, haste: Haste) {
        let Some(standing) = self.services.get_mut(service) else {
            return;
        };
        // While it is being read, the end of that comes here again.
        if !standing.is_due() || standing.reading || standing.queued >= Some(haste) {
            return;
        }
        standing.queued = Some(haste);
        match haste {
            Haste::Now => self.now.push_back(service.clone()),
            Haste::Turn => self.turns.push_back(service.clone()),
        }
    }
}

#[cfg(test)]
mod tests;
