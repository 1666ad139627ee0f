//! What of the surroundings decides how a cluster is reached: variables, and the files of a Pod's service account.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where Kubernetes mounts the token and the authority of a Pod's service account.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

type Lookup = dyn Fn(&str) -> Option<OsString> + Send + Sync;

/// The environment of the process, or one made up by a test: a process has one, which its threads share.
#[derive(Clone)]
pub(super) struct Environment {
    lookup: Arc<Lookup>,
    service_account: PathBuf,
}

impl Environment {
    pub(super) fn of_process() -> Self {
        Self {
            lookup: Arc::new(|name| std::env::var_os(name)),
            service_account: PathBuf::from(SERVICE_ACCOUNT),
        }
    }

    #[cfg(test)]
    pub(super) fn made_up(variables: &[(&str, &str)], service_account: &Path) -> Self {
        let variables: std::collections::BTreeMap<String, OsString> = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), OsString::from(value)))
            .collect();
        Self {
            lookup: Arc::new(move |name| variables.get(name).cloned()),
            service_account: service_account.to_owned(),
        }
    }

    /// The value of a variable; one that is set to nothing counts as not set.
    pub(super) fn var_os(&self, name: &str) -> Option<OsString> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// Likewise, as text; what is no Unicode counts as not set.
    pub(super) fn var(&self, name: &str) -> Option<String> {
        self.var_os(name)?.into_string().ok()
    }

    /// The first of the variables that is set, and its name.
    pub(super) fn first<'n>(&self, names: &[&'n str]) -> Option<(&'n str, String)> {
        names.iter().find_map(|name| Some((*name, self.var(name)?)))
    }

    pub(super) fn service_account(&self) -> &Path {
        &self.service_account
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("service_account", &self.service_account)
            .finish_non_exhaustive()
    }
}
