//! How many connections are used, of a server that may grant fewer than configured.

use std::time::Duration;

use tokio::time::Instant;

/// How long without a refusal until the budget grows again.
const CALM: Duration = Duration::from_secs(30);

/// The number of connections in use: as configured, and fewer while the server refuses them.
#[derive(Debug)]
pub(crate) struct Budget {
    configured: usize,
    now: usize,
    /// Below this it is not worth having.
    fewest: usize,
    changed: Option<Instant>,
}

impl Budget {
    pub(crate) fn new(configured: usize, fewest: usize) -> Self {
        Self {
            configured,
            now: configured,
            fewest,
            changed: None,
        }
    }

    /// The server refused a connection for being one too many. Returns the smaller budget.
    pub(crate) fn shrink(&mut self, now: Instant) -> Option<usize> {
        // Requests that were on their way at the same moment say the same thing once.
        if self
            .changed
            .is_some_and(|changed| now - changed < Duration::from_secs(1))
        {
            return None;
        }
        self.changed = Some(now);
        let smaller = (self.now * 3 / 4).max(self.fewest.min(self.configured));
        (smaller < self.now).then(|| {
            self.now = smaller;
            smaller
        })
    }

    pub(crate) fn grow(&mut self, now: Instant) -> Option<usize> {
        if self.now >= self.configured || self.changed.is_some_and(|changed| now - changed < CALM) {
            return None;
        }
        self.changed = Some(now);
        self.now = (self.now + self.now / 8 + 1).min(self.configured);
        Some(self.now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_refused_budget_shrinks_and_recovers() {
        let mut budget = Budget::new(80, 8);
        let start = Instant::now();
        assert_eq!(budget.shrink(start), Some(60));
        assert_eq!(budget.shrink(start), None, "once for all requests of one moment");
        assert_eq!(budget.shrink(start + Duration::from_secs(2)), Some(45));
        assert_eq!(budget.grow(start + Duration::from_secs(3)), None);
        let mut now = start + Duration::from_secs(40);
        assert_eq!(budget.grow(now), Some(51));
        for _ in 0..20 {
            now += CALM;
            budget.grow(now);
        }
        assert_eq!(budget.now, 80);
    }
}
