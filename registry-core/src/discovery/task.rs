//! The task that owns the engine: takes batches in, publishes snapshots, lets time pass.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::keeper::Keeper;
use super::{Input, Shared};
use crate::engine::{Engine, EngineSettings};
use crate::error::Error;
use crate::model::RegistryId;
use crate::options::RegistryOptions;
use crate::registry::{Control, Meter, Resync, ServiceRegistry, lock};
use crate::snapshot::Snapshot;
use crate::store::Saved;
use crate::supervisor::Supervisor;

/// A look at the clock at least this often, so that old snapshots are let go.
const IDLE: Duration = Duration::from_secs(1);

pub(super) struct Task {
    shared: Arc<Shared>,
    engine: Engine,
    sessions: HashMap<RegistryId, Session>,
    next_session: u64,
    interval: Duration,
    last_publication: Option<Instant>,
    /// When the oldest change that is not published yet arrived.
    arrived: Option<Instant>,
    /// Who waits until all that was taken so far is published.
    waiting: Vec<oneshot::Sender<()>>,
    /// Snapshots that readers may still hold. They are dropped here, never by a reader: freeing the last reference to
    /// much of a snapshot takes milliseconds.
    retired: Vec<Arc<Snapshot>>,
    keeper: Keeper,
}

/// One supervisor at work.
struct Session {
    number: u64,
    registry: Arc<dyn ServiceRegistry>,
    options: RegistryOptions,
    control: Control,
    meter: Arc<Meter>,
    stop: CancellationToken,
}

impl Task {
    pub(super) fn new(shared: Arc<Shared>, settings: EngineSettings, interval: Duration) -> Self {
        let store = lock(&shared.place).store();
        Self {
            engine: Engine::new(settings, Instant::now()),
            sessions: HashMap::new(),
            next_session: 0,
            interval,
            last_publication: None,
            arrived: None,
            waiting: Vec::new(),
            retired: Vec::new(),
            keeper: Keeper::new(store, shared.tasks.clone()),
            shared,
        }
    }

    pub(super) async fn run(mut self, mut inputs: mpsc::Receiver<Input>) {
        let stop = self.shared.stop.clone();
        loop {
            let wake = self.advance();
            tokio::select! {
                () = stop.cancelled() => break,
                input = inputs.recv() => {
                    let Some(input) = input else { break };
                    self.take(input);
                    // What is waiting already is published together.
                    for _ in 0..64 {
                        let Ok(input) = inputs.try_recv() else { break };
                        self.take(input);
                    }
                }
                () = tokio::time::sleep_until(wake) => {}
            }
        }
        self.keeper.finish(&self.engine).await;
        *lock(&self.shared.place) = Arc::default();
    }

    /// Publishes which registries there are, before anything is known of them: a name that nobody was asked about is
    /// undecided, not absent. Where all of them are restored consumers may rely on that from the first moment on.
    pub(super) fn begin(&mut self) {
        let now = Instant::now();
        self.publish(now);
        self.note_readiness(now);
        // No change was published yet, so the first one waits for nothing.
        self.last_publication = None;
    }

    /// Publishes what is due, and says when to look again.
    fn advance(&mut self) -> Instant {
        let now = Instant::now();
        let deadline = self.engine.tick(now);
        for (id, wish) in self.engine.take_wishes() {
            if let Some(session) = self.sessions.get(&id) {
                session.control.pass_on(wish);
            }
        }
        let mut wake = deadline.unwrap_or(now + IDLE).min(now + IDLE);
        if self.engine.has_changes() {
            match self.last_publication.map(|last| last.checked_add(self.interval)) {
                // An interval beyond any clock.
                Some(None) => {}
                Some(Some(due)) if due > now => wake = wake.min(due),
                _ => self.publish(now),
            }
        }
        if !self.engine.has_changes() {
            for done in self.waiting.drain(..) {
                // Where nobody waits any more nobody is told.
                let _ = done.send(());
            }
        }
        self.note_readiness(now);
        self.keeper.advance(&self.engine, now);
        // Last, as much may come free at once: nobody waits for it.
        self.retired.retain(|snapshot| Arc::strong_count(snapshot) > 1);
        wake
    }

    fn publish(&mut self, now: Instant) {
        let arrived = self.arrived.take();
        if let Some(snapshot) = self.engine.publish(now) {
            self.retired.push(self.shared.load());
            self.shared.publish(snapshot, arrived, Instant::now());
            self.last_publication = Some(now);
        }
    }

    fn note_readiness(&mut self, now: Instant) {
        if self.engine.has_changes() {
            // Readiness speaks of what is published.
            return;
        }
        let readiness = self.engine.readiness(now);
        self.shared.readiness.send_if_modified(|held| {
            let changed = *held != readiness;
            *held = readiness;
            changed
        });
    }

    fn take(&mut self, input: Input) {
        let now = Instant::now();
        match input {
            Input::Batch {
                id,
                session,
                batch,
                applied,
            } => {
                if self.is_current(&id, session) {
                    let result = self.engine.apply(&id, batch, now);
                    if self.engine.has_changes() {
                        self.arrived.get_or_insert(now);
                    }
                    // Where nobody listens the session was replaced in the meantime.
                    let _ = applied.send(result);
                }
            }
            Input::Interrupted { id, session, error } => {
                if self.is_current(&id, session) {
                    self.engine.interrupted(&id, Some(&error), now);
                }
            }
            Input::Add {
                id,
                registry,
                options,
                saved,
                done,
            } => {
                let _ = done.send(self.add(id, registry, *options, saved));
            }
            Input::Replace {
                id,
                registry,
                options,
                done,
            } => {
                let _ = done.send(self.replace(&id, registry, *options));
            }
            Input::Remove { id, done } => {
                if let Some(session) = self.sessions.remove(&id) {
                    session.stop.cancel();
                }
                let _ = done.send(self.engine.remove(&id));
                self.keeper.forget(id);
            }
            Input::Acknowledge { id, done } => {
                let _ = done.send(self.engine.acknowledge(&id, now));
            }
            Input::Policies(policies) => self.engine.set_policies(policies),
            Input::Resync(id, wish) => self.resync(&id, wish),
            Input::Published(done) => self.waiting.push(done),
        }
    }

    fn resync(&self, id: &RegistryId, wish: Resync) {
        if let Some(session) = self.sessions.get(id) {
            session.control.request_resync(wish);
        }
    }

    fn is_current(&self, id: &RegistryId, session: u64) -> bool {
        self.sessions.get(id).is_some_and(|held| held.number == session)
    }

    pub(super) fn add(
        &mut self,
        id: RegistryId,
        registry: Arc<dyn ServiceRegistry>,
        options: RegistryOptions,
        saved: Result<Option<Saved>, String>,
    ) -> Result<(), Error> {
        let meter = Arc::new(Meter::default());
        self.engine
            .add(id.clone(), &*registry, options.clone(), meter.clone())?;
        if let Some(live) = self.engine.live(&id) {
            match saved {
                Ok(None) => {}
                Ok(Some(saved)) => {
                    live.note_saved(Ok(saved.saved));
                    self.engine.restore(&id, saved, Instant::now());
                }
                Err(error) => live.note_saved(Err(error)),
            }
            self.keeper.keep(&id, &*registry, live);
        }
        self.open(id, registry, options, meter);
        Ok(())
    }

    fn replace(
        &mut self,
        id: &RegistryId,
        registry: Option<Arc<dyn ServiceRegistry>>,
        options: RegistryOptions,
    ) -> Result<(), Error> {
        self.engine
            .reconfigure(id, registry.as_deref(), options.clone())?;
        let Some(session) = self.sessions.get_mut(id) else {
            return Err(Error::UnknownRegistry { id: id.clone() });
        };
        // Names of ports are the backend's work: it has to read everything anew with other ones.
        let reopen = registry.is_some() || session.options.ports != options.ports;
        if reopen {
            session.stop.cancel();
            let registry = registry.unwrap_or_else(|| session.registry.clone());
            if let Some(live) = self.engine.live(id) {
                self.keeper.keep(id, &*registry, live);
            }
            let meter = session.meter.clone();
            self.engine.interrupted(id, None, Instant::now());
            self.open(id.clone(), registry, options, meter);
        } else {
            session.options = options;
        }
        Ok(())
    }

    fn open(
        &mut self,
        id: RegistryId,
        registry: Arc<dyn ServiceRegistry>,
        options: RegistryOptions,
        meter: Arc<Meter>,
    ) {
        let Some(live) = self.engine.live(&id) else { return };
        self.next_session += 1;
        let number = self.next_session;
        let stop = self.shared.stop.child_token();
        let control = Control::within(
            self.shared.instance,
            id.clone(),
            options.ports.clone(),
            meter.clone(),
        );
        if self.engine.knows_services(&id) {
            control.set_known();
        }
        let supervisor = Supervisor {
            id: id.clone(),
            session: number,
            registry: registry.clone(),
            control: control.clone(),
            live,
            inputs: self.shared.inputs.clone(),
            stop: stop.clone(),
        };
        self.shared.tasks.spawn(supervisor.run());
        self.sessions.insert(
            id,
            Session {
                number,
                registry,
                options,
                control,
                meter,
                stop,
            },
        );
    }
}
