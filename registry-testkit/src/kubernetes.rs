//! A Kubernetes API server for tests, or a whole cluster that is there already.
//!
//! ```text
//!  KubernetesBuilder ──start──▶ Kubernetes ── process: kill, pause, restart, wipe, compact …
//!  REGISTRY_TEST_KUBECONFIG ──▶    │ api()       access: add_token, revoke_token, allow, deny, kubeconfig
//!                                  ▼
//!                           KubernetesApi ── create, patch, watch, service, endpoint_slice …
//! ```
//!
//! The server is `e2e/kube-apiserver`: Kubernetes' own libraries for storage, watches, pages, custom resources and
//! access, without its controllers. Nobody makes endpoint slices of pods, so tests write them. It listens on two
//! ports of 127.0.0.1, one with TLS and one without, for proxies that read along. Any number of servers run side by
//! side. Dropping a [`Kubernetes`] kills the server and removes its folder.
//!
//! A test that needs no more than the API can run against any cluster: it starts with
//! [`KubernetesBuilder::start_or_external`], keeps to [a namespace of its own](Kubernetes::new_namespace) and asks
//! [`is_external`](Kubernetes::is_external) before it kills something. Tests of several clusters have a [`Clusterset`].

mod access;
mod api;
mod builder;
mod bulk;
mod clusterset;
mod external;
mod kubeconfig;
pub mod mcs;
mod namespace;
mod watching;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

pub use self::access::ADMIN;
use self::access::Access;
pub use self::api::{Answer, KubernetesApi, core_path, endpoint_slices_path, services_path};
pub use self::builder::KubernetesBuilder;
pub use self::bulk::{bulk_endpoints, bulk_service, bulk_slice};
pub use self::clusterset::{Clusterset, SharedNamespace};
use self::external::External;
pub use self::external::{CONTEXTS, KUBECONFIG};
use self::kubeconfig::Login;
pub use self::namespace::Namespace;
pub use self::watching::Watching;
use crate::daemon::Daemon;
use crate::{Error, files, servers};

/// Where the program is among the installed servers.
const PROGRAM: &str = "kube-apiserver/bin/kube-apiserver";

/// How long a server may take to become ready. It needs about a second; a loaded machine is given plenty.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// An API server that runs as a child of this process, or a cluster that runs anyway.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::kubernetes::{Kubernetes, services_path};
/// use serde_json::json;
///
/// let mut kubernetes = Kubernetes::builder().persistent().start().await?;
/// let api = kubernetes.api().clone();
/// api.namespace("demo").await?;
/// api.service("demo", "web", &json!({ "ports": [{ "name": "http", "port": 80 }] })).await?;
/// let endpoints = json!([{ "addresses": ["10.0.0.1"] }]);
/// let slice = json!({ "endpoints": endpoints, "ports": [{ "name": "http", "port": 8080 }] });
/// api.endpoint_slice("demo", "web-1", "web", &slice).await?;
///
/// kubernetes.allow("reader", "demo", "services")?;
/// let kubeconfig = kubernetes.kubeconfig("reader")?;
///
/// kubernetes.kill().await?;
/// kubernetes.restart().await?;
/// assert_eq!(api.list(&services_path("demo")).await?.len(), 1);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Kubernetes {
    cluster: Cluster,
    api: KubernetesApi,
}

#[derive(Debug)]
enum Cluster {
    Own(Box<Server>),
    External(Arc<External>),
}

/// A server that we started.
#[derive(Debug)]
struct Server {
    // Before the folder: the server has to be gone when its files go.
    daemon: Daemon,
    api: KubernetesApi,
    arguments: Vec<String>,
    persistent: bool,
    ports: Ports,
    url: String,
    plain_url: String,
    ca: PathBuf,
    access: Access,
    folder: TempDir,
}

/// The ports of one server.
#[derive(Debug, Clone, Copy)]
struct Ports {
    secure: u16,
    plain: u16,
}

// === impl Kubernetes ===

impl Kubernetes {
    /// The options of a server; as they are, it keeps nothing over a restart.
    #[must_use]
    pub fn builder() -> KubernetesBuilder {
        KubernetesBuilder::default()
    }

    /// The cluster that the variable [`KUBECONFIG`] names a kubeconfig file of; `None` where it is not set.
    ///
    /// # Errors
    ///
    /// [`Error::Kubeconfig`] when the file cannot be used, or what the cluster's first answer fails with.
    pub async fn external() -> Result<Option<Self>, Error> {
        match external::named() {
            Some(kubeconfig) => Self::external_at(&kubeconfig).await.map(Some),
            None => Ok(None),
        }
    }

    /// The cluster of a kubeconfig file's current context, whose user has to be its administrator.
    ///
    /// # Errors
    ///
    /// As for [`external`](Self::external).
    pub async fn external_at(kubeconfig: &Path) -> Result<Self, Error> {
        Self::external_context(kubeconfig, None).await
    }

    /// The cluster of one of a kubeconfig file's contexts, or of its current one.
    ///
    /// # Errors
    ///
    /// As for [`external`](Self::external).
    pub async fn external_context(kubeconfig: &Path, context: Option<&str>) -> Result<Self, Error> {
        let external = External::read(kubeconfig, context)?;
        let kubernetes = Self::new(Cluster::External(Arc::new(external)))?;
        kubernetes.api.get("/version").await?;
        Ok(kubernetes)
    }

    fn new(cluster: Cluster) -> Result<Self, Error> {
        let api = match &cluster {
            Cluster::Own(server) => server.api.clone(),
            Cluster::External(external) => external.api()?,
        };
        Ok(Self { cluster, api })
    }

    /// Whether this is a cluster that we did not start: it cannot be killed, wiped or compacted, has users of its
    /// own and holds more than what this test put there.
    #[must_use]
    pub fn is_external(&self) -> bool {
        matches!(self.cluster, Cluster::External(_))
    }

    /// The base URL of the API, such as `https://127.0.0.1:15000`, without a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        match &self.cluster {
            Cluster::Own(server) => &server.url,
            Cluster::External(external) => external.url(),
        }
    }

    /// The address behind [`url`](Self::url), for a proxy of raw connections.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours.
    pub fn address(&self) -> Result<SocketAddrV4, Error> {
        let port = self.own("address")?.ports.secure;
        Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    /// The base URL of the same API without TLS, by HTTP/1.1; tokens are needed there, too.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours.
    pub fn plain_url(&self) -> Result<&str, Error> {
        Ok(&self.own("plain_url")?.plain_url)
    }

    /// The address behind [`plain_url`](Self::plain_url), for a proxy that reads along.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours.
    pub fn plain_address(&self) -> Result<SocketAddrV4, Error> {
        let port = self.own("plain_address")?.ports.plain;
        Ok(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    /// The certificates (PEM) to trust; `None` where a cluster has one that everybody trusts.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        match &self.cluster {
            Cluster::Own(server) => Some(&server.ca),
            Cluster::External(external) => external.ca_file(),
        }
    }

    /// The administrator's token; `None` where that is known by a certificate.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        match &self.cluster {
            Cluster::Own(server) => Some(server.access.admin()),
            Cluster::External(external) => external.token(),
        }
    }

    /// Calls to the API as administrator.
    #[must_use]
    pub fn api(&self) -> &KubernetesApi {
        &self.api
    }

    /// Another client of the same API, with connections of its own: those of a client belong to the runtime of the test
    /// that uses it first.
    ///
    /// # Errors
    ///
    /// [`Error::Client`] when it cannot be made.
    pub fn new_api(&self) -> Result<KubernetesApi, Error> {
        match &self.cluster {
            Cluster::Own(server) => KubernetesApi::administrator(&server.plain_url, server.access.admin()),
            Cluster::External(external) => external.api(),
        }
    }

    /// Makes a namespace of a name that begins with `prefix` and is in use nowhere else.
    ///
    /// In an external cluster it is deleted, with all that is in it, when the value is dropped.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn new_namespace(&self, prefix: &str) -> Result<Namespace, Error> {
        let name = namespace::name(prefix)?;
        Namespace::create(&self.api, name, self.external_of()).await
    }

    /// The cluster that outlives the test, if it is one.
    fn external_of(&self) -> Option<Arc<External>> {
        match &self.cluster {
            Cluster::Own(_) => None,
            Cluster::External(external) => Some(Arc::clone(external)),
        }
    }

    /// Gives a user a token more, and returns it. Without a [rule](Self::allow) the user may do nothing but see
    /// which kinds there are. The user [`ADMIN`] may do everything.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours, [`Error::Io`] when the file cannot be written.
    pub fn add_token(&self, user: &str) -> Result<String, Error> {
        self.own("add_token")?.access.add_token(user)
    }

    /// Makes a token unknown: from the next request on it is answered with 401. Watches under way go on.
    ///
    /// # Errors
    ///
    /// As for [`add_token`](Self::add_token).
    pub fn revoke_token(&self, token: &str) -> Result<(), Error> {
        self.own("revoke_token")?.access.revoke_token(token)
    }

    /// Allows a user to do everything with a resource (`services`, or `*` for all) in a namespace; `*` stands for
    /// all namespaces, and is needed for lists across them and for what is in none, such as nodes.
    ///
    /// # Errors
    ///
    /// As for [`add_token`](Self::add_token).
    pub fn allow(&self, user: &str, namespace: &str, resource: &str) -> Result<(), Error> {
        self.own("allow")?.access.allow(user, namespace, resource)
    }

    /// Takes back what [`allow`](Self::allow) gave with the same words: from the next request on it is a 403.
    ///
    /// # Errors
    ///
    /// As for [`add_token`](Self::add_token).
    pub fn deny(&self, user: &str, namespace: &str, resource: &str) -> Result<(), Error> {
        self.own("deny")?.access.deny(user, namespace, resource)
    }

    /// Writes a kubeconfig file with the newest token of a user, who gets one if there is none.
    ///
    /// In an external cluster there is only [`ADMIN`].
    ///
    /// # Errors
    ///
    /// [`Error::External`] for another user of a cluster that is not ours, [`Error::Io`] when the file cannot be
    /// written.
    pub fn kubeconfig(&self, user: &str) -> Result<PathBuf, Error> {
        self.kubeconfig_for(self.url(), user)
    }

    /// As [`kubeconfig`](Self::kubeconfig), with another URL, such as a proxy's.
    ///
    /// # Errors
    ///
    /// As for [`kubeconfig`](Self::kubeconfig).
    pub fn kubeconfig_for(&self, url: &str, user: &str) -> Result<PathBuf, Error> {
        let (folder, login) = match &self.cluster {
            Cluster::External(external) if user == ADMIN => (external.folder(), external.login().clone()),
            Cluster::External(_) => return Err(external("kubeconfig of another user")),
            Cluster::Own(server) => {
                let token = match server.access.token_of(user) {
                    Some(token) => token,
                    None => server.access.add_token(user)?,
                };
                let login = Login {
                    ca: Some(server.ca.clone()),
                    token: Some(token),
                    ..Login::default()
                };
                (server.folder.path(), login)
            }
        };
        kubeconfig::write(folder, url, user, &login)
    }

    /// The number of the process; `None` while it is stopped, and for an external cluster.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.own("pid").ok()?.daemon.pid()
    }

    /// The last lines that the server wrote; nothing for an external cluster.
    #[must_use]
    pub fn log(&self) -> String {
        self.own("log")
            .map(|server| server.daemon.log())
            .unwrap_or_default()
    }

    /// Kills the server (`SIGKILL`): connections are closed without an answer. It loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours, [`Error::State`] when it does not run,
    /// [`Error::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.own_mut("kill")?.daemon.end(Signal::KILL).await
    }

    /// Asks the server to end (`SIGTERM`) and waits for it: watches have a second to end before they are cut.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill), and [`Error::Deadline`] when it does not end within 30 s.
    pub async fn terminate(&mut self) -> Result<(), Error> {
        self.own_mut("terminate")?.daemon.end(Signal::TERM).await
    }

    /// Freezes the server (`SIGSTOP`): the kernel still accepts connections, nothing answers.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill).
    pub async fn pause(&self) -> Result<(), Error> {
        self.own("pause")?.daemon.pause().await
    }

    /// Lets a frozen server go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill).
    pub fn resume(&self) -> Result<(), Error> {
        self.own("resume")?.daemon.resume()
    }

    /// Starts the server again, ending it first where it runs, and waits until it is ready.
    ///
    /// Ports, certificates, tokens and rules stay the same. A persistent server has its data again, and its
    /// watch caches begin at the newest resource version, so older watches are `410 Gone`. Any other server is
    /// empty.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill) and [`KubernetesBuilder::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        let server = self.own_mut("restart")?;
        if server.daemon.is_running() {
            server.daemon.end(Signal::TERM).await?;
        }
        server.launch()?;
        server.ready(READY_DEADLINE).await
    }

    /// Deletes all data of a stopped server: after [`restart`](Self::restart) it is empty, and resource versions
    /// start over, below those that clients know.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours, [`Error::State`] while it runs, [`Error::Io`] when the
    /// files cannot be removed.
    pub fn wipe(&mut self) -> Result<(), Error> {
        let server = self.own_mut("wipe")?;
        server.daemon.must_be_stopped("wipe")?;
        files::remove(&server.data_folder())
    }

    /// Makes the server's etcd forget all history up to now, as it does every few minutes in production; returns
    /// the resource version.
    ///
    /// What is answered from etcd is `410 Gone` at once: everything for a resource
    /// [without a watch cache](KubernetesBuilder::without_watch_cache), and `continue` tokens with the feature gate
    /// `ListFromCacheSnapshot=false`. Watch caches follow within 15 s with their pages, and not with their watches.
    ///
    /// # Errors
    ///
    /// [`Error::External`] where the cluster is not ours, and see [`KubernetesApi`].
    pub async fn compact(&self) -> Result<u64, Error> {
        let api = &self.own("compact")?.api;
        let json = ("Content-Type", "application/json");
        let answer = api
            .write(Method::POST, "/testing/compact", json, &Value::Null)
            .await?;
        Ok(answer["revision"].as_u64().unwrap_or_default())
    }

    fn own(&self, operation: &'static str) -> Result<&Server, Error> {
        match &self.cluster {
            Cluster::Own(server) => Ok(server),
            Cluster::External(_) => Err(external(operation)),
        }
    }

    fn own_mut(&mut self, operation: &'static str) -> Result<&mut Server, Error> {
        match &mut self.cluster {
            Cluster::Own(server) => Ok(server),
            Cluster::External(_) => Err(external(operation)),
        }
    }
}

// === impl Server ===

impl Server {
    fn launch(&mut self) -> Result<(), Error> {
        self.daemon.must_be_stopped("launch")?;
        if !self.persistent {
            files::remove(&self.data_folder())?;
        }
        let program = servers::find(PROGRAM)?;
        self.daemon.start(&program, &self.arguments)
    }

    async fn ready(&mut self, deadline: Duration) -> Result<(), Error> {
        let api = &self.api;
        // Had another server got the port before ours, it would not know the token.
        let probe = || async { api.probe().await.map(|()| None) };
        self.daemon.ready(deadline, probe).await
    }

    fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

fn external(operation: &'static str) -> Error {
    Error::External { operation }
}
