//! The daemon as a process in a directory of its own, which outlives it: it can be killed and started again.

use std::fs::{self, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use registry_testkit::{init_tls, ports, wait};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::api::Listing;
use crate::figures::Figures;

/// How long anything may take that is not measured. The machine may be slow, and busy with other things.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// Another program to test, such as one built for release.
const PROGRAM: &str = "REGISTRY_E2E_DAEMON";

pub(crate) struct Daemon {
    child: Option<Child>,
    port: u16,
    http: reqwest::Client,
    directory: TempDir,
}

impl Daemon {
    /// A daemon that does not run yet.
    pub(crate) fn new() -> Self {
        init_tls();
        Self {
            child: None,
            port: ports::free(1).unwrap()[0],
            http: http(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    /// The first lines of its configuration: its listener and where it keeps what it knows.
    pub(crate) fn head(&self) -> String {
        format!(
            "http: {{ listen: \"127.0.0.1:{}\" }}\nstate_dir: state\n",
            self.port
        )
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file in place of another, all at once.
    pub(crate) fn write(&self, name: &str, text: &str) {
        replace(&self.path(name), text);
    }

    /// Starts it on `registryd.yaml`, and does not wait for anything.
    pub(crate) fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.path("log"))
            .unwrap();
        let mut command = self.command(&["run", "--config", "registryd.yaml"]);
        command.stdin(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Another command of the program, in the same directory: what it prints.
    pub(crate) fn prints(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).output().unwrap();
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let program = std::env::var_os(PROGRAM).unwrap_or_else(|| env!("CARGO_BIN_EXE_e2e-registryd").into());
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.directory.path())
            .env("XDG_CONFIG_HOME", self.path("config"))
            .env("XDG_STATE_HOME", self.path("home"));
        for variable in [
            "REGISTRYD_CONFIG",
            "REGISTRYD_LOG",
            "REGISTRYD_SERVER",
            "REGISTRYD_TOKEN_FILE",
        ] {
            command.env_remove(variable);
        }
        command
    }

    /// Waits until it is ready, and says how long that took.
    pub(crate) async fn ready(&mut self) -> Duration {
        let start = Instant::now();
        loop {
            if let Some((200, _)) = self.try_get("/readyz").await {
                return start.elapsed();
            }
            self.assert_runs();
            assert!(
                start.elapsed() < DEADLINE,
                "not ready after {DEADLINE:?}\n{}",
                self.last_words()
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.child.is_some()
    }

    pub(crate) fn assert_runs(&mut self) {
        let child = self.child.as_mut().expect("it was started");
        if let Some(status) = child.try_wait().unwrap() {
            panic!("the daemon ended: {status}\n{}", self.last_words());
        }
    }

    /// Kills it: nothing is written, nobody is told.
    pub(crate) fn kill(&mut self) {
        let mut child = self.child.take().expect("it was started");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Asks it to end, and waits for that.
    pub(crate) async fn terminate(&mut self) {
        self.signal(Signal::TERM);
        let mut child = self.child.take().expect("it was started");
        let ended = wait::until("the end of the daemon", DEADLINE, async || {
            child.try_wait().unwrap()
        })
        .await;
        let status = ended.unwrap_or_else(|error| panic!("{error:?}\n{}", self.last_words()));
        assert!(
            status.success(),
            "the daemon ended: {status}\n{}",
            self.last_words()
        );
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it was started");
        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// Puts another configuration in place, and waits until the daemon noticed; by a signal, or else by itself.
    pub(crate) async fn reload(&mut self, config: &str, signal: bool) {
        let from = self.log_length();
        self.write("registryd.yaml", config);
        if signal {
            self.signal(Signal::HUP);
        }
        let start = Instant::now();
        loop {
            let log = self.log_from(from);
            if ["was applied", "was not applied", "is unchanged"]
                .iter()
                .any(|told| log.contains(&format!("the configuration {told}")))
            {
                return;
            }
            self.assert_runs();
            assert!(
                start.elapsed() < DEADLINE,
                "no reload after {DEADLINE:?}\n{}",
                self.last_words()
            );
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// What it has open, and how large it is.
    pub(crate) fn figures(&self) -> Figures {
        Figures::of(self.child.as_ref().expect("it was started").id())
    }

    pub(crate) fn log_length(&self) -> u64 {
        fs::metadata(self.path("log")).map_or(0, |log| log.len())
    }

    pub(crate) fn log_from(&self, from: u64) -> String {
        let mut bytes = Vec::new();
        let mut file = fs::File::open(self.path("log")).unwrap();
        file.seek(SeekFrom::Start(from)).unwrap();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of its log.
    pub(crate) fn last_words(&self) -> String {
        let log = self.log_from(self.log_length().saturating_sub(8_000));
        format!("the end of its log:\n{log}")
    }

    /// A panic that was caught is one all the same.
    pub(crate) fn assert_no_panic(&self) {
        let log = self.log_from(0);
        let panic = log.lines().find(|line| line.contains("panicked"));
        assert_eq!(panic, None, "{}", self.last_words());
    }

    /// An answer, if there is one.
    pub(crate) async fn try_get(&self, path: &str) -> Option<(u16, Value)> {
        let request = self.http.get(format!("{}{path}", self.url()));
        let response = request.timeout(DEADLINE).send().await.ok()?;
        let status = response.status().as_u16();
        let body = response.bytes().await.ok()?;
        Some((status, serde_json::from_slice(&body).ok()?))
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        match self.try_get(path).await {
            Some(answer) => answer,
            None => panic!("{path} is not answered\n{}", self.last_words()),
        }
    }

    /// All services.
    pub(crate) async fn listing(&self) -> Listing {
        match listing(&self.http, &self.url()).await {
            Some(listing) => listing,
            None => panic!("services are not listed\n{}", self.last_words()),
        }
    }

    /// What is said of one registry.
    pub(crate) async fn registry(&self, id: &str) -> Value {
        let (status, registry) = self.get(&format!("/v1/registries/{id}")).await;
        assert_eq!(status, 200, "{registry}");
        registry
    }

    /// Acknowledges what a registry lost.
    pub(crate) async fn acknowledge(&self, id: &str) -> (u16, Value) {
        let request = self.http.post(format!("{}/v1/registries/{id}/ack", self.url()));
        let request = request.header("content-type", "application/json").body("{}");
        let response = request.timeout(DEADLINE).send().await.unwrap();
        let status = response.status().as_u16();
        let body = response.bytes().await.unwrap();
        (status, serde_json::from_slice(&body).unwrap_or_default())
    }

    /// Waits for something; shows the log where that does not come.
    pub(crate) async fn wait<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match wait::until(what, DEADLINE, look).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.last_words()),
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A client of the daemon.
pub(crate) fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}

/// All services, where the daemon answers.
pub(crate) async fn listing(http: &reqwest::Client, url: &str) -> Option<Listing> {
    let request = http.get(format!("{url}/v1/services")).timeout(DEADLINE);
    let body = request.send().await.ok()?.bytes().await.ok()?;
    // An answer that breaks off is none; one that is whole has to be understood.
    Some(serde_json::from_slice(&body).unwrap())
}

/// Puts a file in place of another, all at once.
pub(crate) fn replace(path: &Path, text: &str) {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    fs::write(&new, text).unwrap();
    fs::rename(&new, path).unwrap();
}
