//! A real server that somebody else runs.

use std::collections::HashMap;
use std::env;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use registry_core::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::api::NomadApi;
use super::world::{Job, World};
use crate::Error;

/// The variable with the URL of a real server, such as one of `nomad agent -dev`. Where it is not set, tests run on the
/// play alone. Its node needs the drivers `mock_driver` and, for checks, `raw_exec` with `python3`.
pub const ADDRESS: &str = "REGISTRY_TEST_NOMAD_ADDR";

/// The variable with a management token for it. Where it is set, ACLs are taken to be on.
pub const TOKEN: &str = "REGISTRY_TEST_NOMAD_TOKEN";

/// A busy machine places and starts a job in this time.
const PATIENCE: Duration = Duration::from_secs(60);

/// A real server, driven through its own API.
#[derive(Debug)]
pub struct RealNomad {
    api: NomadApi,
    token: Option<String>,
    /// The folders that checked jobs serve, by job: a check passes as long as its file is there.
    folders: Mutex<HashMap<(String, String), TempDir>>,
}

impl RealNomad {
    /// The server that the environment names, if it names one.
    ///
    /// # Errors
    ///
    /// Where the HTTP client cannot be built.
    pub fn from_env() -> Result<Option<Self>, Error> {
        let Ok(address) = env::var(ADDRESS) else {
            return Ok(None);
        };
        let token = env::var(TOKEN).ok();
        Ok(Some(Self {
            api: NomadApi::new(&address, token.as_deref())?,
            token,
            folders: Mutex::default(),
        }))
    }

    /// Waits until a service has so many instances in the registry.
    async fn until_count(&self, job: &Job, count: usize) -> Result<(), Error> {
        let what = format!("{count} instances of {} in {}", job.name, job.namespace);
        until(what, || async {
            let instances = self.api.instances(&job.namespace, &job.name).await.ok()?;
            (instances.len() == count).then_some(())
        })
        .await
    }

    fn folder(&self, job: &Job) -> Result<String, Error> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (job.namespace.clone(), job.name.clone());
        if let Some(folder) = folders.get(&key) {
            return Ok(folder.path().display().to_string());
        }
        let folder = tempfile::tempdir().map_err(|source| Error::Io {
            what: "cannot make a folder".to_owned(),
            source,
        })?;
        let path = folder.path().display().to_string();
        folders.insert(key, folder);
        Ok(path)
    }

    fn specification(&self, job: &Job) -> Result<Value, Error> {
        let mut service = json!({
            "Name": job.name, "PortLabel": "http", "Provider": "nomad", "Tags": job.tags,
        });
        let mut task = json!({
            "Name": "t", "Driver": "mock_driver", "Config": { "run_for": "3600s" },
            "Resources": { "CPU": 10, "MemoryMB": 10 }, "LogConfig": { "MaxFiles": 1, "MaxFileSizeMB": 1 },
        });
        if job.checked {
            let folder = self.folder(job)?;
            write_alive(&folder, true)?;
            service["Checks"] = json!([{
                "Name": "alive", "Type": "http", "Path": "/alive", "Interval": 1_000_000_000_u64,
                "Timeout": 1_000_000_000_u64,
            }]);
            task["Driver"] = json!("raw_exec");
            // It is killed beyond that.
            task["Resources"]["MemoryMB"] = json!(128);
            let arguments = [
                "-m",
                "http.server",
                "${NOMAD_PORT_http}",
                "--bind",
                "127.0.0.1",
                "--directory",
            ];
            let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
            arguments.push(folder);
            task["Config"] = json!({ "command": "python3", "args": arguments });
        }
        Ok(json!({ "Job": {
            "ID": job.name, "Name": job.name, "Namespace": job.namespace, "Type": "service", "Datacenters": ["*"],
            "TaskGroups": [{
                "Name": "g", "Count": job.count, "Networks": [{ "DynamicPorts": [{ "Label": "http" }] }],
                "Services": [service], "Tasks": [task], "EphemeralDisk": { "SizeMB": 10 },
            }],
        } }))
    }

    async fn accept(&self, method: &str, path: &str, body: &Value) -> Result<(), Error> {
        self.api.call(method, path, body).await.map(drop)
    }
}

/// Looks again and again; unlike that of [`wait::until`](crate::wait::until) its future is `Send`.
async fn until<F: Future<Output = Option<()>> + Send>(
    what: impl Into<String> + Send,
    mut look: impl FnMut() -> F + Send,
) -> Result<(), Error> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if look().await.is_some() {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(Error::Deadline {
        what: what.into(),
        after: PATIENCE,
    })
}

fn write_alive(folder: &str, alive: bool) -> Result<(), Error> {
    let file = std::path::Path::new(folder).join("alive");
    let done = if alive {
        std::fs::write(&file, "yes")
    } else {
        std::fs::remove_file(&file)
    };
    done.map_err(Error::file("cannot change", file))
}

#[async_trait]
impl World for RealNomad {
    fn api(&self) -> &NomadApi {
        &self.api
    }

    fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    async fn run(&self, job: &Job) -> Result<(), Error> {
        let path = format!("/v1/jobs?namespace={}", job.namespace);
        self.accept("PUT", &path, &self.specification(job)?).await?;
        self.until_count(job, usize::from(job.count)).await?;
        // A change of tags replaces nothing, so their number says nothing.
        let what = format!("the tags of {}", job.name);
        until(what, || async {
            let instances = self.api.instances(&job.namespace, &job.name).await.ok()?;
            instances.iter().all(|one| one.tags == job.tags).then_some(())
        })
        .await
    }

    async fn stop(&self, job: &Job, purge: bool) -> Result<(), Error> {
        let path = format!("/v1/job/{}?namespace={}&purge={purge}", job.name, job.namespace);
        self.accept("DELETE", &path, &Value::Null).await?;
        self.until_count(job, 0).await
    }

    async fn set_passing(&self, job: &Job, passes: bool) -> Result<(), Error> {
        write_alive(&self.folder(job)?, passes)?;
        let wanted = if passes { "success" } else { "failure" };
        for instance in self.api.instances(&job.namespace, &job.name).await? {
            let path = format!("/v1/allocation/{}/checks", instance.alloc_id);
            until(format!("checks with {wanted}"), || async {
                let checks = self.api.get(&path).await.ok()?.json();
                let mut results = checks.as_object()?.values();
                results.all(|check| check["Status"] == wanted).then_some(())
            })
            .await?;
        }
        Ok(())
    }

    async fn drain(&self, on: bool) -> Result<(), Error> {
        let nodes = self.api.call("GET", "/v1/nodes", &Value::Null).await?;
        let id = nodes[0]["ID"].as_str().unwrap_or_default().to_owned();
        let (drain, path) = (
            json!({ "Deadline": 1_000_000_000_u64 }),
            format!("/v1/node/{id}/drain"),
        );
        let specification = if on { drain } else { Value::Null };
        let wish = json!({ "DrainSpec": specification, "MarkEligible": !on });
        self.accept("PUT", &path, &wish).await?;
        until("the node to be drained or not", || async {
            let node = self.api.get(&format!("/v1/node/{id}")).await.ok()?.json();
            let wanted = if on { "ineligible" } else { "eligible" };
            (node["SchedulingEligibility"] == wanted && node["DrainStrategy"].is_null()).then_some(())
        })
        .await
    }

    async fn add_namespace(&self, name: &str) -> Result<(), Error> {
        self.accept("PUT", "/v1/namespace", &json!({ "Name": name }))
            .await
    }

    async fn remove_namespace(&self, name: &str) -> Result<(), Error> {
        // Refused as long as something of its jobs is not terminal.
        until(format!("the namespace {name} to go"), || async {
            let path = format!("/v1/namespace/{name}");
            self.accept("DELETE", &path, &Value::Null).await.ok()
        })
        .await
    }

    async fn grant(&self, name: &str, namespaces: &[&str]) -> Result<String, Error> {
        let rules: Vec<String> = namespaces
            .iter()
            .map(|namespace| format!("namespace \"{namespace}\" {{ policy = \"read\" }}"))
            .collect();
        // A policy has to have some rule.
        let rules = match rules.is_empty() {
            true => "agent { policy = \"deny\" }".to_owned(),
            false => rules.join("\n"),
        };
        let policy = json!({ "Name": name, "Rules": rules });
        self.accept("PUT", &format!("/v1/acl/policy/{name}"), &policy)
            .await?;
        let tokens = self.api.call("GET", "/v1/acl/tokens", &Value::Null).await?;
        let held = tokens.as_array().into_iter().flatten();
        let held = held
            .filter(|token| token["Name"] == name)
            .find_map(|token| token["AccessorID"].as_str());
        let token = match held {
            Some(accessor) => {
                let path = format!("/v1/acl/token/{accessor}");
                self.api.call("GET", &path, &Value::Null).await?
            }
            None => {
                let wish = json!({ "Name": name, "Type": "client", "Policies": [name] });
                self.api.call("PUT", "/v1/acl/token", &wish).await?
            }
        };
        Ok(token["SecretID"].as_str().unwrap_or_default().to_owned())
    }
}
