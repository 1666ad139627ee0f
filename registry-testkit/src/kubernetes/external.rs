//! A cluster that is there already.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use reqwest::{Certificate, Identity};
use tempfile::TempDir;

use super::KubernetesApi;
use super::kubeconfig::{self, Login};
use crate::json::JsonClient;
use crate::{Error, files};

/// The variable that names the kubeconfig file of a cluster for those tests that can do with any.
pub const KUBECONFIG: &str = "REGISTRY_TEST_KUBECONFIG";

/// The variable that names contexts of that file, separated by commas, for those tests that need several clusters; the
/// first ones of the file unless set.
pub const CONTEXTS: &str = "REGISTRY_TEST_CONTEXTS";

/// The contexts for tests that need so many clusters.
pub(super) fn contexts(kubeconfig: &Path, count: usize) -> Result<Vec<String>, Error> {
    let named = env::var(CONTEXTS).unwrap_or_default();
    let mut names: Vec<String> = named
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        names = kubeconfig::contexts(kubeconfig)?;
    }
    if names.len() < count {
        return Err(Error::Kubeconfig {
            path: kubeconfig.display().to_string(),
            reason: format!(
                "the test needs {count} contexts, and there are {} ({CONTEXTS} names them)",
                names.len()
            ),
        });
    }
    names.truncate(count);
    Ok(names)
}

/// The file that the variable names.
pub(super) fn named() -> Option<PathBuf> {
    let path = env::var_os(KUBECONFIG).filter(|path| !path.is_empty());
    path.map(PathBuf::from)
}

/// A cluster that we did not start, with an administrator's login.
#[derive(Debug)]
pub(super) struct External {
    url: String,
    login: Login,
    folder: TempDir,
}

// === impl External ===

impl External {
    /// The cluster of a context, the current one unless named.
    pub(super) fn read(kubeconfig: &Path, context: Option<&str>) -> Result<Self, Error> {
        let folder = files::temporary("cluster-")?;
        let (url, login) = kubeconfig::read(kubeconfig, context, folder.path())?;
        Ok(Self { url, login, folder })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) fn ca_file(&self) -> Option<&Path> {
        self.login.ca.as_deref()
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.login.token.as_deref()
    }

    pub(super) fn login(&self) -> &Login {
        &self.login
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A client; each has connections of its own.
    pub(super) fn api(&self) -> Result<KubernetesApi, Error> {
        let bad = |source| Error::Client { source };
        let mut options = JsonClient::options(None);
        if let Some(ca) = &self.login.ca {
            let certificates = Certificate::from_pem_bundle(&load(ca)?).map_err(bad)?;
            options = options.tls_certs_only(certificates);
        }
        if let (Some(certificate), Some(key)) = (&self.login.certificate, &self.login.key) {
            let pem = [load(key)?, load(certificate)?].concat();
            options = options.identity(Identity::from_pem(&pem).map_err(bad)?);
        }
        KubernetesApi::new(&self.url, options, self.token())
    }
}

fn load(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(Error::file("cannot read", path))
}
