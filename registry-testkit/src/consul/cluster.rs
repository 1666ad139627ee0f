//! Several servers that elect a leader.

use std::time::Duration;

use serde_json::Value;

use super::builder::{Membership, free_ports};
use super::{Consul, ConsulBuilder, READY_DEADLINE};
use crate::daemon::is_collision;
use crate::{Error, wait};

/// How often other ports are tried when another process was quicker.
const ATTEMPTS: usize = 5;

/// A cluster of servers on this machine, each with ports and data of its own.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use std::time::Duration;
///
/// use registry_testkit::consul::ConsulCluster;
///
/// let mut cluster = ConsulCluster::start(3).await?;
/// let leader = cluster.await_leader(Duration::from_secs(30)).await?;
/// cluster.kill(leader).await?;
/// let next = cluster.await_leader(Duration::from_secs(30)).await?;
/// assert_ne!(next, leader);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct ConsulCluster {
    servers: Vec<Consul>,
}

// === impl ConsulCluster ===

impl ConsulCluster {
    /// Starts `count` servers and waits until each of them knows the leader and all members.
    ///
    /// # Errors
    ///
    /// As for [`ConsulBuilder::start`].
    pub async fn start(count: usize) -> Result<Self, Error> {
        Self::start_with(Consul::builder(), count).await
    }

    /// Starts `count` servers with the same options; their nodes are named after the option, `node-1-0`,
    /// `node-1-1` and so on. Token and certificate authority are the same for all.
    ///
    /// # Errors
    ///
    /// As for [`ConsulBuilder::start`].
    pub async fn start_with(builder: ConsulBuilder, count: usize) -> Result<Self, Error> {
        let shared = builder.membership().await?;
        let mut attempt = 1;
        loop {
            match Self::try_start(&builder, count, shared.clone()).await {
                Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    async fn try_start(builder: &ConsulBuilder, count: usize, mut shared: Membership) -> Result<Self, Error> {
        let ports = (0..count).map(|_| free_ports()).collect::<Result<Vec<_>, _>>()?;
        shared.serf_ports = ports.iter().map(|ports| ports.serf).collect();
        let mut servers = Vec::with_capacity(count);
        for (index, ports) in ports.into_iter().enumerate() {
            let name = format!("{}-{index}", builder.node_prefix());
            let mut server = builder.clone().node(name).prepare(ports, &shared)?;
            server.launch()?;
            servers.push(server);
        }
        for server in &mut servers {
            server.ready(READY_DEADLINE).await?;
        }
        let cluster = Self { servers };
        wait::until(
            "all servers in the catalogue and among the peers",
            READY_DEADLINE,
            async || cluster.is_complete().await.then_some(()),
        )
        .await?;
        Ok(cluster)
    }

    /// How many servers there are, stopped ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.servers.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// A server.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn server(&self, index: usize) -> &Consul {
        &self.servers[index]
    }

    /// A server, to pause or to wipe it.
    ///
    /// # Panics
    ///
    /// When there are not so many.
    #[must_use]
    pub fn server_mut(&mut self, index: usize) -> &mut Consul {
        &mut self.servers[index]
    }

    /// The base URLs of all servers.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.servers
            .iter()
            .map(|server| server.url().to_owned())
            .collect()
    }

    /// The server that leads; `None` where the running ones do not agree on one that runs.
    pub async fn leader_index(&self) -> Option<usize> {
        let mut leaders = Vec::new();
        for server in self.servers.iter().filter(|server| server.pid().is_some()) {
            let leader = server.api().get("/v1/status/leader").await.ok()?;
            leaders.push(self.index_of(&leader)?);
        }
        let first = *leaders.first()?;
        leaders.iter().all(|leader| *leader == first).then_some(first)
    }

    /// Waits until there is a leader that all running servers agree on.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when there is none in time.
    pub async fn await_leader(&self, deadline: Duration) -> Result<usize, Error> {
        wait::until(
            "a leader that all running servers agree on",
            deadline,
            async || self.leader_index().await,
        )
        .await
    }

    /// Kills a server; see [`Consul::kill`].
    ///
    /// # Errors
    ///
    /// As for [`Consul::kill`].
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub async fn kill(&mut self, index: usize) -> Result<(), Error> {
        self.servers[index].kill().await
    }

    /// Starts a server again and waits until it is ready, which needs a quorum; see [`Consul::restart`].
    ///
    /// # Errors
    ///
    /// As for [`Consul::restart`].
    ///
    /// # Panics
    ///
    /// When there are not so many.
    pub async fn restart(&mut self, index: usize) -> Result<(), Error> {
        self.servers[index].restart().await
    }

    /// Starts all stopped servers again and waits until they are ready; for a cluster without a quorum.
    ///
    /// # Errors
    ///
    /// As for [`Consul::restart`].
    pub async fn restart_stopped(&mut self) -> Result<(), Error> {
        let stopped: Vec<_> = self
            .servers
            .iter_mut()
            .filter(|server| server.pid().is_none())
            .collect();
        let mut launched = Vec::with_capacity(stopped.len());
        for server in stopped {
            server.launch()?;
            launched.push(server);
        }
        for server in launched {
            server.ready(READY_DEADLINE).await?;
        }
        Ok(())
    }

    /// Whether every server knows all members; before that a leader may still be on its own.
    async fn is_complete(&self) -> bool {
        for server in &self.servers {
            for path in ["/v1/catalog/nodes", "/v1/status/peers"] {
                let members = server.api().get(path).await;
                let known = members.ok().and_then(|members| members.as_array().map(Vec::len));
                if known != Some(self.servers.len()) {
                    return false;
                }
            }
        }
        true
    }

    /// The running server with the address that `/v1/status/leader` gave.
    fn index_of(&self, leader: &Value) -> Option<usize> {
        let port = leader.as_str()?.strip_prefix("127.0.0.1:")?.parse::<u16>().ok()?;
        self.servers
            .iter()
            .position(|server| server.ports.rpc == port && server.pid().is_some())
    }
}
