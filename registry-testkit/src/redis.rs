//! A real Redis for tests, and as much of a client as they need.
//!
//! It keeps nothing on disk and listens on a port of its own on 127.0.0.1. The program is that of Debian's package
//! `redis-server`.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::daemon::{Daemon, is_collision};
use crate::{Error, files, ports, servers};

const PROGRAM: &str = "redis-server";

const READY_DEADLINE: Duration = Duration::from_secs(60);

/// How long a command may take.
const COMMAND_DEADLINE: Duration = Duration::from_secs(30);

/// How often another port is tried when another process was quicker.
const ATTEMPTS: usize = 5;

/// The longest value that is read.
const LONGEST: usize = 1 << 20;

/// A Redis that runs as a child of this process; dropping it kills it.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::redis::{Redis, RedisClient};
///
/// let redis = Redis::start().await?;
/// let mut client = RedisClient::connect(redis.address()).await?;
/// assert_eq!(client.command(&["PING"]).await?.as_deref(), Some("PONG"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Redis {
    // Before the folder: the server has to be gone when its files go.
    daemon: Daemon,
    port: u16,
    folder: TempDir,
}

/// A connection to a Redis, or to a proxy that speaks like one.
#[derive(Debug)]
pub struct RedisClient {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

// === impl Redis ===

impl Redis {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when the program is not in `PATH`, [`Error::Ended`] or [`Error::NotReady`] with the end
    /// of its log when it does not come up.
    pub async fn start() -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            let folder = files::temporary("redis-")?;
            let mut redis = Self {
                daemon: Daemon::stopped("redis", folder.path().join("redis.log")),
                port: ports::free(1)?[0],
                folder,
            };
            match redis.restart().await {
                Ok(()) => return Ok(redis),
                Err(error) if attempt < ATTEMPTS && is_collision(&error) => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Kills it (`SIGKILL`).
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::KILL).await
    }

    /// Starts it again at the same port, empty, ending it first where it runs.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.daemon.is_running() {
            self.kill().await?;
        }
        let port = self.port.to_string();
        let folder = self.folder.path().display().to_string();
        let arguments = [
            ["--port", &port],
            ["--bind", "127.0.0.1"],
            ["--save", ""],
            ["--appendonly", "no"],
            ["--dir", &folder],
        ];
        let arguments: Vec<String> = arguments.iter().flatten().map(|&word| word.to_owned()).collect();
        self.daemon.start(&servers::in_path(PROGRAM)?, &arguments)?;
        let address = self.address();
        let probe = || async move {
            let mut client = RedisClient::connect(address).await?;
            let pong = client.command(&["PING"]).await?;
            Ok((pong.as_deref() != Some("PONG")).then_some("it does not answer PING"))
        };
        self.daemon.ready(READY_DEADLINE, probe).await
    }
}

// === impl RedisClient ===

impl RedisClient {
    /// Connects.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when nobody listens.
    pub async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await.map_err(failed(address))?;
        Ok(Self {
            stream: BufReader::new(stream),
            address,
        })
    }

    /// Sends a command, such as `["SET", "key", "value"]`, and returns the answer's text; that of an absent key is
    /// `None`.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the server says that it is an error, when it ends the connection or answers anything that is
    /// neither a text nor a number, [`Error::Deadline`] when it does not answer within 30 s.
    pub async fn command(&mut self, words: &[&str]) -> Result<Option<String>, Error> {
        let address = self.address;
        let answer = tokio::time::timeout(COMMAND_DEADLINE, self.exchange(words)).await;
        match answer {
            Ok(answer) => answer.map_err(failed(address)),
            Err(_) => Err(Error::Deadline {
                what: format!("the answer of {address} to {words:?}"),
                after: COMMAND_DEADLINE,
            }),
        }
    }

    async fn exchange(&mut self, words: &[&str]) -> std::io::Result<Option<String>> {
        let mut request = format!("*{}\r\n", words.len());
        for word in words {
            request.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        self.stream.write_all(request.as_bytes()).await?;
        let head = self.line().await?;
        let (kind, rest) = head.split_at_checked(1).unwrap_or_default();
        match kind {
            "+" | ":" => Ok(Some(rest.to_owned())),
            "-" => Err(std::io::Error::other(format!("it says: {rest}"))),
            "$" if rest == "-1" => Ok(None),
            "$" => {
                let length = rest.parse().ok().filter(|length| *length <= LONGEST);
                let length = length.ok_or_else(|| unexpected(&head))?;
                // Two more, for the end of the line.
                let mut value = vec![0; length + 2];
                self.stream.read_exact(&mut value).await?;
                value.truncate(length);
                String::from_utf8(value)
                    .map(Some)
                    .map_err(|_| unexpected("what is no text"))
            }
            _ => Err(unexpected(&head)),
        }
    }

    async fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        let limit = LONGEST as u64;
        (&mut self.stream).take(limit).read_line(&mut line).await?;
        match line.strip_suffix("\r\n") {
            Some(text) => Ok(text.to_owned()),
            None => Err(std::io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn unexpected(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, format!("it answers {what:?}"))
}

fn failed(address: SocketAddr) -> impl FnOnce(std::io::Error) -> Error {
    move |source| Error::Io {
        what: format!("cannot talk to {address}"),
        source,
    }
}
