//! The rules in force, with their counts.

use super::fault::{Fault, Rule, RuleId};

#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// In the order of injection, so also of their ids.
    active: Vec<Active>,
    injected: u64,
}

#[derive(Debug)]
struct Active {
    id: RuleId,
    rule: Rule,
    /// How many requests or connections its target picked.
    seen: u64,
    struck: u64,
}

/// The rules that struck a request when it arrived, to be completed when its answer is there.
#[derive(Debug)]
pub(crate) struct Struck {
    ids: Vec<RuleId>,
    /// The latest rule there was.
    horizon: u64,
}

impl Rules {
    pub(crate) fn inject(&mut self, rule: Rule) -> RuleId {
        self.injected += 1;
        let id = RuleId(self.injected);
        self.active.push(Active {
            id,
            rule,
            seen: 0,
            struck: 0,
        });
        id
    }

    pub(crate) fn remove(&mut self, id: RuleId) -> bool {
        let before = self.active.len();
        self.active.retain(|active| active.id != id);
        self.active.len() < before
    }

    pub(crate) fn clear(&mut self) {
        self.active.clear();
    }

    pub(crate) fn hits(&self, id: RuleId) -> u64 {
        self.active
            .iter()
            .find(|active| active.id == id)
            .map_or(0, |active| active.struck)
    }

    /// The first fault that strikes a new connection before it is read.
    pub(crate) fn on_connection(&mut self) -> Option<Fault> {
        // Each rule counts each connection, so none may be skipped once a fault is found.
        let mut first = None;
        for active in self
            .active
            .iter_mut()
            .filter(|active| active.rule.fault.is_connection_fault())
        {
            if active.count() && first.is_none() {
                first = Some(active.rule.fault.clone());
            }
        }
        first
    }

    /// The faults of a connection in raw mode.
    pub(crate) fn on_raw_connection(&mut self) -> Vec<Fault> {
        let others = self
            .active
            .iter_mut()
            .filter(|active| !active.rule.fault.is_connection_fault());
        others
            .filter_map(|active| active.count().then(|| active.rule.fault.clone()))
            .collect()
    }

    /// The faults that strike a request as it arrives.
    pub(crate) fn on_request(&mut self, target: &str) -> (Struck, Vec<Fault>) {
        let mut struck = Struck {
            ids: Vec::new(),
            horizon: 0,
        };
        let faults = self.complete(&mut struck, target);
        (struck, faults)
    }

    /// The faults that strike an answer: those of its request that are still in force, and those of rules that
    /// were injected since (the request may have been parked for minutes).
    pub(crate) fn on_answer(&mut self, struck: &mut Struck, target: &str) -> Vec<Fault> {
        self.complete(struck, target)
    }

    /// The faults that strike a stream under way: those of its answer that are still in force, and those of rules
    /// that were injected since and make sense in the middle.
    pub(crate) fn on_stream(&mut self, struck: &mut Struck, target: &str) -> Vec<(RuleId, Fault)> {
        self.strike(struck, target, Fault::strikes_streams)
    }

    fn complete(&mut self, struck: &mut Struck, target: &str) -> Vec<Fault> {
        let faults = self.strike(struck, target, |fault| !fault.is_connection_fault());
        faults.into_iter().map(|(_, fault)| fault).collect()
    }

    fn strike(
        &mut self,
        struck: &mut Struck,
        target: &str,
        possible: fn(&Fault) -> bool,
    ) -> Vec<(RuleId, Fault)> {
        let mut faults = Vec::new();
        for active in self
            .active
            .iter_mut()
            .filter(|active| possible(&active.rule.fault))
        {
            let fresh = active.id.0 > struck.horizon && active.rule.when.is_about(target) && active.count();
            if fresh {
                struck.ids.push(active.id);
            }
            if fresh || struck.ids.contains(&active.id) {
                faults.push((active.id, active.rule.fault.clone()));
            }
        }
        struck.horizon = self.injected;
        faults
    }
}

impl Active {
    /// Counts one that the target picked; true if it is struck.
    fn count(&mut self) -> bool {
        self.seen += 1;
        let strikes = self.rule.when.strikes(self.seen, self.struck);
        self.struck += u64::from(strikes);
        strikes
    }
}
