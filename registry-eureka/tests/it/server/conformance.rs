//! The conformance suite of the testkit, with Netflix' server behind the fault proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{ServiceRegistry, async_trait};
use registry_eureka::{EurekaConfig, EurekaRegistry};
use registry_testkit::conformance::{self, Instance, Options, Subject, Trouble, World, WorldError};
use registry_testkit::eureka::{self, Eureka, EurekaApi};
use registry_testkit::{Fault, FaultProxy, Match};
use tokio::sync::Mutex;

use crate::support::config;

const PASSWORD: &str = "hunter2-and-more";

/// One server for all worlds.
struct Shared(Arc<Mutex<Eureka>>);

struct EurekaWorld {
    eureka: Arc<Mutex<Eureka>>,
    api: EurekaApi,
    proxy: FaultProxy,
    registry: Arc<EurekaRegistry>,
    services: BTreeMap<String, Vec<Instance>>,
    /// The service whose instances have an address that is none.
    broken: Option<&'static str>,
    /// What every error has to mention.
    location: String,
}

#[async_trait]
impl Subject for Shared {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let (api, address, path) = {
            let eureka = self.0.lock().await;
            (eureka.api().clone(), eureka.address(), eureka.base_path())
        };
        for key in api.statuses().await?.keys() {
            let (app, id) = key.split_once('/').unwrap_or_default();
            api.cancel(app, id).await?;
        }
        let proxy = FaultProxy::start_compressed(address.into()).await?;
        // The server wants no password, and takes any.
        let url = format!("http://user:{PASSWORD}@{}{path}", proxy.addr());
        let mut config = EurekaConfig {
            full_interval: Duration::from_secs(3),
            full_timeout: Duration::from_secs(2),
            ..config(&url)
        };
        config.http.request_timeout = Duration::from_secs(2);
        Ok(Box::new(EurekaWorld {
            eureka: self.0.clone(),
            api,
            location: proxy.addr().to_string(),
            proxy,
            registry: Arc::new(EurekaRegistry::try_new(config).map_err(WorldError::failed)?),
            services: BTreeMap::new(),
            broken: None,
        }))
    }
}

fn registration(service: &str, instance: &Instance) -> eureka::Instance {
    let Instance {
        id, address, port, ..
    } = instance;
    let status = if instance.healthy { "UP" } else { "DOWN" };
    eureka::Instance::new(service, id.as_str())
        .ip(address.to_string())
        .port(*port)
        .status(status)
}

impl EurekaWorld {
    async fn register(&self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        for instance in instances {
            let registration = registration(service, instance);
            if self.broken == Some(service) {
                let unreadable = registration.ip("no address").host("no host");
                self.api.register(&unreadable).await?;
            } else {
                self.api.register(&registration).await?;
            }
        }
        Ok(())
    }

    fn respond(&self, status: u16, body: &'static str) {
        let fault = Fault::respond(status, &[("Content-Type", "text/html")], body);
        self.inject(fault);
    }

    fn inject(&self, fault: Fault) {
        let rule = registry_testkit::Rule::new(Match::any(), fault);
        self.proxy.inject(rule);
    }
}

#[async_trait]
impl World for EurekaWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    /// Instances come before others go. Only what changed is told: to register again what is the same would be a change
    /// of its own.
    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        let before = self
            .services
            .insert(service.to_owned(), instances.to_vec())
            .unwrap_or_default();
        let changed: Vec<Instance> = instances
            .iter()
            .filter(|instance| !before.contains(instance))
            .cloned()
            .collect();
        self.register(service, &changed).await?;
        for held in &before {
            if !instances.iter().any(|instance| instance.id == held.id) {
                self.api.cancel(service, &held.id).await?;
            }
        }
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        for held in self.services.remove(service).unwrap_or_default() {
            self.api.cancel(service, &held.id).await?;
        }
        Ok(())
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        match trouble {
            Trouble::Silence => self.proxy.black_hole(true),
            Trouble::Refusal => {
                self.proxy.refuse(true);
                self.proxy.reset_all();
            }
            Trouble::ServerError => self.respond(500, "<html>no replicas</html>"),
            // As a server says it that has not seen anybody yet.
            Trouble::Denial => self.respond(403, ""),
            Trouble::CutAnswer => self.inject(Fault::CutBody(1)),
            Trouble::Garbage => self.respond(200, "<html>Please sign in</html>"),
            Trouble::OneService(service) => {
                self.broken = Some(service);
                // An instance that cannot be read is named itself, wherever the server is.
                self.location = format!("{}/", service.to_uppercase());
                let instances = self.services.get(service).cloned().unwrap_or_default();
                self.register(service, &instances).await?;
            }
            _ => return Err(WorldError::Unsupported),
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.proxy.black_hole(false);
        self.proxy.refuse(false);
        self.proxy.clear();
        if let Some(service) = self.broken.take() {
            let instances = self.services.get(service).cloned().unwrap_or_default();
            self.register(service, &instances).await?;
        }
        Ok(())
    }

    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        let mut eureka = self.eureka.lock().await;
        eureka.kill().await?;
        eureka.restart().await?;
        self.services.clear();
        Ok(())
    }

    fn connections(&self) -> Option<usize> {
        Some(self.proxy.connections_open())
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn location(&self) -> Option<String> {
        Some(self.location.clone())
    }
}

/// The suite in front of a server of its own. No rule is skipped.
async fn check(options: &Options) {
    registry_testkit::init_tls();
    let eureka = Eureka::war().start().await.unwrap();
    let report = conformance::check(&Shared(Arc::new(Mutex::new(eureka))), options).await;
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
