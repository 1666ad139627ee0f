//! The feeds of a session, and how far each is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use registry_core::{Control, ErrorKind, RegistryError, Str};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::offered::Api;
use crate::index::{Join, Kind, Part};
use crate::transport::{Form, Transport};
use crate::watch::{Feed, Manner, Resource, Told};

/// ServiceExports, as paths have it.
pub(crate) const EXPORTS: &str = "serviceexports";
/// ServiceImports, as paths have it.
pub(crate) const IMPORTS: &str = "serviceimports";

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
    /// ServiceExports of a namespace, or of all.
    Exports(Option<Str>),
    /// ServiceImports of a namespace, or of all.
    Imports(Option<Str>),
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
    /// None where there is no feed, as there is nothing that it could ask for.
    line: Option<Arc<Line>>,
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
    join: Join,
    /// Where exports or imports are, where they are anywhere.
    api: Option<Api>,
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
            Self::Exports(namespace) => (Kind::Export, namespace.clone()),
            Self::Imports(namespace) => (Kind::Import, namespace.clone()),
        };
        Some(Part { kind, namespace })
    }

    /// The field that it is a part of.
    pub(super) fn field(&self) -> Option<&Option<Str>> {
        match self {
            Self::Namespaces | Self::Nodes => None,
            Self::Services(namespace)
            | Self::Slices(namespace)
            | Self::Exports(namespace)
            | Self::Imports(namespace) => Some(namespace),
        }
    }

    /// True where a definition has to be there for it, which may not be.
    pub(super) fn is_custom(&self) -> bool {
        matches!(self, Self::Exports(_) | Self::Imports(_))
    }

    /// What is to be watched; none where its kind is served nowhere.
    fn resource(&self, selector: Option<String>, api: Option<&Api>) -> Option<Resource> {
        let core = || "/api/v1".to_owned();
        let (group, namespace, plural) = match self {
            Self::Namespaces => (core(), &None, "namespaces"),
            Self::Nodes => (core(), &None, "nodes"),
            Self::Services(namespace) => (core(), namespace, "services"),
            Self::Slices(namespace) => (
                "/apis/discovery.k8s.io/v1".to_owned(),
                namespace,
                "endpointslices",
            ),
            Self::Exports(namespace) => (api?.path(), namespace, EXPORTS),
            Self::Imports(namespace) => (api?.path(), namespace, IMPORTS),
        };
        let path = match namespace {
            Some(namespace) => format!("{group}/namespaces/{namespace}/{plural}"),
            None => format!("{group}/{plural}"),
        };
        let form = match self {
            Self::Namespaces | Self::Nodes => Form::Metadata,
            Self::Services(_) | Self::Slices(_) | Self::Exports(_) | Self::Imports(_) => Form::Object,
        };
        Some(Resource { path, selector, form })
    }
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
    fn new() -> Self {
        Self {
            number: 0,
            line: None,
            listed: false,
            failures: 0,
            error: None,
            confirmed: None,
        }
    }

    /// Ends the feed, and its requests.
    fn hang_up(&mut self) {
        if let Some(line) = self.line.take() {
            line.stopped.store(true, Ordering::Relaxed);
            line.wake.notify_one();
        }
    }

    fn lasts(&self) -> bool {
        let lasting =
            |error: &Arc<RegistryError>| matches!(error.kind(), ErrorKind::Denied | ErrorKind::Configuration);
        self.error.as_ref().is_some_and(lasting)
    }
}

// === impl Parts ===

impl Parts {
    pub(super) fn new(transport: Arc<dyn Transport>, manner: Manner, control: Control, join: Join) -> Self {
        Self {
            transport,
            manner,
            control,
            join,
            api: None,
            started: 0,
            progress: BTreeMap::new(),
        }
    }

    /// All that has to be known of a field: without any of it nothing can be said of its services.
    pub(super) fn of_field(&self, field: &Option<Str>) -> impl Iterator<Item = Subject> + use<> {
        let (slices, services) = (Subject::Slices(field.clone()), Subject::Services(field.clone()));
        let all = match self.join {
            Join::Services => [Some(services), Some(slices), None],
            Join::Exports => [
                Some(services),
                Some(slices),
                Some(Subject::Exports(field.clone())),
            ],
            Join::Imports => [Some(slices), Some(Subject::Imports(field.clone())), None],
        };
        all.into_iter().flatten()
    }

    /// Where exports or imports are by now.
    pub(super) fn api(&self) -> Option<&Api> {
        self.api.as_ref()
    }

    /// They are somewhere else. Feeds go on where they were until they are started anew.
    pub(super) fn set_api(&mut self, api: Option<Api>) {
        self.api = api;
    }

    /// Starts a feed; `None` where there is one already, or nothing that it could ask for: then it is waited for.
    pub(super) fn start(&mut self, subject: Subject, selector: Option<String>) -> Option<Running> {
        let held = self.progress.entry(subject.clone()).or_insert_with(Progress::new);
        if held.line.is_some() {
            return None;
        }
        let resource = subject.resource(selector, self.api.as_ref())?;
        self.started += 1;
        let line = Arc::new(Line::default());
        held.number = self.started;
        held.line = Some(line.clone());
        let feed = Feed::new(
            self.transport.clone(),
            resource,
            self.manner.clone(),
            self.control.clone(),
        );
        Some(step(subject, self.started, feed, line).boxed())
    }

    /// Ends a feed. What it said is as true as it was.
    pub(super) fn end(&mut self, subject: &Subject) {
        if let Some(progress) = self.progress.get_mut(subject) {
            progress.number = 0;
            progress.hang_up();
        }
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
        for part in self.of_field(field) {
            if let Some(mut progress) = self.progress.remove(&part) {
                progress.hang_up();
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
        let wanted = self.progress.iter().filter(|(subject, _)| which(subject));
        for line in wanted.filter_map(|(_, progress)| progress.line.as_ref()) {
            line.wake.notify_one();
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

    /// True where all of it was listed.
    pub(super) fn field_is_listed(&self, field: &Option<Str>) -> bool {
        self.of_field(field).all(|part| self.is_listed(&part))
    }

    /// The last failure of a field since its last success.
    pub(super) fn field_error(&self, field: &Option<Str>) -> Option<&Arc<RegistryError>> {
        let mut parts = self.of_field(field);
        parts.find_map(|part| self.progress.get(&part)?.error.as_ref())
    }

    /// True where rights or settings forbid a part of the field.
    pub(super) fn field_lasts(&self, field: &Option<Str>) -> bool {
        self.of_field(field)
            .any(|part| self.progress.get(&part).is_some_and(Progress::lasts))
    }

    /// When all of it was confirmed.
    pub(super) fn field_confirmed(&self, field: &Option<Str>) -> Option<Instant> {
        let confirmed = self.of_field(field).map(|part| self.confirmed(&part));
        confirmed.min().flatten()
    }

    /// True where nobody should wait for the field: rights or settings forbid it, or it keeps failing.
    pub(super) fn field_is_hopeless(&self, field: &Option<Str>) -> bool {
        let hopeless = |progress: &Progress| progress.lasts() || progress.failures >= PATIENCE;
        self.of_field(field)
            .any(|part| self.progress.get(&part).is_some_and(hopeless))
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

    /// True where what a definition has to be there for is known not to be there.
    pub(super) fn is_absent(&self) -> bool {
        let mut custom = self.progress.iter().filter(|(subject, _)| subject.is_custom());
        self.api.is_none() && custom.any(|(_, progress)| progress.listed && progress.error.is_none())
    }

    /// True where the server says that there is no such list.
    pub(super) fn is_missing(&self, subject: &Subject) -> bool {
        self.error(subject)
            .is_some_and(|error| error.kind() == ErrorKind::Configuration)
    }

    /// True where there is no feed of it.
    pub(super) fn is_idle(&self, subject: &Subject) -> bool {
        self.progress
            .get(subject)
            .is_some_and(|progress| progress.line.is_none())
    }

    /// Whether a listing of it is worth waiting for: it is watched, and not forbidden.
    pub(super) fn may_come(&self, subject: &Subject) -> bool {
        self.progress
            .get(subject)
            .is_some_and(|progress| !progress.lasts())
    }
}
