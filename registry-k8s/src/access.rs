//! How a cluster is reached: kubeconfigs, service accounts, tokens, proxies.

use std::sync::Arc;

use registry_core::async_trait;

use crate::config::KubernetesConfig;
use crate::error::Error;
use crate::transport::{Ask, Body, Refusal, Transport};

/// One cluster's API server, with credentials that are read again when they change or are refused.
#[derive(Debug)]
pub(crate) struct ApiServer {}

/// Where the address and the credentials of a cluster come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// As the fields `kubeconfig`, `context` and `in_cluster` say.
    Configured,
    /// The text of a kubeconfig, and where it is from, for messages.
    Text {
        kubeconfig: Arc<secrecy::SecretString>,
        place: String,
        trusted: bool,
    },
}

impl ApiServer {
    /// Reads nothing yet.
    pub(crate) fn new(_config: &KubernetesConfig, _origin: Origin) -> Self {
        unimplemented!()
    }

    /// The address of the server, without secrets.
    pub(crate) fn target(&self) -> String {
        unimplemented!()
    }

    /// The name of the cluster where the configuration gives none: that of the context.
    pub(crate) async fn cluster_name(&self) -> Result<String, Error> {
        unimplemented!()
    }
}

#[async_trait]
impl Transport for ApiServer {
    async fn get(&self, _ask: Ask) -> Result<Body, Refusal> {
        unimplemented!()
    }
}
