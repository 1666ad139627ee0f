//! Everything is down, and the daemon starts.

use std::collections::BTreeSet;
use std::time::Duration;

use registry_testkit::FaultProxy;
use registry_testkit::consul::{Consul, ConsulApi, instance_id, service_name};
use serde_json::json;
use tokio::time::Instant;

use crate::api::{claims, held_endpoints};
use crate::daemon::{DEADLINE, Daemon};
use crate::truth::Claim;

/// Services of Consul and instances of each.
const IN_CONSUL: (usize, usize) = (50, 10);

/// Services of the file and endpoints of each.
const IN_FILE: (usize, usize) = (100, 50);

/// How long the start may take in which all that is known is served. It is to be a second; machines differ.
const RESTORED_WITHIN: Duration = Duration::from_secs(15);

/// How long the registries are watched for anything that they should not do.
const QUIET: Duration = Duration::from_secs(3);

struct Scene {
    consul: Consul,
    proxy: FaultProxy,
    daemon: Daemon,
}

/// The file with so many endpoints of each service.
fn document(endpoints: usize) -> String {
    let mut text = "services:\n".to_owned();
    for service in 0..IN_FILE.0 {
        text.push_str(&format!(
            "  - name: vm-{service}\n    ports: [{{ name: http, number: 80 }}]\n    endpoints:\n"
        ));
        for endpoint in 0..endpoints {
            text.push_str(&format!(
                "      - {{ address: 10.20.{service}.{}, ports: {{ http: 8080 }} }}\n",
                endpoint + 1
            ));
        }
    }
    text
}

impl Scene {
    async fn set() -> Self {
        let consul = Consul::builder().persistent().start().await.unwrap();
        let (services, instances) = IN_CONSUL;
        consul
            .api()
            .register_services(services, instances, 20)
            .await
            .unwrap();
        let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
        let mut daemon = Daemon::new();
        daemon.write("vms.yaml", &document(IN_FILE.1));
        let config = format!(
            "\
{}start_deadline: 2s
registries:
  - {{ name: vms, file: {{ path: vms.yaml, poll_interval: 1s }} }}
  - {{ name: consul, consul: {{ address: \"{}\", wait: 5s }} }}
",
            daemon.head(),
            proxy.url()
        );
        daemon.write("registryd.yaml", &config);
        daemon.start();
        daemon.ready().await;
        Self {
            consul,
            proxy,
            daemon,
        }
    }

    /// What the API shows.
    async fn shown(&self) -> BTreeSet<Claim> {
        claims(&self.daemon.listing().await.services)
    }

    /// What it shows of one registry.
    async fn count(&self, registry: &str) -> usize {
        let shown = self.shown().await;
        shown.iter().filter(|claim| claim.registry == registry).count()
    }

    async fn until_count(&self, registry: &str, count: usize) {
        let what = format!("{count} endpoints of {registry}");
        self.daemon
            .wait(&what, async || {
                (self.count(registry).await == count).then_some(())
            })
            .await;
    }

    async fn until_phase(&self, phase: &str) {
        let reached = async || {
            let registries = self.daemon.listing().await.registries;
            registries
                .values()
                .all(|registry| registry.phase == phase)
                .then_some(())
        };
        self.daemon.wait(phase, reached).await;
    }

    /// Waits until all that is known is on disk.
    async fn written(&self) {
        let looked = self.daemon.registry("consul").await["last_confirmed"].clone();
        for id in ["consul", "vms"] {
            let saved = async || {
                let saved = self.daemon.registry(id).await["saved"].clone();
                // Both are times in one format, which sorts as they do.
                (saved.as_str()? >= looked.as_str()?).then_some(())
            };
            self.daemon.wait("the state on disk", saved).await;
        }
    }

    /// All processes are killed at once, and the file is gone.
    async fn disaster(&mut self) {
        self.daemon.kill();
        self.consul.kill().await.unwrap();
        std::fs::remove_file(self.daemon.path("vms.yaml")).unwrap();
        self.proxy.refuse(true);
        self.proxy.reset_all();
    }

    /// The daemon starts alone, and serves all of this.
    async fn alone(&mut self, all: &BTreeSet<Claim>) {
        let start = Instant::now();
        self.daemon.start();
        self.daemon.ready().await;
        let ready = start.elapsed();
        let shown = self.shown().await;
        let listed = start.elapsed();
        println!(
            "{} endpoints restored; ready after {:.2} s, listed after {:.2} s",
            shown.len(),
            ready.as_secs_f64(),
            listed.as_secs_f64()
        );
        assert_eq!(&shown, all);
        assert!(listed < RESTORED_WITHIN, "{listed:?}");
        assert_eq!(self.daemon.get("/readyz").await.0, 200);
        for id in ["consul", "vms"] {
            let registry = self.daemon.registry(id).await;
            assert_eq!(registry["phase"], "stale", "{registry}");
            assert_eq!(registry["restored"], true, "{registry}");
        }
    }

    /// Lets go of what is held, until so many endpoints are left.
    async fn acknowledge(&self, id: &str, left: usize) {
        let (status, answer) = self.daemon.acknowledge(id).await;
        println!("{} endpoints of {id} are let go", answer["endpoints"]);
        assert_eq!(status, 200, "{answer}");
        assert!(answer["endpoints"].as_u64() > Some(0), "{answer}");
        let start = Instant::now();
        while self.count(id).await != left {
            assert!(start.elapsed() < DEADLINE, "{:#}", self.daemon.registry(id).await);
            tokio::time::sleep(Duration::from_millis(500)).await;
            // On a slow machine not all of the loss may have arrived by the first time.
            let (status, answer) = self.daemon.acknowledge(id).await;
            assert_eq!(status, 200, "{answer}");
        }
    }

    /// The registries come back with that share of what they had, in every service: `keep` of ten.
    async fn back(&mut self, had: usize, keep: usize) {
        self.consul.restart().await.unwrap();
        let (services, instances) = IN_CONSUL;
        let mut gone = Vec::new();
        for service in 0..services {
            for instance in keep * instances / 10..had * instances / 10 {
                gone.push(json!({ "Service": { "Verb": "delete",
                    "Node": ConsulApi::instance_node(service, instance, instances, 20),
                    "Service": { "ID": instance_id(service, instance), "Service": service_name(service) } } }));
            }
        }
        self.consul.api().txn(&gone).await.unwrap();
        self.daemon.write("vms.yaml", &document(keep * IN_FILE.1 / 10));
        self.proxy.refuse(false);
    }
}

fn of(all: &BTreeSet<Claim>, registry: &str) -> usize {
    all.iter().filter(|claim| claim.registry == registry).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_4_a_start_while_everything_is_down_serves_what_was_known() {
    let mut scene = Scene::set().await;
    let in_file = IN_FILE.0 * IN_FILE.1;
    // Consul itself is one of its services.
    let in_consul = IN_CONSUL.0 * IN_CONSUL.1 + 1;
    scene.until_count("consul", in_consul).await;
    scene.until_count("vms", in_file).await;
    scene.written().await;
    let all = scene.shown().await;

    scene.disaster().await;
    scene.alone(&all).await;

    // Three of ten less: a busy day.
    scene.back(10, 7).await;
    let (in_consul, in_file) = ((in_consul - 1) * 7 / 10 + 1, in_file * 7 / 10);
    scene.until_count("consul", in_consul).await;
    scene.until_count("vms", in_file).await;
    scene.until_phase("synced").await;
    for id in ["consul", "vms"] {
        let registry = scene.daemon.registry(id).await;
        assert!(registry["held"].is_null(), "{registry:#}");
        assert_eq!(registry["restored"], false, "{registry:#}");
    }
    scene.written().await;
    let all = scene.shown().await;
    assert_eq!((of(&all, "consul"), of(&all, "vms")), (in_consul, in_file));

    // Seven of ten less, and not those that went before: nobody would believe that.
    scene.disaster().await;
    scene.alone(&all).await;
    scene.back(7, 2).await;
    for id in ["consul", "vms"] {
        let held = async || held_endpoints(&scene.daemon.registry(id).await);
        let held = scene.daemon.wait("endpoints to be held", held).await;
        println!("{held} endpoints of {id} are held");
    }
    let quiet = Instant::now();
    while quiet.elapsed() < QUIET {
        let shown = scene.shown().await;
        for id in ["consul", "vms"] {
            assert!(
                of(&shown, id) * 2 >= of(&all, id),
                "{} of {} of {id}",
                of(&shown, id),
                of(&all, id)
            );
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(scene.count("vms").await, in_file, "a file says it all at once");
    assert_eq!(scene.daemon.get("/readyz").await.0, 200);

    scene.acknowledge("vms", IN_FILE.0 * IN_FILE.1 * 2 / 10).await;
    scene
        .acknowledge("consul", IN_CONSUL.0 * IN_CONSUL.1 * 2 / 10 + 1)
        .await;
    scene.until_phase("synced").await;
    scene.daemon.assert_no_panic();
}
