//! One service of the catalogue: where its polls stand.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::AbortHandle;
use registry_core::{Backoff, ContentHash, RegistryError};
use tokio::time::Instant;

/// Where the polls of one service stand.
#[derive(Debug)]
pub(super) struct Tracked {
    /// The index to park with; 0 before the first answer and after one that went back.
    pub(super) index: u64,
    /// When the next request is due; `None` while one is under way.
    pub(super) due: Option<Instant>,
    /// The next request is a read, also while a poll is parked.
    pub(super) read_next: bool,
    /// A read is under way.
    pub(super) reading: bool,
    /// Ends the parked poll.
    pub(super) parked: Option<AbortHandle>,
    /// It has a place among the polls that are parked; without one it is read in turns.
    pub(super) has_place: bool,
    /// When its content last changed.
    pub(super) changed: Instant,
    /// Hash of the last body: an equal one need not be read.
    pub(super) body: u64,
    /// It was read once.
    pub(super) known: bool,
    /// Hash of the last content.
    pub(super) content: ContentHash,
    pub(super) pace: Pace,
    /// The catalogue lists it.
    pub(super) listed: bool,
    /// Since when its answers are doubtful, and looked at again.
    pub(super) again: Option<Instant>,
    /// When the last answer that was taken came, in epochs of the session's doubt; 0 for none, or where the
    /// connection broke since.
    pub(super) epoch: u64,
    /// Which of the base URLs gave that answer.
    pub(super) base: usize,
    /// When others were asked whether they lost instances, too, and had not.
    pub(super) vouched: Option<Instant>,
    /// The registry was told that it cannot be read.
    pub(super) degraded: bool,
    /// Complete knowledge of just this service was asked for; true where it has to be of the strongest consistency.
    pub(super) wished: Option<bool>,
    /// The last failure since the last success.
    pub(super) error: Option<Arc<RegistryError>>,
    /// Hashes of the nodes of its instances.
    pub(super) nodes: Box<[u64]>,
    pub(super) backoff: Backoff,
}

impl Tracked {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            index: 0,
            due: None,
            read_next: true,
            reading: false,
            parked: None,
            has_place: false,
            changed: now,
            body: 0,
            known: false,
            content: ContentHash::default(),
            pace: Pace::default(),
            listed: true,
            again: None,
            epoch: 0,
            base: 0,
            vouched: None,
            degraded: false,
            wished: None,
            error: None,
            nodes: Box::default(),
            backoff: Backoff::default(),
        }
    }

    /// Ends the parked poll, if there is one.
    pub(super) fn unpark(&mut self) {
        if let Some(parked) = self.parked.take() {
            parked.abort();
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.unpark();
    }
}

/// The index to ask with next: an index that went back, or none, means a full read.
pub(super) fn next_index(asked: u64, answered: u64) -> u64 {
    if answered < asked { 0 } else { answered }
}

/// Keeps requests apart whose answers come early and say nothing new.
///
/// The first such answer is followed at once: it is how an index that went back is mended. From then on the requests
/// keep a distance that doubles up to half of the wait: a server that breaks the rules of the index gets two requests
/// per wait. A wake that is farther apart than that anyway costs nothing and delays nothing.
#[derive(Debug, Default)]
pub(super) struct Pace {
    useless: u32,
}

/// An answer, as far as it decides how soon to ask again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Answered {
    /// The index asked with; 0 for a read.
    pub(super) asked: u64,
    /// The index that came.
    pub(super) index: u64,
    pub(super) took: Duration,
    /// The content is another one.
    pub(super) changed: bool,
    /// The server had a reason to answer, if none that matters to us: the output of a check, for one.
    pub(super) woken: bool,
}

impl Pace {
    /// The distance of a server that keeps waking us for what does not matter: after the fourth answer.
    const WOKEN: u32 = 4;

    /// How long to wait before the next request.
    pub(super) fn delay(&mut self, answer: Answered, wait: Duration) -> Duration {
        let Answered {
            asked, index, took, ..
        } = answer;
        let broken = index == 0 || index < asked;
        if asked == 0 {
            // A read cannot be early. Without an index there is nothing to park with, so that it is all we have.
            self.useless = self.useless.saturating_add(u32::from(index == 0));
            return distance(self.useless, wait);
        }
        if took >= wait * 9 / 10 || (answer.changed && !broken) {
            self.useless = 0;
            return Duration::ZERO;
        }
        if self.useless > 0 && took >= distance(self.useless + 1, wait) {
            self.useless = (self.useless - 1).max(1);
        } else {
            self.useless += 1;
        }
        if answer.woken && !broken {
            self.useless = self.useless.min(Self::WOKEN);
        }
        distance(self.useless, wait).saturating_sub(took)
    }
}

/// The shortest time between requests after so many answers in a row which came early and said nothing new.
fn distance(useless: u32, wait: Duration) -> Duration {
    match useless {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(250)
            .saturating_mul(1 << (n - 2).min(16))
            .min(wait / 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_that_goes_back_means_a_full_read() {
        for (asked, answered, next) in [(0, 7, 7), (7, 7, 7), (7, 9, 9), (7, 6, 0), (7, 0, 0), (0, 0, 0)] {
            assert_eq!(next_index(asked, answered), next, "{asked} {answered}");
        }
    }

    const WAIT: Duration = Duration::from_secs(30);

    /// The distance between the starts of requests in the end, when each answer takes this long.
    fn distance_in_the_end(answer: Answered) -> Duration {
        let mut pace = Pace::default();
        let delay = (0..40).map(|_| pace.delay(answer, WAIT)).last();
        delay.unwrap() + answer.took
    }

    const AT_ONCE: Answered = Answered {
        asked: 7,
        index: 8,
        took: Duration::ZERO,
        changed: false,
        woken: false,
    };

    #[test]
    fn useless_answers_end_in_two_requests_per_wait() {
        assert_eq!(distance_in_the_end(AT_ONCE), WAIT / 2);
        for index in [0, 3, 7] {
            for changed in [false, true] {
                let answer = Answered {
                    index,
                    changed: changed && index < 7,
                    woken: true,
                    ..AT_ONCE
                };
                let wanted = if index == 7 {
                    Duration::from_secs(1)
                } else {
                    WAIT / 2
                };
                assert_eq!(distance_in_the_end(answer), wanted, "{answer:?}");
            }
        }
        let read = Answered {
            asked: 0,
            index: 0,
            changed: true,
            ..AT_ONCE
        };
        assert_eq!(
            distance_in_the_end(read),
            WAIT / 2,
            "there is no index to park with"
        );
    }

    #[test]
    fn a_read_between_useless_polls_does_not_speed_them_up() {
        let mut pace = Pace::default();
        let back = Answered { index: 3, ..AT_ONCE };
        let read = Answered { asked: 0, ..AT_ONCE };
        let both = (0..40).map(|_| pace.delay(back, WAIT) + pace.delay(read, WAIT));
        assert_eq!(both.last(), Some(WAIT));
    }

    #[test]
    fn an_answer_of_use_or_one_that_was_parked_is_followed_at_once() {
        let mut pace = Pace::default();
        assert_eq!(
            pace.delay(AT_ONCE, WAIT),
            Duration::ZERO,
            "the first useless one too"
        );
        for _ in 0..9 {
            pace.delay(AT_ONCE, WAIT);
        }
        let changed = Answered {
            changed: true,
            ..AT_ONCE
        };
        assert_eq!(pace.delay(changed, WAIT), Duration::ZERO);
        for _ in 0..9 {
            pace.delay(AT_ONCE, WAIT);
        }
        let parked = Answered {
            index: 3,
            took: WAIT,
            ..AT_ONCE
        };
        assert_eq!(
            pace.delay(parked, WAIT),
            Duration::ZERO,
            "even where the index went back"
        );
    }

    #[test]
    fn wakes_that_are_apart_delay_nothing() {
        let woken = Answered {
            took: Duration::from_secs(2),
            woken: true,
            ..AT_ONCE
        };
        assert_eq!(distance_in_the_end(woken), woken.took);
        let often = Answered {
            took: Duration::from_millis(10),
            ..woken
        };
        assert_eq!(distance_in_the_end(often), Duration::from_secs(1));
    }
}
