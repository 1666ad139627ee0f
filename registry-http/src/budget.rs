//! Who may use a connection: permits in two lanes.
//!
//! Long polls hold a permit for as long as they are parked, so they may never take the last few: short reads would wait
//! behind them for minutes. Short reads may take all of them, since each is over soon.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::oneshot, time::Instant};

use crate::request::{Lane, Protocol};

/// How long a permit outlives its answer: its connection is on its way back into the pool, and whoever is next should
/// find it there.
const HANDING_BACK: Duration = Duration::from_millis(2);

/// How long after a permit was given back a dial waits for that connection.
pub(crate) const RETURNING: Duration = Duration::from_millis(5);

/// The sizes a budget can have, by protocol.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// TCP connections over HTTP/1.1.
    pub(crate) connections: usize,
    /// Streams over all HTTP/2 connections.
    pub(crate) streams: usize,
    /// What long polls leave to reads.
    pub(crate) reserved: usize,
}

/// Permits of one server.
pub(crate) struct Budget {
    state: Mutex<State>,
}

struct State {
    limits: Limits,
    protocol: Option<Protocol>,
    reads: usize,
    watches: usize,
    /// Dials that lost the race against a kept connection and finish for the pool.
    spare: usize,
    waiting_reads: VecDeque<oneshot::Sender<Permit>>,
    waiting_watches: VecDeque<oneshot::Sender<Permit>>,
    released: Option<Instant>,
}

/// The right to have one request in flight; dropping it passes it on.
pub(crate) struct Permit {
    /// `None` once given back under the lock.
    budget: Option<Arc<Budget>>,
    lane: Lane,
}

/// A dial that no request waits for any more.
pub(crate) struct SpareDial(Arc<Budget>);

// === impl Limits ===

impl Limits {
    /// HTTP/1.1 permits: a few less than connections may be.
    ///
    /// A connection that is handed back in the very moment another one is dialled leaves a spare behind. The dial gate
    /// makes that rare; the margin keeps the sum under the limit when it happens all the same.
    fn permits(&self, protocol: Option<Protocol>) -> usize {
        match protocol {
            Some(Protocol::Http2) => self.streams,
            // Unknown: as if every request could be a connection of its own.
            _ if self.connections >= 4 => self.connections - self.connections.div_ceil(20),
            _ => self.connections,
        }
    }
}

// === impl Budget ===

impl Budget {
    pub(crate) fn new(limits: Limits, protocol: Option<Protocol>) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                limits,
                protocol,
                reads: 0,
                watches: 0,
                spare: 0,
                waiting_reads: VecDeque::new(),
                waiting_watches: VecDeque::new(),
                released: None,
            }),
        })
    }

    /// Waits for a permit, first come first served within a lane, reads before watches.
    pub(crate) async fn acquire(self: &Arc<Self>, lane: Lane) -> Permit {
        loop {
            let waiting = {
                let mut state = self.state();
                if state.queue(lane).is_empty() && state.has_room(lane) {
                    *state.count(lane) += 1;
                    return self.permit(lane);
                }
                let (send, receive) = oneshot::channel();
                state.queue(lane).push_back(send);
                // Whoever gave up waiting is still in the queue, and room may be there for this one.
                self.grant(&mut state);
                receive
            };
            // Its sender only goes with the budget, which `self` keeps.
            if let Ok(permit) = waiting.await {
                return permit;
            }
        }
    }

    /// What the server speaks; sets the size that goes with it.
    pub(crate) fn learn(self: &Arc<Self>, protocol: Protocol) {
        let mut state = self.state();
        if state.protocol != Some(protocol) {
            state.protocol = Some(protocol);
            self.grant(&mut state);
        }
    }

    pub(crate) fn protocol(&self) -> Option<Protocol> {
        self.state().protocol
    }

    /// Another limit of connections; what is in use above it drains by itself.
    pub(crate) fn set_connections(self: &Arc<Self>, connections: usize) {
        let mut state = self.state();
        state.limits.connections = connections.max(1);
        self.grant(&mut state);
    }

    pub(crate) fn in_use(&self) -> usize {
        let state = self.state();
        state.reads + state.watches
    }

    pub(crate) fn watch_capacity(&self) -> usize {
        self.state().watch_capacity()
    }

    /// When a connection was last given back, if that was so recently that it may not be in the pool yet.
    pub(crate) fn is_returning(&self) -> bool {
        self.state()
            .released
            .is_some_and(|released| released.elapsed() < RETURNING)
    }

    /// Counts a dial that goes on without a request, until it stands in the pool.
    pub(crate) fn spare_dial(self: &Arc<Self>) -> SpareDial {
        self.state().spare += 1;
        SpareDial(self.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn permit(self: &Arc<Self>, lane: Lane) -> Permit {
        Permit {
            budget: Some(self.clone()),
            lane,
        }
    }

    /// Hands free permits to those who wait and still want them.
    fn grant(self: &Arc<Self>, state: &mut State) {
        for lane in [Lane::Read, Lane::Watch] {
            while state.has_room(lane) {
                let Some(next) = state.queue(lane).pop_front() else {
                    break;
                };
                *state.count(lane) += 1;
                if let Err(mut unwanted) = next.send(self.permit(lane)) {
                    // Its drop would lock the state, which is locked.
                    unwanted.budget = None;
                    *state.count(lane) -= 1;
                }
            }
        }
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Budget")
            .field("protocol", &state.protocol)
            .field("reads", &state.reads)
            .field("watches", &state.watches)
            .finish_non_exhaustive()
    }
}

// === impl State ===

impl State {
    fn queue(&mut self, lane: Lane) -> &mut VecDeque<oneshot::Sender<Permit>> {
        match lane {
            Lane::Read => &mut self.waiting_reads,
            Lane::Watch => &mut self.waiting_watches,
        }
    }

    fn count(&mut self, lane: Lane) -> &mut usize {
        match lane {
            Lane::Read => &mut self.reads,
            Lane::Watch => &mut self.watches,
        }
    }

    /// At least one, however small the budget: a registry of one connection still wants its watch.
    fn watch_capacity(&self) -> usize {
        self.limits
            .permits(self.protocol)
            .saturating_sub(self.limits.reserved)
            .max(1)
    }

    fn has_room(&self, lane: Lane) -> bool {
        let room = self.reads + self.watches + self.spare < self.limits.permits(self.protocol);
        match lane {
            Lane::Read => room,
            Lane::Watch => room && self.watches < self.watch_capacity(),
        }
    }
}

// === impl SpareDial ===

impl Drop for SpareDial {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.spare -= 1;
        self.0.grant(&mut state);
    }
}

// === impl Permit ===

impl Permit {
    /// Gives it back after a complete answer, with which an HTTP/1.1 connection lives on.
    pub(crate) fn hand_back(self) {
        if self
            .budget
            .as_ref()
            .is_some_and(|budget| budget.protocol() == Some(Protocol::Http1))
        {
            tokio::spawn(async move {
                tokio::time::sleep(HANDING_BACK).await;
                drop(self);
            });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(budget) = self.budget.take() {
            let mut state = budget.state();
            *state.count(self.lane) -= 1;
            state.released = Some(Instant::now());
            budget.grant(&mut state);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("lane", &self.lane)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Limits = Limits {
        connections: 10,
        streams: 100,
        reserved: 4,
    };

    async fn soon<T>(future: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(Duration::from_secs(1), future).await.ok()
    }

    #[tokio::test(start_paused = true)]
    async fn watches_leave_the_reserved_permits_to_reads() {
        let budget = Budget::new(SMALL, Some(Protocol::Http1));
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(soon(budget.acquire(Lane::Watch)).await.unwrap());
        }
        assert_eq!((budget.watch_capacity(), budget.in_use()), (5, 5));
        assert!(soon(budget.acquire(Lane::Watch)).await.is_none());
        for _ in 0..4 {
            held.push(soon(budget.acquire(Lane::Read)).await.unwrap());
        }
        assert!(soon(budget.acquire(Lane::Read)).await.is_none());
        drop(held);
        assert_eq!(budget.in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_gives_up_waiting_loses_no_permit() {
        let budget = Budget::new(
            Limits {
                connections: 1,
                ..SMALL
            },
            Some(Protocol::Http1),
        );
        let held = budget.acquire(Lane::Read).await;
        for lane in [Lane::Read, Lane::Watch] {
            assert!(soon(budget.acquire(lane)).await.is_none());
        }
        let mut granted = Box::pin(budget.acquire(Lane::Read));
        assert!(soon(granted.as_mut()).await.is_none());
        drop(held);
        // Granted, but dropped before it was taken.
        drop(granted);
        assert!(soon(budget.acquire(Lane::Watch)).await.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn learning_http2_lets_the_waiting_go() {
        let budget = Budget::new(SMALL, None);
        let mut held = Vec::new();
        for _ in 0..5 {
            held.push(budget.acquire(Lane::Watch).await);
        }
        let waiting = tokio::spawn({
            let budget = budget.clone();
            async move { budget.acquire(Lane::Watch).await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        budget.learn(Protocol::Http2);
        soon(waiting).await.unwrap().unwrap();
        assert_eq!(budget.watch_capacity(), 96);
    }

    #[tokio::test(start_paused = true)]
    async fn a_smaller_limit_drains_before_it_grants() {
        let budget = Budget::new(SMALL, Some(Protocol::Http1));
        let mut held = Vec::new();
        for _ in 0..9 {
            held.push(budget.acquire(Lane::Read).await);
        }
        budget.set_connections(4);
        held.truncate(3);
        assert!(soon(budget.acquire(Lane::Read)).await.is_none());
        held.truncate(2);
        assert!(soon(budget.acquire(Lane::Read)).await.is_some());
    }
}
