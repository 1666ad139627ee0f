//! All is healed: everybody has to see the truth, and soon.

use std::time::Duration;

use tokio::time::Instant;

use super::{FILES, Server, Stage};
use crate::api::claims;
use crate::client::{Client, Mode, hashes};
use crate::daemon::DEADLINE;
use crate::truth::Claim;

/// Two steps of the backoff at its cap: by then all should be well. What takes longer is said.
const HEALED_WITHIN: Duration = Duration::from_secs(20);

impl Stage {
    /// Mends everything, and waits until everybody sees the truth.
    pub(super) async fn settle(&mut self) {
        self.heal();
        match self.server {
            Server::Up => {}
            Server::Frozen => self.consul.resume().unwrap(),
            Server::Down => self.restart_consul().await,
        }
        self.server = Server::Up;
        for file in 0..FILES.len() {
            if self.broken[file] {
                self.mend_file(file);
            }
        }
        if !self.daemon.runs() {
            self.start_daemon().await;
        }
        for client in &self.clients {
            client.set(Mode::Follow);
        }
        let start = Instant::now();
        loop {
            let differences = self.differences().await;
            if differences.is_empty() {
                break;
            }
            if self.is_held_again().await {
                println!("      acknowledged again");
                self.acknowledge().await;
            }
            if start.elapsed() >= DEADLINE {
                let (_, registries) = self.daemon.get("/v1/registries").await;
                panic!(
                    "not healed after {DEADLINE:?}:\n{}\n{registries:#}\n{}",
                    differences.join("\n"),
                    self.daemon.last_words()
                );
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let took = start.elapsed();
        self.slowest = self.slowest.max(took);
        let slow = if took > HEALED_WITHIN {
            " (more than two steps of the backoff)"
        } else {
            ""
        };
        println!("      healed after {:.1} s{slow}", took.as_secs_f64());
        self.newcomer().await;
    }

    /// Somebody who watches for the first time sees the same.
    async fn newcomer(&self) {
        let name = "a new watch";
        let client = Client::start(name, self.daemon.url(), self.shared.clone(), self.poller.seen());
        let same = async || {
            let listing = self.daemon.listing().await;
            let state = client.state();
            (state.resets == 1 && state.hashes() == hashes(&listing.services)).then_some(())
        };
        self.daemon.wait(name, same).await;
    }

    /// How anything differs from what it should be.
    async fn differences(&self) -> Vec<String> {
        let listing = self.daemon.listing().await;
        let truth = self.shared.truth();
        let mut differences = truth.differences(&claims(&listing.services));
        for service in &listing.services {
            for endpoint in &service.endpoints {
                let [source] = endpoint.sources.as_slice() else {
                    continue;
                };
                let claim = Claim {
                    registry: source.registry.clone(),
                    hostname: service.hostname.clone(),
                    address: endpoint.address.clone(),
                };
                let Some(wanted) = truth.attributes(&claim) else {
                    continue;
                };
                let same = endpoint.health == wanted.health
                    && endpoint.weight == wanted.weight
                    && endpoint.ports.values().eq([&wanted.port])
                    && endpoint.labels.get("version") == Some(&wanted.version.to_string());
                if !same {
                    differences.push(format!("{claim} should be {wanted:?}, is {endpoint:?}"));
                }
            }
        }
        drop(truth);
        for (id, registry) in &listing.registries {
            if registry.phase != "synced" {
                differences.push(format!("{id} is {}", registry.phase));
            }
        }
        if !listing.ready {
            differences.push("not ready".to_owned());
        }
        for client in &self.clients {
            let state = client.state();
            if state.hashes() != hashes(&listing.services) || state.root_hash != listing.root_hash {
                differences.push(format!(
                    "{client:?} is at {}, not {}",
                    state.revision, listing.revision
                ));
            }
        }
        differences
    }
}
