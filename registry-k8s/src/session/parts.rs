//! The feeds of a session, and how far each is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use registry_core::{Control, ErrorKind, RegistryError, Str};
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::index::{Kind, Part};
use crate::transport::{Form, Transport};
use crate::watch::{Feed, Manner, Resource, Told};

/// Failures in a row after which nobody waits for a part with telling of the others.
const PATIENCE: u32 = 3;

/// What a feed is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Subject {
    /// Which namespaces there are.
    Namespaces,
    /// The labels of nodes.
    Nodes,
    /// Services of a namespace, or of all.
    Services(Option<Str>),
    /// Slices of a namespace, or of all.
    Slices(Option<Str>),
}

/// What a feed said, and the feed, to go on with.
pub(super) struct Step {
    pub(super) subject: Subject,
    /// Tells the feed from one of the same subject that it replaced.
    number: u64,
    feed: Feed,
    line: Arc<Line>,
    pub(super) told: Vec<Told>,
}

/// A step that is under way.
pub(super) type Running = BoxFuture<'static, Step>;

/// The line to a feed that is on its way.
#[derive(Debug, Default)]
struct Line {
    wake: Notify,
    stopped: AtomicBool,
}

/// How far a feed is.
#[derive(Debug)]
struct Progress {
    number: u64,
    line: Arc<Line>,
    /// Everything was listed once.
    listed: bool,
    /// Failures since the last success.
    failures: u32,
    error: Option<Arc<RegistryError>>,
    /// When it was last known that nothing is missing.
    confirmed: Option<Instant>,
}

/// All feeds.
pub(super) struct Parts {
    transport: Arc<dyn Transport>,
    manner: Manner,
    control: Control,
    started: u64,
    progress: BTreeMap<Subject, Progress>,
}

// === impl Subject ===

impl Subject {
    /// The part of the index that its objects belong to.
    pub(super) fn part(&self) -> Option<Part> {
        let (kind, namespace) = match self {
            Self::Namespaces => return None,
            Self::Nodes => (Kind::Node, None),
            Self::Services(namespace) => (Kind::Service, namespace.clone()),
            Self::Slices(namespace) => (Kind::Slice, namespace.clone()),
        };
        Some(Part { kind, namespace })
    }

    /// The field that it is one half of.
    pub(super) fn field(&self) -> Option<&Option<Str>> {
        match self {
            Self::Namespaces | Self::Nodes => None,
            Self::Services(namespace) | Self::Slices(namespace) => Some(namespace),
        }
    }

    fn resource(&self, selector: Option<String>) -> Resource {
        let (group, namespace, plural) = match self {
            Self::Namespaces => ("/api/v1", &None, "namespaces"),
            Self::Nodes => ("/api/v1", &None, "nodes"),
            Self::Services(namespace) => ("/api/v1", namespace, "services"),
            Self::Slices(namespace) => ("/apis/discovery.k8s.io/v1", namespace, "endpointslices"),
        };
        let path = match namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        };
        let form = match self {
            Self::Namespaces | Self::Nodes => Form::Metadata,
            Self::Services(_) | Self::Slices(_) => Form::Object,
        };
        Resource { path, selector, form }
    }
}

/// The two halves of a field: without either of them nothing can be said of its services.
fn halves(field: &Option<Str>) -> [Subject; 2] {
    [Subject::Services(field.clone()), Subject::Slices(field.clone())]
}

// === impl Step ===

/// What a feed says next.
async fn step(subject: Subject, number: u64, mut feed: Feed, line: Arc<Line>) -> Step {
    let told = loop {
        tokio::select! {
            biased;
            () = line.wake.notified() => {
                if line.stopped.load(Ordering::Relaxed) {
                    break Vec::new();
                }
                feed.list_again();
            }
            told = feed.next() => break told,
        }
    };
    Step {
        subject,
        number,
        feed,
        line,
        told,
    }
}

// === impl Progress ===

impl Progress {
    fn lasts(&self) -> bool {
        let lasting =
            |error: &Arc<RegistryError>| matches!(error.kind(), ErrorKind::Denied | ErrorKind::Configuration);
        self.error.as_ref().is_some_and(lasting)
    }
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(transport: Arc<dyn Transport>, manner: Manner, control: Control) -> Self {
        Self {
            transport,
            manner,
            control,
            started: 0,
            progress: BTreeMap::new(),
        }
    }

    /// Starts a feed; `None` where there is one already.
    pub(super) fn start(&mut self, subject: Subject, selector: Option<String>) -> Option<Running> {
        if self.progress.contains_key(&subject) {
            return None;
        }
        self.started += 1;
        let number = self.started;
        let line = Arc::new(Line::default());
        let progress = Progress {
            number,
            line: line.clone(),
            listed: false,
            failures: 0,
            error: None,
            confirmed: None,
        };
        self.progress.insert(subject.clone(), progress);
        let resource = subject.resource(selector);
        let feed = Feed::new(
            self.transport.clone(),
            resource,
            self.manner.clone(),
            self.control.clone(),
        );
        Some(step(subject, number, feed, line).boxed())
    }

    /// Goes on with a feed; `None` where it was stopped meanwhile.
    pub(super) fn go_on(&self, done: Step) -> Option<Running> {
        let current = self.wants(&done);
        let Step {
            subject,
            number,
            feed,
            line,
            ..
        } = done;
        current.then(|| step(subject, number, feed, line).boxed())
    }

    /// Whether the feed that said this is still wanted.
    fn wants(&self, step: &Step) -> bool {
        self.progress
            .get(&step.subject)
            .is_some_and(|held| held.number == step.number)
    }

    /// Stops the feeds of a field, which ends their requests.
    pub(super) fn stop(&mut self, field: &Option<Str>) {
        for half in halves(field) {
            if let Some(progress) = self.progress.remove(&half) {
                progress.line.stopped.store(true, Ordering::Relaxed);
                progress.line.wake.notify_one();
            }
        }
    }

    /// Takes a word into account.
    pub(super) fn note(&mut self, subject: &Subject, told: &Told) {
        let Some(progress) = self.progress.get_mut(subject) else {
            return;
        };
        match told {
            Told::Failed(error) => {
                progress.failures = progress.failures.saturating_add(1);
                progress.error = Some(error.clone());
            }
            Told::Complete | Told::Confirmed => {
                progress.listed |= matches!(told, Told::Complete);
                progress.failures = 0;
                progress.error = None;
                progress.confirmed = Some(Instant::now());
            }
            // What a watch brings after trouble may be old news: the feed says when it is not.
            Told::Begin | Told::Listed(_) | Told::Changed(_) | Told::Removed(_) | Told::Skipped(_) => {}
        }
    }

    /// Lists all of these again.
    pub(super) fn list_again(&self, which: impl Fn(&Subject) -> bool) {
        for (_, progress) in self.progress.iter().filter(|(subject, _)| which(subject)) {
            progress.line.wake.notify_one();
        }
    }

    pub(super) fn subjects(&self) -> impl Iterator<Item = &Subject> {
        self.progress.keys()
    }

    pub(super) fn connections(&self) -> u64 {
        self.transport.connections()
    }

    /// All fields that are watched.
    pub(super) fn fields(&self) -> BTreeSet<Option<Str>> {
        self.subjects()
            .filter_map(|subject| subject.field().cloned())
            .collect()
    }

    pub(super) fn is_watched(&self, subject: &Subject) -> bool {
        self.progress.contains_key(subject)
    }

    pub(super) fn is_listed(&self, subject: &Subject) -> bool {
        self.progress.get(subject).is_some_and(|progress| progress.listed)
    }

    /// True where both halves were listed.
    pub(super) fn field_is_listed(&self, field: &Option<Str>) -> bool {
        halves(field).iter().all(|half| self.is_listed(half))
    }

    /// The last failure of a field since its last success.
    pub(super) fn field_error(&self, field: &Option<Str>) -> Option<&Arc<RegistryError>> {
        let halves = halves(field);
        let mut errors = halves
            .iter()
            .filter_map(|half| self.progress.get(half)?.error.as_ref());
        errors.next()
    }

    /// True where rights or settings forbid a half of the field.
    pub(super) fn field_lasts(&self, field: &Option<Str>) -> bool {
        halves(field)
            .iter()
            .any(|half| self.progress.get(half).is_some_and(Progress::lasts))
    }

    /// When both halves were confirmed.
    pub(super) fn field_confirmed(&self, field: &Option<Str>) -> Option<Instant> {
        let confirmed =
            halves(field).map(|half| self.progress.get(&half).and_then(|progress| progress.confirmed));
        confirmed.into_iter().min().flatten()
    }

    /// True where nobody should wait for the field: rights or settings forbid it, or it keeps failing.
    pub(super) fn field_is_hopeless(&self, field: &Option<Str>) -> bool {
        let hopeless = |progress: &Progress| progress.lasts() || progress.failures >= PATIENCE;
        halves(field)
            .iter()
            .any(|half| self.progress.get(half).is_some_and(hopeless))
    }

    pub(super) fn confirmed(&self, subject: &Subject) -> Option<Instant> {
        self.progress.get(subject)?.confirmed
    }

    pub(super) fn error(&self, subject: &Subject) -> Option<&Arc<RegistryError>> {
        self.progress.get(subject)?.error.as_ref()
    }

    pub(super) fn failures(&self, subject: &Subject) -> u32 {
        self.progress.get(subject).map_or(0, |progress| progress.failures)
    }

    /// Whether a listing of it is worth waiting for: it is watched, and not forbidden.
    pub(super) fn may_come(&self, subject: &Subject) -> bool {
        self.progress
            .get(subject)
            .is_some_and(|progress| !progress.lasts())
    }
}
