//! What the status of a ServiceExport says, as data: a controller may write it, an operator may read it.

use registry_core::{Conflict, RegistryId, ServiceMeta, Str};

/// One cluster's export of a service.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The registry of the cluster.
    pub registry: &'a RegistryId,
    /// What it says, as [`McsRegistry::exports`](crate::McsRegistry::exports) maps it.
    pub meta: &'a ServiceMeta,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// That is not known.
    Unknown,
}

/// A condition of an export, in the words of `multicluster.x-k8s.io/v1beta1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Valid`, `Ready` or `Conflict`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Truth,
    /// The reason; several of `Conflict` are joined by commas.
    pub reason: String,
    /// What a person should know.
    pub message: String,
}

/// The conditions of one cluster's export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportStatus {
    /// The registry of the cluster.
    pub registry: RegistryId,
    /// The id of the cluster.
    pub cluster: Str,
    /// `Valid`, `Ready` and `Conflict`, in this order.
    pub conditions: [Condition; 3],
}

/// The conditions of all exports of one service, in the order of precedence, given what the merge found to be at odds.
pub fn statuses(_exports: &[Export<'_>], _conflicts: &[Conflict]) -> Vec<ExportStatus> {
    unimplemented!()
}
