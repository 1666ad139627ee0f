//! A server in use: its client, with all connections and tasks, lasts for as long as there is a lease.

use std::sync::Arc;

use registry_core::async_trait;

use super::ApiServer;
use crate::transport::{Ask, Body, Refusal, Transport};

/// The server, for one who asks many things of it, such as a watch. With the last lease its connections go.
#[derive(Debug)]
pub(crate) struct Lease(Arc<ApiServer>);

impl Lease {
    pub(crate) fn new(server: Arc<ApiServer>) -> Self {
        server.renewal.begin_use();
        Self(server)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.renewal.end_use();
    }
}

#[async_trait]
impl Transport for Lease {
    async fn get(&self, ask: Ask) -> Result<Body, Refusal> {
        self.0.get(ask).await
    }

    fn base(&self) -> Arc<str> {
        self.0.base()
    }

    fn connections(&self) -> u64 {
        self.0.connections()
    }
}
