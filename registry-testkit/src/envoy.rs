//! A real Envoy for tests.
//!
//! ```text
//!  bootstrap (YAML or JSON) ──start──▶ Envoy ── process: kill, pause, resume, terminate
//!                                        │ ready, get, stats, hosts, clusters, listeners, config_dump
//!                                        ▼
//!                                      its administration interface, on 127.0.0.1
//! ```
//!
//! It runs with one worker and without hot restart, so any number of them run side by side. Dropping an [`Envoy`]
//! kills it; in a test that panics, the end of its log is printed then.

mod admin;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::admin::Admin;
use crate::daemon::Daemon;
use crate::process::{self, Process};
use crate::{Error, files, servers, wait};

/// How long it may take until the administration interface answers. It needs 0.5 s; a loaded machine is given plenty.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long a look at a bootstrap may take.
const VALIDATE_DEADLINE: Duration = Duration::from_secs(60);

/// Which of the installed Envoys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Version {
    /// 1.40.0
    #[default]
    V1_40,
    /// 1.36.4, the oldest that is tested.
    V1_36,
}

/// How an [`Envoy`] is to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which version.
    pub version: Version,
    /// How many worker threads it has.
    pub concurrency: u32,
    /// How long connections of a listener that is gone go on, in whole seconds; Envoy's own default is ten minutes.
    pub drain_time: Option<Duration>,
    /// What it logs, in its own words: `warning`, `debug` and the like.
    pub log_level: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            version: Version::default(),
            concurrency: 1,
            drain_time: None,
            log_level: "warning".to_owned(),
        }
    }
}

/// An Envoy that runs as a child of this process.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use std::time::Duration;
///
/// use registry_testkit::envoy::{Envoy, Options};
///
/// let bootstrap = "static_resources: {}";
/// Envoy::validate(bootstrap, Default::default()).await.expect("it is in order");
/// let mut envoy = Envoy::start(bootstrap, &Options::default()).await?;
/// envoy.ready(Duration::from_secs(60)).await?;
/// assert_eq!(envoy.stat("cluster_manager.warming_clusters").await?, 0);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Envoy {
    // Before the folder: the program has to be gone when its files go.
    daemon: Daemon,
    options: Options,
    arguments: Vec<String>,
    /// `None` until it has said where it listens.
    admin: Option<Admin>,
    folder: TempDir,
}

// === impl Version ===

impl Version {
    fn program(self) -> Result<PathBuf, Error> {
        servers::find(match self {
            Self::V1_40 => "envoy/envoy/_bin/envoy",
            Self::V1_36 => "envoy-1.36/envoy/_bin/envoy",
        })
    }
}

// === impl Envoy ===

impl Envoy {
    /// Starts it and waits until its administration interface answers; [`ready`](Self::ready) waits for the rest.
    ///
    /// A bootstrap that says nothing of that interface gets one on a free port.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when it is not installed, [`Error::Ended`] or [`Error::NotReady`] with the end of its
    /// log when it does not come up.
    pub async fn start(bootstrap: &str, options: &Options) -> Result<Self, Error> {
        let folder = files::temporary("envoy-")?;
        let config = folder.path().join("bootstrap.yaml");
        files::write(&config, bootstrap)?;
        let mut arguments = vec![
            "--config-path".to_owned(),
            config.display().to_string(),
            "--disable-hot-restart".to_owned(),
            "--concurrency".to_owned(),
            options.concurrency.to_string(),
            "--log-level".to_owned(),
            options.log_level.clone(),
            "--admin-address-path".to_owned(),
            folder.path().join("admin").display().to_string(),
        ];
        if let Some(time) = options.drain_time {
            arguments.extend(["--drain-time-s".to_owned(), time.as_secs().to_string()]);
        }
        if !has_admin(bootstrap) {
            let address = json!({ "socket_address": { "address": "127.0.0.1", "port_value": 0 } });
            let admin = json!({ "admin": { "address": address } });
            arguments.extend(["--config-yaml".to_owned(), admin.to_string()]);
        }
        let mut envoy = Self {
            daemon: Daemon::stopped("envoy", folder.path().join("envoy.log")),
            options: options.clone(),
            arguments,
            admin: None,
            folder,
        };
        envoy.restart().await?;
        Ok(envoy)
    }

    /// Lets the program judge a bootstrap without running it; the error is what it says.
    ///
    /// # Errors
    ///
    /// What is wrong with the bootstrap, or why the program could not be asked.
    pub async fn validate(bootstrap: &str, version: Version) -> Result<(), String> {
        let judge = async || -> Result<(bool, String), Error> {
            let folder = files::temporary("envoy-")?;
            let config = folder.path().join("bootstrap.yaml");
            files::write(&config, bootstrap)?;
            let log = folder.path().join("envoy.log");
            let arguments = ["--mode", "validate", "--disable-hot-restart", "--config-path"];
            let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
            arguments.push(config.display().to_string());
            let mut process = Process::start("envoy", &version.program()?, &arguments, &log)?;
            let status = process.wait(VALIDATE_DEADLINE).await?;
            Ok((status.success(), process::tail(&log)))
        };
        match judge().await {
            Ok((true, _)) => Ok(()),
            Ok((false, said)) => Err(said),
            Err(error) => Err(format!("{error:?}")),
        }
    }

    /// Waits until it serves: its `/ready` says so, which means that every cluster and listener is initialised.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] or [`Error::NotReady`], both with the end of the log.
    pub async fn ready(&mut self, deadline: Duration) -> Result<(), Error> {
        let admin = self.admin()?.clone();
        let probe = || {
            let admin = admin.clone();
            async move { Ok((!admin.is_ready().await?).then_some("it is not ready")) }
        };
        self.daemon.ready(deadline, probe).await
    }

    /// Whether its `/ready` says so now.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] when it does not answer.
    pub async fn is_ready(&self) -> Result<bool, Error> {
        self.admin()?.is_ready().await
    }

    /// The base URL of its administration interface, without a final slash.
    ///
    /// # Errors
    ///
    /// [`Error::State`] before it has been started successfully.
    pub fn admin_url(&self) -> Result<String, Error> {
        Ok(self.admin()?.url())
    }

    /// The answer to a `GET` of the administration interface, such as `/server_info`.
    ///
    /// # Errors
    ///
    /// [`Error::Http`] when it does not answer, [`Error::Status`] when it refuses.
    pub async fn get(&self, path: &str) -> Result<String, Error> {
        self.admin()?.get(path).await
    }

    /// The answer to a `POST` of the administration interface, such as `/logging?level=debug`.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn post(&self, path: &str) -> Result<String, Error> {
        self.admin()?.post(path).await
    }

    /// The counters and gauges whose names match the regular expression.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn stats(&self, filter: &str) -> Result<std::collections::BTreeMap<String, u64>, Error> {
        self.admin()?.stats(filter).await
    }

    /// One counter or gauge; one that does not exist is 0.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn stat(&self, name: &str) -> Result<u64, Error> {
        self.admin()?.stat(name).await
    }

    /// A text among the statistics, such as `control_plane.identifier`.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn stat_text(&self, name: &str) -> Result<Option<String>, Error> {
        self.admin()?.stat_text(name).await
    }

    /// `/clusters`, as JSON.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn clusters(&self) -> Result<Value, Error> {
        self.admin()?.json("/clusters?format=json").await
    }

    /// The hosts of every cluster, as `address:port`, sorted; a cluster without hosts is there with none.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn hosts(&self) -> Result<std::collections::BTreeMap<String, Vec<String>>, Error> {
        Ok(admin::hosts(&self.clusters().await?))
    }

    /// `/listeners`, as JSON.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn listeners(&self) -> Result<Value, Error> {
        self.admin()?.json("/listeners?format=json").await
    }

    /// `/config_dump`, endpoints included.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn config_dump(&self) -> Result<Value, Error> {
        self.admin()?.json("/config_dump?include_eds").await
    }

    /// Drains its listeners, as before an end: connections are told to close.
    ///
    /// # Errors
    ///
    /// As for [`get`](Self::get).
    pub async fn drain(&self) -> Result<(), Error> {
        self.post("/drain_listeners?graceful").await.map(drop)
    }

    /// The number of the process; `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.pid()
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Everything that it wrote.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the log cannot be read.
    pub fn whole_log(&self) -> Result<String, Error> {
        let path = self.folder.path().join("envoy.log");
        std::fs::read_to_string(&path).map_err(Error::file("cannot read", path))
    }

    /// Kills it (`SIGKILL`).
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::KILL).await
    }

    /// Asks it to end (`SIGTERM`) and waits for that.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill), and [`Error::Deadline`] when it does not end within 30 s.
    pub async fn terminate(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::TERM).await
    }

    /// Freezes it (`SIGSTOP`).
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn pause(&self) -> Result<(), Error> {
        self.daemon.pause().await
    }

    /// Lets a frozen one go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub fn resume(&self) -> Result<(), Error> {
        self.daemon.resume()
    }

    /// Starts it again with the same bootstrap, ending it first where it runs, and waits as [`start`](Self::start)
    /// does. It has forgotten everything; a port that was free before may be another one now.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.daemon.is_running() {
            self.kill().await?;
        }
        self.admin = None;
        let file = self.folder.path().join("admin");
        files::write(&file, "")?;
        self.daemon
            .start(&self.options.version.program()?, &self.arguments)?;
        let probe = || {
            let file = file.clone();
            async move {
                let Some(admin) = said(&file)? else {
                    return Ok(Some("it has not said where it is administered"));
                };
                // Any answer will do.
                admin.is_ready().await.map(|_| None)
            }
        };
        self.daemon.ready(START_DEADLINE, probe).await?;
        self.admin = said(&file)?;
        Ok(())
    }

    /// Waits until a condition on it holds, such as a host that appears.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] with `what`.
    pub async fn until<T>(
        &self,
        what: &str,
        deadline: Duration,
        mut look: impl AsyncFnMut(&Self) -> Result<Option<T>, Error>,
    ) -> Result<T, Error> {
        wait::until(what, deadline, async || look(self).await.ok().flatten()).await
    }

    fn admin(&self) -> Result<&Admin, Error> {
        self.admin.as_ref().ok_or(Error::State {
            name: "envoy".to_owned(),
            state: "stopped",
            operation: "administration",
        })
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the end of Envoy's log:\n{}", self.log());
        }
    }
}

fn has_admin(bootstrap: &str) -> bool {
    // What is no YAML at all is for Envoy to complain about.
    serde_saphyr::from_str::<Value>(bootstrap).is_ok_and(|parsed| parsed.get("admin").is_some())
}

/// The administration interface, once its address is in the file.
fn said(file: &Path) -> Result<Option<Admin>, Error> {
    let text = std::fs::read_to_string(file).map_err(Error::file("cannot read", file))?;
    let address = text.trim();
    if address.is_empty() {
        return Ok(None);
    }
    Admin::new(address).map(Some)
}
