//! For fuzz targets, and for tests that replay what they found: everything that the daemon and its commands read from
//! outside. No part of the API.

use registry_core::fuzzing::Target;

/// The targets of this crate.
pub const TARGETS: &[Target] = &[
    ("registryd_config", config),
    ("registryd_query", query),
    ("registryd_watch", watch),
];

/// A configuration, checked as the command `check` does, without looking at any file.
pub fn config(bytes: &[u8]) {
    crate::config::fuzzing::config(bytes);
}

/// The query parameters of a request.
pub fn query(bytes: &[u8]) {
    crate::http::fuzzing::query(bytes);
}

/// The stream that the command `watch` reads.
pub fn watch(bytes: &[u8]) {
    crate::cli::fuzzing::watch(bytes);
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_fuzzing_knows_passes() {
        let package = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        registry_core::fuzzing::replay(&package.join(".."), super::TARGETS);
    }
}
