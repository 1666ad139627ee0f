//! Does a [`ServiceRegistry`](registry_core::ServiceRegistry) keep its contract? A suite that asks any of them.
//!
//! Its author provides a [`Subject`]: how to start a [`World`], which is a server with the registry in front of it, and
//! hands to move it: register, deregister, make [`Trouble`]. [`check`] plays its scenarios, each in a world of its own,
//! reads the watch as an obedient reader would, and opens it again after a backoff when it ends, as a supervisor would.
//! What comes of it is a [`Report`] with an entry for every [`Rule`].
//!
//! ```text
//!            set, remove, inflict, heal …                    batches of events
//!  scenario ─────────────────────────────▶ server ◀── registry ──────────────▶ reader ──▶ verdicts ──▶ Report
//!     └──────────────────── looks, wishes, deadlines ──────────────────────────▲
//! ```
//!
//! The whole of it, for a backend that polls a board on the wall:
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//!
//! use registry_core::{
//!     async_trait, Address, Control, Endpoint, ErrorKind, Event, EventStream, Health, RegistryError, Scope, ServiceId,
//!     ServiceMeta, ServiceRecord, ServiceRegistry,
//! };
//! use registry_testkit::conformance::{check, Instance, Options, Rule, Subject, Trouble, World, WorldError};
//!
//! // === the server, and the backend under test ===
//!
//! #[derive(Default)]
//! struct Board {
//!     services: BTreeMap<String, Vec<Instance>>,
//!     gone: bool,
//! }
//!
//! #[derive(Clone, Default)]
//! struct BoardRegistry(Arc<Mutex<Board>>);
//!
//! impl BoardRegistry {
//!     fn read(&self) -> Result<Vec<ServiceRecord>, RegistryError> {
//!         let board = self.0.lock().unwrap();
//!         if board.gone {
//!             return Err(RegistryError::new(ErrorKind::Unreachable, "the board in the hall: it is gone"));
//!         }
//!         let endpoint = |instance: &Instance| {
//!             let health = if instance.healthy { Health::Healthy } else { Health::Unhealthy };
//!             let endpoint = Endpoint::builder(Address::V4(instance.address)).port("http", instance.port);
//!             endpoint.id(instance.id.as_str()).health(health).build()
//!         };
//!         let record = |(name, instances): (&String, &Vec<Instance>)| {
//!             let meta = ServiceMeta::builder(ServiceId::named(name.as_str())).build();
//!             ServiceRecord::new(meta, instances.iter().map(endpoint).collect::<Vec<_>>())
//!         };
//!         Ok(board.services.iter().map(record).collect())
//!     }
//! }
//!
//! #[async_trait]
//! impl ServiceRegistry for BoardRegistry {
//!     fn kind(&self) -> &'static str {
//!         "board"
//!     }
//!
//!     fn freshness_bound(&self) -> Duration {
//!         Duration::from_secs(15)
//!     }
//!
//!     async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
//!         let first = (self.clone(), control, Duration::ZERO);
//!         Ok(Box::pin(futures_util::stream::unfold(first, |(registry, control, rest)| async move {
//!             tokio::select! {
//!                 _ = control.resync_requested() => {}
//!                 () = tokio::time::sleep(rest) => {}
//!             }
//!             let batch = match registry.read() {
//!                 Ok(records) => Event::listing(Scope::Registry, records),
//!                 Err(error) => vec![Event::degraded(Scope::Registry, error)],
//!             };
//!             Some((Ok(batch), (registry, control, Duration::from_secs(5))))
//!         })))
//!     }
//!
//!     async fn probe(&self) -> Result<(), RegistryError> {
//!         self.read().map(drop)
//!     }
//! }
//!
//! // === how to move it ===
//!
//! struct Boards;
//!
//! #[async_trait]
//! impl Subject for Boards {
//!     async fn start(&self) -> Result<Box<dyn World>, WorldError> {
//!         Ok(Box::new(BoardWorld(BoardRegistry::default())))
//!     }
//! }
//!
//! struct BoardWorld(BoardRegistry);
//!
//! #[async_trait]
//! impl World for BoardWorld {
//!     fn registry(&self) -> Arc<dyn ServiceRegistry> {
//!         Arc::new(self.0.clone())
//!     }
//!
//!     async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
//!         self.0.0.lock().unwrap().services.insert(service.to_owned(), instances.to_vec());
//!         Ok(())
//!     }
//!
//!     async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
//!         self.0.0.lock().unwrap().services.remove(service);
//!         Ok(())
//!     }
//!
//!     async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
//!         match trouble {
//!             Trouble::Refusal => self.0.0.lock().unwrap().gone = true,
//!             _ => return Err(WorldError::Unsupported),
//!         }
//!         Ok(())
//!     }
//!
//!     async fn heal(&mut self) -> Result<(), WorldError> {
//!         self.0.0.lock().unwrap().gone = false;
//!         Ok(())
//!     }
//! }
//!
//! // Nothing here does real input or output, so the clock may be paused, and the suite takes no time.
//! #[tokio::main(flavor = "current_thread", start_paused = true)]
//! async fn main() {
//!     let report = check(&Boards, &Options::default()).await;
//!     println!("{report}");
//!     // A board cannot be restarted.
//!     report.assert_passed_but(&[Rule::SurvivesAServerThatForgot]);
//! }
//! ```
//!
//! # What a rule presupposes
//!
//! A watch that never lists everything cannot be judged for much else. Such a scenario ends early: the report names the
//! rule that is broken, and those that could not be judged for it are skipped. Every rule has a deliberately broken backend
//! in this crate's tests that breaks it and no other.
//!
//! # What is not asked
//!
//! Whether a backend blocks the thread that polls it (no rule could tell without flaking), what two watches of one
//! registry at a time do to each other (a supervisor opens one at a time), and whatever only the server's own language
//! can say: an answer that was filtered for lack of rights, a leader that was lost. Those are for the backend's own tests.

mod case;
mod options;
mod reader;
mod report;
mod rule;
mod scenario;
mod watching;
mod world;

pub use self::options::Options;
pub use self::report::{Entry, Outcome, Report};
pub use self::rule::Rule;
pub use self::world::{Instance, Subject, Trouble, World, WorldError};

use self::report::Verdicts;
use self::scenario::Scenario;

/// Puts a registry to the test.
///
/// It runs in the current task, one scenario after the other, and ends in bounded time as long as the backend does not
/// block the thread. It works under a paused clock (`#[tokio::test(start_paused = true)]`) where the world does no real
/// input or output, and has to run in a runtime of its own: other tasks that start meanwhile are taken for the backend's.
pub async fn check(subject: &dyn Subject, options: &Options) -> Report {
    let wanted = |rule: Rule| options.rules.contains(&rule);
    let mut verdicts = Verdicts::default();
    for scenario in Scenario::all(&options.troubles) {
        if scenario.rules().iter().copied().any(wanted) {
            scenario.play(subject, options, &mut verdicts).await;
        }
    }
    verdicts.report(wanted)
}
