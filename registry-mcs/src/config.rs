//! What an operator may set.

mod check;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use registry_k8s::KubernetesConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::registry::McsSettings;

/// Services that clusters of Kubernetes share: the exports of several, merged, or with `import` the imports of one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct McsConfig {
    /// The clusters whose exports make up the clusterset. Each is a registry of its own, named after the cluster.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub clusters: Vec<ClusterConfig>,
    /// Settings of all these clusters. With `directory` or `secrets` it also says which they are, in place of `clusters`.
    pub kubernetes: KubernetesConfig,
    /// The cluster whose imports are taken, where an implementation of Multi-Cluster Services is at work already. Its
    /// nodes are not read, as imported endpoints run elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub import: Option<KubernetesConfig>,
    /// Groups of the API: the first one that a cluster serves counts.
    pub groups: Vec<String>,
    /// The DNS domain of the clusterset, for hostnames of services.
    pub domain: String,
}

/// One cluster of a clusterset.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterConfig {
    /// The name of its registry, after that of the entry.
    pub name: String,
    /// The kubeconfig to use; else as `kubernetes` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current one unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whether to use the service account of the pod that this runs in, and no kubeconfig.
    pub in_cluster: bool,
    /// The id of the cluster within the clusterset; else what the cluster says: its ClusterProperty
    /// `cluster.clusterset.k8s.io`, or the uid of its namespace `kube-system`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The network in which addresses of its pods are valid. Clusters whose addresses overlap need different ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
}

/// What a configuration asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The exports of the clusters that are listed.
    Clusters,
    /// The exports of clusters that are found at run time.
    Fleet,
    /// The imports of one cluster.
    Import,
}

impl Default for McsConfig {
    fn default() -> Self {
        let McsSettings { groups, domain } = McsSettings::default();
        Self {
            clusters: Vec::new(),
            kubernetes: KubernetesConfig::default(),
            import: None,
            groups,
            domain,
        }
    }
}

impl McsConfig {
    /// What it asks for.
    pub fn mode(&self) -> Mode {
        if self.import.is_some() {
            Mode::Import
        } else if self.kubernetes.is_fleet() {
            Mode::Fleet
        } else {
            Mode::Clusters
        }
    }

    /// The hostname template of its services unless another one is set: `{name}.{namespace}.svc.clusterset.local`, with
    /// the domain of the configuration.
    pub fn hostname(&self) -> String {
        self.settings().hostname()
    }

    /// The settings that are not a cluster's.
    pub fn settings(&self) -> McsSettings {
        McsSettings {
            groups: self.groups.clone(),
            domain: self.domain.clone(),
        }
    }

    /// The settings of one of the clusters: its own, and for the rest those of all.
    pub(crate) fn of_cluster(&self, cluster: &ClusterConfig) -> KubernetesConfig {
        let all = self.kubernetes.clone();
        KubernetesConfig {
            kubeconfig: cluster.kubeconfig.clone().or(all.kubeconfig),
            context: cluster.context.clone().or(all.context),
            in_cluster: cluster.in_cluster || all.in_cluster,
            network: cluster.network.clone().unwrap_or(all.network),
            ..all
        }
    }

    /// The settings of the cluster whose imports are taken. Only nodes of its own would be told of, and none of its
    /// endpoints is on one of them.
    pub(crate) fn of_imports(import: &KubernetesConfig) -> KubernetesConfig {
        KubernetesConfig {
            nodes: false,
            ..import.clone()
        }
    }

    /// What is wrong with the settings, if anything. Nothing is read or dialled.
    ///
    /// # Errors
    ///
    /// Names the field, what was found and what was expected.
    pub fn validate(&self) -> Result<(), Error> {
        check::check(self)
    }
}
