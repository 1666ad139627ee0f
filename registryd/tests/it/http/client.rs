//! A small HTTP client that shows everything and hides nothing: heads, chunks, and when it reads.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use super::setup::DEADLINE;

pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The detail of a problem, which has to be one of that status.
    pub(super) fn problem(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// One request on a connection of its own.
pub(super) async fn request(to: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(to).await.unwrap();
    send(&mut stream, method, path, headers, "close").await;
    let mut answer = Vec::new();
    timeout(DEADLINE, stream.read_to_end(&mut answer))
        .await
        .unwrap()
        .unwrap();
    let (status, headers, rest) = head(&answer).expect("a whole head");
    let mut body = answer[rest..].to_vec();
    if headers
        .get("transfer-encoding")
        .is_some_and(|coding| coding == "chunked")
    {
        let mut chunks = Chunks {
            raw: body,
            ended: false,
        };
        body = Vec::new();
        while let Some(chunk) = chunks.next() {
            body.extend(chunk);
        }
        assert!(chunks.ended, "the body broke off");
    }
    Answer {
        status,
        headers,
        body,
    }
}

pub(super) async fn get(to: SocketAddr, path: &str) -> Answer {
    request(to, "GET", path, &[]).await
}

async fn send(stream: &mut TcpStream, method: &str, path: &str, headers: &[(&str, &str)], connection: &str) {
    let mut head = format!("{method} {path} HTTP/1.1\r\nconnection: {connection}\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str("host: localhost\r\n");
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
}

fn head(answer: &[u8]) -> Option<(u16, BTreeMap<String, String>, usize)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    Some((status, headers.collect(), end + 4))
}

#[derive(Default)]
struct Chunks {
    raw: Vec<u8>,
    ended: bool,
}

impl Chunks {
    fn next(&mut self) -> Option<Vec<u8>> {
        let line = self.raw.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(&self.raw[..line]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if self.raw.len() < line + 2 + size + 2 {
            return None;
        }
        self.ended = size == 0;
        let chunk = self.raw[line + 2..line + 2 + size].to_vec();
        self.raw.drain(..line + 2 + size + 2);
        (!self.ended).then_some(chunk)
    }
}

/// One server-sent event.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: String,
    pub(super) id: String,
    pub(super) data: Value,
}

/// A watch. It reads only when it is asked for an event.
pub(super) struct Watching {
    stream: TcpStream,
    chunks: Chunks,
    text: Vec<u8>,
    comments: usize,
    pub(super) last_id: String,
}

impl Watching {
    pub(super) async fn open(to: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        Self::start(TcpStream::connect(to).await.unwrap(), path, headers).await
    }

    /// A client whose socket holds as little as possible.
    pub(super) async fn narrow(to: SocketAddr, path: &str) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::start(socket.connect(to).await.unwrap(), path, &[]).await
    }

    async fn start(mut stream: TcpStream, path: &str, headers: &[(&str, &str)]) -> Self {
        send(&mut stream, "GET", path, headers, "keep-alive").await;
        Self {
            stream,
            chunks: Chunks::default(),
            text: Vec::new(),
            comments: 0,
            last_id: String::new(),
        }
    }

    /// Reads the head of the answer, and nothing else that it does not have to.
    pub(super) async fn head(&mut self) -> (u16, BTreeMap<String, String>) {
        loop {
            if let Some((status, headers, rest)) = head(&self.chunks.raw) {
                self.chunks.raw.drain(..rest);
                return (status, headers);
            }
            assert!(self.read().await, "the connection ended");
        }
    }

    async fn read(&mut self) -> bool {
        let read = self.stream.read_buf(&mut self.chunks.raw);
        timeout(DEADLINE, read).await.unwrap().is_ok_and(|read| read > 0)
    }

    /// The next event; `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Event> {
        loop {
            while let Some(end) = self.text.windows(2).position(|window| window == b"\n\n") {
                let block = String::from_utf8(self.text.drain(..end + 2).collect()).unwrap();
                if block.starts_with(':') {
                    self.comments += 1;
                    continue;
                }
                let field = |name: &str| {
                    let prefix = format!("{name}: ");
                    let mut lines = block
                        .lines()
                        .filter_map(|line| line.strip_prefix(prefix.as_str()));
                    let value = lines
                        .next()
                        .unwrap_or_else(|| panic!("no {name} in {block}"))
                        .to_owned();
                    assert_eq!(lines.next(), None, "{name} twice");
                    value
                };
                self.last_id = field("id");
                return Some(Event {
                    kind: field("event"),
                    id: field("id"),
                    data: serde_json::from_str(&field("data")).unwrap(),
                });
            }
            match self.chunks.next() {
                Some(chunk) => self.text.extend(chunk),
                None if self.chunks.ended => return None,
                None if self.read().await => {}
                None => return None,
            }
        }
    }

    /// Waits for a sign of life, and for nothing else to come.
    pub(super) async fn kept_alive(&mut self) {
        let (start, before) = (Instant::now(), self.comments);
        while self.comments == before {
            assert!(start.elapsed() < DEADLINE, "not kept alive");
            self.nothing(Duration::from_millis(50)).await;
        }
    }

    /// As `next`, but nothing is expected to come.
    pub(super) async fn nothing(&mut self, within: Duration) {
        if let Ok(event) = timeout(within, self.next()).await {
            panic!("expected nothing, found {event:?}");
        }
    }

    /// True where the answer was complete, not cut off.
    pub(super) fn ended_in_order(&self) -> bool {
        self.chunks.ended
    }
}
