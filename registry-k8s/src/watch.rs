//! One kind of object in one namespace, or in all, kept up to date: list, then watch, whatever happens in between.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use registry_core::{Control, RegistryError};

use crate::transport::{Form, Transport};

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

/// What a feed says. Every `Bytes` is one object in JSON, as sent.
#[derive(Debug, Clone)]
pub(crate) enum Told {
    /// A complete listing begins; what was said of one under way does not count.
    Begin,
    /// An object of the listing.
    Listed(Bytes),
    /// All objects were listed.
    Complete,
    /// An object is new or changed.
    Changed(Bytes),
    /// An object was removed, and was like this at the end.
    Removed(Bytes),
    /// Something of this feed could not be read as an object at all, and was passed over: what, and why.
    Skipped(String),
    /// Nothing is missing up to now.
    Confirmed,
    /// An attempt failed; attempts go on.
    Failed(Arc<RegistryError>),
}

/// One resource, kept up to date for as long as it is polled. Dropping it ends its requests.
pub(crate) struct Feed {
    _transport: Arc<dyn Transport>,
}

impl Feed {
    /// A feed; it asks for nothing before it is polled.
    pub(crate) fn new(
        _transport: Arc<dyn Transport>,
        _resource: Resource,
        _manner: Manner,
        _control: Control,
    ) -> Self {
        unimplemented!()
    }

    /// What there is to say next: all that came at once, in order, at least one thing. Cancel safe.
    pub(crate) async fn next(&mut self) -> Vec<Told> {
        unimplemented!()
    }

    /// Lists again, instead of what is under way.
    pub(crate) fn list_again(&mut self) {
        unimplemented!()
    }
}
