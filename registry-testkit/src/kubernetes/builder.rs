//! The options of a server, and its start.

use std::fs;
use std::path::Path;

use super::access::Access;
use super::{Cluster, Kubernetes, KubernetesApi, Ports, READY_DEADLINE, Server};
use crate::daemon::{Daemon, is_collision};
use crate::{Error, files, ports};

/// How often other ports are tried when another process was quicker.
const ATTEMPTS: usize = 5;

/// How a [`Kubernetes`] is to run.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::kubernetes::Kubernetes;
///
/// // As servers before streaming lists were: they refuse them.
/// let old = Kubernetes::builder().feature_gate("WatchList=false").start().await?;
/// // Compaction takes effect at once, on watches too.
/// let forgetful = Kubernetes::builder().without_watch_cache("endpointslices").start().await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default)]
pub struct KubernetesBuilder {
    persistent: bool,
    feature_gates: Vec<String>,
    uncached: Vec<String>,
}

// === impl KubernetesBuilder ===

impl KubernetesBuilder {
    /// Keeps the data, so that a restart has them again.
    ///
    /// Without it every start begins with an empty cluster, and resource versions start over.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Sets a feature gate of Kubernetes, such as `WatchList=false` or `ListFromCacheSnapshot=false`.
    #[must_use]
    pub fn feature_gate(mut self, gate: impl Into<String>) -> Self {
        self.feature_gates.push(gate.into());
        self
    }

    /// Answers for a built-in resource, such as `services`, from etcd and not from the watch cache.
    ///
    /// Then a [compaction](Kubernetes::compact) takes effect at once: old watches and old pages are `410 Gone`.
    #[must_use]
    pub fn without_watch_cache(mut self, resource: &str) -> Self {
        let group = if resource == "endpointslices" {
            ".discovery.k8s.io"
        } else {
            ""
        };
        self.uncached.push(format!("{resource}{group}#0"));
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when it is not installed, [`Error::Ended`] or [`Error::NotReady`] with the end of
    /// its log when it does not come up within 60 s.
    pub async fn start(self) -> Result<Kubernetes, Error> {
        let mut attempt = 1;
        loop {
            let mut server = self.prepare()?;
            server.launch()?;
            match server.ready(READY_DEADLINE).await {
                Ok(()) => return Kubernetes::new(Cluster::Own(Box::new(server))),
                Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// As [`start`](Self::start), but where [`KUBECONFIG`](super::KUBECONFIG) names a cluster, that one is used
    /// and none is started.
    ///
    /// # Errors
    ///
    /// Those of [`start`](Self::start) and [`Kubernetes::external`].
    pub async fn start_or_external(self) -> Result<Kubernetes, Error> {
        match Kubernetes::external().await? {
            Some(cluster) => Ok(cluster),
            None => self.start().await,
        }
    }

    /// Writes the files of a server that is not started yet.
    fn prepare(&self) -> Result<Server, Error> {
        let folder = files::temporary("kubernetes-")?;
        let free = ports::free(2)?;
        let port = |index: usize| free.get(index).copied().unwrap_or_default();
        let ports = Ports {
            secure: port(0),
            plain: port(1),
        };
        let certificates = folder.path().join("certificates");
        fs::create_dir(&certificates).map_err(Error::file("cannot make", &certificates))?;
        let access = Access::create(folder.path())?;
        let plain_url = format!("http://127.0.0.1:{}", ports.plain);
        Ok(Server {
            daemon: Daemon::stopped("kube-apiserver", folder.path().join("kube-apiserver.log")),
            api: KubernetesApi::administrator(&plain_url, access.admin())?,
            arguments: self.arguments(ports, folder.path()),
            persistent: self.persistent,
            url: format!("https://127.0.0.1:{}", ports.secure),
            ca: certificates.join("apiserver.crt"),
            plain_url,
            ports,
            access,
            folder,
        })
    }

    fn arguments(&self, ports: Ports, folder: &Path) -> Vec<String> {
        let file = |name: &str| folder.join(name).display().to_string();
        let mut arguments = vec![
            format!("--data-dir={}", file("data")),
            format!("--cert-dir={}", file("certificates")),
            format!("--token-file={}", file("tokens.csv")),
            format!("--access-file={}", file("access.csv")),
            format!("--secure-port={}", ports.secure),
            format!("--plain-port={}", ports.plain),
        ];
        if !self.feature_gates.is_empty() {
            arguments.push(format!("--feature-gates={}", self.feature_gates.join(",")));
        }
        if !self.uncached.is_empty() {
            arguments.push(format!("--watch-cache-sizes={}", self.uncached.join(",")));
        }
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gates_and_caches_are_handed_on() {
        let ports = Ports { secure: 1, plain: 2 };
        let arguments = KubernetesBuilder::default()
            .feature_gate("WatchList=false")
            .feature_gate("ListFromCacheSnapshot=false")
            .without_watch_cache("endpointslices")
            .without_watch_cache("services")
            .arguments(ports, Path::new("/d"));
        assert!(
            arguments.contains(&"--feature-gates=WatchList=false,ListFromCacheSnapshot=false".to_owned())
        );
        assert!(
            arguments
                .contains(&"--watch-cache-sizes=endpointslices.discovery.k8s.io#0,services#0".to_owned())
        );
        assert_eq!(
            KubernetesBuilder::default()
                .arguments(ports, Path::new("/d"))
                .len(),
            6
        );
    }
}
