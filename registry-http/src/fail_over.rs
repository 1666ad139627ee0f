//! Which base URL is in use, and which are to be left alone for a while.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// Rest of a base URL after its first failure; it doubles with each further one.
const FIRST_REST: Duration = Duration::from_secs(1);

/// Longest rest.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// Sticky choice among base URLs: it moves on a failure of the one in use, or where a caller says so, never back by itself.
#[derive(Debug)]
pub(crate) struct Choice {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    current: usize,
    members: Vec<Member>,
}

#[derive(Debug, Clone, Default)]
struct Member {
    failures: u32,
    rests_until: Option<Instant>,
}

// === impl Choice ===

impl Choice {
    /// `members` is more than zero.
    pub(crate) fn new(members: usize) -> Self {
        Self {
            state: Mutex::new(State {
                current: 0,
                members: vec![Member::default(); members],
            }),
        }
    }

    pub(crate) fn current(&self) -> usize {
        self.state().current
    }

    /// Failures since the last success, and the rest that is left.
    pub(crate) fn member(&self, index: usize) -> (u32, Option<Duration>) {
        let now = Instant::now();
        let member = self.state().members.get(index).cloned().unwrap_or_default();
        (
            member.failures,
            member
                .rests_until
                .filter(|until| *until > now)
                .map(|until| until - now),
        )
    }

    pub(crate) fn succeeded(&self, index: usize) {
        if let Some(member) = self.state().members.get_mut(index) {
            *member = Member::default();
        }
    }

    /// Ends a member's rest and makes it the one in use.
    pub(crate) fn settle_on(&self, index: usize) {
        let mut state = self.state();
        if let Some(member) = state.members.get_mut(index) {
            *member = Member::default();
            state.current = index;
        }
    }

    /// Puts a member to rest and returns the one in use from now on.
    ///
    /// Where several requests fail on the same member at once, only the first one moves on: the others see another
    /// member in use already. Where all rest, it is the one that has rested enough soonest; there is always one.
    pub(crate) fn failed(&self, index: usize) -> usize {
        let now = Instant::now();
        let mut state = self.state();
        let count = state.members.len();
        let Some(member) = state.members.get_mut(index) else {
            return state.current;
        };
        // One outage fails many parked requests: it counts once.
        if member.rests_until.is_none_or(|until| until <= now) {
            member.failures = member.failures.saturating_add(1);
            let rest = FIRST_REST * 2_u32.saturating_pow(member.failures.min(16) - 1);
            member.rests_until = Some(now + rest.min(LONGEST_REST));
        }
        if state.current == index {
            // In order from the failed one on, so that a group of daemons does not gather on the first URL.
            let others = (1..count).map(|step| (index + step) % count);
            let next = others.min_by_key(|other| {
                state
                    .members
                    .get(*other)
                    .and_then(|member| member.rests_until)
                    .filter(|until| *until > now)
            });
            state.current = next.unwrap_or(index);
        }
        state.current
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_choice_is_sticky_and_moves_in_order() {
        let choice = Choice::new(3);
        assert_eq!(choice.current(), 0);
        assert_eq!(choice.failed(0), 1);
        tokio::time::advance(Duration::from_secs(120)).await;
        assert_eq!(choice.current(), 1, "a rested member is not gone back to");
        assert_eq!(
            choice.failed(0),
            1,
            "a late failure of another member moves nothing"
        );
        assert_eq!(choice.failed(1), 2, "0 rests again");
        assert_eq!(choice.failed(2), 1, "all rest: the one that is ready soonest");
    }

    #[tokio::test(start_paused = true)]
    async fn rests_grow_with_each_outage_and_end_with_a_success() {
        let choice = Choice::new(2);
        let mut rests = Vec::new();
        for _ in 0..8 {
            choice.failed(0);
            choice.failed(0);
            let (_, rest) = choice.member(0);
            rests.push(rest.unwrap().as_secs());
            tokio::time::advance(LONGEST_REST).await;
        }
        assert_eq!(rests, [1, 2, 4, 8, 16, 32, 60, 60]);
        choice.succeeded(0);
        assert_eq!(choice.member(0), (0, None));
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_is_settled_on_is_in_use_and_rests_no_more() {
        let choice = Choice::new(3);
        choice.failed(2);
        choice.settle_on(2);
        assert_eq!((choice.current(), choice.member(2)), (2, (0, None)));
        choice.settle_on(3);
        assert_eq!(choice.current(), 2, "there is no such member");
    }

    #[tokio::test(start_paused = true)]
    async fn one_member_alone_stays_in_use() {
        let choice = Choice::new(1);
        assert_eq!(choice.failed(0), 0);
        assert_eq!(choice.failed(0), 0);
    }
}
