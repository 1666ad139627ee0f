//! A daemon, and the Envoys that it manages.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use registry_testkit::envoy::{Envoy, Options, Version};
use registry_testkit::ports;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::daemon::{DEADLINE, Daemon, http};

/// Which protocol an Envoy speaks with the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Api {
    Sotw,
    Delta,
}

/// One of each protocol and of each version.
pub(crate) const BOTH: [(Api, Version); 2] = [(Api::Sotw, Version::V1_36), (Api::Delta, Version::V1_40)];

/// As [`BOTH`], the other way round.
pub(crate) const BOTH_SWAPPED: [(Api, Version); 2] =
    [(Api::Sotw, Version::V1_40), (Api::Delta, Version::V1_36)];

/// All of them.
pub(crate) const ALL: [(Api, Version); 4] = [BOTH[0], BOTH[1], BOTH_SWAPPED[0], BOTH_SWAPPED[1]];

/// An Envoy whose bootstrap the daemon's program printed.
pub(crate) struct Proxy {
    pub(crate) envoy: Envoy,
    /// Its shared outbound listener.
    pub(crate) address: SocketAddr,
    pub(crate) name: String,
    http: reqwest::Client,
}

/// A daemon and its Envoys.
pub(crate) struct Fleet {
    // First, so that they are killed first: nothing is left to be pushed to anybody.
    pub(crate) proxies: Vec<Proxy>,
    pub(crate) daemon: Daemon,
    pub(crate) xds: u16,
    outbound: u16,
}

impl Fleet {
    /// A daemon that does not run yet, without proxies.
    pub(crate) fn new() -> Self {
        let ports = ports::free(2).unwrap();
        Self {
            proxies: Vec::new(),
            daemon: Daemon::new(),
            xds: ports[0],
            outbound: ports[1],
        }
    }

    /// The address that is configured for the shared listener.
    pub(crate) fn outbound(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.outbound).into()
    }

    /// The first lines of a configuration; `xds` are further keys of that section, each on a line, indented by two.
    pub(crate) fn head(&self, xds: &str) -> String {
        format!(
            "{}xds:\n  listen: \"127.0.0.1:{}\"\n  outbound: {{ listen: \"{}\" }}\n{xds}",
            self.daemon.head(),
            self.xds,
            self.outbound()
        )
    }

    /// Puts the configuration in place, and starts the daemon on it until it is ready.
    pub(crate) async fn start(&mut self, config: &str) {
        self.daemon.write("registryd.yaml", config);
        self.daemon.start();
        self.daemon.ready().await;
    }

    /// Starts an Envoy for each, at listeners of their own. The configuration has to be in place.
    pub(crate) async fn add(&mut self, proxies: &[(Api, Version)]) {
        for (api, version) in proxies {
            let proxy = Proxy::start(&self.daemon, *api, *version).await;
            self.proxies.push(proxy);
        }
    }

    /// Waits until all of them are ready.
    pub(crate) async fn ready(&mut self) {
        for proxy in &mut self.proxies {
            if let Err(error) = proxy.envoy.ready(DEADLINE).await {
                panic!("{}: {error:?}\n{}", proxy.name, self.daemon.last_words());
            }
        }
    }

    /// Waits until each has exactly these hosts in a cluster.
    pub(crate) async fn until_hosts(&self, cluster: &str, wanted: &[String]) {
        let mut wanted = wanted.to_vec();
        wanted.sort();
        for proxy in &self.proxies {
            proxy
                .until(
                    &format!("{cluster} with {wanted:?}"),
                    &self.daemon,
                    async |proxy| {
                        let hosts = proxy.hosts().await?;
                        (hosts.get(cluster) == Some(&wanted)).then_some(())
                    },
                )
                .await;
        }
    }

    /// Waits until none of them has a cluster any more.
    pub(crate) async fn until_gone(&self, cluster: &str) {
        for proxy in &self.proxies {
            proxy
                .until(&format!("no {cluster}"), &self.daemon, async |proxy| {
                    (!proxy.hosts().await?.contains_key(cluster)).then_some(())
                })
                .await;
        }
    }

    /// Waits until each has a stream to the daemon.
    pub(crate) async fn until_connected(&self) {
        for proxy in &self.proxies {
            proxy
                .until("a stream", &self.daemon, async |proxy| {
                    (proxy.envoy.stat("control_plane.connected_state").await.ok()? == 1).then_some(())
                })
                .await;
        }
    }

    /// Waits until no cluster is warming.
    pub(crate) async fn until_warm(&self) {
        for proxy in &self.proxies {
            proxy
                .until("an end of the warming", &self.daemon, async |proxy| {
                    (proxy.envoy.stat("cluster_manager.warming_clusters").await.ok()? == 0).then_some(())
                })
                .await;
        }
    }

    /// Waits until each answers 200 for that host.
    pub(crate) async fn until_served(&self, host: &str) {
        for proxy in &self.proxies {
            proxy
                .until(&format!("200 for {host}"), &self.daemon, async |proxy| {
                    (proxy.ask(host).await? == 200).then_some(())
                })
                .await;
        }
    }

    /// Nothing was refused, nothing is still warming, and nobody waited in vain for anything. Waits for what is under way.
    pub(crate) async fn assert_content(&self) {
        self.until_warm().await;
        for proxy in &self.proxies {
            let bad = proxy
                .stats("(update_rejected|init_fetch_timeout|warming_clusters)$")
                .await;
            // A filter that matches nothing proves nothing.
            for known in [
                "cluster_manager.cds.update_rejected",
                "listener_manager.lds.update_rejected",
                "cluster_manager.cds.init_fetch_timeout",
            ] {
                assert!(bad.contains_key(known), "{}: {bad:?}", proxy.name);
            }
            let bad: BTreeMap<_, _> = bad.into_iter().filter(|(_, count)| *count > 0).collect();
            assert!(
                bad.is_empty(),
                "{}: {bad:?}\n{}\n{}",
                proxy.name,
                proxy.envoy.log(),
                self.daemon.last_words()
            );
        }
    }

    /// What the daemon says of the streams of these proxies.
    pub(crate) async fn clients(&self) -> Vec<Value> {
        let (status, body) = self.daemon.get("/v1/xds/clients").await;
        assert_eq!(status, 200, "{body}");
        body["clients"].as_array().cloned().unwrap()
    }
}

impl Proxy {
    async fn start(daemon: &Daemon, api: Api, version: Version) -> Self {
        let name = format!("{api:?}-{version:?}");
        let port = ports::free(1).unwrap()[0];
        let arguments = [
            "bootstrap",
            "envoy",
            "--config",
            "registryd.yaml",
            "--format",
            "json",
            "--no-admin",
            "--node-id",
            &name,
        ];
        let mut arguments = arguments.to_vec();
        arguments.extend((api == Api::Sotw).then_some("--sotw"));
        let mut bootstrap: Value = serde_json::from_str(&daemon.prints(&arguments)).unwrap();
        // Several share this host.
        bootstrap["node"]["metadata"] = json!({ "registryd.outbound": port });
        let options = Options {
            version,
            // Each worker hears of a change at a time of its own.
            concurrency: 2,
            ..Options::default()
        };
        Self {
            envoy: Envoy::start(&bootstrap.to_string(), &options).await.unwrap(),
            address: ([127, 0, 0, 1], port).into(),
            name,
            http: http(),
        }
    }

    /// The status of an answer; `None` where there is none.
    pub(crate) async fn ask(&self, host: &str) -> Option<u16> {
        let request = self
            .http
            .get(format!("http://{}/", self.address))
            .header("host", host);
        let response = request.timeout(DEADLINE).send().await.ok()?;
        let status = response.status().as_u16();
        // The connection is free again only then.
        response.bytes().await.ok()?;
        Some(status)
    }

    pub(crate) async fn hosts(&self) -> Option<BTreeMap<String, Vec<String>>> {
        self.envoy.hosts().await.ok()
    }

    pub(crate) async fn stats(&self, filter: &str) -> BTreeMap<String, u64> {
        self.envoy.stats(filter).await.unwrap()
    }

    /// What it has ever lost, as far as it counts that.
    pub(crate) async fn removed(&self) -> BTreeMap<String, u64> {
        self.stats("^(cluster_manager.cluster_removed|listener_manager.listener_removed)$")
            .await
    }

    /// Waits for something; shows both logs where that does not come.
    pub(crate) async fn until<T>(
        &self,
        what: &str,
        daemon: &Daemon,
        mut look: impl AsyncFnMut(&Self) -> Option<T>,
    ) -> T {
        let start = Instant::now();
        loop {
            if let Ok(Some(found)) = tokio::time::timeout(DEADLINE, look(self)).await {
                return found;
            }
            assert!(
                start.elapsed() < DEADLINE,
                "{}: {what} did not come within {DEADLINE:?}\nclusters: {:?}\n{}\n{}",
                self.name,
                self.hosts().await,
                self.envoy.log(),
                daemon.last_words()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}
