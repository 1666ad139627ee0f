//! The registry: the Services of a cluster.

use std::time::Duration;

use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};

use crate::cluster::Cluster;
use crate::config::KubernetesConfig;
use crate::error::Error;
use crate::view::View;

/// The services of one Kubernetes cluster.
///
/// | ready, not terminating | serving | health |
/// |---|---|---|
/// | yes | yes | healthy |
/// | yes (published although not ready) | no | degraded |
/// | no | | unhealthy |
///
/// | terminating | health |
/// |---|---|
/// | and serving | draining |
/// | not serving, but ready (published although not ready) | draining |
/// | neither | unhealthy |
///
/// What is not said of an endpoint counts as `ready`, `serving` and not `terminating`, as the API has it. The raw status
/// keeps all three words: `ready=true serving=unset terminating=false`.
///
/// What implementations of Multi-Cluster Services derived from imports does not count: Services that a ServiceImport owns, and
/// slices with the label `multicluster.kubernetes.io/service-name`. Other [views](crate::View) read exports and imports.
///
/// The default hostname is `{name}.{namespace}.svc.cluster.local`, with the domain of the configuration; templates may use
/// `{cluster}`. A service's group is its namespace.
///
/// It is fresh within the time that a server keeps a watch open and 15 seconds more.
#[derive(Debug)]
pub struct KubernetesRegistry {
    cluster: Cluster,
}

impl KubernetesRegistry {
    /// A registry with that configuration. Nothing is read or dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: KubernetesConfig) -> Result<Self, Error> {
        Cluster::try_new(config).map(Self::from)
    }
}

impl From<Cluster> for KubernetesRegistry {
    fn from(cluster: Cluster) -> Self {
        Self { cluster }
    }
}

#[async_trait]
impl ServiceRegistry for KubernetesRegistry {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn default_hostname(&self) -> String {
        format!(
            "{{name}}.{{namespace}}.svc.{}",
            self.cluster.config().cluster_domain
        )
    }

    fn target(&self) -> String {
        self.cluster.target()
    }

    fn freshness_bound(&self) -> Duration {
        self.cluster.freshness_bound()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let name = self.cluster.name().await?;
        Ok(self.cluster.watch(&View::Services, &name, control))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.cluster.probe(&View::Services).await
    }
}
