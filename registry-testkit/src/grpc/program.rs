//! A Python program that a test talks to: lines of JSON over a Unix socket, one answer to each question.

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Mutex;

use crate::daemon::Daemon;
use crate::{Error, files, servers};

/// How long a program may take to say hello. It needs half a second; a loaded machine is given plenty.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// The longest answer that is read.
const LONGEST: u64 = 64 << 20;

const LINES: &str = include_str!("lines.py");

/// A running program; dropping it kills it.
#[derive(Debug)]
pub(super) struct Program {
    // Before the folder: the program has to be gone when its files go.
    daemon: Daemon,
    name: &'static str,
    stream: BufReader<UnixStream>,
    _folder: TempDir,
}

// === impl Program ===

impl Program {
    /// Starts it, and returns it with its first line.
    pub(super) async fn start(
        name: &'static str,
        text: &str,
        mut config: Value,
    ) -> Result<(Self, Value), Error> {
        let found = servers::find("grpc-clients/grpc/__init__.py")?;
        let packages = found.ancestors().nth(2).unwrap_or(&found);
        let folder = files::temporary("grpc-")?;
        let program = folder.path().join(format!("{name}.py"));
        files::write(&program, text)?;
        files::write(&folder.path().join("lines.py"), LINES)?;
        let socket = folder.path().join("socket");
        let listener = UnixListener::bind(&socket).map_err(Error::file("cannot listen on", &socket))?;
        config["packages"] = json!(packages);
        config["socket"] = json!(socket);

        let mut daemon = Daemon::stopped(name, folder.path().join("log"));
        let arguments = [program.display().to_string(), config.to_string()];
        daemon.start(&servers::in_path("python3")?, &arguments)?;
        let accepted = Mutex::new(None);
        let probe = || async {
            let (stream, _) = listener
                .accept()
                .await
                .map_err(Error::file("cannot listen on", &socket))?;
            *accepted.lock().await = Some(stream);
            Ok(None)
        };
        daemon.ready(START_DEADLINE, probe).await?;
        let Some(stream) = accepted.into_inner() else {
            return Err(gone(name, "it has not connected", &daemon));
        };
        let mut program = Self {
            daemon,
            name,
            stream: BufReader::new(stream),
            _folder: folder,
        };
        let hello = program.answer(START_DEADLINE).await?;
        Ok((program, hello))
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(&mut self, question: &Value, deadline: Duration) -> Result<Value, Error> {
        let line = format!("{question}\n");
        let sent = self.stream.write_all(line.as_bytes()).await;
        sent.map_err(|error| self.gone(&error.to_string()))?;
        let answer = self.answer(deadline).await?;
        match answer.get("error").and_then(Value::as_str) {
            Some(error) => Err(Error::Tool {
                command: format!("{} {question}", self.name),
                output: error.to_owned(),
            }),
            None => Ok(answer),
        }
    }

    /// Reads an answer as what it should be.
    pub(super) fn read<T: DeserializeOwned>(&self, answer: Value) -> Result<T, Error> {
        serde_json::from_value(answer).map_err(|source| Error::Json {
            url: self.name.to_owned(),
            source,
        })
    }

    /// That it has ended, with its last words.
    pub(super) fn gone(&self, why: &str) -> Error {
        gone(self.name, why, &self.daemon)
    }

    pub(super) fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    async fn answer(&mut self, deadline: Duration) -> Result<Value, Error> {
        let mut line = String::new();
        let read = async { (&mut self.stream).take(LONGEST).read_line(&mut line).await };
        match tokio::time::timeout(deadline, read).await {
            Ok(Ok(length)) if length > 0 => serde_json::from_str(&line).map_err(|source| Error::Json {
                url: self.name.to_owned(),
                source,
            }),
            Ok(Ok(_)) => Err(self.gone("it ended the conversation")),
            Ok(Err(error)) => Err(self.gone(&error.to_string())),
            Err(_) => Err(Error::Deadline {
                what: format!("an answer of {}; it said: {}", self.name, self.daemon.log()),
                after: deadline,
            }),
        }
    }
}

fn gone(name: &str, why: &str, daemon: &Daemon) -> Error {
    Error::Ended {
        name: name.to_owned(),
        status: why.to_owned(),
        log: daemon.log(),
    }
}
