//! Small servers for tests, for what stands behind a proxy: each says who it is. And the clients that talk to them.
//!
//! ```text
//!  client::{http, websocket, tcp, tls, mongo} ──▶ proxy under test ──▶ Upstream: Kind::{Http, WebSocket, Tcp, Tls, Mongo}
//!  Load (keep-alive connections) ──────────────▶
//! ```
//!
//! They run in the test's own runtime. Dropping an [`Upstream`] closes its listener and its connections.

pub mod client;
mod http;
mod load;
mod mongo;
mod tls;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use self::load::{Load, LoadOptions, LoadReport, Trouble};
pub use self::tls::{Authority, Identity};
use crate::Error;

/// What a server speaks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Kind {
    /// HTTP/1.1, and HTTP/2 without TLS to clients that begin with it. The answer is 200 with the server's id;
    /// `/status/N` is answered with that status, `/slow/N` after N milliseconds, `/request` with what was asked in
    /// JSON: `id`, `method`, `path`, `headers`.
    Http,
    /// WebSocket: each text comes back, with the server's id and a space before it.
    WebSocket,
    /// Raw TCP: a line with the server's id, then all that comes, back.
    Tcp,
    /// As [`Tcp`](Self::Tcp), inside TLS with the identity; the first line has the server name that the client asked
    /// for after the id and a space.
    Tls(Identity),
    /// The wire protocol of MongoDB: every command is answered with `ok: 1`, the server's id in `setName`, and what a
    /// driver needs to go on. Both the old form (`OP_QUERY`, which drivers begin with) and the new one (`OP_MSG`).
    Mongo,
}

/// A server.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::upstream::{Kind, Upstream, client};
///
/// let web = Upstream::start("web-1", Kind::Http).await?;
/// let answer = client::http(web.address(), "web.example", "/").await?;
/// assert_eq!((answer.status, answer.body.as_str()), (200, "web-1"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: CancellationToken,
    _serving: DropGuard,
}

#[derive(Debug)]
struct Shared {
    id: String,
    /// Connections that were ever accepted.
    accepted: AtomicU64,
    /// HTTP requests that were ever begun.
    requests: AtomicU64,
}

// === impl Upstream ===

impl Upstream {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there is none.
    pub async fn start(id: &str, kind: Kind) -> Result<Self, Error> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), id, kind).await
    }

    /// Starts one at the address, such as a port of 127.0.0.2; port 0 is any.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when it is taken, [`Error::Tls`] when the identity is of no use.
    pub async fn start_at(address: SocketAddr, id: &str, kind: Kind) -> Result<Self, Error> {
        let failed = |source| Error::Io {
            what: format!("cannot listen on {address}"),
            source,
        };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let speaker = Arc::new(Speaker::new(kind)?);
        let shared = Arc::new(Shared {
            id: id.to_owned(),
            accepted: AtomicU64::new(0),
            requests: AtomicU64::new(0),
        });
        let serving = CancellationToken::new();
        let accepting = serving.child_token();
        tokio::spawn(accept(
            listener,
            speaker,
            shared.clone(),
            accepting.clone(),
            serving.clone(),
        ));
        Ok(Self {
            address,
            shared,
            accepting,
            _serving: serving.drop_guard(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of it.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// What it calls itself.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.shared.id
    }

    /// How many connections it has ever accepted.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.accepted.load(Ordering::Relaxed)
    }

    /// How many HTTP requests it has ever got.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.requests.load(Ordering::Relaxed)
    }

    /// Ends as a server does that is told to: it accepts nothing more, and closes its connections `after` that.
    pub async fn end_slowly(self, after: Duration) {
        self.accepting.cancel();
        tokio::time::sleep(after).await;
    }
}

/// What serves connections of one kind.
enum Speaker {
    Http,
    WebSocket,
    Tcp,
    Tls(tokio_rustls::TlsAcceptor),
    Mongo,
}

impl Speaker {
    fn new(kind: Kind) -> Result<Self, Error> {
        Ok(match kind {
            Kind::Http => Self::Http,
            Kind::WebSocket => Self::WebSocket,
            Kind::Tcp => Self::Tcp,
            Kind::Tls(identity) => Self::Tls(tls::acceptor(&identity)?),
            Kind::Mongo => Self::Mongo,
        })
    }

    /// Serves a connection to its end. That a client broke it off is of no interest here.
    async fn serve(&self, stream: TcpStream, shared: &Arc<Shared>) {
        match self {
            Self::Http => http::serve(stream, shared).await,
            Self::WebSocket => speak_websocket(stream, &shared.id).await.unwrap_or_default(),
            Self::Tcp => echo(stream, &shared.id).await.unwrap_or_default(),
            Self::Tls(acceptor) => {
                if let Ok(stream) = acceptor.accept(stream).await {
                    let name = stream.get_ref().1.server_name().unwrap_or("-").to_owned();
                    let greeting = format!("{} {name}", shared.id);
                    echo(stream, &greeting).await.unwrap_or_default();
                }
            }
            Self::Mongo => mongo::serve(stream, &shared.id).await.unwrap_or_default(),
        }
    }
}

async fn accept(
    listener: TcpListener,
    speaker: Arc<Speaker>,
    shared: Arc<Shared>,
    accepting: CancellationToken,
    serving: CancellationToken,
) {
    loop {
        let stream = tokio::select! {
            () = accepting.cancelled() => return,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Such as too many open files: the next one may do better.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    continue;
                }
            },
        };
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        // Small answers go at once.
        let _ = stream.set_nodelay(true);
        let (speaker, shared, serving) = (speaker.clone(), shared.clone(), serving.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = serving.cancelled() => {}
                () = speaker.serve(stream, &shared) => {}
            }
        });
    }
}

async fn echo(mut stream: impl AsyncRead + AsyncWrite + Unpin, greeting: &str) -> std::io::Result<()> {
    stream.write_all(format!("{greeting}\n").as_bytes()).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

async fn speak_websocket(stream: TcpStream, id: &str) -> Result<(), tokio_tungstenite::tungstenite::Error> {
    use tokio_tungstenite::tungstenite::Message;
    let mut socket = tokio_tungstenite::accept_async_with_config(stream, Some(client::limits())).await?;
    while let Some(message) = socket.next().await {
        // The library answers pings and the end by itself.
        if let Message::Text(text) = message? {
            socket.send(Message::text(format!("{id} {text}"))).await?;
        }
    }
    Ok(())
}
