//! The task that keeps one view up to date for as long as somebody looks at it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use registry_core::Snapshot;

use super::state::State;
use super::{Shared, Slot, doubt, lock};
use crate::config::XdsConfig;
use crate::node::View;

/// How long a view is kept that nobody looks at, so that a client which connects again finds it as it was.
const PATIENCE: Duration = Duration::from_secs(30);

/// Services that are translated where they are; more of them would hold up the other tasks of their thread.
const FEW: usize = 64;

/// Fills the slot of a view: from the moment on when anything may be served, until `stop` or until nobody looks any more.
pub(super) async fn follow(shared: Arc<Shared>, view: View, slot: Arc<Slot>) {
    let mut ready = pin!(shared.ready());
    let mut unused = pin!(unused(&slot));
    let mut configs = shared.config.subscribe();
    let mut changes = loop {
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = &mut ready => break shared.discovery.changes(),
            () = &mut unused => {
                if close(&shared, &view, &slot) {
                    return;
                }
                unused.set(self::unused(&slot));
            }
        }
    };

    let mut config = configs.borrow_and_update().clone();
    let snapshot = changes.snapshot().clone();
    let (shared_too, settings, of) = (shared.clone(), config.clone(), view.clone());
    let Some(mut state) = aside(move || shared_too.state(of, settings, &snapshot)).await else {
        return;
    };
    publish(&slot, &mut state, changes.snapshot(), &config);
    let mut ended = false;
    loop {
        tokio::select! {
            () = shared.stop.cancelled() => break,
            () = &mut unused => {
                if close(&shared, &view, &slot) {
                    break;
                }
                unused.set(self::unused(&slot));
                continue;
            }
            changed = configs.changed() => {
                if changed.is_err() {
                    break;
                }
                config = configs.borrow_and_update().clone();
                let (settings, snapshot) = (config.clone(), changes.snapshot().clone());
                let made = aside(move || {
                    state.reconfigure(settings, &snapshot);
                    state
                });
                let Some(made) = made.await else { return };
                state = made;
            }
            delta = changes.next(), if !ended => match delta {
                // Discovery was shut down: what was known stays served.
                None => {
                    ended = true;
                    continue;
                }
                Some(delta) if delta.updated.len() + delta.removed.len() <= FEW => state.apply(&delta),
                Some(delta) => {
                    let made = aside(move || {
                        state.apply(&delta);
                        state
                    });
                    let Some(made) = made.await else { return };
                    state = made;
                }
            },
        }
        publish(&slot, &mut state, changes.snapshot(), &config);
    }
    // Letting go of ten thousand services takes its time, too.
    drop(tokio::task::spawn_blocking(move || drop(state)));
}

/// Work that takes longer than a task may. `None` where it broke, or the runtime ends.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.inspect_err(|error| tracing::error!(%error, "a view broke; its clients are asked to come again"))
        .ok()
}

fn publish(slot: &Slot, state: &mut State, snapshot: &Arc<Snapshot>, config: &XdsConfig) {
    if let Some(warnings) = state.warnings() {
        *lock(&slot.warnings) = warnings;
    }
    let (set, changed) = state.set(snapshot, doubt(snapshot, config));
    // Of a set that differs by its revision alone nobody is told; who looks finds it. While some registry has not said
    // anything yet, what is decided may change without any service.
    slot.newest.send_if_modified(|held| {
        let was_decided = held.as_ref().is_some_and(|held| held.is_decided());
        let is_decided = set.is_decided();
        *held = Some(set);
        changed || !is_decided || !was_decided
    });
}

/// Resolves once nobody has looked at a slot for a while.
async fn unused(slot: &Slot) {
    slot.newest.closed().await;
    tokio::time::sleep(PATIENCE).await;
}

/// Ends a view that nobody looks at. False where somebody came meanwhile.
fn close(shared: &Shared, view: &View, slot: &Slot) -> bool {
    // Under the lock, so that nobody finds the slot after it was looked at for the last time.
    let mut slots = shared.slots();
    let unused = slot.newest.receiver_count() == 0;
    if unused {
        slots.remove(view);
    }
    unused
}
