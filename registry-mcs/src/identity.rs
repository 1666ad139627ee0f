//! Which cluster a cluster is: its id within the clusterset.

use registry_core::RegistryError;
use registry_k8s::Cluster;

/// The id of a cluster: as configured, else by its ClusterProperty `cluster.clusterset.k8s.io` (of `about.k8s.io`, in
/// `v1beta1` or `v1alpha1`), else the uid of its namespace `kube-system`, as KEP-2149 recommends.
///
/// # Errors
///
/// Where none of these can be had; the message names the URL.
pub(crate) async fn cluster_id(
    _cluster: &Cluster,
    configured: Option<&str>,
) -> Result<String, RegistryError> {
    if let Some(configured) = configured {
        return Ok(configured.to_owned());
    }
    unimplemented!()
}
