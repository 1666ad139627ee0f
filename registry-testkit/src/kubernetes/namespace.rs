//! A namespace of a test's own.

use std::sync::Arc;
use std::thread;

use super::KubernetesApi;
use super::external::External;
use crate::{Error, files};

/// A namespace that no other test uses.
///
/// On a cluster that runs on, it is deleted with all that is in it when this value is dropped; a server of our own
/// goes away anyway.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    external: Option<Arc<External>>,
}

/// A name that is in use nowhere else: the prefix, a hyphen and a random suffix.
pub(super) fn name(prefix: &str) -> Result<String, Error> {
    let random = files::random_uuid()?;
    let suffix = random.split('-').next().unwrap_or_default();
    Ok(format!("{prefix}-{suffix}"))
}

// === impl Namespace ===

impl Namespace {
    pub(super) async fn create(
        api: &KubernetesApi,
        name: String,
        external: Option<Arc<External>>,
    ) -> Result<Self, Error> {
        api.namespace(&name).await?;
        Ok(Self { name, external })
    }

    /// The name: the prefix, a hyphen and a random suffix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let Some(external) = self.external.take() else {
            return;
        };
        let path = format!("/api/v1/namespaces/{}", self.name);
        // Here nothing can be awaited, and the test's runtime may be on its way out.
        let delete = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            if let (Ok(runtime), Ok(api)) = (runtime, external.api()) {
                let _ = runtime.block_on(api.delete(&path));
            }
        };
        let _ = thread::spawn(delete).join();
    }
}
