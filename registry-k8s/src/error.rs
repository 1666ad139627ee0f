//! What can go wrong in setting up a Kubernetes registry.

/// What came from elsewhere, fit for a message: on one line, and no longer than that.
pub(crate) fn short(text: &str, most: usize) -> String {
    let shown = text.chars().take(most);
    let mut short: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}

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
