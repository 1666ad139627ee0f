//! What can go wrong in setting up a Kubernetes registry.

/// What can go wrong with a Kubernetes registry before anything is asked of its server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that cannot be used.
    #[error("{field}: {problem}")]
    Config {
        /// The field of the configuration.
        field: &'static str,
        /// What was found, and what was expected.
        problem: String,
    },
    /// A kubeconfig that cannot be used.
    #[error("{place}: {problem}")]
    Kubeconfig {
        /// The file, or the Secret and its key.
        place: String,
        /// What was found, and what was expected; nothing secret.
        problem: String,
    },
}
