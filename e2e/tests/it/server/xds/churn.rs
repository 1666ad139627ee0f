//! Everything changes all the time, and nobody notices (acceptance 2).
//!
//! Istio 0.2 answered 404 now and then: routes, clusters and endpoints were polled independently of each other, and routes
//! led to clusters that were not there yet.

use std::time::Duration;

use registry_testkit::consul::Consul;
use registry_testkit::envoy::Version;
use registry_testkit::upstream::{Kind, Upstream};
use serde_json::json;
use tokio::time::{Instant, interval};

use super::backends::{Backends, cluster, fill, registry};
use super::fleet::{Api, BOTH, Fleet};
use super::storm::Storm;
use super::warmth::Warmth;

/// Between two changes of endpoints.
const PACE: Duration = Duration::from_millis(20);

/// Instances of the service that nobody asks for.
pub(crate) const STILL: usize = 60;

/// Instances that are replaced in turn.
pub(crate) const SLOTS: usize = 4;

/// Configurations that follow each other: clusters come, change and go, and so do routes to them.
fn config(fleet: &Fleet, step: usize, url: &str) -> String {
    let subsets = "  subsets: [{ hosts: web.mesh.internal, subsets: [{ name: v1, labels: { version: v1 } }, { name: v2, labels: { version: v2 } }] }]\n";
    let routes = |to: &str| {
        format!(
            "{subsets}  routes: [{{ hosts: web.mesh.internal, routes: [{{ path: {{ prefix: /canary }}, to: [{to}] }}] }}]\n"
        )
    };
    let xds = match step % 4 {
        0 => "  connect_timeout: 1s\n".to_owned(),
        1 => format!("  connect_timeout: 1s\n{}", routes("{ subset: v1, weight: 1 }")),
        2 => format!(
            "  connect_timeout: 2s\n{}",
            routes("{ subset: v1, weight: 1 }, { subset: v2, weight: 1 }")
        ),
        _ => format!("  connect_timeout: 2s\n{}", routes("{ subset: v2, weight: 1 }")),
    };
    format!("{}registries:\n{}", fleet.head(&xds), registry("consul", url, ""))
}

/// A fleet under load, and all that changes.
pub(crate) struct Churn {
    pub(crate) consul: Consul,
    pub(crate) web: Backends,
    pub(crate) fleet: Fleet,
    extra: Upstream,
    storm: Storm,
    warmth: Warmth,
    updates: usize,
    reloads: usize,
}

impl Churn {
    /// Sets all up, and begins to ask.
    pub(crate) async fn set(proxies: &[(Api, Version)]) -> Self {
        let consul = Consul::builder().start().await.unwrap();
        fill(consul.api(), STILL).await;
        let web = Backends::start(consul.api(), "web", SLOTS).await;
        let mut fleet = Fleet::new();
        fleet.start(&config(&fleet, 0, consul.url())).await;
        fleet.add(proxies).await;
        fleet.ready().await;
        fleet.until_hosts(&web.cluster(), &web.addresses()).await;
        let host = web.host();
        Self {
            storm: Storm::start(&fleet, &[(&host, "/"), (&host, "/canary")]),
            warmth: Warmth::watch(&fleet),
            extra: Upstream::start("extra", Kind::Http).await.unwrap(),
            updates: 0,
            reloads: 0,
            consul,
            web,
            fleet,
        }
    }

    /// Replaces so many instances, with a change of clusters and routes at every 20th, and a service that comes or goes at
    /// every tenth.
    pub(crate) async fn burst(&mut self, updates: usize) {
        let api = self.consul.api();
        let mut pace = interval(PACE);
        for _ in 0..updates {
            pace.tick().await;
            self.web.replace(api, self.updates % SLOTS).await;
            let name = format!("extra-{}", self.updates / 20 % 2);
            match self.updates % 20 {
                3 => {
                    let port = self.extra.port();
                    let instance = json!({ "Name": name, "ID": name, "Address": "127.0.0.1", "Port": port });
                    api.register(&instance).await.unwrap();
                }
                10 => {
                    self.reloads += 1;
                    let config = config(&self.fleet, self.reloads, self.consul.url());
                    if self.fleet.daemon.runs() {
                        self.fleet.daemon.reload(&config, true).await;
                    } else {
                        self.fleet.daemon.write("registryd.yaml", &config);
                    }
                }
                13 => api.deregister(&name).await.unwrap(),
                _ => {}
            }
            if self.updates.is_multiple_of(10) {
                self.web.reap(&self.fleet).await;
            }
            self.updates += 1;
        }
    }

    /// Waits until all have what there is now.
    pub(crate) async fn settle(&mut self) {
        let (web, fleet) = (&self.web, &self.fleet);
        fleet.until_hosts(&web.cluster(), &web.addresses()).await;
        self.web.reap(&self.fleet).await;
    }

    /// Fails where anybody noticed anything.
    pub(crate) async fn finish(mut self) {
        let start = Instant::now();
        self.settle().await;
        let settled = start.elapsed();
        let requests = self.storm.assert_calm(&self.fleet).await;
        let longest = self.warmth.assert_brief().await;
        println!(
            "{} updates, {} changes of clusters and routes, settled within {settled:.1?}: {requests} requests; clusters were \
             warming for {longest:.1?} at most",
            self.updates, self.reloads
        );
        for gone in ["extra-0", "extra-1"] {
            self.fleet.until_gone(&cluster("", gone)).await;
        }
        self.fleet.assert_content().await;
        for client in self.fleet.clients().await {
            for (type_, channel) in client["types"].as_object().unwrap() {
                assert_eq!(channel["nacks"], 0, "{type_} of {client}");
            }
        }
        self.fleet.daemon.assert_no_panic();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_2_nobody_notices_that_endpoints_clusters_routes_and_services_change() {
    let mut churn = Churn::set(&BOTH).await;
    churn.burst(200).await;
    churn.finish().await;
}
