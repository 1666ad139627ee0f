//! The options of a server, and its start.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::tls::Certificates;
use super::{Consul, ConsulApi, PROGRAM, Ports, READY_DEADLINE};
use crate::daemon::{Daemon, is_collision};
use crate::files::{self, random_uuid, write};
use crate::{Error, ports, process, servers};

/// How often other ports are tried when another process was quicker.
const ATTEMPTS: usize = 5;

/// How many files a server needs besides its clients' connections.
const OWN_FILES: u64 = 256;

/// How a [`Consul`] is to run.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::consul::Consul;
///
/// let consul = Consul::builder().acl().tls().http_max_conns_per_client(5000).start().await?;
/// assert!(consul.token().is_some() && consul.https_url().is_some());
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ConsulBuilder {
    persistent: bool,
    acl: bool,
    tls: bool,
    client_certificates: bool,
    http_max_conns_per_client: Option<u32>,
    node: String,
    datacenter: String,
    extra_hcl: String,
}

/// What the members of a cluster have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct Membership {
    /// The serf ports of all servers.
    pub(super) serf_ports: Vec<u16>,
    pub(super) token: Option<String>,
    pub(super) certificates: Option<Arc<Certificates>>,
}

impl Default for ConsulBuilder {
    fn default() -> Self {
        Self {
            persistent: false,
            acl: false,
            tls: false,
            client_certificates: false,
            http_max_conns_per_client: None,
            node: "node-1".to_owned(),
            datacenter: "dc1".to_owned(),
            extra_hcl: String::new(),
        }
    }
}

// === impl ConsulBuilder ===

impl ConsulBuilder {
    /// Keeps the data on disk, so that a restart has them again.
    ///
    /// Without it the server runs as `-dev`: it is ready in 0.3 s instead of 2 s, forgets everything when it
    /// ends and indents its JSON, which makes answers 1.6 times as long.
    #[must_use]
    pub fn persistent(mut self) -> Self {
        self.persistent = true;
        self
    }

    /// Denies what no token allows; [`Consul::token`] is the management token.
    #[must_use]
    pub fn acl(mut self) -> Self {
        self.acl = true;
        self
    }

    /// Opens a port for HTTPS (and HTTP/2) besides the one for HTTP, with a certificate for 127.0.0.1 and
    /// `localhost` of an authority of its own, [`Consul::ca_file`].
    #[must_use]
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Asks clients of the HTTPS port for a certificate, [`Consul::client_certificate`]; implies
    /// [`tls`](Self::tls).
    #[must_use]
    pub fn client_certificates(mut self) -> Self {
        self.client_certificates = true;
        self.tls()
    }

    /// Allows each client address so many connections; Consul's own default is 200.
    ///
    /// The soft limit of open files of this process (and so of the server) is raised where that is needed:
    /// Consul refuses to start with more connections than files.
    #[must_use]
    pub fn http_max_conns_per_client(mut self, connections: u32) -> Self {
        self.http_max_conns_per_client = Some(connections);
        self
    }

    /// Names the server's node; the default is `node-1`.
    #[must_use]
    pub fn node(mut self, name: impl Into<String>) -> Self {
        self.node = name.into();
        self
    }

    /// Names the data centre; the default is `dc1`.
    #[must_use]
    pub fn datacenter(mut self, name: impl Into<String>) -> Self {
        self.datacenter = name.into();
        self
    }

    /// Adds to the configuration, in Consul's own language. What is said here wins.
    #[must_use]
    pub fn extra_hcl(mut self, hcl: &str) -> Self {
        self.extra_hcl.push_str(hcl);
        self.extra_hcl.push('\n');
        self
    }

    /// Starts the server and waits until it is ready.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when Consul is not installed, [`Error::Ended`] or [`Error::NotReady`] with the
    /// end of its log when it does not come up within 60 s.
    pub async fn start(self) -> Result<Consul, Error> {
        let shared = self.membership().await?;
        let mut attempt = 1;
        loop {
            let mut consul = self.prepare(free_ports()?, &shared)?;
            consul.launch()?;
            match consul.ready(READY_DEADLINE).await {
                Ok(()) => return Ok(consul),
                Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Makes what does not depend on a single server: the management token and the certificates.
    pub(super) async fn membership(&self) -> Result<Membership, Error> {
        let certificates = if self.tls {
            let program = servers::find(PROGRAM)?;
            let datacenter = self.datacenter.clone();
            let made = tokio::task::spawn_blocking(move || Certificates::make(&program, &datacenter)).await;
            // The task is neither cancelled nor does it panic.
            let made = made.map_err(|error| Error::Io {
                what: "cannot make certificates".to_owned(),
                source: error.into(),
            })?;
            Some(Arc::new(made?))
        } else {
            None
        };
        let token = if self.acl { Some(random_uuid()?) } else { None };
        Ok(Membership {
            serf_ports: Vec::new(),
            token,
            certificates,
        })
    }

    /// Writes the files of a server that is not started yet.
    pub(super) fn prepare(&self, ports: Ports, shared: &Membership) -> Result<Consul, Error> {
        if let Some(connections) = self.http_max_conns_per_client {
            process::permit_open_files(u64::from(connections) + OWN_FILES)?;
        }
        let folder = files::temporary("consul-")?;
        let node_id = random_uuid()?;
        let config = self.config(ports, shared, &node_id, &folder.path().join("data"));
        write(&folder.path().join("config.json"), &config.to_string())?;
        write(&folder.path().join("extra.hcl"), &self.extra_hcl)?;
        let url = format!("http://127.0.0.1:{}", ports.http);
        Ok(Consul {
            daemon: Daemon::stopped(&self.node, folder.path().join("consul.log")),
            api: ConsulApi::administrator(&url, shared.token.as_deref())?,
            name: self.node.clone(),
            node_id,
            datacenter: self.datacenter.clone(),
            ports,
            token: shared.token.clone(),
            https_url: shared
                .certificates
                .as_ref()
                .map(|_| format!("https://127.0.0.1:{}", ports.https)),
            certificates: shared.certificates.clone(),
            dev: self.is_dev(shared),
            url,
            folder,
        })
    }

    /// A member of a cluster needs its data: a development server does not join others.
    fn is_dev(&self, shared: &Membership) -> bool {
        !self.persistent && shared.serf_ports.is_empty()
    }

    fn config(&self, ports: Ports, shared: &Membership, node_id: &str, data: &Path) -> Value {
        let mut config = json!({
            "node_name": self.node,
            "node_id": node_id,
            "datacenter": self.datacenter,
            "bind_addr": "127.0.0.1",
            "client_addr": "127.0.0.1",
            "disable_update_check": true,
            "log_level": "info",
            "ports": {
                "http": ports.http,
                "https": if shared.certificates.is_some() { i32::from(ports.https) } else { -1 },
                "server": ports.rpc,
                "serf_lan": ports.serf,
                "serf_wan": -1,
                "dns": -1,
                "grpc": -1,
            },
        });
        if !self.is_dev(shared) {
            config["server"] = json!(true);
            config["data_dir"] = json!(data);
            // The default multiplier is for slow machines in production: elections would take 5 times as long.
            config["performance"] = json!({ "raft_multiplier": 1 });
            config["bootstrap_expect"] = json!(shared.serf_ports.len().max(1));
        }
        if !shared.serf_ports.is_empty() {
            let others = shared.serf_ports.iter().filter(|port| **port != ports.serf);
            config["retry_join"] = others.map(|port| json!(format!("127.0.0.1:{port}"))).collect();
            config["retry_interval"] = json!("1s");
        }
        if let Some(token) = &shared.token {
            config["acl"] = json!({
                "enabled": true,
                "default_policy": "deny",
                // In 1.8 the initial management token is called the master.
                "tokens": { "master": token, "agent": token },
            });
        }
        if let Some(certificates) = &shared.certificates {
            config["ca_file"] = json!(certificates.ca);
            config["cert_file"] = json!(certificates.server_cert);
            config["key_file"] = json!(certificates.server_key);
            config["verify_incoming_https"] = json!(self.client_certificates);
        }
        if let Some(connections) = self.http_max_conns_per_client {
            config["limits"] = json!({ "http_max_conns_per_client": connections });
        }
        config
    }

    pub(super) fn node_prefix(&self) -> &str {
        &self.node
    }
}

/// Ports for one server.
pub(super) fn free_ports() -> Result<Ports, Error> {
    let free = ports::free(4)?;
    let port = |index: usize| free.get(index).copied().unwrap_or_default();
    Ok(Ports {
        http: port(0),
        https: port(1),
        rpc: port(2),
        serf: port(3),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORTS: Ports = Ports {
        http: 1,
        https: 2,
        rpc: 3,
        serf: 4,
    };

    #[test]
    fn a_development_server_has_no_data_and_joins_nobody() {
        let config = ConsulBuilder::default().config(PORTS, &Membership::default(), "id", Path::new("/d"));
        assert_eq!(config["ports"]["https"], -1);
        for key in ["data_dir", "retry_join", "acl", "limits", "server"] {
            assert!(config.get(key).is_none(), "{key}");
        }
    }

    #[test]
    fn a_member_of_a_cluster_joins_the_others_and_keeps_data() {
        let shared = Membership {
            serf_ports: vec![4, 5, 6],
            ..Membership::default()
        };
        let config = ConsulBuilder::default().config(PORTS, &shared, "id", Path::new("/d"));
        assert_eq!(config["retry_join"], json!(["127.0.0.1:5", "127.0.0.1:6"]));
        assert_eq!(config["bootstrap_expect"], 3);
        assert_eq!(config["data_dir"], "/d");
    }
}
