//! The results of checks, which only the clients know: one request for each allocation, at intervals.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use registry_core::{ServiceId, Str};
use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::answer::CheckResult;

/// For how many intervals a result stays although none came since.
const KEPT: u32 = 3;

/// Which allocations are asked, and what they said.
#[derive(Debug)]
pub(super) struct Checks {
    interval: Duration,
    most: usize,
    under_way: usize,
    allocations: HashMap<Str, Checked>,
    of_services: HashMap<ServiceId, Vec<Str>>,
    /// Allocations by the time of their next request; entries that no longer hold are skipped.
    due: BinaryHeap<Reverse<(Instant, Str)>>,
}

#[derive(Debug)]
struct Checked {
    services: HashSet<ServiceId>,
    namespace: Str,
    results: HashMap<String, CheckResult>,
    read: Option<Instant>,
    due: Option<Instant>,
}

impl Checks {
    pub(super) fn new(interval: Duration, most: usize) -> Self {
        Self {
            interval,
            most,
            under_way: 0,
            allocations: HashMap::new(),
            of_services: HashMap::new(),
            due: BinaryHeap::new(),
        }
    }

    /// A service has instances in these allocations, and in no others any more.
    pub(super) fn watch(&mut self, service: &ServiceId, allocations: Vec<Str>, now: Instant) {
        for allocation in self.of_services.remove(service).unwrap_or_default() {
            if let Some(checked) = self.allocations.get_mut(&allocation) {
                checked.services.remove(service);
            }
        }
        for allocation in &allocations {
            let checked = self.allocations.entry(allocation.clone()).or_insert_with(|| {
                self.due.push(Reverse((now, allocation.clone())));
                Checked {
                    services: HashSet::new(),
                    namespace: service.namespace().clone(),
                    results: HashMap::new(),
                    read: None,
                    due: Some(now),
                }
            });
            checked.services.insert(service.clone());
        }
        if !allocations.is_empty() {
            self.of_services.insert(service.clone(), allocations);
        }
        // One that has just lost a service may get it back in the same breath: only now is it known.
        self.allocations.retain(|_, checked| !checked.services.is_empty());
    }

    /// The next allocation to ask, and its namespace.
    pub(super) fn begin(&mut self, now: Instant) -> Option<(Str, Str)> {
        while self.under_way < self.most {
            let Reverse((at, _)) = self.due.peek()?;
            if *at > now {
                return None;
            }
            let Reverse((at, allocation)) = self.due.pop()?;
            if let Some(checked) = self.allocations.get_mut(&allocation)
                && checked.due == Some(at)
            {
                checked.due = None;
                self.under_way += 1;
                return Some((allocation, checked.namespace.clone()));
            }
        }
        None
    }

    /// Takes what an allocation said, or that it said nothing. Returns the services of which something else is known now.
    pub(super) fn answered(
        &mut self,
        allocation: &Str,
        results: Option<HashMap<String, CheckResult>>,
        now: Instant,
    ) -> Vec<ServiceId> {
        self.under_way -= 1;
        let Some(checked) = self.allocations.get_mut(allocation) else {
            return Vec::new();
        };
        // From their second reading on they are spread over the interval.
        let spread = u32::from(xxh3_64(allocation.as_bytes()).to_le_bytes()[0]);
        let at = match checked.read {
            None => now + self.interval * (spread + 128) / 384,
            Some(_) => now + self.interval,
        };
        checked.due = Some(at);
        self.due.push(Reverse((at, allocation.clone())));
        let results = match results {
            Some(results) => {
                checked.read = Some(now);
                results
            }
            None if checked
                .read
                .is_some_and(|read| now - read <= self.interval * KEPT) =>
            {
                return Vec::new();
            }
            None => HashMap::new(),
        };
        if checked.results == results {
            return Vec::new();
        }
        checked.results = results;
        checked.services.iter().cloned().collect()
    }

    /// What the checks of that service said there last.
    pub(super) fn result(&self, allocation: &str, service: &str) -> Option<CheckResult> {
        self.allocations.get(allocation)?.results.get(service).copied()
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        let Reverse((at, _)) = self.due.peek()?;
        (self.under_way < self.most).then_some(*at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nomad::answer::id;

    fn results(result: CheckResult) -> Option<HashMap<String, CheckResult>> {
        Some([("web".to_owned(), result)].into())
    }

    #[tokio::test(start_paused = true)]
    async fn each_allocation_is_asked_once_an_interval_and_few_at_once() {
        let start = Instant::now();
        let mut checks = Checks::new(Duration::from_secs(10), 2);
        let allocations: Vec<Str> = (0..5).map(|n| Str::from(format!("a{n}"))).collect();
        checks.watch(&id("default", "web"), allocations.clone(), start);
        checks.watch(&id("default", "admin"), allocations.clone(), start);
        let mut asked = Vec::new();
        while let Some((allocation, namespace)) = checks.begin(start) {
            assert_eq!(namespace, "default");
            asked.push(allocation);
        }
        assert_eq!(asked.len(), 2);
        let changed = checks.answered(&asked[0], results(CheckResult::Failure), start);
        assert_eq!(changed.len(), 2, "both services live there");
        assert_eq!(checks.result(&asked[0], "web"), Some(CheckResult::Failure));
        assert_eq!(checks.result(&asked[0], "admin"), None);
        checks.answered(&asked[1], None, start);
        let mut now = start;
        let mut requests = 2;
        while now < start + Duration::from_secs(60) {
            while let Some((allocation, _)) = checks.begin(now) {
                requests += 1;
                checks.answered(&allocation, results(CheckResult::Failure), now);
            }
            now += Duration::from_millis(100);
        }
        assert!((25..=37).contains(&requests), "{requests}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_stays_for_three_intervals_without_an_answer() {
        let interval = Duration::from_secs(10);
        let mut now = Instant::now();
        let mut checks = Checks::new(interval, 1);
        let service = id("default", "web");
        checks.watch(&service, vec!["a".into()], now);
        let (allocation, _) = checks.begin(now).unwrap();
        assert_eq!(
            checks.answered(&allocation, results(CheckResult::Success), now),
            vec![service.clone()]
        );
        for _ in 0..3 {
            now += interval;
            assert!(checks.begin(now).is_some());
            assert_eq!(checks.answered(&allocation, None, now), []);
            assert_eq!(checks.result("a", "web"), Some(CheckResult::Success));
        }
        now += interval;
        assert!(checks.begin(now).is_some());
        assert_eq!(checks.answered(&allocation, None, now), [service]);
        assert_eq!(checks.result("a", "web"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn allocations_without_a_service_are_forgotten() {
        let now = Instant::now();
        let mut checks = Checks::new(Duration::from_secs(10), 1);
        let service = id("default", "web");
        checks.watch(&service, vec!["a".into()], now);
        checks.watch(&service, vec!["b".into()], now);
        assert_eq!(checks.begin(now).unwrap().0, "b");
        checks.watch(&service, Vec::new(), now);
        assert_eq!(
            checks.answered(&"b".into(), results(CheckResult::Failure), now),
            []
        );
        assert!(checks.begin(now + Duration::from_secs(60)).is_none());
        assert!(checks.allocations.is_empty() && checks.of_services.is_empty());
    }
}
