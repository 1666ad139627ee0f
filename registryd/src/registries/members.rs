//! Entries that lead to several registries, which come and go while the daemon runs.

use std::fmt;
use std::sync::Arc;

use registry_core::{ServiceRegistry, async_trait};

/// What an entry of the configuration leads to.
pub struct Built {
    /// The entry's own registry. Where there are members it has no services, and its phase says whether they are known.
    pub registry: Arc<dyn ServiceRegistry>,
    /// The registries that the entry stands for, where these are found out while it runs.
    pub members: Option<Box<dyn Members>>,
}

/// Tells which registries an entry stands for.
#[async_trait]
pub trait Members: Send + 'static {
    /// The kind of the registries.
    fn kind(&self) -> &'static str;

    /// The complete set, at first and whenever it has changed. `None` where there will be no more.
    async fn next(&mut self) -> Option<MemberSet>;
}

/// All registries that an entry stands for, as of now.
pub struct MemberSet {
    /// The registries, each with a name of its own.
    pub members: Vec<Member>,
    /// True where nobody doubts it, however many it lacks that were there before: it is what the operator says.
    pub certain: bool,
    /// To be called when all of that is in force: only then the entry's own registry may count as known.
    pub done: Box<dyn FnOnce() + Send>,
}

/// One of the registries that an entry stands for.
pub struct Member {
    /// Its name at its source, such as that of a file or of a Secret.
    pub name: String,
    /// The registry.
    pub registry: Arc<dyn ServiceRegistry>,
    /// Stands for all that it was made of: where that is as before, it is the same registry still.
    pub fingerprint: u128,
}

impl Built {
    /// An entry that stands for this registry alone.
    pub fn one(registry: impl ServiceRegistry + 'static) -> Self {
        Self {
            registry: Arc::new(registry),
            members: None,
        }
    }
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built")
            .field("kind", &self.registry.kind())
            .field("several", &self.members.is_some())
            .finish()
    }
}

impl fmt::Debug for MemberSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.members).finish()
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Member").field(&self.name).finish()
    }
}
