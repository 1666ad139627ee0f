//! What a registry lost and gained lately: tells a plausible loss from one that is not.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::model::ServiceId;
use crate::options::Guard;

/// Into how many steps the window is divided: changes within a step are one entry of a service, however many they are.
const STEPS: u32 = 16;

/// Changes in the number of endpoints of each service within a sliding window, and what is held back of each.
///
/// Let a service have had `start` endpoints at the window's start, what is held back included, and let the registry
/// list `now` of them: its loss is `max(0, start - now)`, so that what it gained makes up for what it lost, and what
/// is held back stays a loss however long ago it went. What was held back and is listed again counts as lost for as long
/// as anything is held: a registry that lost everything gets it back one by one, and half of it says nothing of the rest.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    steps: VecDeque<Step>,
    services: HashMap<ServiceId, Net>,
    change: i64,
    loss: i64,
    held: i64,
}

#[derive(Debug)]
struct Step {
    begun: Instant,
    changes: HashMap<ServiceId, i64>,
}

/// One service within the window.
#[derive(Debug, Default, Clone, Copy)]
struct Net {
    /// Endpoints that came, less those that were let go.
    change: i64,
    /// Endpoints that the registry no longer lists and that are held back.
    held: i64,
    /// Endpoints that were held back and are listed again.
    returned: i64,
}

impl Net {
    fn loss(self) -> i64 {
        (self.held + self.returned - self.change).max(0)
    }
}

impl Ledger {
    /// Forgets what came and went: what there is now is the start. What is held back stays a loss.
    pub(super) fn reset(&mut self) {
        self.steps.clear();
        self.services.retain(|_, net| {
            (net.change, net.returned) = (0, 0);
            net.held > 0
        });
        self.change = 0;
        self.loss = self.held;
    }

    /// The number of endpoints of a service changed by this much.
    pub(super) fn record(&mut self, id: &ServiceId, change: i64, now: Instant, window: Duration) {
        if change == 0 {
            return;
        }
        self.slide(now, window);
        let begins = |step: &Step| now.saturating_duration_since(step.begun) >= window / STEPS;
        if self.steps.back().is_none_or(begins) {
            self.steps.push_back(Step {
                begun: now,
                changes: HashMap::new(),
            });
        }
        if let Some(step) = self.steps.back_mut() {
            *step.changes.entry(id.clone()).or_default() += change;
        }
        self.change += change;
        self.update(id, |net| net.change += change);
    }

    /// So many endpoints of a service are held back now, beside those that are listed, and so many were let go. True where
    /// it were not as many before.
    pub(super) fn hold(&mut self, id: &ServiceId, held: usize, listed: usize, gone: usize) -> bool {
        let (held, listed, gone) = (count(held), count(listed), count(gone));
        let before = self.services.get(id).map_or(0, |net| net.held);
        if held == before {
            return false;
        }
        self.held += held - before;
        self.update(id, |net| {
            net.held = held;
            let returned = (before - held - gone).max(0);
            net.returned = (net.returned + returned).min(listed);
        });
        if self.held == 0 {
            self.forget_returned();
        }
        true
    }

    fn forget_returned(&mut self) {
        self.services.retain(|_, net| {
            self.loss -= net.loss();
            net.returned = 0;
            self.loss += net.loss();
            net.change != 0 || net.held != 0
        });
    }

    /// Forgets what is older than the window. True where there was something.
    pub(super) fn slide(&mut self, now: Instant, window: Duration) -> bool {
        let over = |step: &Step| now.saturating_duration_since(step.begun) > span(window);
        let steps = self.steps.len();
        while self.steps.front().is_some_and(over) {
            let Some(step) = self.steps.pop_front() else { break };
            for (id, change) in step.changes {
                self.change -= change;
                self.update(&id, |net| net.change -= change);
            }
        }
        self.steps.len() < steps
    }

    /// When the next step leaves the window.
    pub(super) fn next_slide(&self, window: Duration) -> Option<Instant> {
        let past = span(window).saturating_add(Duration::from_nanos(1));
        self.steps.front()?.begun.checked_add(past)
    }

    fn update(&mut self, id: &ServiceId, change: impl FnOnce(&mut Net)) {
        let net = self.services.entry(id.clone()).or_default();
        self.loss -= net.loss();
        change(net);
        self.loss += net.loss();
        if net.change == 0 && net.held == 0 && net.returned == 0 {
            self.services.remove(id);
        }
    }

    /// How many endpoints are held back.
    pub(super) fn held(&self) -> i64 {
        self.held
    }

    /// The net loss of a service.
    pub(super) fn loss_of(&self, id: &ServiceId) -> i64 {
        self.services.get(id).map_or(0, |net| net.loss())
    }

    /// Whether the registry, which has `total` endpoints with those held back, lost more than is believed.
    pub(super) fn is_beyond(&self, guard: &Guard, total: usize) -> bool {
        is_implausible(guard, self.loss, count(total) - self.change)
    }

    /// The same of one service.
    pub(super) fn service_is_beyond(&self, guard: &Guard, id: &ServiceId, total: usize) -> bool {
        let net = self.services.get(id).copied().unwrap_or_default();
        is_implausible(guard, net.loss(), count(total) - net.change)
    }
}

fn is_implausible(guard: &Guard, loss: i64, start: i64) -> bool {
    #[allow(clippy::cast_precision_loss, reason = "far fewer endpoints than 2^52")]
    let share = loss as f64 > guard.share * start as f64;
    loss > 0 && share && (loss >= count(guard.endpoints) || loss >= start)
}

/// How long a step counts: the window, and as long as the step itself may have lasted.
fn span(window: Duration) -> Duration {
    window.saturating_add(window / STEPS)
}

fn count(endpoints: usize) -> i64 {
    i64::try_from(endpoints).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(30);

    fn id(name: &str) -> ServiceId {
        ServiceId::named(name)
    }

    #[tokio::test(start_paused = true)]
    async fn gains_of_a_service_make_up_for_its_own_losses_only() {
        let (mut ledger, now, guard) = (Ledger::default(), Instant::now(), Guard::default());
        // 100 endpoints at the start; `web` replaces all of its 60, `db` gains 40.
        ledger.record(&id("web"), -60, now, WINDOW);
        ledger.record(&id("db"), 40, now, WINDOW);
        assert!(ledger.is_beyond(&guard, 80));
        ledger.record(&id("web"), 9, now, WINDOW);
        assert!(ledger.is_beyond(&guard, 89), "51 of 100");
        ledger.record(&id("web"), 1, now, WINDOW);
        assert!(!ledger.is_beyond(&guard, 90), "50 of 100");
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_believed_unless_they_are_all() {
        let (now, guard) = (Instant::now(), Guard::default());
        let beyond = |lost: i64, of: usize| {
            let mut ledger = Ledger::default();
            ledger.record(&id("web"), -lost, now, WINDOW);
            ledger.is_beyond(&guard, of - usize::try_from(lost).unwrap())
        };
        for (lost, of, wanted) in [
            (9, 10, false),
            (10, 10, true),
            (10, 19, true),
            (10, 20, false),
            (1, 1, true),
            (0, 0, false),
        ] {
            assert_eq!(beyond(lost, of), wanted, "{lost} of {of}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_older_than_the_window_is_forgotten_and_what_is_held_is_not() {
        let (mut ledger, start, guard) = (Ledger::default(), Instant::now(), Guard::default());
        ledger.record(&id("web"), -40, start, WINDOW);
        ledger.hold(&id("db"), 30, 0, 0);
        assert!(ledger.is_beyond(&guard, 60), "70 of 100");
        ledger.slide(start + WINDOW * 2, WINDOW);
        assert_eq!((ledger.loss_of(&id("web")), ledger.loss_of(&id("db"))), (0, 30));
        assert!(!ledger.is_beyond(&guard, 60), "30 of 60");
        ledger.hold(&id("db"), 0, 0, 30);
        assert_eq!(
            (ledger.held(), ledger.loss, ledger.change, ledger.services.len()),
            (0, 0, 0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_listed_again_makes_the_rest_no_more_plausible_and_what_is_new_does() {
        let (mut ledger, now, guard) = (Ledger::default(), Instant::now(), Guard::default());
        ledger.hold(&id("web"), 100, 0, 0);
        ledger.hold(&id("web"), 20, 80, 0);
        assert!(ledger.is_beyond(&guard, 100), "80 came back of 100");
        // Lost and listed again, they are no more than there are.
        ledger.hold(&id("web"), 60, 40, 0);
        ledger.hold(&id("web"), 20, 80, 0);
        assert_eq!(ledger.loss_of(&id("web")), 100);
        ledger.record(&id("web"), 50, now, WINDOW);
        assert!(!ledger.is_beyond(&guard, 150), "half of them are others now");
        ledger.hold(&id("web"), 0, 150, 0);
        assert_eq!((ledger.held(), ledger.loss, ledger.change), (0, 0, 50));
        ledger.record(&id("web"), -50, now, WINDOW);
        assert_eq!(ledger.services.len(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn many_changes_of_a_service_cost_one_entry_a_step() {
        let (mut ledger, start) = (Ledger::default(), Instant::now());
        for n in 0..100_000 {
            ledger.record(
                &id("web"),
                if n % 2 == 0 { 1 } else { -1 },
                start + Duration::from_millis(n),
                WINDOW,
            );
        }
        assert!(ledger.steps.len() <= 18, "{}", ledger.steps.len());
        assert!(ledger.services.len() <= 1);
    }
}
