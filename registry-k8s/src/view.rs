//! What of a cluster counts as a service.

use crate::config::KubernetesConfig;
use crate::index::Join;
use crate::session::offered::Wanted;
use crate::session::parts::{EXPORTS, IMPORTS};

/// Which objects of a cluster are joined to services. What belongs to a service is told by labels of EndpointSlices in
/// each case; everything else, from health to localities, is the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum View {
    /// Its Services. Those that an implementation of Multi-Cluster Services derived from imports do not count, and
    /// neither do slices of other clusters.
    #[default]
    Services,
    /// What the cluster gives to its clusterset: its ServiceExports, each joined with the Service of its name. An export
    /// whose Service is missing or of a kind that cannot be exported is a record without endpoints, see [`EXPORT`].
    ///
    /// Labels are the exported ones; exported annotations are metadata, see [`ANNOTATION`]. The creation time is that of
    /// the export.
    Exports(McsApi),
    /// What the cluster has of its clusterset: its ServiceImports, joined with the slices that were imported for them.
    /// An endpoint is in the cluster that its slice names as its source.
    Imports(McsApi),
}

impl View {
    /// What it joins.
    pub(crate) fn join(&self) -> Join {
        match self {
            Self::Services => Join::Services,
            Self::Exports(_) => Join::Exports,
            Self::Imports(_) => Join::Imports,
        }
    }

    /// What a definition has to be there for.
    pub(crate) fn wanted(&self, config: &KubernetesConfig) -> Option<Wanted> {
        let (api, plural) = match self {
            Self::Services => return None,
            Self::Exports(api) => (api, EXPORTS),
            Self::Imports(api) => (api, IMPORTS),
        };
        Some(Wanted {
            groups: api.groups.clone(),
            plural,
            namespace: config.namespaces.first().cloned(),
        })
    }
}

/// Where the objects of Multi-Cluster Services are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct McsApi {
    /// Groups of the API, such as `multicluster.x-k8s.io`: the first one that the cluster serves counts, in the newest
    /// version that it serves. As long as it serves none of them there is nothing of this kind, and it is asked again
    /// from time to time.
    pub groups: Vec<String>,
}

/// The key in a record's metadata that tells what an export is worth: [`VALID`], [`NO_SERVICE`] or
/// [`INVALID_SERVICE_TYPE`].
pub const EXPORT: &str = "export";

/// An export with a Service.
pub const VALID: &str = "Valid";

/// An export without a Service of its name.
pub const NO_SERVICE: &str = "NoService";

/// An export of a Service of type ExternalName, which has nothing to export.
pub const INVALID_SERVICE_TYPE: &str = "InvalidServiceType";

/// What keys of exported annotations begin with, in a record's metadata.
pub const ANNOTATION: &str = "annotation:";
