//! Several clusters with Multi-Cluster Services.

use std::ops::Index;
use std::sync::Arc;

use futures_util::future::try_join_all;

use super::external::{self, External};
use super::mcs::{self, GROUP, VERSIONS};
use super::namespace::{self, Namespace};
use super::{Kubernetes, KubernetesApi, KubernetesBuilder};
use crate::Error;

/// Clusters that know ServiceExports, ServiceImports and ClusterProperties. Nobody exchanges anything between them.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::kubernetes::Clusterset;
/// use serde_json::json;
///
/// let clusters = Clusterset::start(2).await?;
/// let namespace = clusters.new_namespace("demo").await?;
/// for cluster in clusters.iter() {
///     let spec = json!({ "ports": [{ "port": 80 }] });
///     cluster.api().service(namespace.name(), "web", &spec).await?;
///     cluster.api().service_export(namespace.name(), "web", &json!({})).await?;
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Clusterset {
    clusters: Vec<Kubernetes>,
}

/// A namespace of one name in each cluster of a clusterset, as namespace sameness wants it, used by no other test.
#[derive(Debug)]
pub struct SharedNamespace {
    parts: Vec<Namespace>,
}

// === impl Clusterset ===

impl Clusterset {
    /// Starts so many servers at the same time.
    ///
    /// # Errors
    ///
    /// Those of [`KubernetesBuilder::start`] and [`KubernetesApi::definition`].
    pub async fn start(count: usize) -> Result<Self, Error> {
        Self::start_as(&Kubernetes::builder(), count).await
    }

    /// The same with options for each of them.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn start_as(options: &KubernetesBuilder, count: usize) -> Result<Self, Error> {
        let start = async || {
            let kubernetes = options.clone().start().await?;
            define(kubernetes.api()).await?;
            Ok(kubernetes)
        };
        let clusters = try_join_all((0..count).map(|_| start())).await?;
        Ok(Self { clusters })
    }

    /// As [`start`](Self::start), but where [`KUBECONFIG`](super::KUBECONFIG) names a file, its contexts are the
    /// clusters, those that [`CONTEXTS`](super::CONTEXTS) names or the first ones, and none is started.
    ///
    /// Definitions that such a cluster has are left as they are; those that it lacks are installed, and stay.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start) and [`Kubernetes::external`].
    pub async fn start_or_external(count: usize) -> Result<Self, Error> {
        let Some(kubeconfig) = external::named() else {
            return Self::start(count).await;
        };
        let join = async |context: String| {
            let kubernetes = Kubernetes::external_context(&kubeconfig, Some(&context)).await?;
            complete(kubernetes.api()).await?;
            Ok(kubernetes)
        };
        let contexts = external::contexts(&kubeconfig, count)?;
        let clusters = try_join_all(contexts.into_iter().map(join)).await?;
        Ok(Self { clusters })
    }

    /// The clusters, in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Kubernetes> {
        self.clusters.iter()
    }

    /// One of them, to be killed or restarted.
    ///
    /// # Panics
    ///
    /// Where there are not so many.
    pub fn get_mut(&mut self, index: usize) -> &mut Kubernetes {
        &mut self.clusters[index]
    }

    /// Whether these are clusters that we did not start, see [`Kubernetes::is_external`].
    #[must_use]
    pub fn is_external(&self) -> bool {
        self.clusters.iter().any(Kubernetes::is_external)
    }

    /// Makes a namespace in each cluster, of a name that begins with `prefix` and is in use nowhere else.
    ///
    /// In external clusters it is deleted, with all that is in it, when the value is dropped.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn new_namespace(&self, prefix: &str) -> Result<SharedNamespace, Error> {
        let name = namespace::name(prefix)?;
        let clusters: Result<Vec<_>, Error> = self
            .clusters
            .iter()
            // The namespace may be made in another runtime than the clusters were.
            .map(|cluster| Ok((cluster.new_api()?, cluster.external_of())))
            .collect();
        let create = async |(api, external): (KubernetesApi, Option<Arc<External>>)| {
            Namespace::create(&api, name.clone(), external).await
        };
        let parts = try_join_all(clusters?.into_iter().map(create)).await?;
        Ok(SharedNamespace { parts })
    }
}

impl Index<usize> for Clusterset {
    type Output = Kubernetes;

    fn index(&self, index: usize) -> &Kubernetes {
        &self.clusters[index]
    }
}

// === impl SharedNamespace ===

impl SharedNamespace {
    /// The name, which is the same everywhere.
    #[must_use]
    pub fn name(&self) -> &str {
        self.parts.first().map_or("", Namespace::name)
    }
}

/// Installs all definitions.
async fn define(api: &KubernetesApi) -> Result<(), Error> {
    let property = mcs::cluster_property_definition(&VERSIONS);
    tokio::try_join!(
        api.define_multicluster(GROUP, &VERSIONS),
        api.definition(&property)
    )
    .map(drop)
}

/// Installs those definitions that are missing.
async fn complete(api: &KubernetesApi) -> Result<(), Error> {
    let definitions = [
        mcs::service_export_definition(GROUP, &VERSIONS),
        mcs::service_import_definition(GROUP, &VERSIONS),
        mcs::cluster_property_definition(&VERSIONS),
    ];
    for definition in definitions {
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
        match api.get(&path).await {
            Ok(_) => {}
            Err(Error::Status { status: 404, .. }) => api.definition(&definition).await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
