//! Each fault, proven on the wire against a small upstream of the test's own.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use registry_testkit::{Fault, FaultProxy, Match, Rule};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

mod connect;
mod everywhere;
mod exchange;
mod forwarding;
mod raw;
mod stream;
mod wire;

/// For everything that has to happen.
const DEADLINE: Duration = Duration::from_secs(60);

/// Long enough that what is not withheld would have come.
const A_WHILE: Duration = Duration::from_millis(150);

/// More than the kernel's buffers hold.
const LARGE: usize = 32 << 20;

pub(crate) async fn soon<T>(work: impl Future<Output = T>) -> T {
    timeout(DEADLINE, work).await.expect("not in time")
}

/// An upstream of a few routes, written without the code under test.
struct Upstream {
    addr: SocketAddr,
    /// How many requests it parks at present.
    parked: watch::Receiver<usize>,
    /// How many connections it got.
    accepted: watch::Receiver<u64>,
    task: JoinHandle<()>,
}

impl Upstream {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (park, parked) = watch::channel(0);
        let (accept, accepted) = watch::channel(0);
        let task = tokio::spawn(async move {
            let answered = watch::Sender::new(0);
            // Ends with this task, and so do the connections.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accept.send_modify(|accepted| *accepted += 1);
                connections.spawn(serve(stream, answered.clone(), park.clone()));
            }
        });
        Self {
            addr,
            parked,
            accepted,
            task,
        }
    }

    async fn wait_for_parked(&mut self, count: usize) {
        soon(self.parked.wait_for(|parked| *parked == count))
            .await
            .unwrap();
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    answered: watch::Sender<u64>,
    park: watch::Sender<usize>,
) -> io::Result<()> {
    loop {
        let head = read_head(&mut stream).await?;
        let (method, rest) = head.split_once(' ').unwrap();
        let target = rest.split(' ').next().unwrap();
        let body = read_body(&mut stream, &head).await?;
        let answer = match target.split('?').next().unwrap() {
            "/echo" => plain(&format!("{method} {target} {}", String::from_utf8_lossy(&body))),
            "/compressed" => plain(&format!("{}", head.to_lowercase().contains("accept-encoding"))),
            "/large" => plain(&"x".repeat(LARGE)),
            "/chunked" => {
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nhello \r\n5;ext=1\r\nworld\r\n\
                           0\r\nTrailer: dropped\r\n\r\n"
                    .to_owned()
            }
            "/until-close" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nto the end").await?;
                return Ok(());
            }
            "/head" => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_owned(),
            "/nothing" => "HTTP/1.1 204 No Content\r\nX-Kept: yes\r\n\r\n".to_owned(),
            "/close" => return Ok(()),
            "/park" => {
                park.send_modify(|parked| *parked += 1);
                let _ = stream.read_u8().await;
                park.send_modify(|parked| *parked -= 1);
                return Ok(());
            }
            "/park-a-while" => {
                park.send_modify(|parked| *parked += 1);
                tokio::time::sleep(A_WHILE).await;
                park.send_modify(|parked| *parked -= 1);
                plain("answer after a while")
            }
            _ => {
                answered.send_modify(|answered| *answered += 1);
                plain(&format!("answer {}", *answered.borrow()))
            }
        };
        stream.write_all(answer.as_bytes()).await?;
    }
}

fn plain(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn read_head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8(head).unwrap())
}

async fn read_body(stream: &mut TcpStream, head: &str) -> io::Result<Vec<u8>> {
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    stream.read_exact(&mut body).await?;
    Ok(body)
}

pub(crate) async fn connect(addr: SocketAddr) -> TcpStream {
    soon(TcpStream::connect(addr)).await.unwrap()
}

pub(crate) async fn ask(stream: &mut TcpStream, target: &str) {
    let request = format!("GET {target} HTTP/1.1\r\nHost: test\r\nAccept-Encoding: gzip\r\n\r\n");
    soon(stream.write_all(request.as_bytes())).await.unwrap();
}

/// Reads one answer that declares its length.
pub(crate) async fn answer(stream: &mut TcpStream) -> (String, String) {
    let head = soon(read_head(stream)).await.unwrap();
    let body = soon(read_body(stream, &head)).await.unwrap();
    (head, String::from_utf8(body).unwrap())
}

pub(crate) async fn get(stream: &mut TcpStream, target: &str) -> String {
    ask(stream, target).await;
    answer(stream).await.1
}

/// Reads until the connection ends in whatever way.
async fn rest(stream: &mut TcpStream) -> (String, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = soon(stream.read_to_end(&mut bytes)).await;
    (String::from_utf8(bytes).unwrap(), end.map(drop))
}

async fn body_until_end(stream: &mut TcpStream) -> String {
    let (text, end) = rest(stream).await;
    end.unwrap();
    text.split_once("\r\n\r\n").unwrap().1.to_owned()
}

/// Asserts that nothing comes and that the connection stays open.
pub(crate) async fn assert_silent(stream: &mut TcpStream) {
    let read = timeout(A_WHILE, stream.read_u8()).await;
    assert!(read.is_err(), "not silent: {read:?}");
}

async fn assert_reset(stream: &mut TcpStream) {
    let error = soon(stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

async fn assert_closed(stream: &mut TcpStream) {
    let error = soon(stream.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
}

async fn start() -> (Upstream, FaultProxy) {
    let upstream = Upstream::start().await;
    let proxy = FaultProxy::start(upstream.addr).await.unwrap();
    (upstream, proxy)
}
