//! The states of allocations, held against the registrations that name them: Nomad is known to leave some behind.

use std::collections::{HashMap, HashSet};

use registry_core::Str;

use super::config::ALL;
use super::map::Status;
use super::wire::Allocation;

/// What all allocations were at one index.
#[derive(Debug)]
pub(super) struct Reading {
    /// Allocations that were registered later are not in it.
    index: u64,
    states: HashMap<Str, State>,
    /// Namespaces that are known to be in it: one that the token may not read is left out in silence.
    namespaces: HashSet<Str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It runs, or is about to.
    Current,
    /// It runs, and is told not to.
    Stopping,
    /// Nobody knows: its client is not heard of.
    Disconnected,
    /// It will never run again.
    Over,
}

impl State {
    fn of(allocation: &Allocation<'_>) -> Self {
        let told_to_stop = matches!(&*allocation.desired_status, "stop" | "evict");
        match &*allocation.client_status {
            "complete" | "failed" | "lost" => Self::Over,
            "unknown" => Self::Disconnected,
            _ if told_to_stop => Self::Stopping,
            _ => Self::Current,
        }
    }
}

impl Reading {
    /// A reading of that namespace, or of all of them.
    pub(super) fn new(namespace: &str, index: u64) -> Self {
        // One that is asked for by its name is refused where it may not be read.
        let asked = Some(namespace).filter(|namespace| *namespace != ALL);
        Self {
            index,
            states: HashMap::new(),
            namespaces: asked.map(Str::from).into_iter().collect(),
        }
    }

    pub(super) fn add(&mut self, page: &[Allocation<'_>], index: u64) {
        // The pages are of different moments: the earliest knows least.
        self.index = self.index.min(index);
        for allocation in page {
            if !self.namespaces.contains(&*allocation.namespace) {
                self.namespaces.insert(Str::from(&*allocation.namespace));
            }
            self.states
                .insert(Str::from(&*allocation.id), State::of(allocation));
        }
    }

    /// How many allocations it holds.
    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// True where that allocation is over, or was removed, although it was registered before.
    fn lacks(&self, namespace: &str, allocation: &str, registered: u64) -> bool {
        match self.states.get(allocation) {
            Some(state) => *state == State::Over,
            None => registered <= self.index && self.namespaces.contains(namespace),
        }
    }
}

/// The last two readings.
#[derive(Debug, Default)]
pub(super) struct Allocations {
    last: Option<Reading>,
    before: Option<Reading>,
}

impl Allocations {
    pub(super) fn take(&mut self, reading: Reading) {
        self.before = self.last.replace(reading);
    }

    /// What is known of an instance of that namespace that was registered at that index, where it is more than that it is registered.
    ///
    /// One reading is not enough to call it a ghost: a registration goes a moment after its allocation in good order, too.
    pub(super) fn status(&self, namespace: &str, allocation: &str, registered: u64) -> Option<Status> {
        let last = self.last.as_ref()?;
        if last.lacks(namespace, allocation, registered) {
            let before = self.before.as_ref()?;
            return before
                .lacks(namespace, allocation, registered)
                .then_some(Status::Ghost);
        }
        match last.states.get(allocation)? {
            State::Stopping => Some(Status::Stopping),
            State::Disconnected => Some(Status::Disconnected),
            State::Current | State::Over => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(index: u64, allocations: &[(&str, &str, &str)]) -> Reading {
        let allocations: Vec<Allocation<'_>> = allocations
            .iter()
            .map(|(id, client, desired)| Allocation {
                id: (*id).into(),
                namespace: "default".into(),
                client_status: (*client).into(),
                desired_status: (*desired).into(),
            })
            .collect();
        let mut reading = Reading::new("default", index);
        reading.add(&allocations, index);
        reading
    }

    #[test]
    fn a_ghost_is_over_or_absent_in_two_readings_that_are_newer_than_it() {
        for client in ["complete", "failed", "lost"] {
            let mut allocations = Allocations::default();
            assert_eq!(allocations.status("default", "a", 5), None);
            allocations.take(reading(10, &[("a", client, "stop")]));
            assert_eq!(allocations.status("default", "a", 5), None, "once is not enough");
            assert_eq!(allocations.status("default", "gone", 5), None);
            allocations.take(reading(11, &[("a", client, "stop")]));
            assert_eq!(
                allocations.status("default", "a", 5),
                Some(Status::Ghost),
                "{client}"
            );
            assert_eq!(allocations.status("default", "gone", 10), Some(Status::Ghost));
            assert_eq!(
                allocations.status("default", "gone", 11),
                None,
                "the first reading is older"
            );
            allocations.take(reading(12, &[("a", "running", "run")]));
            assert_eq!(allocations.status("default", "a", 5), None);
        }
    }

    #[test]
    fn one_that_stops_or_is_disconnected_says_so_at_once() {
        let mut allocations = Allocations::default();
        allocations.take(reading(
            10,
            &[
                ("a", "running", "stop"),
                ("b", "unknown", "run"),
                ("c", "pending", "run"),
                ("d", "running", "evict"),
                ("e", "some new word", "run"),
            ],
        ));
        assert_eq!(allocations.status("default", "a", 5), Some(Status::Stopping));
        assert_eq!(allocations.status("default", "b", 5), Some(Status::Disconnected));
        assert_eq!(allocations.status("default", "c", 5), None);
        assert_eq!(allocations.status("default", "d", 5), Some(Status::Stopping));
        assert_eq!(allocations.status("default", "e", 5), None);
    }

    #[test]
    fn pages_are_as_new_as_the_oldest_of_them() {
        let mut reading = reading(10, &[("a", "running", "run")]);
        reading.add(&[], 12);
        reading.add(&[], 9);
        assert_eq!((reading.index, reading.len()), (9, 1));
    }

    #[test]
    fn what_is_absent_is_no_ghost_where_its_whole_namespace_may_be_hidden() {
        let of = |id: &'static str, namespace: &'static str| Allocation {
            id: id.into(),
            namespace: namespace.into(),
            client_status: "running".into(),
            desired_status: "run".into(),
        };
        let mut allocations = Allocations::default();
        for (index, page) in [
            (10, vec![of("a", "shown")]),
            (11, vec![of("a", "shown"), of("b", "late")]),
        ] {
            let mut reading = Reading::new(ALL, index);
            reading.add(&page, index);
            allocations.take(reading);
        }
        assert_eq!(allocations.status("shown", "gone", 5), Some(Status::Ghost));
        assert_eq!(
            allocations.status("late", "gone", 5),
            None,
            "hidden in one of them"
        );
        assert_eq!(allocations.status("hidden", "gone", 5), None);
        for index in [12, 13] {
            allocations.take(Reading::new("empty", index));
        }
        assert_eq!(allocations.status("empty", "gone", 5), Some(Status::Ghost));
    }
}
