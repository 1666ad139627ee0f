//! The transitions of a feed: which answer leads to which request.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use registry_core::{ErrorKind, RegistryError};
use tokio::time::{Instant, sleep};

use super::event::{self, Happened};
use super::lines::Line;
use super::pace::{Rest, rest_asked_for};
use super::page::{self, Page};
use super::reading::{Asking, PageBody, Piece, Request, WatchBody};
use super::{Feed, Listing, Manner, State, Step, Told, query};
use crate::transport::{Ask, Body, Class, Form, Refusal};

/// How long the server keeps a watch open that comes after trouble.
const BRIEF: Duration = Duration::from_secs(5);
/// A watch that ends sooner without having brought anything is a failure, and a server that asks for a new listing
/// sooner after the last one has to wait for it.
const AT_ONCE: Duration = Duration::from_secs(1);
/// Servers end watches a little sooner or later than they said.
const SLACK: Duration = Duration::from_secs(1);
/// What a transport may take beyond its time for a head, for credentials and a second attempt.
const OVERTIME: Duration = Duration::from_secs(30);
/// A replica that lags behind another one is asked so many times more before it counts as one from the past.
const LAGS: u32 = 3;
/// The least that a server is given to say whether it has a version: it waits three seconds for one that it does not have
/// yet, and until it has said so nobody knows that its memory was wiped.
const VERDICT: Duration = Duration::from_secs(6);
/// A page is asked for so many times before the listing begins again.
const PAGE_ATTEMPTS: u32 = 5;
/// So many streaming lists that never end are enough to do without them.
const MUTE: u32 = 2;

impl Feed {
    /// How the next listing begins.
    pub(super) fn listing(&self) -> Step {
        // Every third attempt is by pages even where the server says nothing against streaming lists: what is between
        // us may hold back an answer that has no end.
        if self.streaming && self.broken % 3 != 2 {
            Step::Stream
        } else {
            Step::Page(Listing::default())
        }
    }

    /// Goes on as far as one piece of an answer leads.
    pub(super) fn step(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.state {
            State::Due(step) => {
                let step = step.clone();
                self.ask(step);
            }
            State::Resting { timer, then, .. } => {
                std::task::ready!(timer.as_mut().poll(cx));
                self.state = State::Due(then.clone());
            }
            State::Asking { asking, .. } => {
                let answer = std::task::ready!(asking.poll(cx));
                self.answered(answer);
            }
            State::Paging { body, .. } | State::Checking { body, .. } => {
                let whole = std::task::ready!(body.poll(cx));
                self.read_page(whole);
            }
            State::Streaming { body, .. } | State::Watching { body, .. } => {
                let piece = std::task::ready!(body.poll(cx));
                self.read_piece(piece);
            }
        }
        Poll::Ready(())
    }

    // --- asking

    fn ask(&mut self, step: Step) {
        let (resource, manner) = (&self.resource, &self.manner);
        let (path, form, watch) = match &step {
            Step::Page(listing) => {
                let path = query::page(resource, manner.page_size, listing.token.as_deref());
                (path, resource.form, false)
            }
            Step::Stream => (query::stream(resource, self.term(false)), resource.form, true),
            Step::Watch { brief } => {
                let path = query::watch(resource, self.term(*brief), &self.version);
                (path, resource.form, true)
            }
            // Metadata is enough to see whether there is an answer.
            Step::Check { .. } => (query::check(resource, &self.version), Form::Metadata, false),
        };
        let request = Request::new(&self.control, query::shown(&self.transport.base(), &path));
        let patience = match step {
            Step::Check { .. } => manner.patience.max(VERDICT),
            _ => manner.patience,
        };
        let ask = Ask {
            path,
            form,
            watch,
            patience,
        };
        let transport = Arc::clone(&self.transport);
        let head = Box::pin(async move { transport.get(ask).await });
        let asking = Asking::new(request, head, patience + OVERTIME);
        self.state = State::Asking { asking, step };
    }

    /// How long the server shall keep a watch open, in the whole seconds that it can be told.
    fn term(&self, brief: bool) -> Duration {
        let term = Duration::from_secs(self.manner.timeout.as_secs().max(1));
        if brief { term.min(BRIEF) } else { term }
    }

    fn answered(&mut self, answer: Result<Body, Refusal>) {
        let State::Asking { asking, step } = self.take() else {
            return;
        };
        let body = match answer {
            Ok(body) => body,
            Err(refusal) => return self.refused(step, refusal),
        };
        let mut request = asking.into_request();
        request.answered_by(&self.transport.base());
        let Manner {
            patience,
            max_page_bytes,
            max_object_bytes,
            ..
        } = self.manner;
        self.state = match step {
            Step::Page(listing) => State::Paging {
                body: PageBody::new(request, body, max_page_bytes, patience),
                listing,
            },
            Step::Check { refused } => State::Checking {
                refused,
                body: PageBody::new(request, body, max_page_bytes, patience),
            },
            Step::Stream => {
                let term = self.term(false);
                State::Streaming {
                    body: WatchBody::new(request, body, max_object_bytes, term, Some(patience)),
                    begun: false,
                }
            }
            Step::Watch { brief } => State::Watching {
                body: WatchBody::new(request, body, max_object_bytes, self.term(brief), None),
                spoke: false,
                moved: false,
                garbled: false,
            },
        };
    }

    /// There is no answer, or an error takes its place.
    fn refused(&mut self, step: Step, Refusal { class, error }: Refusal) {
        match (step, class) {
            (Step::Stream, Class::Invalid) => {
                self.stop_streaming(&error.report());
                self.state = State::Due(self.listing());
            }
            (_, Class::Gone) => self.list_anew(error),
            (Step::Watch { .. }, Class::Ahead) => self.check_later(0, error),
            (Step::Check { refused }, Class::Ahead) => self.check_later(refused, error),
            (Step::Watch { .. } | Step::Check { .. }, Class::Invalid) => {
                let error = self.fail(class, error);
                self.list_anew_after(&error);
            }
            (Step::Watch { .. } | Step::Check { .. }, Class::Forbidden | Class::NotFound) => {
                // What was allowed or there before may be again, and then everything may be different.
                self.retry(class, error, Self::listing);
            }
            (Step::Watch { .. } | Step::Check { .. }, _) => {
                self.retry(class, error, |_| Step::Watch { brief: true });
            }
            (Step::Page(listing), Class::Trouble | Class::Unauthenticated | Class::Ahead)
                if listing.token.is_some() && listing.failures + 1 < PAGE_ATTEMPTS =>
            {
                // The token stands for the state of the first page: nothing of the listing is lost.
                self.retry(class, error, |_| {
                    Step::Page(Listing {
                        failures: listing.failures + 1,
                        ..listing
                    })
                });
            }
            (Step::Page(_) | Step::Stream, _) => {
                self.broken += 1;
                self.retry(class, error, Self::listing);
            }
        }
    }

    // --- pages

    fn read_page(&mut self, whole: Result<Bytes, RegistryError>) {
        let (body, step) = match self.take() {
            State::Paging { body, listing } => (body, Step::Page(listing)),
            State::Checking { body, refused } => (body, Step::Check { refused }),
            _ => return,
        };
        let mut request = body.into_request();
        let page = whole.map_err(Refusal::trouble).and_then(|whole| {
            self.read += whole.len();
            page::parse(&request.asked, &whole)
        });
        match (page, step) {
            (Ok(page), Step::Page(listing)) => {
                if page.token.is_some() && page.token == listing.token {
                    request.has_failed();
                    let message = format!(
                        "{}: found the token of this page for the next one, expected another",
                        request.asked
                    );
                    let error = RegistryError::new(ErrorKind::Malformed, message);
                    self.broken += 1;
                    return self.retry(Class::Trouble, error, Self::listing);
                }
                self.add_page(page, listing);
            }
            (Ok(page), _) => self.checked(&page, &request.asked),
            (Err(refusal), step) => {
                request.has_failed();
                self.refused(step, refusal);
            }
        }
    }

    fn add_page(&mut self, page: Page, listing: Listing) {
        if listing.version.is_none() {
            self.told.push(Told::Begin);
        }
        let version = listing.version.unwrap_or(page.version);
        self.told.extend(page.objects.into_iter().map(Told::Listed));
        self.state = if page.token.is_some() {
            State::Due(Step::Page(Listing {
                token: page.token,
                version: Some(version),
                failures: 0,
            }))
        } else {
            self.complete(version);
            State::Due(Step::Watch { brief: false })
        };
    }

    fn complete(&mut self, version: String) {
        self.version = version;
        self.told.push(Told::Complete);
        self.listed = Some(Instant::now());
        self.confirmed = Instant::now();
        self.mute = 0;
        self.broken = 0;
        self.pace.listed();
    }

    /// The server has our version. Nothing is taken from the page, which shows one object of many.
    fn checked(&mut self, page: &Page, asked: &str) {
        if page::is_older(&page.version, &self.version) {
            let message = format!(
                "{asked}: found version {}, expected {} or later",
                page.version, self.version
            );
            return self.went_back(RegistryError::new(ErrorKind::Unavailable, message));
        }
        self.confirm();
        self.pace.watched();
        self.state = State::Due(Step::Watch { brief: false });
    }

    // --- watches

    fn read_piece(&mut self, piece: Piece) {
        match piece {
            Piece::Heard(bytes) => self.read += bytes,
            Piece::Line(Line::Whole(line)) => match event::parse(&line) {
                Ok(happened) => self.happened(happened),
                Err(what) => {
                    if let State::Watching { garbled, .. } = &mut self.state {
                        *garbled = true;
                    }
                    self.skip(&what);
                }
            },
            Piece::Line(Line::TooLong { length, start }) => {
                if let State::Watching { spoke, .. } = &mut self.state {
                    *spoke = true;
                }
                self.skip(&format!(
                    "{}: found a line of {length} bytes, expected at most {} (max_object_bytes)",
                    event::called(&start),
                    self.manner.max_object_bytes
                ));
            }
            Piece::Ended(None) => self.ended(),
            Piece::Ended(Some(line)) => {
                // Nothing that ends too early is complete JSON. Another poll tells of the end.
                let happened = match line {
                    Line::Whole(line) => event::parse(&line).ok(),
                    Line::TooLong { .. } => None,
                };
                match happened {
                    Some(happened) => self.happened(happened),
                    None => self.broke(|asked| {
                        let message = format!("{asked}: the answer ended within a line, expected its rest");
                        RegistryError::new(ErrorKind::Unreachable, message)
                    }),
                }
            }
            Piece::Broken(error) => self.broke(|_| error),
            Piece::Silent(error) => {
                if matches!(self.state, State::Streaming { .. }) {
                    self.mute += 1;
                }
                self.broke(|_| error);
            }
        }
    }

    fn happened(&mut self, happened: Happened) {
        match (&mut self.state, happened) {
            (_, Happened::Error(status)) => self.refused_within(&status),
            (State::Streaming { begun, .. }, happened) => {
                let told = match happened {
                    Happened::Changed { object, .. } => Told::Listed(object),
                    Happened::Removed { object, .. } => Told::Removed(object),
                    Happened::Bookmark {
                        version,
                        ends_listing: true,
                    } => return self.end_of_stream_list(version),
                    Happened::Bookmark { .. } | Happened::Error(_) => return,
                };
                if !std::mem::replace(begun, true) {
                    self.told.push(Told::Begin);
                }
                self.told.push(told);
            }
            (
                State::Watching {
                    body, spoke, moved, ..
                },
                happened,
            ) => {
                *spoke = true;
                let (told, version) = match happened {
                    Happened::Changed { object, version } => (Some(Told::Changed(object)), version),
                    Happened::Removed { object, version } => (Some(Told::Removed(object)), version),
                    Happened::Bookmark { version, .. } => (None, version),
                    Happened::Error(_) => return,
                };
                if let Some(version) = version.filter(|version| *version != self.version) {
                    *moved = true;
                    self.version = version;
                }
                if *moved || body.age() >= AT_ONCE {
                    self.pace.watched();
                }
                let is_bookmark = told.is_none();
                self.told.extend(told);
                // Of a watch that outlasts its time its events have to say that it is alive; early ones may be old news.
                let overdue = body.age() > BRIEF && self.confirmed.elapsed() > self.term(false) + SLACK;
                if is_bookmark || overdue {
                    self.confirm();
                }
            }
            _ => {}
        }
    }

    fn end_of_stream_list(&mut self, version: Option<String>) {
        let State::Streaming { mut body, begun } = self.take() else {
            return;
        };
        let Some(version) = version else {
            body.request.has_failed();
            let message = format!("{}: found an end mark without a version", body.request.asked);
            self.broken += 1;
            let error = RegistryError::new(ErrorKind::Malformed, message);
            return self.retry(Class::Trouble, error, Self::listing);
        };
        if !begun {
            self.told.push(Told::Begin);
        }
        self.complete(version);
        body.watch_on();
        self.state = State::Watching {
            body,
            spoke: true,
            moved: true,
            garbled: false,
        };
    }

    /// An `ERROR` event: nothing useful follows it.
    fn refused_within(&mut self, status: &Bytes) {
        let (mut body, step) = match self.take() {
            State::Streaming { body, .. } => (body, Step::Stream),
            State::Watching { body, .. } => (body, Step::Watch { brief: false }),
            _ => return,
        };
        body.request.has_failed();
        let refusal = Refusal::answered(&body.request.asked, None, None, status);
        self.refused(step, refusal);
    }

    /// The answer broke off, or has died.
    fn broke(&mut self, error: impl FnOnce(&str) -> RegistryError) {
        match self.take() {
            State::Streaming { mut body, .. } => {
                body.request.has_failed();
                let error = error(&body.request.asked);
                self.broken += 1;
                if self.mute >= MUTE {
                    self.stop_streaming(&error.report());
                }
                self.retry(Class::Trouble, error, Self::listing);
            }
            State::Watching { mut body, .. } => {
                body.request.has_failed();
                let error = error(&body.request.asked);
                self.retry(Class::Trouble, error, |_| Step::Watch { brief: true });
            }
            other => self.state = other,
        }
    }

    /// The answer came to its end as it should.
    fn ended(&mut self) {
        let (age, term, spoke, moved, garbled) = match &self.state {
            State::Watching {
                body,
                spoke,
                moved,
                garbled,
            } => (body.age(), body.term, *spoke, *moved, *garbled),
            _ => {
                self.mute += 1;
                return self.broke(|asked| {
                    let message = format!("{asked}: the streaming list ended before its end mark");
                    RegistryError::new(ErrorKind::Unavailable, message)
                });
            }
        };
        if garbled && !spoke {
            // Some other page than that of an API server, as a proxy may have.
            return self.broke(|asked| {
                let message = format!("{asked}: found nothing that is a watch event");
                RegistryError::new(ErrorKind::Malformed, message)
            });
        }
        if age < AT_ONCE && !moved {
            return self.broke(|asked| {
                let message = format!("{asked}: the watch ended at once, expected it to stay open");
                RegistryError::new(ErrorKind::Unavailable, message)
            });
        }
        // Sooner than that something else than the server's timeout ended it: it may have let go of us because we were
        // too slow, and then there is more to come.
        let in_time = age + SLACK >= term;
        if !spoke {
            // A server that has only older versions than ours says nothing either: after its etcd was wiped or restored
            // it waits for a version that is long to come.
            self.state = State::Due(Step::Check { refused: 0 });
            return;
        }
        if in_time {
            self.confirm();
        }
        self.state = State::Due(Step::Watch { brief: !in_time });
    }

    // --- what is told, and what comes next

    fn confirm(&mut self) {
        self.confirmed = Instant::now();
        self.told.push(Told::Confirmed);
    }

    fn skip(&mut self, what: &str) {
        self.control.meter().count_skipped(1);
        if let State::Streaming { begun, .. } = &mut self.state
            && !std::mem::replace(begun, true)
        {
            // It is of the listing, also where it is the first of it.
            self.told.push(Told::Begin);
        }
        self.told
            .push(Told::Skipped(format!("{}: {what}", self.resource.path)));
    }

    /// Tells of a failure, and what to do about it where somebody has to.
    fn fail(&mut self, class: Class, error: RegistryError) -> Arc<RegistryError> {
        let need = match class {
            Class::Forbidden => query::needed_role(&self.resource),
            Class::NotFound => query::needed_server(&self.resource),
            _ => String::new(),
        };
        let error = if need.is_empty() {
            error
        } else {
            let message = format!("{} (needs {need})", error.report());
            RegistryError::new(error.kind(), message).with_retry_after(error.retry_after())
        };
        let error = Arc::new(error);
        self.told.push(Told::Failed(Arc::clone(&error)));
        error
    }

    fn retry(&mut self, class: Class, error: RegistryError, step: impl FnOnce(&Self) -> Step) {
        let error = self.fail(class, error);
        let rest = self.pace.after(class, &error);
        let step = step(self);
        self.rest(rest, step);
    }

    fn rest(&mut self, rest: Rest, then: Step) {
        self.state = if rest.length.is_zero() {
            State::Due(then)
        } else {
            State::Resting {
                timer: Box::pin(sleep(rest.length)),
                asked_for: rest.asked_for,
                then,
            }
        };
    }

    /// The server needs us to list again. That happens whenever one was restarted, so it is no failure, unless one such
    /// listing follows the other.
    fn list_anew(&mut self, error: RegistryError) {
        if self.pace.lists_in_vain() {
            let error = self.fail(Class::Gone, error);
            return self.list_anew_after(&error);
        }
        tracing::debug!(
            registry = %self.control.registry(),
            reason = error.report(),
            "listing again"
        );
        self.list_anew_after(&error);
    }

    fn list_anew_after(&mut self, error: &RegistryError) {
        let just_listed = self.listed.is_some_and(|at| at.elapsed() < AT_ONCE);
        let rest = self.pace.before_listing(error, just_listed);
        let listing = self.listing();
        self.rest(rest, listing);
    }

    /// The server does not have our version. Of several replicas one may just lag behind.
    fn check_later(&mut self, refused: u32, error: RegistryError) {
        if refused >= LAGS {
            return self.went_back(error);
        }
        let rest = Rest {
            length: rest_asked_for(&error).unwrap_or(AT_ONCE),
            asked_for: true,
        };
        self.rest(rest, Step::Check { refused: refused + 1 });
    }

    /// The server's versions are those of another, or of an earlier life.
    fn went_back(&mut self, error: RegistryError) {
        tracing::warn!(
            registry = %self.control.registry(),
            reason = error.report(),
            "the resource version went backwards, as after an etcd was restored; listing again"
        );
        self.list_anew(error);
    }

    fn stop_streaming(&mut self, reason: &str) {
        self.streaming = false;
        tracing::info!(
            registry = %self.control.registry(),
            reason,
            "no streaming lists of {}, asking for pages from now on", self.resource.path
        );
    }

    /// The state, to make the next one of. Should none be made, everything begins anew.
    fn take(&mut self) -> State {
        let listing = self.listing();
        std::mem::replace(&mut self.state, State::Due(listing))
    }
}
