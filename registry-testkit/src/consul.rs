//! A real Consul for tests: one server, or a [cluster](ConsulCluster) of several.
//!
//! ```text
//!  ConsulBuilder ──start──▶ Consul ── process: kill, pause, restart, wipe …
//!                             │ api()
//!                             ▼
//!                          ConsulApi ── register, set_check, maintenance, tokens …
//! ```
//!
//! Every server listens on ports of its own on 127.0.0.1 and keeps its files in a temporary folder, so any
//! number of them run side by side. Dropping a [`Consul`] kills the server and removes the folder.
//!
//! The program is Consul 1.8.7, as `cargo xtask servers` installs it: it blocks, filters, has ACLs, Connect and
//! transactions, and allows 200 connections per client address. What only later versions have is tested
//! against recorded exchanges.

mod acl;
mod api;
mod builder;
mod bulk;
mod cluster;
mod tls;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

pub use self::acl::AclToken;
pub use self::api::{ADMIN_ADDRESS, Answer, ConsulApi};
pub use self::builder::ConsulBuilder;
pub use self::bulk::{instance_id, node_name, service_check_id, service_name};
pub use self::cluster::ConsulCluster;
use self::tls::Certificates;
use crate::daemon::Daemon;
use crate::{Error, files, servers};

/// Where the program is among the installed servers.
const PROGRAM: &str = "consul/bin/consul";

/// How long a server may take to become ready. It needs 0.3 to 2 s; a loaded machine is given plenty.
const READY_DEADLINE: Duration = Duration::from_secs(60);

/// A Consul server that runs as a child of this process.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::consul::Consul;
/// use serde_json::json;
///
/// let mut consul = Consul::builder().persistent().start().await?;
/// consul.api().register(&json!({ "Name": "web", "Port": 8080 })).await?;
/// consul.kill().await?;
/// consul.restart().await?;
/// assert!(consul.api().get("/v1/catalog/services").await?.get("web").is_some());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Consul {
    // Before the folder: the server has to be gone when its files go.
    daemon: Daemon,
    api: ConsulApi,
    name: String,
    node_id: String,
    datacenter: String,
    ports: Ports,
    token: Option<String>,
    certificates: Option<Arc<Certificates>>,
    dev: bool,
    url: String,
    https_url: Option<String>,
    folder: TempDir,
}

/// The ports of one server.
#[derive(Debug, Clone, Copy)]
struct Ports {
    http: u16,
    https: u16,
    rpc: u16,
    serf: u16,
}

// === impl Consul ===

impl Consul {
    /// The options of a server; as they are, it is a development server that keeps nothing.
    #[must_use]
    pub fn builder() -> ConsulBuilder {
        ConsulBuilder::default()
    }

    /// The base URL of the HTTP API, such as `http://127.0.0.1:15000`, without a final slash.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The address of the HTTP API.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.ports.http)
    }

    /// The base URL of the HTTPS API, which speaks HTTP/2; with [`ConsulBuilder::tls`] only.
    #[must_use]
    pub fn https_url(&self) -> Option<&str> {
        self.https_url.as_deref()
    }

    /// The address of the HTTPS API; with [`ConsulBuilder::tls`] only.
    #[must_use]
    pub fn https_address(&self) -> Option<SocketAddrV4> {
        let port = self.certificates.as_ref().map(|_| self.ports.https)?;
        Some(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))
    }

    /// The certificate (PEM) of the authority that issued the server's; with [`ConsulBuilder::tls`] only.
    #[must_use]
    pub fn ca_file(&self) -> Option<&Path> {
        self.certificates
            .as_ref()
            .map(|certificates| certificates.ca.as_path())
    }

    /// A client's certificate and key (PEM); with [`ConsulBuilder::client_certificates`] the server asks for it.
    #[must_use]
    pub fn client_certificate(&self) -> Option<(&Path, &Path)> {
        let certificates = self.certificates.as_ref()?;
        Some((
            certificates.client_cert.as_path(),
            certificates.client_key.as_path(),
        ))
    }

    /// The management token; with [`ConsulBuilder::acl`] only.
    #[must_use]
    pub fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The name of the server's own node.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.name
    }

    /// The data centre.
    #[must_use]
    pub fn datacenter(&self) -> &str {
        &self.datacenter
    }

    /// Calls to this server's HTTP API, with the management token where there is one.
    #[must_use]
    pub fn api(&self) -> &ConsulApi {
        &self.api
    }

    /// The number of the process; `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.pid()
    }

    /// The last lines that the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Kills the server (`SIGKILL`): connections are closed without an answer.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::KILL).await
    }

    /// Asks the server to end (`SIGTERM`) and waits for it: blocking queries are answered with what they had.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill), and [`Error::Deadline`] when it does not end within 30 s.
    pub async fn terminate(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::TERM).await
    }

    /// Freezes the server (`SIGSTOP`): the kernel still accepts connections, nothing answers.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn pause(&self) -> Result<(), Error> {
        self.daemon.pause().await
    }

    /// Lets a frozen server go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub fn resume(&self) -> Result<(), Error> {
        self.daemon.resume()
    }

    /// Starts the server again, ending it first where it runs, and waits until it is ready.
    ///
    /// Ports, token, certificates and node stay the same. A persistent server has its data again, a development
    /// server is empty and its index starts over.
    ///
    /// # Errors
    ///
    /// As for [`ConsulBuilder::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.daemon.is_running() {
            self.terminate().await?;
        }
        self.launch()?;
        self.ready(READY_DEADLINE).await
    }

    /// Starts a stopped server without waiting for it; [`ready`](Self::ready) does that.
    ///
    /// It is for members of a cluster that have no quorum before others run as well.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it runs, [`Error::Spawn`] when the system refuses.
    pub fn launch(&mut self) -> Result<(), Error> {
        self.daemon.must_be_stopped("launch")?;
        let mut arguments = vec!["agent".to_owned()];
        if self.dev {
            arguments.push("-dev".to_owned());
        }
        for file in ["config.json", "extra.hcl"] {
            arguments.push(format!(
                "-config-file={}",
                self.folder.path().join(file).display()
            ));
        }
        let program = servers::find(PROGRAM)?;
        self.daemon.start(&program, &arguments)
    }

    /// Waits until the server has a leader and has itself in its catalogue.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] or [`Error::NotReady`], both with the end of the log.
    pub async fn ready(&mut self, deadline: Duration) -> Result<(), Error> {
        let (api, node_id) = (&self.api, self.node_id.as_str());
        self.daemon.ready(deadline, || probe(api, node_id)).await
    }

    /// Deletes all data of a stopped server: after [`restart`](Self::restart) it is empty, its index starts
    /// over, and clients that kept the old index are blind to changes until their wait ends.
    ///
    /// # Errors
    ///
    /// [`Error::State`] while it runs, [`Error::Io`] when the files cannot be removed.
    pub fn wipe(&mut self) -> Result<(), Error> {
        self.daemon.must_be_stopped("wipe")?;
        files::remove(&self.data_folder())
    }

    fn data_folder(&self) -> PathBuf {
        self.folder.path().join("data")
    }
}

/// What is still missing; `None` when the server is ready.
async fn probe(api: &ConsulApi, node_id: &str) -> Result<Option<&'static str>, Error> {
    let leader = api.get("/v1/status/leader").await?;
    if leader.as_str().is_none_or(str::is_empty) {
        return Ok(Some("it has no leader"));
    }
    // Our own number among the nodes, not just any: had another server got the port before ours, it would
    // answer here, too.
    let nodes = api.get("/v1/catalog/nodes").await?;
    let known = nodes
        .as_array()
        .is_some_and(|nodes| nodes.iter().any(|node| node["ID"].as_str() == Some(node_id)));
    Ok(if known {
        None
    } else {
        Some("its own node is not in the catalogue")
    })
}
