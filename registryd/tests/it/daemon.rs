//! A daemon as a process of its own, in a directory of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use registry_testkit::{init_tls, wait};
use serde_json::Value;
use tempfile::TempDir;

/// How long anything may take that a test waits for.
pub(crate) const DEADLINE: Duration = Duration::from_secs(90);

/// The services that most tests begin with.
pub(crate) const SERVICES: &str = "\
services:
  - name: payments
    ports: [{ name: http, number: 80 }]
    endpoints:
      - { address: 10.0.0.7, ports: { http: 8080 } }
  - name: inventory
    ports: [{ name: grpc, number: 9000 }]
    endpoints:
      - { address: 10.0.1.4, ports: { grpc: 9000 } }
";

/// A command in that directory, which sees nothing of the user's own settings.
pub(crate) fn registryd(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_registryd"));
    command
        .args(arguments)
        .current_dir(directory)
        .env("XDG_CONFIG_HOME", directory.join("config"))
        .env("XDG_STATE_HOME", directory.join("state"))
        // Where there is no `state_dir`: never that of the machine.
        .env("STATE_DIRECTORY", directory.join("lib"))
        .stdin(Stdio::null());
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

/// Runs a command to its end.
pub(crate) fn output(directory: &Path, arguments: &[&str]) -> Output {
    registryd(directory, arguments)
        .output()
        .expect("registryd can be run")
}

/// What a command said on standard error.
pub(crate) fn errors(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What a command printed.
pub(crate) fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The daemon of a directory, with the configuration that is there.
fn spawn(directory: &Path) -> Child {
    let log = File::options()
        .create(true)
        .append(true)
        .open(directory.join("log"))
        .expect("a log");
    registryd(
        directory,
        &[
            "run",
            "--config",
            "registryd.yaml",
            "--port-file",
            "port",
            "--xds-port-file",
            "xds-port",
        ],
    )
    .stderr(log)
    .spawn()
    .expect("registryd can be run")
}

/// A running daemon; killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    directory: TempDir,
    url: String,
    http: reqwest::Client,
}

impl Daemon {
    /// Starts one in a directory with these files, of which `registryd.yaml` is its configuration.
    pub(crate) async fn start(files: &[(&str, &str)]) -> Self {
        Self::start_in(&[], files).await
    }

    /// As [`start`](Self::start), with these directories in its directory.
    pub(crate) async fn start_in(directories: &[&str], files: &[(&str, &str)]) -> Self {
        init_tls();
        let directory = tempfile::tempdir().expect("a directory");
        for name in directories {
            std::fs::create_dir(directory.path().join(name)).expect("a directory");
        }
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("a file");
        }
        let mut daemon = Self {
            child: spawn(directory.path()),
            directory,
            url: String::new(),
            http: reqwest::Client::builder().no_proxy().build().expect("a client"),
        };
        daemon.listens().await;
        daemon
    }

    /// Kills it, as a crash does. What it has written stays.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a process");
        self.child.wait().expect("its end");
        std::fs::remove_file(self.path("port")).expect("a file");
        let _ = std::fs::remove_file(self.path("xds-port"));
    }

    /// Starts it again where it was killed; it logs behind what it has logged before.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(self.directory.path());
        self.listens().await;
    }

    async fn listens(&mut self) {
        let port = self.path("port");
        let address = self
            .wait("the port", async || std::fs::read_to_string(&port).ok())
            .await;
        self.url = format!("http://{}", address.trim());
    }

    /// Where its API is.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where its xDS server is, if it has one.
    pub(crate) async fn xds(&self) -> String {
        let port = self.path("xds-port");
        let address = self
            .wait("the port of xDS", async || std::fs::read_to_string(&port).ok())
            .await;
        address.trim().to_owned()
    }

    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Puts a file in place of another, all at once.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let new = self.path("new");
        std::fs::write(&new, text).expect("a file");
        std::fs::rename(&new, self.path(name)).expect("a file in place of another");
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, such as `HUP`.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status();
        assert!(sent.expect("kill can be run").success());
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Waits for something; shows the log where that does not come.
    pub(crate) async fn wait<T>(&self, what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
        match wait::until(what, DEADLINE, look).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.log()),
        }
    }

    /// Waits until that text is in the log, from that byte on.
    pub(crate) async fn wait_for_log(&self, from: usize, text: &str) {
        self.wait(text, async || {
            self.log().get(from..)?.contains(text).then_some(())
        })
        .await;
    }

    /// Asks it for something.
    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        let request = self.http.get(format!("{}{path}", self.url)).timeout(DEADLINE);
        let response = request.send().await.expect("an answer");
        let status = response.status().as_u16();
        let body = response.bytes().await.expect("a whole answer");
        (status, serde_json::from_slice(&body).expect("JSON"))
    }

    /// What it says of a registry.
    pub(crate) async fn registry(&self, id: &str) -> Value {
        self.get(&format!("/v1/registries/{id}")).await.1
    }

    /// Waits until what it says of a registry is as wanted, and returns that.
    pub(crate) async fn registry_that(&self, id: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        self.wait(what, async || {
            let registry = self.registry(id).await;
            wanted(&registry).then_some(registry)
        })
        .await
    }

    /// A metric, by its name and labels as they are printed; `None` where it is absent.
    pub(crate) async fn metric(&self, name: &str) -> Option<f64> {
        let request = self.http.get(format!("{}/metrics", self.url)).timeout(DEADLINE);
        let response = request.send().await.expect("an answer");
        let text = response.text().await.expect("a whole answer");
        let mut values = text
            .lines()
            .filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        values.next().map(|value| value.parse().expect("a number"))
    }

    /// Runs a command that asks this daemon, and returns its exit code and what it printed; on standard error where
    /// it failed.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let server = ["--server", &self.url];
        let arguments: Vec<&str> = arguments.iter().copied().chain(server).collect();
        let output = output(self.directory(), &arguments);
        let text = if output.status.success() {
            printed(&output)
        } else {
            errors(&output)
        };
        (output.status.code(), text)
    }

    /// Opens a watch.
    pub(crate) async fn watch(&self) -> reqwest::Response {
        let request = self.http.get(format!("{}/v1/watch", self.url));
        let watch = tokio::time::timeout(DEADLINE, request.send()).await;
        watch.expect("a watch in time").expect("a watch")
    }

    /// Waits until a service is there, and returns it.
    pub(crate) async fn service(&self, name: &str) -> Value {
        let path = format!("/v1/services/{name}");
        self.wait(name, async || {
            let (status, service) = self.get(&path).await;
            (status == 200).then_some(service)
        })
        .await
    }

    /// Waits until a service is gone.
    pub(crate) async fn gone(&self, name: &str) {
        let path = format!("/v1/services/{name}");
        self.wait("a service to go", async || {
            (self.get(&path).await.0 == 404).then_some(())
        })
        .await;
    }

    /// Reloads, and waits until that is logged.
    pub(crate) async fn reload(&self, config: &str) {
        let from = self.log().len();
        self.write("registryd.yaml", config);
        self.signal("HUP");
        self.wait_for_log(from, "the configuration was applied").await;
    }

    /// True while the process runs.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end, and returns the exit code.
    pub(crate) async fn ended(mut self) -> Option<i32> {
        let child = &mut self.child;
        let ended = wait::until("the end of the daemon", DEADLINE, async || {
            child.try_wait().ok().flatten()
        });
        ended.await.expect("an end").code()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
