//! A token bucket for requests per second.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Lets one second's worth of requests go at once, then spaces them evenly.
///
/// Kept as the time at which the bucket would be full (the "generic cell rate" form): one instant, no background task.
#[derive(Debug)]
pub(crate) struct RateLimit {
    spacing: Duration,
    full_at: Mutex<Option<Instant>>,
}

const BURST: Duration = Duration::from_secs(1);

impl RateLimit {
    /// `per_second` is more than zero.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            spacing: Duration::from_secs(1) / per_second.max(1),
            full_at: Mutex::new(None),
        }
    }

    /// When one more request may go, if that is not after `limit`; it then counts as gone.
    pub(crate) fn reserve(&self, limit: Instant) -> Option<Instant> {
        let now = Instant::now();
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        let next = full_at.map_or(now, |at| at.max(now)) + self.spacing;
        let go = next.checked_sub(BURST).map_or(now, |at| at.max(now));
        if go > limit {
            return None;
        }
        *full_at = Some(next);
        Some(go)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_of_one_second_goes_at_once_and_then_evenly() {
        let rate = RateLimit::new(10);
        let start = Instant::now();
        let far = start + Duration::from_secs(60);
        for _ in 0..10 {
            assert_eq!(rate.reserve(far), Some(start));
        }
        assert_eq!(rate.reserve(far), Some(start + Duration::from_millis(100)));
        assert_eq!(rate.reserve(far), Some(start + Duration::from_millis(200)));
        assert_eq!(rate.reserve(start), None, "what cannot go in time takes no token");
        tokio::time::advance(Duration::from_secs(5)).await;
        for _ in 0..10 {
            assert_eq!(rate.reserve(far), Some(Instant::now()));
        }
        assert!(rate.reserve(far) > Some(Instant::now()));
    }
}
