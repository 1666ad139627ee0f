//! Time that goes on while the machine sleeps.

use std::time::{Duration, SystemTime};

use tokio::time::Instant;

/// A moment by both clocks.
///
/// The monotonic one stands still while the machine is suspended, and the wall clock may be set: of the time between two
/// moments the longer of both accounts is believed. Where that is too much, one full fetch is made in vain.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) instant: Instant,
    pub(super) wall: SystemTime,
}

impl Moment {
    pub(super) fn now() -> Self {
        Self {
            instant: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    /// How much time passed from then to this moment at the most.
    pub(super) fn since(&self, then: &Self) -> Duration {
        let monotonic = self.instant.saturating_duration_since(then.instant);
        let wall = self.wall.duration_since(then.wall).unwrap_or_default();
        monotonic.max(wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longer_account_counts_whichever_clock_stood_still_or_was_set_back() {
        let (then, second) = (Moment::now(), Duration::from_secs(1));
        let slept = Moment {
            instant: then.instant + second,
            wall: then.wall + 500 * second,
        };
        assert_eq!(slept.since(&then), 500 * second);
        let set_back = Moment {
            instant: then.instant + 30 * second,
            wall: then.wall - 3600 * second,
        };
        assert_eq!(set_back.since(&then), 30 * second);
    }
}
