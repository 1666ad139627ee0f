//! A server through any number of starts: what all starters do to a process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::process::{self, Process};

/// How long a server may take to end after a polite request.
const END_DEADLINE: Duration = Duration::from_secs(30);

/// How long one look at a server that is starting may take.
const PROBE_DEADLINE: Duration = Duration::from_secs(2);

/// A server that runs, or is stopped.
#[derive(Debug)]
pub(crate) struct Daemon {
    name: String,
    log: PathBuf,
    process: Option<Process>,
}

// === impl Daemon ===

impl Daemon {
    /// A server that is not started yet.
    pub(crate) fn stopped(name: &str, log: PathBuf) -> Self {
        Self {
            name: name.to_owned(),
            log,
            process: None,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Process::pid)
    }

    /// The last lines that it wrote.
    pub(crate) fn log(&self) -> String {
        process::tail(&self.log)
    }

    pub(crate) fn start(&mut self, program: &Path, arguments: &[String]) -> Result<(), Error> {
        self.must_be_stopped("launch")?;
        self.process = Some(Process::start(&self.name, program, arguments, &self.log)?);
        Ok(())
    }

    /// Sends the signal and waits for the end.
    pub(crate) async fn end(&mut self, signal: Signal) -> Result<(), Error> {
        self.running("end")?.signal(signal)?;
        // A frozen process takes the signal when it goes on.
        self.running("end")?.signal(Signal::CONT)?;
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.wait(END_DEADLINE).await?;
        Ok(())
    }

    pub(crate) async fn pause(&self) -> Result<(), Error> {
        self.running("pause")?.stop(END_DEADLINE).await
    }

    pub(crate) fn resume(&self) -> Result<(), Error> {
        self.running("resume")?.signal(Signal::CONT)
    }

    /// Waits until `probe` finds nothing missing.
    pub(crate) async fn ready<F>(
        &mut self,
        deadline: Duration,
        mut probe: impl FnMut() -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<Option<&'static str>, Error>>,
    {
        let start = Instant::now();
        loop {
            let Some(process) = self.process.as_mut() else {
                return Err(self.state("stopped", "ready"));
            };
            if let Some(status) = process.ended() {
                self.process = None;
                return Err(Error::Ended {
                    name: self.name.clone(),
                    status: status.to_string(),
                    log: self.log(),
                });
            }
            let awaited = match tokio::time::timeout(PROBE_DEADLINE, probe()).await {
                Ok(Ok(None)) => return Ok(()),
                Ok(Ok(Some(awaited))) => awaited.to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not answer".to_owned(),
            };
            if start.elapsed() >= deadline {
                return Err(Error::NotReady {
                    name: self.name.clone(),
                    after: deadline,
                    awaited,
                    log: self.log(),
                });
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn must_be_stopped(&self, operation: &'static str) -> Result<(), Error> {
        if self.is_running() {
            return Err(self.state("running", operation));
        }
        Ok(())
    }

    fn running(&self, operation: &'static str) -> Result<&Process, Error> {
        self.process
            .as_ref()
            .ok_or_else(|| self.state("stopped", operation))
    }

    fn state(&self, state: &'static str, operation: &'static str) -> Error {
        Error::State {
            name: self.name.clone(),
            state,
            operation,
        }
    }
}

/// Whether another process took one of a server's ports between our look and its start.
pub(crate) fn is_collision(error: &Error) -> bool {
    // `address already in use`, also with a capital, and `Port 15000 was already in use`.
    matches!(error, Error::Ended { log, .. } if log.contains("already in use"))
}
