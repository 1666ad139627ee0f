//! The conformance suite of the testkit, with a real Consul behind the fault proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use registry_consul::{ConsulConfig, ConsulRegistry};
use registry_core::{ServiceRegistry, async_trait};
use registry_testkit::conformance::{self, Instance, Options, Subject, Trouble, World, WorldError};
use registry_testkit::consul::{Consul, ConsulApi};
use registry_testkit::{Fault, FaultProxy, Match};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::support::config;

/// The node of all instances. It runs no agent, so nothing but the test speaks for it.
const NODE: &str = "conformance";

const TOKEN: &str = "5e0b7f86-aaaa-bbbb-cccc-a1d0c5f9e7d1";

/// One server for all worlds.
struct Shared(Arc<Mutex<Consul>>);

struct ConsulWorld {
    consul: Arc<Mutex<Consul>>,
    api: ConsulApi,
    proxy: FaultProxy,
    registry: Arc<ConsulRegistry>,
    services: BTreeMap<String, Vec<Instance>>,
    _token: TempDir,
}

#[async_trait]
impl Subject for Shared {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let (api, address) = {
            let consul = self.0.lock().await;
            (consul.api().clone(), consul.address())
        };
        api.catalog_deregister(&json!({ "Node": NODE })).await?;
        let proxy = FaultProxy::start(address.into()).await?;
        let token = tempfile::tempdir()?;
        let token_file = token.path().join("token");
        std::fs::write(&token_file, TOKEN)?;
        let mut config = ConsulConfig {
            wait: Duration::from_secs(1),
            token_file: Some(token_file),
            ..config(&proxy.url())
        };
        config.http.request_timeout = Duration::from_secs(2);
        Ok(Box::new(ConsulWorld {
            consul: self.0.clone(),
            api,
            proxy,
            registry: Arc::new(ConsulRegistry::try_new(config).map_err(WorldError::failed)?),
            services: BTreeMap::new(),
            _token: token,
        }))
    }
}

impl ConsulWorld {
    /// Registers these and deregisters those in one transaction: nothing is ever seen half.
    async fn change(&self, service: &str, after: &[Instance]) -> Result<(), WorldError> {
        let before = self.services.get(service).map(Vec::as_slice).unwrap_or_default();
        let gone = before
            .iter()
            .filter(|held| !after.iter().any(|instance| instance.id == held.id));
        let mut operations = vec![json!({ "Node": { "Verb": "set", "Node": {
            "Node": NODE, "Address": "10.77.255.1", "Meta": { "external-node": "true" },
        } } })];
        operations.extend(gone.map(|Instance { id, .. }| {
            json!({ "Service": { "Verb": "delete", "Node": NODE, "Service": { "ID": id, "Service": service } } })
        }));
        operations.extend(after.iter().flat_map(|instance| registration(service, instance)));
        Ok(self.api.txn(&operations).await?)
    }
}

fn registration(service: &str, instance: &Instance) -> [Value; 2] {
    let Instance {
        id, address, port, ..
    } = instance;
    let status = if instance.healthy { "passing" } else { "critical" };
    [
        json!({ "Service": { "Verb": "set", "Node": NODE, "Service": {
            "ID": id, "Service": service, "Address": address, "Port": port,
        } } }),
        json!({ "Check": { "Verb": "set", "Check": {
            "Node": NODE, "CheckID": format!("service:{id}"), "Name": "alive", "ServiceID": id, "Status": status,
        } } }),
    ]
}

#[async_trait]
impl World for ConsulWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        self.change(service, instances).await?;
        self.services.insert(service.to_owned(), instances.to_vec());
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        self.change(service, &[]).await?;
        self.services.remove(service);
        Ok(())
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        let (which, fault) = match trouble {
            Trouble::Silence => {
                self.proxy.black_hole(true);
                return Ok(());
            }
            Trouble::Refusal => {
                self.proxy.refuse(true);
                self.proxy.reset_all();
                return Ok(());
            }
            Trouble::ServerError => (Match::any(), Fault::respond(500, &[], "No cluster leader")),
            Trouble::Denial => (Match::any(), Fault::respond(403, &[], "Permission denied")),
            Trouble::CutAnswer => (Match::any(), Fault::CutBody(1)),
            Trouble::Garbage => (Match::any(), Fault::replace_body("<html>Bad gateway</html>")),
            Trouble::OneService(service) => {
                let path = format!("/v1/health/service/{service}");
                (Match::path(path), Fault::respond(500, &[], "rpc error"))
            }
            _ => return Err(WorldError::Unsupported),
        };
        self.proxy.inject(registry_testkit::Rule::new(which, fault));
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.proxy.black_hole(false);
        self.proxy.refuse(false);
        self.proxy.clear();
        Ok(())
    }

    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        let mut consul = self.consul.lock().await;
        consul.kill().await?;
        consul.restart().await?;
        self.services.clear();
        Ok(())
    }

    fn connections(&self) -> Option<usize> {
        Some(self.proxy.connections_open())
    }

    fn secrets(&self) -> Vec<String> {
        vec![TOKEN.to_owned()]
    }

    fn location(&self) -> Option<String> {
        Some(self.proxy.addr().to_string())
    }
}

/// The suite in front of a server of its own.
async fn check(options: &Options) {
    let consul = Consul::builder().start().await.unwrap();
    let report = conformance::check(&Shared(Arc::new(Mutex::new(consul))), options).await;
    report.assert_passed();
}

async fn survives(troubles: &[Trouble]) {
    check(&Options::amid(troubles)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_all_is_well() {
    check(&Options::calm()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_nobody_answers() {
    survives(&Trouble::ALL[..2]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_answers_are_wrong() {
    survives(&Trouble::ALL[2..]).await;
}
