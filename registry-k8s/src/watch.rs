//! One kind of object in one namespace, or in all, kept up to date: list, then watch, whatever happens in between.
//!
//! ```text
//!          ┌────────── too old, ahead of the server, not understood ───────────┐
//!          ▼                                                                   │
//!   pages of a list ──────── complete ─────────▶ watch ── silent to its end ─▶ check
//!   or a streaming list ──── end mark ─────────▶   │ ▲                          │
//!          ▲                                       └─┴───── from the last ──────┘
//!          └── failure: rest, and begin again             resource version
//! ```
//!
//! This is what `watcher` of `kube-runtime` is for, and is not made with it, because it falls short where it matters
//! here (as of 5.0; what happens in 4.2 was measured as well):
//!
//! - **A `410` as the status of a watch** is met by asking for the same version again, for ever.
//! - **A resource version from the future**, after an etcd was wiped or restored, is not noticed: the server answers
//!   such a watch with silence, so what was served is served for ever. Here silence proves nothing, see [`Told`].
//! - **A server that refuses streaming lists** is asked for one for ever.
//! - **One object that does not decode** fails the page it is on, and so the list, for ever. Here objects are bytes, and
//!   decoding them is the consumer's business.
//! - **A dead connection** is noticed by the silence after the server's timeout, and retries that obey a `Retry-After`
//!   happen out of sight; bookmarks and ends of watches, which tell how fresh everything is, are kept to itself.
//! - Objects are decoded whole and held by name, and one at a time: a page costs several times its size.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use registry_core::{Control, RegistryError};
use tokio::time::{Instant, Sleep};

use crate::transport::{Form, Transport};

mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod lines;
mod pace;
mod page;
mod query;
mod reading;
mod steps;
#[cfg(test)]
mod tests;

use pace::Pace;
use reading::{Asking, PageBody, WatchBody};

/// Objects told at once.
const MOST_OBJECTS: usize = 1000;
/// Bytes read at once.
const MOST_BYTES: usize = 1 << 20;
/// What each step costs of that at least, so that no sequence of empty ones holds up the thread.
const STEP: usize = 64;

/// What is watched.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// The path of its collection, such as `/api/v1/namespaces/shop/services`.
    pub(crate) path: String,
    /// Labels that objects have to have, in the language of label selectors.
    pub(crate) selector: Option<String>,
    pub(crate) form: Form,
}

/// How it is watched.
#[derive(Debug, Clone)]
pub(crate) struct Manner {
    /// How long the server keeps a watch open. Ten seconds after that without its end the connection counts as dead.
    pub(crate) timeout: Duration,
    /// Objects of one page.
    pub(crate) page_size: u32,
    pub(crate) streaming_lists: bool,
    /// How long the head of an answer, and each piece of a list, may take.
    pub(crate) patience: Duration,
    pub(crate) max_page_bytes: usize,
    pub(crate) max_object_bytes: usize,
}

/// What a feed says. Every `Bytes` is one object in JSON, as sent; objects of a page share its memory.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// A complete listing begins; what was said of one under way does not count.
    Begin,
    /// An object of the listing.
    Listed(Bytes),
    /// All objects were listed, those `Skipped` since `Begin` excepted.
    Complete,
    /// An object is new or changed.
    Changed(Bytes),
    /// An object was removed, and was like this at the end. During a listing: it does not belong to it any more.
    Removed(Bytes),
    /// Something of this feed could not be read as an object at all, and was passed over: what, and why.
    Skipped(String),
    /// Nothing is missing up to now: the server, of which it is known that it has not fallen behind the last listing,
    /// spoke of a later state than what was told, or had nothing to say.
    Confirmed,
    /// An attempt failed; attempts go on.
    Failed(Arc<RegistryError>),
}

/// What is asked for to see whether objects may be listed: the first of them.
pub(crate) fn first(resource: &Resource) -> String {
    query::page(resource, 1, None)
}

/// What a role has to allow for this to be watched.
pub(crate) fn needed_role(resource: &Resource) -> String {
    query::needed_role(resource)
}

/// Whether the body of an answer is a list, as its first page or as a whole: not another document, and not half of one.
pub(crate) fn is_list(asked: &str, body: &Bytes) -> Result<(), RegistryError> {
    page::parse(asked, body)
        .map(drop)
        .map_err(|refusal| refusal.error)
}

/// One resource, kept up to date for as long as it is polled. Dropping it ends its requests.
pub(crate) struct Feed {
    transport: Arc<dyn Transport>,
    resource: Resource,
    manner: Manner,
    control: Control,
    state: State,
    /// The resource version of all that was told. Opaque: it is sent back as it came.
    version: String,
    /// Until the server turns out not to have streaming lists.
    streaming: bool,
    /// Streaming lists in a row that were answered, and then never came to their end mark.
    mute: u32,
    /// Listings in a row that could not even begin, or broke off.
    broken: u32,
    pace: Pace,
    /// When the last listing was complete.
    listed: Option<Instant>,
    /// When it was last known that nothing is missing.
    confirmed: Instant,
    told: Vec<Told>,
    /// Bytes read in this poll.
    read: usize,
}

/// Where the protocol stands. Everything that is awaited is in here, so nothing is lost when nobody waits any more.
enum State {
    /// A request is to be sent.
    Due(Step),
    /// The request is due later. Where the server `asked_for` that, even a wish for a new listing waits.
    Resting {
        timer: Pin<Box<Sleep>>,
        asked_for: bool,
        then: Step,
    },
    /// A request was sent, and its answer has not begun.
    Asking { asking: Asking, step: Step },
    /// A page comes in. It leads to the next one, to a watch, or as a failure to the same page.
    Paging { body: PageBody, listing: Listing },
    /// A streaming list comes in. Its end mark makes it a watch; without that it is asked for anew from the beginning,
    /// since what was deleted in between is never told.
    Streaming { body: WatchBody, begun: bool },
    /// A watch comes in. Its end leads to the next one, from the last version, or to a check.
    Watching {
        body: WatchBody,
        /// It had an event, or a bookmark.
        spoke: bool,
        /// It led beyond the version that it started from.
        moved: bool,
        /// It had lines that are no events.
        garbled: bool,
    },
    /// A watch was silent to its end, and the answer that tells why comes in.
    Checking { body: PageBody, refused: u32 },
}

/// A request.
#[derive(Debug, Clone)]
enum Step {
    Page(Listing),
    Stream,
    /// A brief one comes after any trouble: its end tells within seconds whether the server is the same as before.
    Watch {
        brief: bool,
    },
    /// Whether the server still has our version, `refused` so many times already.
    Check {
        refused: u32,
    },
}

/// A listing by pages.
#[derive(Debug, Clone, Default)]
struct Listing {
    token: Option<String>,
    /// Of the first page. All pages are of that version; should they ever not be, the oldest misses nothing.
    version: Option<String>,
    /// Failures of this page.
    failures: u32,
}

// === impl Feed ===

impl Feed {
    /// A feed; it asks for nothing before it is polled.
    pub(crate) fn new(
        transport: Arc<dyn Transport>,
        resource: Resource,
        manner: Manner,
        control: Control,
    ) -> Self {
        let streaming = manner.streaming_lists;
        let mut feed = Self {
            transport,
            resource,
            manner,
            control,
            state: State::Due(Step::Stream),
            version: String::new(),
            streaming,
            mute: 0,
            broken: 0,
            pace: Pace::default(),
            listed: None,
            confirmed: Instant::now(),
            told: Vec::new(),
            read: 0,
        };
        feed.state = State::Due(feed.listing());
        feed
    }

    /// What there is to say next: all that came at once, in order, at least one thing. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<Told> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// Lists again, instead of what is under way. Only a rest that the server asked for is kept.
    pub(crate) fn list_again(&mut self) {
        let listing = self.listing();
        match &mut self.state {
            State::Resting {
                asked_for: true,
                then,
                ..
            } => *then = listing,
            state => *state = State::Due(listing),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Told>> {
        self.read = 0;
        loop {
            // A request that is due is sent even so: it travels while the consumer is busy.
            let sends = matches!(self.state, State::Due(_) | State::Asking { .. });
            let full = self.told.len() >= MOST_OBJECTS || self.read >= MOST_BYTES;
            if full && !sends {
                if self.told.is_empty() {
                    cx.waker().wake_by_ref();
                }
                break;
            }
            if self.step(cx).is_pending() {
                break;
            }
            self.read += STEP;
        }
        if self.told.is_empty() {
            return Poll::Pending;
        }
        Poll::Ready(std::mem::take(&mut self.told))
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("resource", &self.resource)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
