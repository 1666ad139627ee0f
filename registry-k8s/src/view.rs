//! What of a cluster counts as a service.

use crate::config::KubernetesConfig;
use crate::index::Join;
use crate::session::offered::Wanted;
use crate::session::parts::{EXPORTS, IMPORTS};

/// Which objects of a cluster are joined to services. What belongs to a service is told by labels of EndpointSlices in
/// each case; everything else, from health to localities, is the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum View {
    /// Its Services. Those that an implementation of Multi-Cluster Services derived from imports do not count, and neither do
    /// slices of other clusters: those with the label `multicluster.kubernetes.io/service-name`, whatever others they have.
    #[default]
    Services,
    /// What the cluster gives to its clusterset: its ServiceExports, each joined with the Service of its name. An export
    /// whose Service is missing or of a kind that cannot be exported is a record of
    /// [nothing](registry_core::Resolution::Nothing), which takes part in no merge; [`EXPORT`] says why.
    ///
    /// Labels are the exported ones; exported annotations are metadata, see [`ANNOTATION`], beside the words of the Service,
    /// which has those of its ports under [`APP_PROTOCOL`].
    /// The creation time is that of the export. Endpoints are called `<hostname>.<cluster>`.
    Exports(McsApi),
    /// What the cluster has of its clusterset: its ServiceImports, joined with the slices that were imported for them.
    ///
    /// An endpoint is in the cluster that its slice names as its source, and called `<hostname>.<that cluster>`; where the
    /// slice names none it has no name that could be resolved. Addresses of imports are valid in the importing cluster.
    /// Where there are no slices at all, which implementations need not make, these addresses are the one endpoint, of
    /// unknown health and with the numbers of the import's ports, until the first slice comes.
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
    /// Groups of the API, such as `multicluster.x-k8s.io`: the first one that the cluster serves counts, in `v1beta1`, else
    /// `v1alpha1`, else `v1`, else the version that the server prefers. What is served is asked for at least every half a
    /// minute: another version is read from then on, with nothing lost in between.
    ///
    /// As long as the cluster serves none of them there is nothing of this kind, and the registry's note says so. Where
    /// something of it was known, that has to last for ten seconds before it is believed; and so has another group in place
    /// of the one that was read.
    pub groups: Vec<String>,
}

/// The key in a record's metadata that tells what an export is worth: [`VALID`], [`NO_SERVICE`] or
/// [`INVALID_SERVICE_TYPE`]. Where users choose keys of metadata, as in files, none
/// comes to be this one by chance.
pub const EXPORT: &str = "multicluster.x-k8s.io/export";

/// An export with a Service.
pub const VALID: &str = "Valid";

/// An export without a Service of its name.
pub const NO_SERVICE: &str = "NoService";

/// An export of a Service of type ExternalName, which has nothing to export.
pub const INVALID_SERVICE_TYPE: &str = "InvalidServiceType";

/// What keys of exported annotations begin with, in a record's metadata.
pub const ANNOTATION: &str = "annotation:";

/// What keys of application protocols begin with, in an export's metadata; then comes the name of the port. The word is the
/// Service's own. Ports that declare none have no such key, whatever their names are taken for.
pub const APP_PROTOCOL: &str = "appProtocol:";
