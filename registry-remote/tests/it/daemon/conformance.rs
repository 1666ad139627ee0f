//! The conformance suite of the testkit, with a daemon behind the fault proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{Endpoint, Health, ServiceId, ServiceMeta, ServiceRecord, ServiceRegistry, async_trait};
use registry_remote::DaemonRegistry;
use registry_testkit::conformance::{self, Instance, Options, Subject, Trouble, World, WorldError};
use registry_testkit::scripted::{ScriptHandle, ScriptedRegistry, Step};
use registry_testkit::{Fault, FaultProxy, Match};
use registryd::http::HttpOptions;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::stage::{Daemon, config, discovery, until};

const TOKEN: &str = "5e0b7f86-tiers-a1d0c5f9e7d1";

struct Daemons;

struct DaemonWorld {
    daemon: Option<Daemon>,
    handle: ScriptHandle,
    proxy: FaultProxy,
    registry: Arc<DaemonRegistry>,
    services: BTreeMap<String, Vec<Instance>>,
    _token: TempDir,
}

async fn daemon(listener: TcpListener) -> (Daemon, ScriptHandle) {
    let registry = ScriptedRegistry::new([Step::list([])]);
    let handle = registry.handle();
    let discovery = discovery([("vms", registry)]);
    discovery.ready().await;
    let options = HttpOptions {
        token: Some(TOKEN.to_owned().into()),
        ..HttpOptions::default()
    };
    (Daemon::at(listener, discovery, options).await, handle)
}

#[async_trait]
impl Subject for Daemons {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let (daemon, handle) = daemon(TcpListener::bind("127.0.0.1:0").await?).await;
        let proxy = FaultProxy::start(daemon.address).await?;
        let token = tempfile::tempdir()?;
        let token_file = token.path().join("token");
        std::fs::write(&token_file, TOKEN)?;
        let mut config = config([proxy.url()]);
        config.credentials.token_file = Some(token_file);
        config.silence = Duration::from_secs(2);
        config.http.request_timeout = Duration::from_secs(2);
        Ok(Box::new(DaemonWorld {
            daemon: Some(daemon),
            handle,
            proxy,
            registry: Arc::new(DaemonRegistry::try_new(config).map_err(WorldError::failed)?),
            services: BTreeMap::new(),
            _token: token,
        }))
    }

    fn is(&self, id: &ServiceId, service: &str) -> bool {
        id.name().strip_suffix(".mesh") == Some(service)
    }
}

fn record((name, instances): (&String, &Vec<Instance>)) -> ServiceRecord {
    let endpoint = |instance: &Instance| {
        let health = if instance.healthy {
            Health::Healthy
        } else {
            Health::Unhealthy
        };
        let endpoint = Endpoint::builder(registry_core::Address::V4(instance.address));
        endpoint
            .port("http", instance.port)
            .id(&instance.id)
            .health(health)
            .build()
    };
    let meta = ServiceMeta::builder(ServiceId::named(name.as_str())).build();
    ServiceRecord::new(meta, instances.iter().map(endpoint).collect::<Vec<_>>())
}

impl DaemonWorld {
    /// Has the daemon publish what there is now. What goes is announced to it, and is no loss to its own guard.
    async fn publish(&self, gone: Option<&str>) -> Result<(), WorldError> {
        let Some(daemon) = &self.daemon else {
            return Err(WorldError::Unsupported);
        };
        let mut batch: Vec<registry_core::Event> = self
            .services
            .iter()
            .map(|service| registry_core::Event::Apply {
                record: record(service),
                explicit: true,
            })
            .collect();
        batch.extend(gone.map(|name| registry_core::Event::Delete {
            id: ServiceId::named(name),
            explicit: true,
        }));
        self.handle.say(batch);
        let services: Vec<(String, usize)> = self
            .services
            .iter()
            .map(|(name, instances)| (format!("{name}.mesh"), instances.len()))
            .collect();
        let wanted: BTreeMap<String, Vec<(String, String)>> = self
            .services
            .iter()
            .map(|(name, instances)| (format!("{name}.mesh"), lines(&record((name, instances)))))
            .collect();
        until(&daemon.discovery, "what was registered", |discovery| {
            let snapshot = discovery.snapshot();
            snapshot.len() == services.len()
                && wanted.iter().all(|(name, lines_wanted)| {
                    snapshot.get(name).is_some_and(|service| {
                        let mut found: Vec<_> = service
                            .endpoints()
                            .iter()
                            .map(|endpoint| line(endpoint))
                            .collect();
                        found.sort();
                        found == *lines_wanted
                    })
                })
        })
        .await;
        Ok(())
    }
}

fn line(endpoint: &Endpoint) -> (String, String) {
    (
        format!("{} {:?}", endpoint.address(), endpoint.ports()),
        format!("{} {}", endpoint.id(), endpoint.health()),
    )
}

fn lines(record: &ServiceRecord) -> Vec<(String, String)> {
    let mut lines: Vec<_> = record.endpoints().iter().map(|endpoint| line(endpoint)).collect();
    lines.sort();
    lines
}

#[async_trait]
impl World for DaemonWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        self.services.insert(service.to_owned(), instances.to_vec());
        self.publish(None).await
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        self.services.remove(service);
        self.publish(Some(service)).await
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        let fault = match trouble {
            Trouble::Silence => {
                self.proxy.black_hole(true);
                return Ok(());
            }
            Trouble::Refusal => {
                self.proxy.refuse(true);
                self.proxy.reset_all();
                return Ok(());
            }
            Trouble::ServerError => Fault::respond(500, &[], "no"),
            Trouble::Denial => Fault::respond(403, &[], "no"),
            Trouble::CutAnswer => Fault::CutBody(1),
            Trouble::Garbage => Fault::replace_body("<html>Bad gateway</html>"),
            // A daemon tells of a service where it changed; of what is not told anew nothing is amiss.
            _ => return Err(WorldError::Unsupported),
        };
        self.proxy
            .inject(registry_testkit::Rule::new(Match::any(), fault));
        // What is open is no better than what is new.
        self.proxy.reset_all();
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.proxy.black_hole(false);
        self.proxy.refuse(false);
        self.proxy.clear();
        Ok(())
    }

    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        let Some(old) = self.daemon.take() else {
            return Err(WorldError::Unsupported);
        };
        let address = old.end().await;
        let (daemon, handle) = daemon(TcpListener::bind(address).await?).await;
        (self.daemon, self.handle) = (Some(daemon), handle);
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

async fn check(options: &Options) {
    conformance::check(&Daemons, options).await.assert_passed();
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
