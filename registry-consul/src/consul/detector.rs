//! Finding out which services changed where there are more than can be parked: one query for the state of all checks.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

use super::wire::CheckState;

/// The shortest time between two of its answers: each lists every check of the data centre.
const INTERVAL: Duration = Duration::from_secs(5);

/// What the checks were at the last look.
#[derive(Debug)]
pub(super) struct Detector {
    pub(super) index: u64,
    pub(super) due: Instant,
    pub(super) under_way: bool,
    checks: HashMap<u64, u64>,
}

/// Whose checks changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    pub(super) services: Vec<String>,
    /// Hashes of nodes: their checks count for all services on them.
    pub(super) nodes: Vec<u64>,
}

pub(super) fn node_hash(node: &str) -> u64 {
    xxh3_64(node.as_bytes())
}

impl Detector {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            index: 0,
            due: now,
            under_way: false,
            checks: HashMap::new(),
        }
    }

    /// Notes how the checks are now, and says whose are not as they were.
    pub(super) fn compare(&mut self, checks: &[CheckState<'_>]) -> Changed {
        let first = self.checks.is_empty();
        let mut before = std::mem::take(&mut self.checks);
        let mut changed = Changed::default();
        for check in checks {
            let key = xxh3_64(format!("{}\0{}\0{}", check.node, check.id, check.service_name).as_bytes());
            self.checks.insert(key, check.modify_index);
            if before.remove(&key) == Some(check.modify_index) || first {
                continue;
            }
            if check.service_name.is_empty() {
                changed.nodes.push(node_hash(&check.node));
            } else {
                changed.services.push(check.service_name.to_string());
            }
        }
        // A check that is gone left no name behind: the turn of its service finds out.
        changed.services.sort_unstable();
        changed.services.dedup();
        changed.nodes.sort_unstable();
        changed.nodes.dedup();
        changed
    }

    /// When to look again after an answer that took this long: rarely enough that it costs little.
    pub(super) fn rest(took: Duration) -> Duration {
        INTERVAL.max(took * 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<'a>(node: &'a str, id: &'a str, service: &'a str, modify_index: u64) -> CheckState<'a> {
        CheckState {
            node: node.into(),
            id: id.into(),
            service_name: service.into(),
            modify_index,
        }
    }

    #[test]
    fn only_what_changed_since_the_last_look_is_named() {
        let mut detector = Detector::new(Instant::now());
        let first = detector.compare(&[check("n1", "a", "web", 1), check("n1", "node", "", 1)]);
        assert_eq!(
            first,
            Changed::default(),
            "the first look has nothing to compare with"
        );
        let second = detector.compare(&[
            check("n1", "a", "web", 2),
            check("n1", "node", "", 1),
            check("n2", "b", "api", 3),
        ]);
        assert_eq!(second.services, ["api", "web"]);
        let third = detector.compare(&[check("n1", "node", "", 4), check("n2", "b", "api", 3)]);
        assert_eq!(
            third,
            Changed {
                services: vec![],
                nodes: vec![node_hash("n1")]
            }
        );
    }
}
