//! The processes that are measured, as the bench starts and asks them.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use registry_testkit::servers;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::{Outcome, number};

/// Longer than anything takes here.
const DEADLINE: Duration = Duration::from_secs(180);

/// Resident memory of a process now and at its peak, in KiB.
pub(crate) fn memory_of(pid: &str) -> Outcome<Value> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let field = |name: &str| -> Option<u64> {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    Ok(json!({ "rss": field("VmRSS:"), "peak": field("VmHWM:") }))
}

/// A process of this program that follows a server.
pub(crate) struct Follower {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    /// What it said once it had synced.
    pub(crate) synced: Value,
}

impl Follower {
    /// Starts one with that configuration, and waits until it has synced.
    pub(crate) fn start(config: &Value) -> Outcome<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("child")
            .arg(config.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no output")?).lines();
        let mut follower = Self {
            child,
            lines,
            synced: Value::Null,
        };
        follower.synced = follower.answer()?;
        Ok(follower)
    }

    /// Freezes it, or lets it go on.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) -> Outcome<()> {
        let pid = i32::try_from(self.child.id())?;
        let pid = rustix::process::Pid::from_raw(pid).ok_or("no process")?;
        Ok(rustix::process::kill_process(pid, signal)?)
    }

    pub(crate) fn ask(&mut self, word: &str) -> Outcome<Value> {
        writeln!(self.child.stdin.as_ref().ok_or("no input")?, "{word}")?;
        self.answer()
    }

    fn answer(&mut self) -> Outcome<Value> {
        let line = self.lines.next().ok_or("the process ended")??;
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A full fetch by py-eureka-client in a process of its own: what it cost.
pub(crate) fn python(server: &str) -> Outcome<Value> {
    const PROGRAM: &str = include_str!("discover.py");
    let found = servers::find("py-eureka-client/py_eureka_client/eureka_client.py")?;
    let packages = found.ancestors().nth(2).ok_or("no folder of packages")?;
    let config = json!({ "packages": packages, "server": server });
    let output = Command::new("python3")
        .args(["-c", PROGRAM, &config.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err(format!("python3: {}", output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// `registryd` as its users run it, with one registry that is called `eureka`, and a directory for its state.
pub(crate) struct Daemon {
    child: Child,
    directory: TempDir,
    url: String,
    client: reqwest::Client,
}

impl Daemon {
    pub(crate) async fn start(server: &str) -> Outcome<Self> {
        let directory = tempfile::tempdir()?;
        let path = |name: &str| directory.path().join(name);
        let config = json!({
            "http": { "listen": "127.0.0.1:0" },
            "state_dir": path("state"),
            "registries": [{ "name": "eureka", "eureka": { "urls": [server] } }],
        });
        // JSON is YAML, too.
        std::fs::write(path("registryd.yaml"), config.to_string())?;
        let child = Command::new(binary()?)
            .args(["run", "--config"])
            .arg(path("registryd.yaml"))
            .arg("--port-file")
            .arg(path("port"))
            .stdin(Stdio::null())
            .stderr(std::fs::File::create(path("log"))?)
            .spawn()?;
        let mut daemon = Self {
            child,
            url: String::new(),
            client: reqwest::Client::builder().no_proxy().build()?,
            directory,
        };
        let start = Instant::now();
        while daemon.url.is_empty() {
            match std::fs::read_to_string(daemon.directory.path().join("port")) {
                Ok(address) => daemon.url = format!("http://{}", address.trim()),
                Err(_) => daemon.patience(start).await?,
            }
        }
        Ok(daemon)
    }

    /// Waits until it is in sync with that many endpoints.
    pub(crate) async fn synced(&mut self, endpoints: u64) -> Outcome<()> {
        let start = Instant::now();
        loop {
            let registry = self.registry().await?;
            if registry["phase"] == "synced" && registry["endpoints"] == endpoints {
                return Ok(());
            }
            self.patience(start).await?;
        }
    }

    /// Waits until what it knows is on disk, and lets it come to rest.
    pub(crate) async fn saved(&mut self) -> Outcome<()> {
        let start = Instant::now();
        while self.registry().await?["saved"].is_null() {
            self.patience(start).await?;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    /// Has everything fetched again, and waits until that was answered.
    pub(crate) async fn resync(&mut self) -> Outcome<()> {
        let before = number(&self.registry().await?, "requests")?;
        let url = format!("{}/v1/registries/eureka/resync", self.url);
        let call = self.client.post(url).header("Content-Type", "application/json");
        call.send().await?.error_for_status()?;
        let start = Instant::now();
        while number(&self.registry().await?, "requests")? == before {
            self.patience(start).await?;
        }
        // Until it is taken in.
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    }

    pub(crate) async fn registry(&self) -> Outcome<Value> {
        let url = format!("{}/v1/registries/eureka", self.url);
        let text = self.client.get(url).send().await?.text().await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// Processor time so far, in hundredths of a second as the kernel counts them.
    pub(crate) fn processor_ms(&self) -> Outcome<u64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let (_, fields) = stat.rsplit_once(") ").ok_or("the kernel does not tell")?;
        let ticks = |index: usize| fields.split(' ').nth(index).and_then(|field| field.parse().ok());
        let (user, system): (u64, u64) = ticks(11).zip(ticks(12)).ok_or("no number")?;
        Ok((user + system) * 10)
    }

    pub(crate) fn memory(&self) -> Outcome<Value> {
        memory_of(&self.child.id().to_string())
    }

    /// From now on the peak is that of what follows.
    pub(crate) fn reset_peak(&self) -> Outcome<()> {
        Ok(std::fs::write(
            format!("/proc/{}/clear_refs", self.child.id()),
            "5",
        )?)
    }

    /// A short rest, unless it has ended or taken too long.
    async fn patience(&mut self, start: Instant) -> Outcome<()> {
        let ended = self.child.try_wait()?;
        if ended.is_some() || start.elapsed() > DEADLINE {
            let log = std::fs::read_to_string(self.directory.path().join("log"))?;
            return Err(format!("registryd is not where it should be ({ended:?}): {log}").into());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon that was built along: `cargo xtask bench` builds all packages with benchmarks.
fn binary() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let directory = own.ancestors().nth(2).ok_or("no directory of programs")?;
    let binary = directory.join("registryd");
    if !binary.is_file() {
        let missing = format!(
            "{}: run `cargo xtask bench eureka`, which builds it",
            binary.display()
        );
        return Err(missing.into());
    }
    Ok(binary)
}
