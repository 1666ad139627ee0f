//! What can go wrong in setting up a clusterset.

/// What can go wrong before any cluster is asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be used.
    #[error("{field}: {problem}")]
    Config {
        /// The field of the configuration, such as `clusters[1].name`.
        field: String,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A cluster that cannot be set up.
    #[error("{field}: {source}")]
    Cluster {
        /// The field of the configuration that holds its settings.
        field: String,
        /// What is wrong with them.
        source: registry_k8s::Error,
    },
}
