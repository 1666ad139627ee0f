//! The conformance suite of the testkit, in front of a directory with a file for each service.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{ServiceRegistry, async_trait};
use registry_file::{FileConfig, FileRegistry};
use registry_testkit::conformance::{Instance, Options, Rule, Subject, Trouble, World, WorldError, check};

use crate::support::Dir;

/// The directory that is configured.
const SERVICES: &str = "services.d";

/// Where it is while it is gone.
const AWAY: &str = "away";

struct Files;

struct FileWorld {
    dir: Dir,
    registry: Arc<FileRegistry>,
    services: BTreeMap<String, Vec<Instance>>,
    trouble: Option<Trouble>,
}

#[async_trait]
impl Subject for Files {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let dir = Dir::new();
        dir.make_dir(SERVICES);
        let config = FileConfig {
            debounce: Duration::from_millis(50),
            poll_interval: Duration::from_secs(1),
            ..FileConfig::new(SERVICES)
        };
        Ok(Box::new(FileWorld {
            registry: Arc::new(dir.registry(config)),
            dir,
            services: BTreeMap::new(),
            trouble: None,
        }))
    }
}

impl FileWorld {
    /// Writes what a file is to say, or to seem to say.
    fn write(&self, service: &str) -> Result<(), WorldError> {
        let name = format!("{SERVICES}/{service}.yaml");
        let Some(instances) = self.services.get(service) else {
            return Ok(fs::remove_file(self.dir.at(&name))?);
        };
        let whole = text(service, instances);
        match self.trouble {
            // There is no directory to write into.
            Some(Trouble::Refusal) => {}
            // A directory in its place.
            Some(Trouble::ServerError) => {
                if self.dir.at(&name).is_file() {
                    self.dir.remove(&name);
                }
                self.dir.make_dir(&name);
            }
            // In the middle of an address: where a cut is still valid, nobody can know that it is one.
            Some(Trouble::CutAnswer) => self.dir.write(&name, &whole[..whole.len() - 40]),
            Some(Trouble::Garbage) => self.dir.replace(&name, "<html>Bad: [gateway</html>"),
            Some(Trouble::OneService(broken)) if broken == service => self.dir.replace(&name, "services: {"),
            _ => self.dir.replace(&name, &whole),
        }
        Ok(())
    }
}

fn text(service: &str, instances: &[Instance]) -> String {
    let mut text = format!("services:\n  - name: {service}\n    ports: [{{ name: http }}]\n    endpoints:\n");
    for Instance {
        id,
        address,
        port,
        healthy,
        ..
    } in instances
    {
        let health = if *healthy { "healthy" } else { "unhealthy" };
        writeln!(
            text,
            "      - {{ id: {id}, address: {address}, port: {port}, health: {health} }}"
        )
        .unwrap();
    }
    text
}

#[async_trait]
impl World for FileWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        self.services.insert(service.to_owned(), instances.to_vec());
        self.write(service)
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        self.services.remove(service);
        self.write(service)
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        match trouble {
            Trouble::Refusal => fs::rename(self.dir.at(SERVICES), self.dir.at(AWAY))?,
            Trouble::ServerError | Trouble::CutAnswer | Trouble::Garbage | Trouble::OneService(_) => {}
            // No file system of a test hangs, or refuses root.
            _ => return Err(WorldError::Unsupported),
        }
        self.trouble = Some(trouble);
        self.services.keys().try_for_each(|service| self.write(service))
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        match self.trouble.take() {
            Some(Trouble::ServerError) => {
                for service in self.services.keys() {
                    fs::remove_dir(self.dir.at(&format!("{SERVICES}/{service}.yaml")))?;
                }
            }
            Some(Trouble::Refusal) => fs::rename(self.dir.at(AWAY), self.dir.at(SERVICES))?,
            _ => {}
        }
        self.services.keys().try_for_each(|service| self.write(service))
    }

    fn location(&self) -> Option<String> {
        Some(SERVICES.to_owned())
    }
}

#[tokio::test]
async fn it_keeps_every_rule_of_the_conformance_suite() {
    let report = check(&Files, &Options::default()).await;
    // Nothing runs that could be restarted.
    report.assert_passed_but(&[Rule::SurvivesAServerThatForgot]);
}
