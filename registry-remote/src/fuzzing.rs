//! For fuzz targets, and for tests that replay what they found. No part of the API.

use registry_core::fuzzing::Target;

pub use crate::daemon::fuzzing::events as daemon_events;
pub use crate::http_sd::fuzzing::document as http_sd;

/// The targets of this crate.
pub const TARGETS: &[Target] = &[("daemon_events", daemon_events), ("http_sd", http_sd)];

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
