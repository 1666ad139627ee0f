//! Waiting between attempts: full jitter, doubling, capped.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The longest rest that a registry is granted, whatever it asks for. Its word is not taken for more: a wrong number, or a
/// malicious one, would keep it from ever being asked again.
pub const LONGEST_REST: Duration = Duration::from_secs(10 * 60);

/// How long to wait before the next attempt: a random part of a span that doubles from one failure to the next.
///
/// Full jitter spreads the clients of a registry that just came back over the whole span.
///
/// ```
/// use std::time::Duration;
///
/// let mut backoff = registry_core::Backoff::default();
/// assert!(backoff.next_delay() <= Duration::from_millis(200));
/// assert!(backoff.next_delay() <= Duration::from_millis(400));
/// backoff.reset();
/// assert!(backoff.next_delay() <= Duration::from_millis(200));
/// ```
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    span: Duration,
    fresh: bool,
    state: u64,
}

impl Default for Backoff {
    /// From 0.2 s to 10 s.
    fn default() -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(10))
    }
}

impl Backoff {
    /// Spans from `first`, doubling up to `cap`, with a random seed.
    pub fn new(first: Duration, cap: Duration) -> Self {
        Self::seeded(first, cap, RandomState::new().hash_one(0))
    }

    /// The same with a given seed, for tests that have to repeat.
    pub fn seeded(first: Duration, cap: Duration, seed: u64) -> Self {
        Self {
            first,
            cap,
            span: first,
            fresh: true,
            state: seed,
        }
    }

    /// The delay before the next attempt; the one after it is drawn from twice the span.
    pub fn next_delay(&mut self) -> Duration {
        let delay = self.span.mul_f64(self.random());
        self.fresh = false;
        self.span = (self.span * 2).min(self.cap);
        delay
    }

    /// True where no delay was drawn since the start, or the last success.
    pub fn is_first(&self) -> bool {
        self.fresh
    }

    /// Starts over, after a success.
    pub fn reset(&mut self) {
        self.fresh = true;
        self.span = self.first;
    }

    /// A number from 0 to 1, by SplitMix64: spreading attempts needs no better generator.
    #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn random(&mut self) -> f64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stay_under_a_span_that_doubles_to_the_cap() {
        let mut backoff = Backoff::seeded(Duration::from_millis(200), Duration::from_secs(10), 1);
        let delays: Vec<Duration> = (0..50).map(|_| backoff.next_delay()).collect();
        for (n, delay) in delays.iter().enumerate() {
            let span = Duration::from_millis(200 << n.min(6)).min(Duration::from_secs(10));
            assert!(*delay <= span, "{n}: {delay:?}");
        }
        assert!(
            delays.iter().any(|delay| *delay > Duration::from_secs(5)),
            "the cap is used"
        );
    }
}
