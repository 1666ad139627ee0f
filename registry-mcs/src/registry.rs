//! The registries: exports of a member of a clusterset, or the imports of a cluster.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use registry_core::{Control, EventStream, RegistryError, ServiceRegistry, async_trait};
use registry_k8s::{Cluster, McsApi, View};

use crate::identity;

/// Settings of Multi-Cluster Services that are not a cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McsSettings {
    /// Groups of the API, the preferred one first.
    pub groups: Vec<String>,
    /// The DNS domain of the clusterset.
    pub domain: String,
}

impl Default for McsSettings {
    fn default() -> Self {
        Self {
            groups: vec!["multicluster.x-k8s.io".to_owned()],
            domain: "clusterset.local".to_owned(),
        }
    }
}

impl McsSettings {
    pub(crate) fn hostname(&self) -> String {
        format!("{{name}}.{{namespace}}.svc.{}", self.domain)
    }
}

/// The services that one cluster exports to its clusterset, or those that it imports from it.
///
/// The default hostname is `{name}.{namespace}.svc.clusterset.local`, with the domain of the settings. A service's group
/// is its namespace. Endpoints of headless services are named `<hostname>.<cluster>`.
///
/// Health, freshness and all else is as for [`registry_k8s::KubernetesRegistry`].
#[derive(Debug)]
pub struct McsRegistry {
    cluster: Cluster,
    id: Option<String>,
    settings: McsSettings,
    view: View,
    /// The id that was found for the last watch.
    last: Mutex<Option<String>>,
}

impl McsRegistry {
    /// What a member of a virtual clusterset exports. Without an id the cluster is asked which one it has: by its
    /// ClusterProperty `cluster.clusterset.k8s.io`, else by the uid of its namespace `kube-system`.
    ///
    /// Only where there is no ClusterProperty the uid counts: where it may not be read the watch does not begin, since the
    /// id would change with rights. Where services of the cluster are known, the property has to be absent for ten seconds, and so
    /// long another id than that of the last watch has to be there.
    /// A watch looks at the id every few minutes, and begins anew where it is another one for as long; or once another
    /// cluster is behind the address, which it sees within half a minute.
    pub fn exports(cluster: Cluster, id: Option<String>, settings: McsSettings) -> Self {
        let view = View::Exports(McsApi {
            groups: settings.groups.clone(),
        });
        Self {
            cluster,
            id,
            settings,
            view,
            last: Mutex::default(),
        }
    }

    /// What a cluster imports from the clusterset that it is a member of.
    pub fn imports(cluster: Cluster, settings: McsSettings) -> Self {
        let view = View::Imports(McsApi {
            groups: settings.groups.clone(),
        });
        Self {
            cluster,
            id: None,
            settings,
            view,
            last: Mutex::default(),
        }
    }
}

/// A value that nobody leaves half-way changed.
fn lock(last: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl ServiceRegistry for McsRegistry {
    fn kind(&self) -> &'static str {
        "mcs"
    }

    fn default_hostname(&self) -> String {
        self.settings.hostname()
    }

    fn target(&self) -> String {
        let what = match self.view {
            View::Imports(_) => "imports",
            View::Exports(_) | View::Services => "exports",
        };
        format!("{} {what}", self.cluster.target())
    }

    fn freshness_bound(&self) -> Duration {
        self.cluster.freshness_bound()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        if let View::Imports(_) = self.view {
            // Endpoints are in the clusters that their slices name.
            return Ok(self.cluster.watch(&self.view, "", control));
        }
        let last = lock(&self.last).clone();
        let id = identity::settled_id(&self.cluster, self.id.as_deref(), last.as_deref(), &control).await?;
        *lock(&self.last) = Some(id.clone());
        if self.id.is_some() {
            return Ok(self.cluster.watch(&self.view, &id, control));
        }
        let watch = self.cluster.watch_until_swapped(&self.view, &id, control);
        Ok(identity::followed(watch, self.cluster.clone(), id))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.cluster.probe(&self.view).await?;
        if let View::Exports(_) = self.view {
            // Without it the watch does not begin.
            identity::cluster_id(&self.cluster, self.id.as_deref()).await?;
        }
        Ok(())
    }

    async fn remark(&self) -> Option<String> {
        // Why it cannot be asked is what a probe tells.
        self.cluster.lacks(&self.view).await.ok().flatten()
    }
}
