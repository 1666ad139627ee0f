//! The conformance suite of the testkit: in front of a page behind the fault proxy, and of a directory of files.

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use registry_core::{ServiceRegistry, async_trait};
use registry_remote::{HttpSdConfig, HttpSdRegistry, LabelNames};
use registry_testkit::conformance::{self, Instance, Options, Rule, Subject, Trouble, World, WorldError};
use registry_testkit::{Fault, FaultProxy, Match};
use tempfile::TempDir;

use super::pages::Pages;
use super::watching::config;

const PASSWORD: &str = "hunter2-and-more";

type Services = BTreeMap<String, Vec<Instance>>;

fn group(service: &str, instance: &Instance, broken: bool) -> String {
    let Instance { address, port, .. } = instance;
    let health = if instance.healthy { "healthy" } else { "unhealthy" };
    let port = if broken {
        "none".to_owned()
    } else {
        port.to_string()
    };
    format!(r#"{{"targets": ["{address}:{port}"], "labels": {{"job": "{service}", "health": "{health}"}}}}"#)
}

fn document<'s>(
    services: impl Iterator<Item = (&'s String, &'s Vec<Instance>)>,
    broken: Option<&str>,
) -> String {
    let of = |(service, instances): (&String, &Vec<Instance>)| -> Vec<String> {
        let broken = broken == Some(service.as_str());
        instances
            .iter()
            .map(|instance| group(service, instance, broken))
            .collect()
    };
    format!("[{}]", services.flat_map(of).collect::<Vec<_>>().join(",\n"))
}

fn with_health(config: HttpSdConfig) -> HttpSdConfig {
    HttpSdConfig {
        labels: LabelNames {
            health: vec!["health".to_owned()],
            ..LabelNames::default()
        },
        ..config
    }
}

/// A page; with an `ETag` or without.
struct OfPages {
    etag: bool,
}

struct PageWorld {
    pages: Pages,
    proxy: FaultProxy,
    registry: Arc<HttpSdRegistry>,
    services: Services,
    broken: Option<&'static str>,
}

#[async_trait]
impl Subject for OfPages {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let pages = Pages::start("[]").await;
        pages.change(|page| page.etag = self.etag);
        let proxy = FaultProxy::start(pages.address()).await?;
        let mut config = with_health(HttpSdConfig {
            url: format!("http://user:{PASSWORD}@{}/targets", proxy.addr()),
            interval: Duration::from_millis(200),
            ..config()
        });
        config.http.request_timeout = Duration::from_secs(2);
        Ok(Box::new(PageWorld {
            pages,
            proxy,
            registry: Arc::new(HttpSdRegistry::try_new(config).map_err(WorldError::failed)?),
            services: Services::new(),
            broken: None,
        }))
    }
}

impl PageWorld {
    fn publish(&self) {
        self.pages.set(&document(self.services.iter(), self.broken));
    }

    fn respond(&self, status: u16, content_type: &'static str, body: &'static str) {
        self.inject(Fault::respond(status, &[("Content-Type", content_type)], body));
    }

    fn inject(&self, fault: Fault) {
        self.proxy
            .inject(registry_testkit::Rule::new(Match::any(), fault));
    }
}

#[async_trait]
impl World for PageWorld {
    fn registry(&self) -> Arc<dyn ServiceRegistry> {
        self.registry.clone()
    }

    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError> {
        self.services.insert(service.to_owned(), instances.to_vec());
        self.publish();
        Ok(())
    }

    async fn remove(&mut self, service: &str) -> Result<(), WorldError> {
        self.services.remove(service);
        self.publish();
        Ok(())
    }

    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        match trouble {
            Trouble::Silence => self.proxy.black_hole(true),
            Trouble::Refusal => {
                self.proxy.refuse(true);
                self.proxy.reset_all();
            }
            Trouble::ServerError => self.respond(500, "text/html", "<html>no inventory</html>"),
            Trouble::Denial => self.respond(403, "text/plain", "no"),
            Trouble::CutAnswer => self.inject(Fault::CutBody(1)),
            Trouble::Garbage => self.respond(200, "application/json", "{\"error\": \"no inventory\"}"),
            // One target that cannot be read refuses the document.
            Trouble::OneService(service) => {
                self.broken = Some(service);
                self.publish();
            }
            _ => return Err(WorldError::Unsupported),
        }
        Ok(())
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.proxy.black_hole(false);
        self.proxy.refuse(false);
        self.proxy.clear();
        self.broken = None;
        self.publish();
        Ok(())
    }

    /// It is told everything anew right after, so what it forgot is seen for a moment or not at all.
    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        self.proxy.reset_all();
        self.services.clear();
        self.publish();
        Ok(())
    }

    fn connections(&self) -> Option<usize> {
        Some(self.proxy.connections_open())
    }

    fn secrets(&self) -> Vec<String> {
        vec![PASSWORD.to_owned()]
    }

    fn location(&self) -> Option<String> {
        Some(self.proxy.addr().to_string())
    }
}

/// A file for each service.
struct OfFiles;

struct FileWorld {
    dir: TempDir,
    registry: Arc<HttpSdRegistry>,
    services: Services,
    trouble: Option<Trouble>,
}

#[async_trait]
impl Subject for OfFiles {
    async fn start(&self) -> Result<Box<dyn World>, WorldError> {
        let dir = tempfile::tempdir()?;
        // A pattern that fits nothing is an error: this one says that there is nothing.
        fs::write(dir.path().join("none.json"), "[]")?;
        let config = with_health(HttpSdConfig {
            files: vec![dir.path().join("*.json")],
            interval: Duration::from_millis(200),
            ..config()
        });
        Ok(Box::new(FileWorld {
            dir,
            registry: Arc::new(HttpSdRegistry::try_new(config).map_err(WorldError::failed)?),
            services: Services::new(),
            trouble: None,
        }))
    }
}

impl FileWorld {
    fn write(&self, service: &str) -> Result<(), WorldError> {
        let path = self.dir.path().join(format!("{service}.json"));
        if path.is_dir() {
            fs::remove_dir(&path)?;
        }
        let Some(instances) = self.services.get(service) else {
            return Ok(fs::remove_file(path)?);
        };
        let broken = match self.trouble {
            Some(Trouble::OneService(broken)) => Some(broken),
            _ => None,
        };
        let whole = document([(&service.to_owned(), instances)].into_iter(), broken);
        let text = match self.trouble {
            Some(Trouble::ServerError) => {
                if path.is_file() {
                    fs::remove_file(&path)?;
                }
                return Ok(fs::create_dir(path)?);
            }
            Some(Trouble::CutAnswer) => &whole[..whole.len() - 1],
            Some(Trouble::Garbage) => "<html>Bad gateway</html>",
            _ => &whole,
        };
        let beside = self.dir.path().join("beside");
        fs::write(&beside, text)?;
        Ok(fs::rename(beside, path)?)
    }
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
            Trouble::ServerError | Trouble::CutAnswer | Trouble::Garbage | Trouble::OneService(_) => {}
            _ => return Err(WorldError::Unsupported),
        }
        self.trouble = Some(trouble);
        self.services.keys().try_for_each(|service| self.write(service))
    }

    async fn heal(&mut self) -> Result<(), WorldError> {
        self.trouble = None;
        self.services.keys().try_for_each(|service| self.write(service))
    }

    fn location(&self) -> Option<String> {
        Some(self.dir.path().display().to_string())
    }
}

/// In each trouble by itself; the last two together, as no watch can start in trouble that only one service has.
fn in_each(troubles: &[Trouble]) -> impl Iterator<Item = Options> {
    let (alone, last) = troubles.split_at(troubles.len() - 2);
    alone.chunks(1).chain([last]).map(Options::amid)
}

/// The suite in parts that are played at the same time, each in a thread and a runtime of its own: all they do is wait.
fn check(subject: &dyn Subject, parts: impl IntoIterator<Item = Options>, skipped: &[Rule]) {
    std::thread::scope(|threads| {
        for options in parts {
            threads.spawn(move || {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .unwrap();
                let report = runtime.block_on(conformance::check(subject, &options));
                report.assert_passed_but(skipped);
            });
        }
    });
}

#[test]
fn a_page_keeps_the_rules_of_the_conformance_suite_while_all_is_well() {
    check(&OfPages { etag: true }, [Options::calm()], &[]);
}

/// Where it answers that nothing changed there is no body to cut.
#[test]
fn a_page_keeps_the_rules_of_the_conformance_suite_in_trouble() {
    check(&OfPages { etag: false }, in_each(Trouble::ALL), &[]);
}

#[test]
fn files_keep_the_rules_of_the_conformance_suite_while_all_is_well() {
    // Nothing runs that could be restarted.
    check(&OfFiles, [Options::calm()], &[Rule::SurvivesAServerThatForgot]);
}

/// No file system of a test hangs or refuses root, and a file of several that is gone says nothing any more.
#[test]
fn files_keep_the_rules_of_the_conformance_suite_in_trouble() {
    let troubles = [
        Trouble::ServerError,
        Trouble::CutAnswer,
        Trouble::Garbage,
        Trouble::OneService("beta"),
    ];
    check(&OfFiles, in_each(&troubles), &[]);
}
