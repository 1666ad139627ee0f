//! What stands in front of a server in production: a gate that looks at the head of each request, changes it, or answers
//! itself.

use std::net::{SocketAddr, SocketAddrV4};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// More than any head here is long.
const LONGEST_HEAD: usize = 64 * 1024;

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It goes on with this head.
    Pass(Head),
    /// It is answered so, with nothing behind the head.
    Answer(&'static str),
}

/// The lines of a request's head: the first one, and the headers.
#[derive(Debug, Clone)]
pub(crate) struct Head(Vec<String>);

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.0.iter().skip(1).find_map(|line| of(line, name))
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.retain(|line| of(line, name).is_none());
        self
    }

    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        let mut head = self.without(name);
        head.0.push(format!("{name}: {value}"));
        head
    }
}

/// The value of a line that is this header.
fn of<'l>(line: &'l str, name: &str) -> Option<&'l str> {
    let (held, value) = line.split_once(':')?;
    held.eq_ignore_ascii_case(name).then(|| value.trim())
}

/// One connection for each request; `GET` only.
#[derive(Debug)]
pub(crate) struct Gate {
    addr: SocketAddr,
    answers: Arc<Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

impl Gate {
    pub(crate) async fn start(
        upstream: SocketAddrV4,
        judge: impl Fn(Head) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let answers: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
        let (noted, judge) = (answers.clone(), Arc::new(judge));
        let task = tokio::spawn(async move {
            // They end with this task.
            let mut exchanges = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (noted, judge) = (noted.clone(), judge.clone());
                exchanges.spawn(async move {
                    if let Ok(answer) = exchange(client, upstream, &*judge).await {
                        noted.lock().unwrap_or_else(PoisonError::into_inner).push(answer);
                    }
                });
                while exchanges.try_join_next().is_some() {}
            }
        });
        Self { addr, answers, task }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The heads of the answers that passed, or were given here, so far.
    pub(crate) fn answers(&self) -> Vec<String> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let head = |answer: &Vec<u8>| {
            let text = String::from_utf8_lossy(answer);
            text.split("\r\n\r\n").next().unwrap_or_default().to_lowercase()
        };
        answers.iter().map(head).collect()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Returns the beginning of the answer.
async fn exchange(
    mut client: TcpStream,
    upstream: SocketAddrV4,
    judge: &(impl Fn(Head) -> Verdict + ?Sized),
) -> std::io::Result<Vec<u8>> {
    let mut input = Vec::new();
    while !input.ends_with(b"\r\n\r\n") && input.len() < LONGEST_HEAD {
        if client.read_buf(&mut input).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    let lines = String::from_utf8_lossy(&input);
    let lines = lines.trim_end().split("\r\n").map(str::to_owned);
    match judge(Head(lines.collect())) {
        Verdict::Answer(head) => {
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await?;
            Ok(answer.into_bytes())
        }
        Verdict::Pass(head) => {
            let mut server = TcpStream::connect(upstream).await?;
            let head = head.with("Connection", "close").0.join("\r\n");
            server.write_all(format!("{head}\r\n\r\n").as_bytes()).await?;
            let mut beginning = Vec::new();
            let mut block = Vec::with_capacity(LONGEST_HEAD);
            while server.read_buf(&mut block).await? > 0 {
                client.write_all(&block).await?;
                if beginning.len() < LONGEST_HEAD {
                    beginning.append(&mut block);
                }
                block.clear();
            }
            Ok(beginning)
        }
    }
}
