//! The conformance suite of the testkit, with a play behind the fault proxy.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use registry_consul::{ChecksConfig, NomadRegistry};
use registry_core::{ServiceRegistry, async_trait};
use registry_testkit::conformance::{self, Instance, Options, Subject, Trouble, World, WorldError};
use registry_testkit::nomad::{Cause, CheckResult, NomadPlay, Registration, Rights};
use registry_testkit::{Fault, FaultProxy, Match};
use tempfile::TempDir;

use super::config;

const TOKEN: &str = "5e0b7f86-aaaa-bbbb-cccc-a1d0c5f9e7d1";

/// A play for each world.
struct Plays;

struct PlayedWorld {
    nomad: NomadPlay,
    proxy: FaultProxy,
    registry: Arc<NomadRegistry>,
    services: BTreeMap<String, Vec<Instance>>,
    _token: TempDir,
}

#[async_trait]
impl Subject for Plays {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let nomad = NomadPlay::start().await?;
        nomad.grant(TOKEN, Rights::All);
        let proxy = FaultProxy::start(nomad.addr()).await?;
        let token = tempfile::tempdir()?;
        let file = token.path().join("token");
        std::fs::write(&file, TOKEN)?;
        let mut config = config(&proxy.url());
        config.wait = Duration::from_secs(1);
        config.token_file = Some(file);
        config.http.request_timeout = Duration::from_secs(2);
        config.checks = Some(ChecksConfig {
            interval: Duration::from_secs(1),
            ..ChecksConfig::default()
        });
        Ok(Box::new(PlayedWorld {
            nomad,
            proxy,
            registry: Arc::new(NomadRegistry::try_new(config).map_err(WorldError::failed)?),
            services: BTreeMap::new(),
            _token: token,
        }))
    }
}

impl PlayedWorld {
    fn registration(service: &str, instance: &Instance) -> Registration {
        let mut registration = Registration::new(service, 0);
        registration.id.clone_from(&instance.id);
        // One allocation for each: its checks are its own.
        registration.alloc_id.clone_from(&instance.id);
        registration.address = instance.address.to_string();
        registration.port = instance.port;
        registration
    }

    fn change(&self, service: &str, after: &[Instance]) {
        for instance in after {
            let status = if instance.healthy { "success" } else { "failure" };
            let result = CheckResult::new(service, "alive", status);
            self.nomad.set_checks(&instance.id, &[result]);
        }
        // What comes first: nothing is ever seen without any.
        let wanted: Vec<_> = after.iter().map(|one| Self::registration(service, one)).collect();
        self.nomad.register(&wanted);
        self.nomad.remove(Cause::Client, |held| {
            held.service_name == service && !after.iter().any(|one| one.id == held.id)
        });
    }
}

#[async_trait]
impl World for PlayedWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        self.change(service, instances);
        self.services.insert(service.to_owned(), instances.to_vec());
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        self.change(service, &[]);
        self.services.remove(service);
        Ok(())
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        let touched = match trouble {
            Trouble::OneService(service) => Some(service),
            _ => None,
        };
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
                let path = format!("/v1/service/{service}");
                (Match::path(path), Fault::respond(500, &[], "rpc error"))
            }
            _ => return Err(WorldError::Unsupported),
        };
        self.proxy.inject(registry_testkit::Rule::new(which, fault));
        if let Some(service) = touched {
            // As long as nothing happens to it, the list says that what is known of it holds, and nobody reads it.
            let held = self
                .nomad
                .services()
                .into_iter()
                .filter(|((_, name), _)| name == service);
            let tagged = held
                .flat_map(|(_, instances)| instances)
                .map(|one| one.tagged(&["touched"]));
            self.nomad.register(&tagged.collect::<Vec<_>>());
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.proxy.black_hole(false);
        self.proxy.refuse(false);
        self.proxy.clear();
        Ok(())
    }

    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        self.nomad.wipe();
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

async fn survives(troubles: &[Trouble]) {
    conformance::check(&Plays, &Options::amid(troubles))
        .await
        .assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_all_is_well() {
    conformance::check(&Plays, &Options::calm()).await.assert_passed();
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_in_silence() {
    survives(&[Trouble::Silence]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_it_is_refused() {
    survives(&[Trouble::Refusal]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_the_server_fails() {
    survives(&[Trouble::ServerError]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_it_is_denied() {
    survives(&[Trouble::Denial]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_while_answers_break_off() {
    survives(&[Trouble::CutAnswer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_keeps_the_rules_of_the_conformance_suite_amid_garbage_for_all_and_trouble_for_one() {
    survives(&Trouble::ALL[5..]).await;
}
