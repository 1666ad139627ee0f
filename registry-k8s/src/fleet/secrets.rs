//! Secrets that hold kubeconfigs: one feed of them, and what the Secrets that are known say together.

mod store;

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Control, ErrorKind, RegistryError, async_trait, short};
use tokio::time::Instant;

use crate::config::{KubernetesConfig, SecretsConfig};
use crate::transport::{Form, Transport};
use crate::watch::{Feed, Manner, Resource, Told};

use super::members::at;
use super::source::{Heard, Listing};
use store::Store;

/// Objects of one page: Secrets are large.
const PAGE: u32 = 50;

/// Bytes of one object: a Secret has at most 1 MiB, which base64 makes a third more, and so may its metadata.
const OBJECT_BYTES: usize = 4 << 20;

/// When to list again where something could not be taken in: nobody says when it can be.
const RETRY: Duration = Duration::from_secs(60);

/// What the Secrets need of a feed.
#[async_trait]
pub(super) trait Listen: Send {
    /// What there is to say next. Cancel safe.
    async fn next(&mut self) -> Vec<Told>;

    /// Lists again, instead of what is under way.
    fn list_again(&mut self);
}

#[async_trait]
impl Listen for Feed {
    async fn next(&mut self) -> Vec<Told> {
        Feed::next(self).await
    }

    fn list_again(&mut self) {
        Feed::list_again(self);
    }
}

/// The watched Secrets of one selector.
pub(super) struct Secrets {
    feed: Box<dyn Listen>,
    config: SecretsConfig,
    control: Control,
    /// As last listed completely, and as changed since.
    known: Option<Store>,
    /// A listing under way.
    listing: Option<Store>,
    /// Why what is known is not the whole truth, although the feed says so.
    trouble: Option<Arc<RegistryError>>,
    retry: Option<Instant>,
}

/// The feed of the Secrets.
pub(super) fn feed(
    transport: Arc<dyn Transport>,
    secrets: &SecretsConfig,
    config: &KubernetesConfig,
    control: Control,
) -> Feed {
    let resource = Resource {
        path: format!("/api/v1/namespaces/{}/secrets", secrets.namespace),
        selector: Some(secrets.selector.clone()),
        form: Form::Object,
    };
    let manner = Manner {
        timeout: config.watch_timeout,
        page_size: config.page_size.min(PAGE),
        streaming_lists: config.streaming_lists,
        patience: config.request_timeout,
        max_page_bytes: config.max_page_bytes,
        max_object_bytes: config.max_object_bytes.min(OBJECT_BYTES),
    };
    Feed::new(transport, resource, manner, control)
}

/// Says what right is missing where the server refused to show the Secrets.
pub(super) fn denied(
    secrets: &SecretsConfig,
    retry_after: Option<Duration>,
    refused: impl Into<Box<dyn StdError + Send + Sync>>,
) -> RegistryError {
    let message = format!(
        "kubeconfigs in Secrets: expected the rights to `list` and to `watch` `secrets` in the namespace {}",
        secrets.namespace
    );
    let denied = RegistryError::new(ErrorKind::Denied, message);
    denied.with_source(refused).with_retry_after(retry_after)
}

// === impl Secrets ===

impl Secrets {
    pub(super) fn new(feed: Box<dyn Listen>, config: SecretsConfig, control: Control) -> Self {
        Self {
            feed,
            config,
            control,
            known: None,
            listing: None,
            trouble: None,
            retry: None,
        }
    }

    pub(super) fn look_again(&mut self) {
        self.feed.list_again();
    }

    /// What the feed says next. Cancel safe: nothing is waited for after the feed has spoken.
    pub(super) async fn next(&mut self) -> Heard {
        loop {
            let told = tokio::select! {
                told = self.feed.next() => told,
                () = at(self.retry) => {
                    self.retry = None;
                    self.feed.list_again();
                    continue;
                }
            };
            if let Some(heard) = self.hear(told) {
                return heard;
            }
        }
    }

    fn hear(&mut self, told: Vec<Told>) -> Option<Heard> {
        let before = self.known.as_ref().map(Store::names);
        let (mut changed, mut listed, mut right) = (false, false, None);
        for told in told {
            match told {
                Told::Begin => self.listing = Some(Store::new(&self.config)),
                Told::Listed(object) => {
                    let listing = self.listing.get_or_insert_with(|| Store::new(&self.config));
                    if let Err(error) = listing.put(&object, self.known.as_ref()) {
                        self.control.meter().count_skipped(1);
                        listing.incomplete.get_or_insert(error);
                    }
                }
                Told::Complete => {
                    let listing = self.listing.take();
                    self.complete(listing.unwrap_or_else(|| Store::new(&self.config)));
                    (changed, listed, right) = (true, true, Some(Ok(())));
                }
                Told::Changed(object) => {
                    let config = &self.config;
                    let known = self.listing.as_mut().or(self.known.as_mut());
                    if let Err(error) = known.map_or(Ok(()), |known| known.put(&object, None)) {
                        self.control.meter().count_skipped(1);
                        tracing::debug!(namespace = config.namespace, "a Secret cannot be taken in");
                        self.doubt(error);
                    }
                    (changed, right) = (true, Some(Ok(())));
                }
                Told::Removed(object) => {
                    let known = self.listing.as_mut().or(self.known.as_mut());
                    if let Err(error) = known.map_or(Ok(()), |known| known.remove(&object)) {
                        self.doubt(error);
                    }
                    (changed, right) = (true, Some(Ok(())));
                }
                Told::Skipped(what) => {
                    self.control.meter().count_skipped(1);
                    let message = format!("kubeconfigs in Secrets: {}", short(&what, 400));
                    let error = Arc::new(RegistryError::new(ErrorKind::Malformed, message));
                    match &mut self.listing {
                        Some(listing) => _ = listing.incomplete.get_or_insert(error),
                        None => self.doubt(error),
                    }
                }
                Told::Confirmed => right = Some(Ok(())),
                Told::Failed(error) => {
                    right = Some(Err(match error.kind() {
                        ErrorKind::Denied => Arc::new(denied(&self.config, error.retry_after(), error)),
                        _ => error,
                    }));
                }
            }
        }
        let right = match (right?, &self.trouble) {
            (Ok(()), Some(trouble)) => Err(trouble.clone()),
            (right, _) => right,
        };
        let known = self.known.as_ref().filter(|_| changed);
        let listing = known.map(|known| {
            // Of a listing nobody says what is gone; of single removals the server says it in so many words.
            let announced = before.filter(|_| !listed).unwrap_or_default();
            let names = known.names();
            Listing {
                candidates: known.candidates(),
                announced: announced.difference(&names).cloned().collect(),
            }
        });
        Some(Heard { listing, right })
    }

    /// A listing is complete: it replaces what is known, as far as all of it could be taken in.
    fn complete(&mut self, mut listing: Store) {
        self.trouble = None;
        self.retry = None;
        if let Some(error) = listing.incomplete.take() {
            self.doubt(error);
            // What was not understood may be any of those that are missing.
            if let Some(known) = self.known.take() {
                listing.keep(known);
            }
        }
        self.known = Some(listing);
    }

    fn doubt(&mut self, error: Arc<RegistryError>) {
        self.trouble = Some(error);
        self.retry.get_or_insert_with(|| Instant::now() + RETRY);
    }
}
