//! One [`ResourceSet`] for each kind of node, kept up to date: a change to one service costs each view that service.
//!
//! ```text
//!  Views          settings, and a slot for each view that somebody looks at
//!    ▼
//!  follow         a task for each view: from one snapshot to the next, into the slot
//!    ▼
//!  state          what all services give to the view together
//!    ▼
//!  own            what belongs to one service: clusters, endpoints
//!  listeners      what services share an address for
//!  routes         what services share a route configuration for
//! ```

mod follow;
mod listeners;
mod own;
mod pool;
mod rank;
mod ready;
mod routes;
mod state;
#[cfg(test)]
mod tests;
mod warnings;

use std::collections::HashMap;
use std::fmt;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use registry_core::{Discovery, Snapshot, Str};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::XdsConfig;
use crate::node::{Node, View};
use crate::resource::{Doubt, ResourceSet};
use crate::translate::translate;
use pool::Pool;
use state::{State, Translate};
use warnings::Listed;

/// Kinds of nodes that are served at a time: each costs memory and time for all services that it wants, and clients say
/// themselves of which kind they are.
const MOST: usize = 4096;

/// Something about a service that could not be served as its registry has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The service. Empty in the last one of a list that was cut short, which says how many are left out.
    pub hostname: Str,
    /// What is wrong, in words.
    pub problem: String,
}

/// The views of one discovery. Cloning it shares them. A view exists while somebody looks at it, and 30 s longer.
#[derive(Debug, Clone)]
pub struct Views {
    shared: Arc<Shared>,
}

struct Shared {
    discovery: Discovery,
    /// True once what it knows may be served.
    ready: watch::Receiver<bool>,
    config: watch::Sender<Arc<XdsConfig>>,
    translate: Arc<Translate>,
    pool: Arc<Pool>,
    /// Held strongly by the task that fills it: where that breaks, readers see it end, and the next one starts another.
    slots: Mutex<HashMap<View, Weak<Slot>>>,
    runtime: Handle,
    stop: CancellationToken,
}

/// What a view serves, for those who look.
#[derive(Debug, Default)]
struct Slot {
    newest: watch::Sender<Option<Arc<ResourceSet>>>,
    warnings: Mutex<Arc<Listed>>,
}

impl Views {
    /// Follows a discovery until `stop`. Within a Tokio runtime.
    pub fn start(discovery: Discovery, config: XdsConfig, stop: CancellationToken) -> Self {
        Self::translating(discovery, config, stop, Arc::new(translate))
    }

    fn translating(
        discovery: Discovery,
        config: XdsConfig,
        stop: CancellationToken,
        translate: Arc<Translate>,
    ) -> Self {
        let shared = Shared {
            ready: ready::start(discovery.clone(), stop.clone()),
            discovery,
            config: watch::Sender::new(Arc::new(config)),
            translate,
            pool: Arc::default(),
            slots: Mutex::default(),
            runtime: Handle::current(),
            stop,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<XdsConfig> {
        self.shared.config.borrow().clone()
    }

    /// The settings in force, and whether there are others.
    pub(crate) fn settings(&self) -> watch::Receiver<Arc<XdsConfig>> {
        self.shared.config.subscribe()
    }

    /// Puts other settings in force: each view is made anew, and streams get what differs. Views of connected nodes stay
    /// the ones they were computed as.
    pub fn reconfigure(&self, config: XdsConfig) {
        self.shared.config.send_replace(Arc::new(config));
    }

    /// True once anybody is served: when discovery is ready, and what it read from disk was said again by its registries, or
    /// these cannot be reached.
    pub(crate) fn ready(&self) -> watch::Receiver<bool> {
        self.shared.ready.clone()
    }

    /// The newest set of a view: `None` until anything is served. The slot holds one set, so that a slow reader misses
    /// what is between two looks, and delays nobody. Its sender is gone once `stop` was told.
    pub fn watch(&self, view: View) -> watch::Receiver<Option<Arc<ResourceSet>>> {
        self.join(view, &mut self.shared.slots())
    }

    /// As [`watch`](Self::watch), for whoever connects. `None` for one kind of node too many.
    pub(crate) fn admit(&self, view: View) -> Option<watch::Receiver<Option<Arc<ResourceSet>>>> {
        let mut slots = self.shared.slots();
        if slots.len() >= MOST {
            slots.retain(|_, slot| slot.strong_count() > 0);
        }
        let fits = slots.len() < MOST || slots.contains_key(&view);
        fits.then(|| self.join(view, &mut slots))
    }

    fn join(
        &self,
        view: View,
        slots: &mut HashMap<View, Weak<Slot>>,
    ) -> watch::Receiver<Option<Arc<ResourceSet>>> {
        if let Some(slot) = slots.get(&view).and_then(Weak::upgrade) {
            return slot.newest.subscribe();
        }
        let slot = Arc::new(Slot::default());
        let newest = slot.newest.subscribe();
        slots.insert(view.clone(), Arc::downgrade(&slot));
        self.shared
            .runtime
            .spawn(follow::follow(self.shared.clone(), view, slot));
        newest
    }

    /// The set that a node would get now, and what could not be served of it. `None` until anything is served.
    pub async fn look(&self, node: &Node) -> Option<(Arc<ResourceSet>, Vec<Warning>)> {
        if !*self.shared.ready.borrow() {
            return None;
        }
        let config = self.config();
        let view = View::of(node, &config);
        let slot = self.shared.slots().get(&view).and_then(Weak::upgrade);
        if let Some(slot) = slot
            && let Some(set) = slot.newest.borrow().clone()
        {
            let listed = lock(&slot.warnings).clone();
            return Some((set, warnings::together(&[listed])));
        }
        let shared = self.shared.clone();
        // Nobody looks at it: computed on the side, and not kept.
        let made = tokio::task::spawn_blocking(move || {
            let snapshot = shared.discovery.snapshot();
            let mut state = shared.state(view, config.clone(), &snapshot);
            let (set, _) = state.set(&snapshot, doubt(&snapshot, &config));
            (set, warnings::together(&[state.warnings().unwrap_or_default()]))
        });
        made.await.ok()
    }

    /// What cannot be served as it is, in any view that somebody looks at; sorted, at most 1 000, and a last one that says
    /// how many more.
    pub fn warnings(&self) -> Vec<Warning> {
        let slots = self.shared.slots();
        let live = slots.values().filter_map(Weak::upgrade);
        let lists: Vec<Arc<Listed>> = live.map(|slot| lock(&slot.warnings).clone()).collect();
        drop(slots);
        warnings::together(&lists)
    }
}

impl Shared {
    /// Resolves once anybody may be served.
    async fn ready(&self) {
        if self.ready.clone().wait_for(|ready| *ready).await.is_err() {
            pending::<()>().await;
        }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<View, Weak<Slot>>> {
        lock(&self.slots)
    }

    fn state(&self, view: View, config: Arc<XdsConfig>, snapshot: &Snapshot) -> State {
        State::new(view, config, self.translate.clone(), self.pool.clone(), snapshot)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("views", &self.slots().len())
            .finish_non_exhaustive()
    }
}

/// What is open about a set made from that snapshot. To be asked once discovery is ready: the start deadline has passed
/// then.
fn doubt(snapshot: &Snapshot, config: &XdsConfig) -> Doubt {
    if snapshot.registries().iter().all(|registry| registry.is_known()) {
        Doubt::None
    } else if config.serve_partial {
        Doubt::OfNames
    } else {
        Doubt::OfAbsences
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
