//! Load by `wrk`, the program of Debian's package of that name, with every status counted.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::{Error, files, servers};

/// What is left to it after its time, to count and to say so.
const GRACE: Duration = Duration::from_secs(30);

/// What load it is.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where requests go, such as `http://127.0.0.1:15001/`.
    pub url: String,
    /// Their `Host`, where it is not that of the URL.
    pub host: Option<String>,
    /// How many connections are kept busy. There is one thread.
    pub connections: u32,
    /// For how long, in whole seconds, at least one.
    pub duration: Duration,
    /// When a request counts as timed out.
    pub timeout: Duration,
}

/// A `wrk` under way; dropping it kills it.
#[derive(Debug)]
pub struct Wrk {
    process: Process,
    duration: Duration,
    log: PathBuf,
    _folder: TempDir,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// Requests that were answered.
    pub requests: u64,
    /// How often each status came.
    pub by_status: BTreeMap<u16, u64>,
    /// Connections that were refused.
    pub connect: u64,
    /// Connections that broke while an answer was awaited.
    pub read: u64,
    /// Connections that broke while a request was sent.
    pub write: u64,
    /// Requests that were not answered in time.
    pub timeout: u64,
    /// Half of the answers took at most so many microseconds.
    pub p50_us: u64,
    /// 99 of 100 answers took at most so many microseconds.
    pub p99_us: u64,
    /// The longest took so many microseconds.
    pub max_us: u64,
}

impl Options {
    /// Ten connections for the duration, each request within 10 s.
    pub fn new(url: impl Into<String>, duration: Duration) -> Self {
        Self {
            url: url.into(),
            host: None,
            connections: 10,
            duration,
            timeout: Duration::from_secs(10),
        }
    }
}

// === impl Wrk ===

impl Wrk {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when it is not in `PATH`, [`Error::Spawn`] when the system refuses.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let folder = files::temporary("wrk-")?;
        let script = folder.path().join("count.lua");
        files::write(&script, include_str!("wrk/count.lua"))?;
        let log = folder.path().join("wrk.log");
        let mut arguments = vec![
            "--threads=1".to_owned(),
            format!("--connections={}", options.connections),
            format!("--duration={}s", options.duration.as_secs().max(1)),
            format!("--timeout={}s", options.timeout.as_secs().max(1)),
            format!("--script={}", script.display()),
        ];
        if let Some(host) = &options.host {
            arguments.push(format!("--header=Host: {host}"));
        }
        arguments.push(options.url.clone());
        Ok(Self {
            process: Process::start("wrk", &servers::in_path("wrk")?, &arguments, &log)?,
            duration: options.duration,
            log,
            _folder: folder,
        })
    }

    /// Waits for its end.
    ///
    /// # Errors
    ///
    /// [`Error::Deadline`] when it does not end half a minute after its time, [`Error::Tool`] with what it said when it
    /// fails.
    pub async fn report(mut self) -> Result<Report, Error> {
        let status = self.process.wait(self.duration + GRACE).await?;
        let text = process::tail(&self.log);
        let report = text.lines().find_map(|line| line.strip_prefix("report "));
        let report = report.and_then(|report| serde_json::from_str(report).ok());
        report.filter(|_| status.success()).ok_or(Error::Tool {
            command: "wrk".to_owned(),
            output: text,
        })
    }
}

// === impl Report ===

impl Report {
    /// Requests that were not answered with 200, and connections that were refused, broke or timed out.
    #[must_use]
    pub fn failures(&self) -> u64 {
        let others = self.by_status.iter().filter(|(status, _)| **status != 200);
        let others: u64 = others.map(|(_, count)| count).sum();
        others + self.connect + self.read + self.write + self.timeout
    }
}
