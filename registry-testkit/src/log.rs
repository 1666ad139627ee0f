//! What code under test logs: a test that listens reads all of it, whatever its level.
//!
//! ```
//! use registry_testkit::log::Everything;
//!
//! let log = Everything::default();
//! let listening = log.listen();
//! tracing::debug!(registry = "vms", "synced");
//! assert_eq!(log.count("synced registry=\"vms\""), 1);
//!
//! drop(listening);
//! tracing::debug!("nobody listens any more");
//! assert_eq!(log.text().lines().count(), 1);
//! ```

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::span;
use tracing::subscriber::DefaultGuard;

/// Writes down every event and span, whatever its level: a line each, of an event with its level, target, message and
/// fields.
///
/// Cloning it shares what is written down.
#[derive(Debug, Clone, Default)]
pub struct Everything(Arc<Mutex<String>>);

impl Everything {
    /// Listens on this thread until the guard is dropped. Where the code under test runs on others as well a test has to
    /// keep it here: on a runtime of one thread.
    #[must_use = "it listens only until this is dropped"]
    pub fn listen(&self) -> DefaultGuard {
        /// With one listener alone, `tracing` asks only the thread that comes by a place first whether anyone listens there,
        /// and keeps the answer: another test, which does not listen, would make that place silent for all.
        static SECOND: OnceLock<tracing::Dispatch> = OnceLock::new();
        SECOND.get_or_init(|| tracing::Dispatch::new(Self::default()));
        tracing::subscriber::set_default(self.clone())
    }

    /// All that was written down so far.
    pub fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many lines hold a text.
    pub fn count(&self, text: &str) -> usize {
        self.text().lines().filter(|line| line.contains(text)).count()
    }

    fn note(&self, line: &str) {
        let mut text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.push_str(line);
        text.push('\n');
    }
}

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {field}={value:?}");
    }
}

impl tracing::Subscriber for Everything {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &span::Attributes<'_>) -> span::Id {
        let mut line = Line(span.metadata().name().to_owned());
        span.record(&mut line);
        self.note(&line.0);
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, values: &span::Record<'_>) {
        let mut line = Line(String::new());
        values.record(&mut line);
        self.note(&line.0);
    }

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let metadata = event.metadata();
        let mut line = Line(format!("{} {}", metadata.level(), metadata.target()));
        event.record(&mut line);
        self.note(&line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}
