//! Clients of the upstream servers: each makes one connection, says something and tells who answered.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Method;
use http::header::HOST;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message as Frame};

use super::Authority;
use super::mongo::Message;
pub use super::mongo::MongoForm;
use crate::Error;
use crate::json::JsonClient;

/// How long a whole exchange may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The longest text that is read.
const LONGEST: u64 = 1 << 20;

/// The answer to an HTTP request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: http::HeaderMap,
    /// Its body.
    pub body: String,
}

/// Asks by HTTP/1.1, on a connection of its own.
///
/// # Errors
///
/// [`Error::Http`] when there is no answer.
pub async fn http(address: SocketAddr, host: &str, path: &str) -> Result<Answer, Error> {
    let built = JsonClient::options(None).http1_only().build();
    let client = built.map_err(|source| Error::Client { source })?;
    let url = format!("http://{address}{path}");
    let failed = |source| Error::Http {
        method: Method::GET.to_string(),
        url: format!("{url} for {host}"),
        source,
    };
    let request = client.get(&url).header(HOST, host).timeout(DEADLINE);
    let response = request.send().await.map_err(failed)?;
    Ok(Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.text().await.map_err(failed)?,
    })
}

/// Asks by HTTP/2 without TLS, on a connection of its own. The host is what the request names as its authority.
///
/// # Errors
///
/// [`Error::Io`] when there is no answer, [`Error::Deadline`] when it takes longer than 30 s.
pub async fn http2(address: SocketAddr, host: &str, path: &str) -> Result<Answer, Error> {
    within(address, async {
        let request = http::Request::get(format!("http://{host}{path}"))
            .body(Empty::<Bytes>::new())
            .map_err(io::Error::other)?;
        let stream = TokioIo::new(TcpStream::connect(address).await?);
        let opened = http2::handshake(TokioExecutor::new(), stream).await;
        let (mut sender, connection) = opened.map_err(io::Error::other)?;
        let exchange = async {
            let response = sender.send_request(request).await?;
            let (head, body) = response.into_parts();
            let body = body.collect().await?.to_bytes();
            Ok::<_, hyper::Error>(Answer {
                status: head.status.as_u16(),
                headers: head.headers,
                body: String::from_utf8_lossy(&body).into_owned(),
            })
        };
        tokio::select! {
            answer = exchange => answer.map_err(io::Error::other),
            ended = connection => match ended {
                Ok(()) => Err(io::ErrorKind::UnexpectedEof.into()),
                Err(error) => Err(io::Error::other(error)),
            },
        }
    })
    .await
}

/// Opens a WebSocket, sends the text and returns the one that comes back. A refusal to open one is an error with the
/// status.
///
/// # Errors
///
/// [`Error::Io`] when anything goes wrong, [`Error::Deadline`] when it takes longer than 30 s.
pub async fn websocket(address: SocketAddr, host: &str, path: &str, text: &str) -> Result<String, Error> {
    within(address, async {
        let stream = TcpStream::connect(address).await?;
        // The address is that of the connection alone.
        let uri = format!("ws://{host}{path}");
        let opened = tokio_tungstenite::client_async_with_config(uri, stream, Some(limits())).await;
        let (mut socket, _) = opened.map_err(broken)?;
        socket.send(Frame::text(text)).await.map_err(broken)?;
        while let Some(frame) = socket.next().await {
            if let Frame::Text(text) = frame.map_err(broken)? {
                let text = text.to_string();
                socket.close(None).await.map_err(broken)?;
                return Ok(text);
            }
        }
        Err(io::ErrorKind::UnexpectedEof.into())
    })
    .await
}

/// Reads the greeting of a raw TCP server, has the text sent back, and returns the greeting.
///
/// # Errors
///
/// [`Error::Io`] when anything goes wrong, [`Error::Deadline`] when it takes longer than 30 s.
pub async fn tcp(address: SocketAddr, text: &str) -> Result<String, Error> {
    within(address, async {
        greet(TcpStream::connect(address).await?, text).await
    })
    .await
}

/// As [`tcp`], by TLS: asks for the server name, and goes on only with a certificate of the authority for it.
///
/// # Errors
///
/// As for [`tcp`], and [`Error::Tls`] when the name is none.
pub async fn tls(
    address: SocketAddr,
    name: &str,
    authority: &Authority,
    text: &str,
) -> Result<String, Error> {
    let config = authority.client()?;
    let name = ServerName::try_from(name.to_owned()).map_err(|error| Error::Tls {
        source: Box::new(error),
    })?;
    within(address, async {
        let stream = TcpStream::connect(address).await?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        greet(connector.connect(name, stream).await?, text).await
    })
    .await
}

/// Sends a command, such as `hello` or `ping`, to a MongoDB, and returns who answered: its `setName`.
///
/// # Errors
///
/// [`Error::Io`] when anything goes wrong, [`Error::Deadline`] when it takes longer than 30 s.
pub async fn mongo(address: SocketAddr, form: MongoForm, command: &str) -> Result<String, Error> {
    within(address, async {
        let mut stream = TcpStream::connect(address).await?;
        let question = Message::command(1, form, command);
        question.write(&mut stream).await?;
        let answer = Message::read(&mut stream).await?;
        if answer.answers != question.number {
            return Err(other("it answers another question"));
        }
        answer
            .text("setName")
            .ok_or_else(|| other("it does not say who it is"))
    })
    .await
}

/// Bounds of what a peer may send.
pub(super) fn limits() -> WebSocketConfig {
    WebSocketConfig::default().max_message_size(Some(1 << 20))
}

async fn greet(stream: impl AsyncRead + AsyncWrite + Unpin, text: &str) -> io::Result<String> {
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    (&mut stream).take(LONGEST).read_line(&mut greeting).await?;
    let greeting = greeting.strip_suffix('\n').ok_or(io::ErrorKind::UnexpectedEof)?;
    stream.write_all(text.as_bytes()).await?;
    let mut echo = vec![0; text.len()];
    stream.read_exact(&mut echo).await?;
    if echo != text.as_bytes() {
        return Err(other("what came back is not what was sent"));
    }
    Ok(greeting.to_owned())
}

async fn within<T>(address: SocketAddr, exchange: impl Future<Output = io::Result<T>>) -> Result<T, Error> {
    match tokio::time::timeout(DEADLINE, exchange).await {
        Ok(outcome) => outcome.map_err(|source| Error::Io {
            what: format!("the exchange with {address} failed"),
            source,
        }),
        Err(_) => Err(Error::Deadline {
            what: format!("an exchange with {address}"),
            after: DEADLINE,
        }),
    }
}

fn broken(error: tungstenite::Error) -> io::Error {
    match error {
        tungstenite::Error::Io(error) => error,
        error => io::Error::other(error),
    }
}

fn other(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
