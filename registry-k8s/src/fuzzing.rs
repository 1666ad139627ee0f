//! For fuzz targets, and for tests that replay what they found: everything that an API server sends, and kubeconfigs. No
//! part of the API.

use registry_core::fuzzing::Target;

pub use crate::access::fuzzing::kubeconfig;
pub use crate::index::fuzzing::{history, object};
pub use crate::watch::fuzzing::{page, watch};

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("k8s_history", history),
    ("k8s_kubeconfig", kubeconfig),
    ("k8s_object", object),
    ("k8s_page", page),
    ("k8s_watch", watch),
];

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
