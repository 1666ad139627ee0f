//! `/v1/watch`: the full state, then what changes, as server-sent events.
//!
//! ```text
//!             ready                    all sent                    there is a delta
//!  (waiting) ───────▶ reset or delta ──────────▶ (idle: keepalive) ────────────────▶ delta ──▶ (idle) …
//! ```
//!
//! With `pieces=true`, as another daemon asks, an event is told in several, none of which is larger than one service:
//!
//! ```text
//!  ages ──▶ begin ─▶ service … ─▶ end ──▶ ages …               registries first, so that a loop is seen before anything is taken
//! ```
//!
//! The next delta is computed when the client has taken the last one, never before: a client that does not read costs
//! what its socket holds, and gets one delta for everything it has missed.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use registry_core::{Changes, Delta, InstanceId, Phase, RegistryId, Service, Snapshot, Str};
use tokio::time::Instant;

use super::document::Document;
use super::json::{self, Phases};
use super::problem::Problem;
use super::query::{self, Selection};
use super::ring::{Missed, held};
use super::services::{Registries, full, select};
use super::{Api, lock};

/// Tells which daemon answers, before it says anything.
const INSTANCE: HeaderName = HeaderName::from_static("x-registryd-instance");

/// `GET /v1/watch`
pub(super) async fn watch(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = query::watch(query.as_deref())?;
    let given = headers.get("last-event-id");
    let given = given.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let since = given
        .or(query.last_event_id)
        .and_then(|id| revision_of(&id, api.discovery.instance()));
    let place = Place::take(&api.watches, api.options.watches).ok_or_else(|| {
        Problem::unavailable(format!(
            "{} watches are open already, and there may not be more",
            api.options.watches
        ))
    })?;
    let instance = HeaderValue::from_str(&api.discovery.instance().to_string());
    let mut watch = Watch {
        changes: api.discovery.changes(),
        api,
        selection: query.selection,
        pieces: query.pieces.unwrap_or_default(),
        since,
        told: None,
        begun: false,
        document: None,
        told_at: Instant::now(),
        _place: place,
    };
    watch.document = watch.pieces.then(|| watch.ages());
    let pieces = stream::unfold(watch, |mut watch| async move {
        let piece = watch.next_chunk().await?;
        Some((Ok::<_, Infallible>(piece), watch))
    });
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("text/event-stream"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // Proxies of the nginx kind hold an answer back until it ends, which this one does not.
        (
            HeaderName::from_static("x-accel-buffering"),
            HeaderValue::from_static("no"),
        ),
    ];
    let mut response = (headers, Body::from_stream(pieces)).into_response();
    if let Ok(instance) = instance {
        response.headers_mut().insert(INSTANCE, instance);
    }
    Ok(response)
}

/// The revision that a client knows, where it got it from this process.
fn revision_of(id: &str, instance: InstanceId) -> Option<u64> {
    let (held, revision) = id.trim().split_once('.')?;
    let same = held.parse() == Ok(instance);
    revision.parse().ok().filter(|_| same)
}

/// One of the watches that may be open.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(open: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let one_more = |open: usize| (open < most).then_some(open + 1);
        open.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .ok()?;
        Some(Self(open.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One client.
struct Watch {
    api: Arc<Api>,
    changes: Changes,
    selection: Selection,
    /// Events are told in pieces, and ages in place of comments.
    pieces: bool,
    /// The revision it resumes from.
    since: Option<u64>,
    /// The revision that the client knows of.
    told: Option<u64>,
    begun: bool,
    /// The event that is being sent.
    document: Option<Document>,
    /// When it was last sent something. What is not for it is no sign of life.
    told_at: Instant,
    _place: Place,
}

impl Watch {
    async fn next_chunk(&mut self) -> Option<Bytes> {
        let chunk = self.next_bytes().await?;
        self.told_at = Instant::now();
        Some(chunk)
    }

    async fn next_bytes(&mut self) -> Option<Bytes> {
        loop {
            // An event that breaks off is never dispatched: its blank line is missing.
            if self.api.closing.is_cancelled() {
                return None;
            }
            if let Some(document) = &mut self.document {
                if let Some(chunk) = document.next_chunk() {
                    return Some(chunk);
                }
                self.document = None;
            }
            let api = self.api.clone();
            let quiet = tokio::time::sleep_until(self.told_at + api.options.keepalive);
            let comment = if self.begun {
                let before = self.changes.snapshot().clone();
                tokio::select! {
                    () = api.closing.cancelled() => return None,
                    delta = self.changes.next() => {
                        self.document = self.delta(delta?, &before);
                        continue;
                    }
                    () = quiet => ": nothing new\n\n",
                }
            } else {
                // A reset says "this is all there is": before readiness that would be a lie, and empty consumers.
                tokio::select! {
                    () = api.closing.cancelled() => return None,
                    () = api.discovery.ready() => {
                        self.begun = true;
                        self.changes = api.discovery.changes();
                        self.document = self.first();
                        continue;
                    }
                    // Two daemons that wait for each other have to find it out before either is ready.
                    delta = self.changes.next(), if self.pieces => {
                        self.document = (!delta?.phases.is_empty()).then(|| self.ages());
                        continue;
                    }
                    () = quiet => ": not ready\n\n",
                }
            };
            if self.pieces {
                self.document = Some(self.ages());
                continue;
            }
            return Some(Bytes::from_static(comment.as_bytes()));
        }
    }

    /// The first event: everything, or what was missed, or nothing where nothing was.
    fn first(&mut self) -> Option<Document> {
        let snapshot = self.changes.snapshot().clone();
        self.told = Some(snapshot.revision());
        if self.since == self.told {
            // Who reads pieces is told that it has missed nothing.
            return self.pieces.then(|| self.ages());
        }
        let missed = self
            .since
            .and_then(|since| Some((since, lock(&self.api.ring).missed(since, &snapshot)?)));
        let Some((since, missed)) = missed else {
            let services = select(&snapshot, &self.selection);
            if self.pieces {
                return Some(self.in_pieces(&snapshot, None, services, Vec::new()));
            }
            let begin = self.begin("reset", &snapshot);
            return Some(begin.then(full(&snapshot, services, true)).text("}\n\n"));
        };
        let Missed {
            updated,
            mut removed,
            phases,
        } = missed;
        let (updated, left) = self.split(updated);
        // What the client was told of before is not known here: what it may have been told of is taken back.
        removed.extend(left.iter().map(|service| service.hostname().clone()));
        removed.retain(|hostname| self.selection.may_match(hostname));
        Some(self.event(since, &snapshot, updated, removed, &phases))
    }

    /// The event for a delta; `None` where nothing of it is for this client.
    fn delta(&mut self, delta: Delta, before: &Snapshot) -> Option<Document> {
        let (updated, left) = self.split(delta.updated);
        let mut removed = delta.removed;
        if !self.selection.is_everything() {
            removed.extend(left.iter().map(|service| service.hostname().clone()));
            removed.retain(|hostname| {
                held(before, hostname).is_some_and(|service| self.selection.matches(service))
            });
            if updated.is_empty() && removed.is_empty() && delta.phases.is_empty() {
                return None;
            }
        }
        let snapshot = self.changes.snapshot().clone();
        let from = self.told.replace(snapshot.revision()).unwrap_or(delta.from);
        Some(self.event(from, &snapshot, updated, removed, &delta.phases))
    }

    /// The services that are wanted, and those that are not.
    fn split(&self, services: Vec<Arc<Service>>) -> (Vec<Arc<Service>>, Vec<Arc<Service>>) {
        services
            .into_iter()
            .partition(|service| self.selection.matches(service))
    }

    fn event(
        &self,
        from: u64,
        snapshot: &Snapshot,
        mut updated: Vec<Arc<Service>>,
        mut removed: Vec<Str>,
        phases: &[(RegistryId, Option<Phase>)],
    ) -> Document {
        updated.sort_unstable_by(|a, b| a.hostname().cmp(b.hostname()));
        removed.sort_unstable();
        if self.pieces {
            return self.in_pieces(snapshot, Some(from), updated, removed);
        }
        let (to, root) = (snapshot.revision(), snapshot.root_hash());
        let mut rest = b"],\"phases\":".to_vec();
        json::append(&mut rest, &Phases(phases));
        rest.extend_from_slice(b",\"registries\":");
        json::append(&mut rest, &Registries { snapshot, only: None });
        rest.extend_from_slice(b"}\n\n");
        self.begin("delta", snapshot)
            .text(format!(
                "{{\"from\":{from},\"to\":{to},\"root_hash\":\"{root}\",\"updated\":["
            ))
            .services(updated)
            .text("],\"removed\":[")
            .names(removed)
            .text(rest)
    }

    /// The full state, or what changed since a revision, piece by piece.
    fn in_pieces(
        &self,
        snapshot: &Snapshot,
        from: Option<u64>,
        services: Vec<Arc<Service>>,
        removed: Vec<Str>,
    ) -> Document {
        let (revision, root) = (snapshot.revision(), snapshot.root_hash());
        let (instance, count) = (self.api.discovery.instance(), services.len());
        let mut begin = b"event: begin\ndata: {\"from\":".to_vec();
        json::append(&mut begin, &from);
        begin.extend_from_slice(format!(",\"revision\":{revision},\"root_hash\":\"{root}\"").as_bytes());
        begin.extend_from_slice(b",\"registries\":");
        json::append(&mut begin, &Registries { snapshot, only: None });
        begin.extend_from_slice(b",\"removed\":[");
        Document::default()
            .text(begin)
            .names(removed)
            .text("]}\n\n")
            .events(services)
            .text(format!(
                "event: end\nid: {instance}.{revision}\ndata: {{\"services\":{count}}}\n\n"
            ))
    }

    /// How old what is known of each registry is, and of which revision the client knows.
    fn ages(&self) -> Document {
        let snapshot = self.api.discovery.snapshot();
        let mut text = b"event: ages\ndata: {\"ready\":".to_vec();
        json::append(&mut text, &(self.begun || self.api.discovery.readiness().ready));
        text.extend_from_slice(b",\"revision\":");
        json::append(&mut text, &self.told);
        text.extend_from_slice(b",\"registries\":");
        let registries = Registries {
            snapshot: &snapshot,
            only: None,
        };
        json::append(&mut text, &registries);
        text.extend_from_slice(b"}\n\n");
        Document::default().text(text)
    }

    /// An event up to its data, which is one line: JSON has no line breaks of its own here.
    fn begin(&self, kind: &str, snapshot: &Snapshot) -> Document {
        let (instance, revision) = (self.api.discovery.instance(), snapshot.revision());
        Document::default().text(format!("event: {kind}\nid: {instance}.{revision}\ndata: "))
    }
}
