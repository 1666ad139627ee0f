//! One watch of one cluster: feeds in, batches of events out.
//!
//! ```text
//!  namespaces (by label) ──▶ which fields there are
//!  nodes ─────────┐
//!  services ──────┼─ Told ─▶ Index ─ Change ─▶ events
//!  slices ────────┤
//!  exports ───────┘
//!     ▲
//!  which version of their API is served
//! ```
//!
//! A *field* is what one set of watches covers, of services, slices and whatever else the [view](View) takes: all namespaces,
//! or one of them. Its events have the scope of the registry or of the namespace's group. A field is *open* once all of that
//! was listed: before that what is known of it is part of the truth, and nobody is told.

mod fields;
mod identity;
mod namespaces;
pub(crate) mod offered;
pub(crate) mod parts;
#[cfg(test)]
mod tests;
mod troubles;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use registry_core::{Control, ErrorKind, Event, RegistryError, Resync, Scope, ServiceId, Str};
use tokio::time::Instant;

use crate::config::KubernetesConfig;
use crate::index::{Change, Index, Join, Kind, Mapping, Part, Source, Unreadable};
use crate::transport::Transport;
use crate::view::View;
use crate::watch::{Manner, Told};
use crate::wire;
use fields::Fields;
use identity::Identity;
use namespaces::Namespaces;
use offered::{Offered, Word};
use parts::{Parts, Running, Step, Subject};
use troubles::Troubles;

/// Steps that are taken in before what they changed is told, where more are there already.
const AT_ONCE: usize = 64;

/// A watch under way.
pub(crate) struct Session {
    control: Control,
    index: Index,
    namespaces: Namespaces,
    parts: Parts,
    running: FuturesUnordered<Running>,
    fields: Fields,
    identity: Identity,
    /// Another cluster behind the address is the end.
    until_swapped: bool,
    /// Set where definitions have to be there for what is watched.
    offered: Option<Offered>,
    troubles: Troubles,
    /// A scope of which somebody wants complete knowledge, and what was not listed since.
    wish: Option<(Scope, BTreeSet<Subject>)>,
    /// Services of which an object cannot be read, as last told.
    unreadable: BTreeMap<ServiceId, Arc<RegistryError>>,
    /// Parts in whose last listing something could not even be told from other objects.
    blind: HashSet<Part>,
    /// Namespaces beyond the limit, as last told.
    excess: usize,
    /// What there is to tell, in order.
    batch: Vec<Event>,
}

impl Session {
    /// A session; it asks for nothing before it is polled.
    pub(crate) fn new(
        config: &KubernetesConfig,
        view: &View,
        cluster: &str,
        transport: Arc<dyn Transport>,
        control: Control,
    ) -> Self {
        let join = view.join();
        let mapping = Mapping {
            join,
            cluster: cluster.into(),
            network: config.network.as_str().into(),
            fqdn: config.fqdn,
            removal_delay: config.removal_delay,
            ports: control.ports().clone(),
        };
        let manner = Manner {
            timeout: config.watch_timeout,
            page_size: config.page_size,
            streaming_lists: config.streaming_lists,
            patience: config.request_timeout,
            max_page_bytes: config.max_page_bytes,
            max_object_bytes: config.max_object_bytes,
        };
        let offered = view.wanted(config).map(|wanted| {
            let (patience, term) = (config.request_timeout, config.watch_timeout);
            Offered::new(transport.clone(), control.clone(), wanted, patience, term)
        });
        let mut session = Self {
            offered,
            identity: Identity::new(transport.clone(), config.request_timeout),
            until_swapped: false,
            parts: Parts::new(transport, manner, control.clone(), join),
            index: Index::new(mapping),
            running: FuturesUnordered::new(),
            namespaces: Namespaces::new(config),
            fields: Fields::default(),
            troubles: Troubles::default(),
            wish: None,
            unreadable: BTreeMap::new(),
            blind: HashSet::new(),
            excess: 0,
            batch: Vec::new(),
            control,
        };
        // The nodes of imported endpoints are those of other clusters.
        if config.nodes && join != Join::Imports {
            session.start(Subject::Nodes, None);
        }
        if let Some(selector) = session.namespaces.selector().map(str::to_owned) {
            session.start(Subject::Namespaces, Some(selector));
        }
        session.start_fields();
        session
    }

    /// It ends where another cluster is behind the address, or may be, and does not begin anew by itself.
    pub(crate) fn until_swapped(mut self) -> Self {
        self.until_swapped = true;
        self
    }

    /// What there is to tell next; never an empty batch.
    ///
    /// # Errors
    ///
    /// At the [end](Self::until_swapped), where it has one.
    pub(crate) async fn next_batch(&mut self) -> Result<Vec<Event>, RegistryError> {
        loop {
            let due = self.index.next_due();
            let removals = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(step) = self.running.next() => self.take_in(step),
                word = offered(&mut self.offered) => self.offered(word),
                (before, after) = self.identity.changed() => {
                    if self.until_swapped {
                        return Err(other_cluster(before.as_ref(), &after));
                    }
                    self.swapped(before.as_ref(), &after);
                }
                // One after the other: a listing that each wish began anew would never end, and one that began before a
                // wish was taken does not answer it.
                wish = self.control.resync_requested(), if self.wish.is_none() => self.grant(wish),
                () = removals => {}
            }
            // What is there already belongs to the same batch.
            for _ in 0..AT_ONCE {
                match self.running.next().now_or_never() {
                    Some(Some(step)) => self.take_in(step),
                    _ => break,
                }
            }
            self.tell();
            if !self.batch.is_empty() {
                return Ok(std::mem::take(&mut self.batch));
            }
        }
    }

    /// Starts a feed where there is none.
    fn start(&mut self, subject: Subject, selector: Option<String>) {
        if let Some(running) = self.parts.start(subject, selector) {
            self.running.push(running);
        }
    }

    fn start_fields(&mut self) {
        let slices = match self.join() {
            Join::Imports => Some(wire::IMPORTED_SERVICE_NAME.to_owned()),
            Join::Services | Join::Exports => None,
        };
        for field in self.namespaces.fields() {
            for subject in self.parts.of_field(&field) {
                if subject.is_custom() && !self.parts.is_watched(&subject) && self.parts.api().is_none() {
                    // Whether there is nothing of it is to be said of this field as well.
                    self.offered.iter_mut().for_each(Offered::ask_again);
                }
                let selector = slices.clone().filter(|_| matches!(subject, Subject::Slices(_)));
                self.start(subject, selector);
            }
        }
    }

    fn join(&self) -> Join {
        self.index.join()
    }

    // === what feeds say ===

    fn take_in(&mut self, mut step: Step) {
        let subject = step.subject.clone();
        let told = std::mem::take(&mut step.told);
        let Some(running) = self.parts.go_on(step) else {
            // Its namespace is not watched any more, or there is another feed of it.
            self.troubles.end(&subject);
            return;
        };
        self.running.push(running);
        self.hear(&subject, &told);
    }

    fn hear(&mut self, subject: &Subject, told: &[Told]) {
        for word in told {
            self.parts.note(subject, word);
            match word {
                Told::Failed(error) => {
                    self.identity.doubt();
                    self.doubt(subject, error);
                    self.failed(subject, error);
                }
                Told::Skipped(what) => {
                    tracing::warn!(registry = %self.control.registry(), "passed over: {what}");
                }
                Told::Complete | Told::Confirmed => {
                    self.identity.answers();
                    self.troubles.end(subject);
                    let offered = self.offered.iter_mut().filter(|_| subject.is_custom());
                    offered.for_each(Offered::answers);
                }
                Told::Begin | Told::Listed(_) | Told::Changed(_) | Told::Removed(_) => {}
            }
            match subject.part() {
                Some(part) => self.object(&part, word),
                None => self.namespace(word),
            }
            if matches!(word, Told::Complete)
                && let Some((_, missing)) = &mut self.wish
            {
                missing.remove(subject);
            }
        }
    }

    /// A list that is not there may be somewhere else.
    fn doubt(&mut self, subject: &Subject, error: &Arc<RegistryError>) {
        if subject.is_custom() && error.kind() == ErrorKind::Configuration {
            self.offered.iter_mut().for_each(Offered::doubt);
        }
    }

    /// Takes in where exports or imports are.
    fn offered(&mut self, word: Word) {
        let registry = self.control.registry();
        let custom: Vec<Subject> = self
            .parts
            .subjects()
            .filter(|subject| subject.is_custom())
            .cloned()
            .collect();
        match word {
            Word::Served(api) if self.parts.api() == Some(&api) => {
                // What was said not to be there is.
                let lists = |subject: &Subject| subject.is_custom() && self.parts.is_missing(subject);
                self.parts.list_again(lists);
            }
            Word::Served(api) => {
                tracing::info!(%registry, path = api.path(), "reading what is served there");
                self.parts.set_api(Some(api));
                self.index.distrust_custom();
                for subject in custom {
                    // What the feed of another version said stays: the new one lists all of it again.
                    self.parts.end(&subject);
                    self.start(subject, None);
                }
            }
            Word::Absent => {
                if self.parts.api().is_some() {
                    tracing::warn!(%registry, "what was read is not served any more");
                }
                self.parts.set_api(None);
                for subject in custom {
                    self.parts.end(&subject);
                    self.hear(&subject, &[Told::Begin, Told::Complete]);
                }
            }
            // Where there are feeds these say what can be read.
            Word::Failed(error) if self.parts.api().is_some() => {
                tracing::debug!(%registry, error = error.report(), "which versions are served is not known");
            }
            Word::Failed(error) => {
                for subject in custom {
                    self.hear(&subject, &[Told::Failed(error.clone())]);
                }
            }
        }
    }

    fn object(&mut self, part: &Part, word: &Told) {
        let now = Instant::now();
        let outcome = match word {
            Told::Begin => {
                self.index.begin(part);
                Ok(())
            }
            Told::Listed(object) => self.index.apply(part.kind, object, Source::Listed, now),
            Told::Changed(object) => self.index.apply(part.kind, object, Source::Watched, now),
            Told::Removed(object) => self.index.remove(part.kind, object, now),
            Told::Complete => {
                if self.index.complete(part, now) {
                    self.blind.remove(part);
                } else {
                    self.blind.insert(part.clone());
                }
                Ok(())
            }
            Told::Skipped(_) => {
                self.index.skip(part);
                Ok(())
            }
            Told::Confirmed | Told::Failed(_) => Ok(()),
        };
        if let Err(Unreadable { error, .. }) = outcome {
            self.control.meter().count_skipped(1);
            let report = error.report();
            tracing::warn!(registry = %self.control.registry(), "what was known of it stays: {report}");
        }
    }

    fn namespace(&mut self, word: &Told) {
        let gone = self.namespaces.take_in(word);
        for namespace in gone.namespaces {
            let field = Some(namespace.clone());
            self.parts.stop(&field);
            self.blind.retain(|part| part.namespace != field);
            self.index.forget(&namespace, gone.explicit);
            // As long as it is open, for what was announced is told only of open fields.
            self.tell_changes();
            if self.fields.close(&field) {
                // Ends also what was wrong with it.
                self.batch.extend(Event::listing(Scope::Group(namespace), []));
            }
        }
        self.start_fields();
    }

    fn failed(&mut self, subject: &Subject, error: &Arc<RegistryError>) {
        if self.troubles.begin(subject, error.kind()) {
            let report = error.report();
            tracing::warn!(
                registry = %self.control.registry(), kind = error.kind().as_str(), error = report,
                "the cluster cannot be read; attempts go on"
            );
        }
        // Regions are worth a note, and not the trust in all the rest.
        if *subject == Subject::Nodes {
            return;
        }
        let field = subject.field();
        // When a server fails, both halves do: that is one failure.
        let failures = self.parts.failures(subject);
        if self.fields.count_failure(field, failures) {
            let scope = field.map_or(Scope::Registry, Namespaces::scope);
            self.batch.push(Event::degraded(scope, error.clone()));
        }
    }

    fn swapped(&mut self, before: Option<&Str>, after: &Str) {
        let registry = self.control.registry();
        match before {
            Some(before) => tracing::warn!(
                %registry, %before, %after,
                "another cluster is behind the address now: everything is listed again"
            ),
            None => tracing::info!(
                %registry, %after,
                "the server was in trouble before it was known which cluster it is: everything is listed again"
            ),
        }
        self.parts.list_again(|_| true);
        self.offered.iter_mut().for_each(Offered::ask_again);
    }

    fn grant(&mut self, Resync { scope, .. }: Resync) {
        // A list that names no resource version is answered with the newest state: there is nothing stronger to ask.
        let scope = self.namespaces.covering(scope);
        let wanted = |subject: &Subject| match subject.field() {
            Some(field) => scope.covers(&Namespaces::scope(field)),
            None => scope == Scope::Registry && *subject == Subject::Namespaces,
        };
        let missing: BTreeSet<Subject> = self
            .parts
            .subjects()
            .filter(|subject| wanted(subject))
            .cloned()
            .collect();
        self.parts.list_again(|subject| missing.contains(subject));
        if missing.iter().any(|subject| self.parts.is_idle(subject)) {
            self.offered.iter_mut().for_each(Offered::ask_again);
        }
        self.wish = Some((scope, missing));
    }

    // === what is told ===

    /// Puts into the batch what can be told by now.
    fn tell(&mut self) {
        self.tell_knowledge();
        self.tell_excess();
    }

    fn tell_knowledge(&mut self) {
        self.control.meter().set_connections(self.parts.connections());
        self.control.meter().set_note(self.note());
        // Of fields that open below nothing is told yet: their listings say all of it. Removals that are due are due no
        // more even so, or this would turn in circles.
        self.tell_changes();
        if !self.fields.begun() {
            if self.first_is_complete() {
                self.fields.begin();
                self.open_fields();
                self.tell_listing(Scope::Registry);
            }
            return;
        }
        for field in self.open_fields() {
            self.tell_listing(Namespaces::scope(&field));
        }
        let parts = &self.parts;
        let answered = |(_, missing): &mut (Scope, BTreeSet<Subject>)| {
            !missing.iter().any(|subject| parts.may_come(subject))
        };
        if let Some((scope, _)) = self.wish.take_if(answered) {
            self.tell_listing(scope);
        }
        self.tell_confirmed();
    }

    /// Namespaces beyond the limit: when there are more or fewer of them, and after each word that all is well.
    fn tell_excess(&mut self) {
        let (error, count) = match self.namespaces.excess() {
            Some((error, count)) => (Some(error), count),
            None => (None, 0),
        };
        let all_is_well = |event: &Event| {
            matches!(
                event,
                Event::Confirmed(Scope::Registry)
                    | Event::InitDone {
                        scope: Scope::Registry,
                        ..
                    }
            )
        };
        let is_due = self.excess != count || self.batch.iter().any(all_is_well);
        self.excess = count;
        if let Some(error) = error.filter(|_| is_due) {
            self.batch.push(Event::degraded(Scope::Registry, error));
        }
    }

    /// What an operator should know beyond errors.
    fn note(&self) -> Option<String> {
        let nodes = self.parts.error(&Subject::Nodes).map(|error| {
            format!(
                "regions and zones of nodes may be missing or out of date: {}",
                error.report()
            )
        });
        let absent = self
            .parts
            .is_absent()
            .then(|| self.offered.as_ref().map(Offered::absence));
        let notes: Vec<String> = absent.flatten().into_iter().chain(nodes).collect();
        (!notes.is_empty()).then(|| notes.join("; "))
    }

    /// True where all is known that is worth waiting for.
    fn first_is_complete(&self) -> bool {
        let nodes = &Subject::Nodes;
        let nodes =
            self.parts.is_listed(nodes) || !self.parts.is_watched(nodes) || self.parts.failures(nodes) > 0;
        let fields = self.parts.fields();
        let listed = fields
            .iter()
            .filter(|field| self.parts.field_is_listed(field))
            .count();
        // One namespace may be forbidden for ever. What is forbidden as a whole is not known at all.
        let rest_is_hopeless = fields
            .iter()
            .filter(|field| !self.parts.field_is_listed(field))
            .all(|field| field.is_some() && self.parts.field_is_hopeless(field));
        let some =
            listed > 0 || fields.is_empty() || fields.iter().all(|field| self.parts.field_lasts(field));
        // The first word on the whole counts as the answer to whoever asked for one before.
        let awaited = fields.iter().any(|field| {
            self.parts.field_is_listed(field)
                && !self.parts.field_is_hopeless(field)
                && is_awaited(self.wish.as_ref(), &self.parts, field)
        });
        nodes && self.namespaces.known() && rest_is_hopeless && some && !awaited
    }

    /// Opens the fields of which both halves are known by now.
    fn open_fields(&mut self) -> Vec<Option<Str>> {
        let parts = &self.parts;
        // Where one is to be listed again, that listing opens it: its word counts as the answer.
        let wish = self.wish.as_ref();
        let ready = parts
            .fields()
            .into_iter()
            .filter(|field| parts.field_is_listed(field) && !is_awaited(wish, parts, field));
        ready.filter(|field| self.fields.open(field)).collect()
    }

    /// Complete knowledge of a scope.
    fn tell_listing(&mut self, scope: Scope) {
        let now = Instant::now();
        // All of it is part of what follows, where it is of this scope; the rest is told before.
        self.tell_changes();
        let of_scope = self
            .parts
            .fields()
            .into_iter()
            .filter(|field| scope.covers(&Namespaces::scope(field)));
        let mut unread: Vec<(Scope, Arc<RegistryError>)> = of_scope
            .filter_map(|field| Some((Namespaces::scope(&field), self.why_unread(&field)?)))
            .collect();
        if let (Scope::Registry, Some(error)) = (&scope, self.parts.error(&Subject::Namespaces)) {
            // There may be others by now.
            unread.push((Scope::Registry, error.clone()));
        }
        let of_scope = self.unreadable.iter().filter(|(id, _)| scope.contains(id));
        unread.extend(of_scope.map(|(id, error)| (Scope::Service(id.clone()), error.clone())));
        self.batch.push(Event::Init(scope.clone()));
        let group = match &scope {
            Scope::Group(group) => Some(group.as_str()),
            Scope::Registry | Scope::Service(_) => None,
        };
        let records = self.index.records(group);
        let open = records.filter(|record| self.fields.covers(record.id()));
        self.batch.extend(open.map(Event::apply));
        self.fields.told(&scope, &unread, now);
        self.batch.push(Event::InitDone { scope, unread });
    }

    /// Why a listing cannot speak for a field: what it had then stays.
    fn why_unread(&self, field: &Option<Str>) -> Option<Arc<RegistryError>> {
        let error = self.parts.field_error(field).cloned();
        let not_yet = || {
            let message = format!("{}: not listed yet", Namespaces::scope(field));
            Arc::new(RegistryError::new(ErrorKind::Unavailable, message))
        };
        let blind = || {
            let message = format!(
                "{}: found objects that cannot be read, not even their names: any of those known may be one of them",
                Namespaces::scope(field)
            );
            Arc::new(RegistryError::new(ErrorKind::Malformed, message))
        };
        let is_blind = || {
            self.blind
                .iter()
                .any(|part| part.kind != Kind::Node && part.namespace == *field)
        };
        error
            .or_else(|| (!self.fields.is_open(field)).then(not_yet))
            .or_else(|| is_blind().then(blind))
    }

    /// What changed in open fields. Of the others nothing is told before they open.
    fn tell_changes(&mut self) {
        for change in self.index.take_changes(Instant::now()) {
            let (id, event) = match change {
                Change::Apply { record, explicit } => {
                    (record.id().clone(), Event::Apply { record, explicit })
                }
                Change::Delete { id, explicit } => (id.clone(), Event::Delete { id, explicit }),
            };
            if self.fields.covers(&id) {
                self.batch.push(event);
                // Such a word ends the trouble of a service. Where an object of it cannot be read, it goes on.
                self.unreadable.remove(&id);
            }
        }
        let mut unreadable: BTreeMap<_, _> = self
            .index
            .unreadable()
            .filter(|(id, _)| self.fields.covers(id))
            .map(|(id, error)| (id.clone(), error.clone()))
            .collect();
        for (id, error) in &self.unreadable {
            if unreadable.contains_key(id) {
                continue;
            }
            // What was known before anything could be read of it is not told to be gone by a change.
            match self.index.has(id) {
                Some(true) => self.batch.push(Event::Confirmed(Scope::Service(id.clone()))),
                Some(false) => self.batch.push(Event::Delete {
                    id: id.clone(),
                    explicit: false,
                }),
                None => {
                    unreadable.insert(id.clone(), error.clone());
                }
            }
        }
        let broken = unreadable
            .iter()
            .filter(|(id, _)| !self.unreadable.contains_key(id));
        self.batch
            .extend(broken.map(|(id, error)| Event::degraded(Scope::Service(id.clone()), error.clone())));
        self.unreadable = unreadable;
    }

    /// Confirms what was confirmed in all of its parts since the last time.
    fn tell_confirmed(&mut self) {
        let namespaces = self
            .namespaces
            .selector()
            .is_some()
            .then(|| self.parts.confirmed(&Subject::Namespaces));
        let fields: Vec<_> = self
            .parts
            .fields()
            .into_iter()
            .map(|field| {
                let error = self.parts.field_error(&field).is_some();
                let confirmed = self.parts.field_confirmed(&field).filter(|_| !error);
                (field, confirmed)
            })
            .collect();
        for scope in self.fields.confirmed(namespaces, &fields, Instant::now()) {
            self.batch.push(Event::Confirmed(scope));
        }
    }
}

fn other_cluster(before: Option<&Str>, after: &Str) -> RegistryError {
    let text = match before {
        Some(before) => format!(
            "another cluster is behind the address now: found {after:?} as the uid of the namespace kube-system, expected \
             {before:?}"
        ),
        None => format!(
            "the server was in trouble before it was known which cluster it is: found {after:?} as the uid of the namespace \
             kube-system"
        ),
    };
    RegistryError::new(ErrorKind::Unavailable, text)
}

/// What is known next of where exports or imports are, where there may be such.
async fn offered(offered: &mut Option<Offered>) -> Word {
    match offered {
        Some(offered) => offered.word().await,
        None => std::future::pending().await,
    }
}

/// True where somebody waits for the field to be listed again.
fn is_awaited(wish: Option<&(Scope, BTreeSet<Subject>)>, parts: &Parts, field: &Option<Str>) -> bool {
    let mut missing = wish.into_iter().flat_map(|(_, missing)| missing);
    missing.any(|subject| subject.field() == Some(field) && parts.may_come(subject))
}
