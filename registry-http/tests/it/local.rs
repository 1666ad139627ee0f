//! Local servers that count: plain or TLS, HTTP/1.1 or HTTP/2, with a handler per test.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    pin::Pin,
    sync::{
        Arc, Mutex, Once, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use registry_http::{Credential, HttpClient, HttpConfig};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::Notify,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        RootCertStore, ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer},
        server::WebPkiClientVerifier,
    },
};

/// Longest time any test waits for anything; far above what it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) type Body = Full<Bytes>;
type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Handler = Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;

/// The provider of the whole test binary.
pub(crate) fn init_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        tokio_rustls::rustls::crypto::ring::default_provider()
            .install_default()
            .expect("installed once");
    });
}

/// What a server saw of its connections.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    open: AtomicUsize,
    most: AtomicUsize,
    total: AtomicUsize,
}

impl Connections {
    fn opened(self: &Arc<Self>) -> Open {
        self.total.fetch_add(1, Ordering::SeqCst);
        let open = self.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(open, Ordering::SeqCst);
        Open(self.clone())
    }

    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Asserts that there never were more at one time than the budget says.
    ///
    /// A machine can cause a few more that stops a thread at the wrong moment: a connection that is on its way back
    /// into the pool is not found there, and another one is dialled. The callers of tests are many times as many.
    pub(crate) fn assert_within(&self, budget: usize) {
        let lost_dials = budget.div_ceil(4);
        assert!(
            self.most.load(Ordering::SeqCst) <= budget + lost_dials,
            "{self:?} with a budget of {budget}"
        );
    }

    pub(crate) fn total(&self) -> usize {
        self.total.load(Ordering::SeqCst)
    }
}

struct Open(Arc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A running server; dropping it stops accepting.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<Connections>,
    scheme: &'static str,
    cut: Arc<Notify>,
    accepting: JoinHandle<()>,
}

impl Server {
    pub(crate) fn url(&self) -> String {
        let host = if self.scheme == "https" {
            "localhost".to_owned()
        } else {
            self.address.ip().to_string()
        };
        format!("{}://{host}:{}", self.scheme, self.address.port())
    }

    /// Cuts all connections and goes on accepting.
    pub(crate) fn cut(&self) {
        self.cut.notify_waiters();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// A plain HTTP server.
pub(crate) async fn serve<F, A>(handler: F) -> Server
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    serve_any(None, Arc::new(move |request| Box::pin(handler(request)))).await
}

/// A server over TLS.
pub(crate) async fn serve_tls<F, A>(config: ServerConfig, handler: F) -> Server
where
    F: Fn(Request<Incoming>) -> A + Send + Sync + 'static,
    A: Future<Output = Response<Body>> + Send + 'static,
{
    let acceptor = TlsAcceptor::from(Arc::new(config));
    serve_any(
        Some(acceptor),
        Arc::new(move |request| Box::pin(handler(request))),
    )
    .await
}

async fn serve_any(tls: Option<TlsAcceptor>, handler: Handler) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::<Connections>::default();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let cut = Arc::<Notify>::default();
    let (seen, cutting) = (connections.clone(), cut.clone());
    let accepting = tokio::spawn(async move {
        // Connections end with the server, as those of a killed process do.
        let mut serving = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (open, handler, tls, cutting) =
                (seen.opened(), handler.clone(), tls.clone(), cutting.clone());
            serving.spawn(async move {
                let _open = open;
                let serve = async {
                    match tls {
                        None => drive(stream, handler).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                drive(stream, handler).await;
                            }
                        }
                    }
                };
                tokio::select! {
                    () = serve => {}
                    () = cutting.notified() => {}
                }
            });
        }
    });
    Server {
        address,
        connections,
        scheme,
        cut,
        accepting,
    }
}

async fn drive<S>(stream: S, handler: Handler)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = service_fn(move |request| {
        let answer = handler(request);
        async move { Ok::<_, std::convert::Infallible>(answer.await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // As servers written in Go do.
    builder.http2().max_concurrent_streams(250);
    // Its end is the client's affair: most tests cut connections.
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
}

/// A server that does the same with the bytes of each connection, once the request's head is there.
pub(crate) async fn serve_raw<F, A>(act: F) -> Server
where
    F: Fn(TcpStream) -> A + Send + Sync + 'static,
    A: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let connections = Arc::<Connections>::default();
    let seen = connections.clone();
    let accepting = tokio::spawn(async move {
        let mut serving = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (open, act) = (seen.opened(), act(stream));
            serving.spawn(async move {
                let _open = open;
                act.await;
            });
        }
    });
    Server {
        address,
        connections,
        scheme: "http",
        cut: Arc::default(),
        accepting,
    }
}

/// Keeps a connection open and never says a word.
pub(crate) async fn hold(stream: TcpStream) {
    let _open = stream;
    std::future::pending::<()>().await;
}

/// Reads one request's head.
pub(crate) async fn read_head(stream: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        match stream.read(&mut byte).await {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
}

/// Writes; a client that is gone is no failure.
pub(crate) async fn write(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes).await;
    let _ = stream.flush().await;
}

/// An address that refuses connections, until the end of the test binary.
pub(crate) async fn refused() -> String {
    static REFUSING: Mutex<Vec<TcpSocket>> = Mutex::new(Vec::new());
    // Bound and not listening: a port that is given back could be the next one that another test listens on.
    let socket = TcpSocket::new_v4().expect("a socket");
    socket
        .bind(SocketAddr::from(([127, 0, 0, 1], 0)))
        .expect("a free port");
    let url = format!("http://{}", socket.local_addr().expect("bound"));
    REFUSING
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(socket);
    url
}

pub(crate) fn answer(status: u16, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Full::new(body.into()))
        .expect("a valid answer")
}

/// A client of one plain server with small timeouts.
pub(crate) fn client(url: &str) -> HttpClient {
    client_of(&[url], HttpConfig::default())
}

pub(crate) fn client_of(urls: &[&str], config: HttpConfig) -> HttpClient {
    init_tls();
    HttpClient::try_new(urls, config, Credential::none()).expect("a valid client")
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// An error and all its causes, with their `Debug` texts: whatever could ever be logged of it.
pub(crate) fn everything(error: &registry_http::Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut next = std::error::Error::source(error);
    while let Some(cause) = next {
        text.push_str(&format!(" / {cause} {cause:?}"));
        next = cause.source();
    }
    text
}

/// An authority with files for clients.
pub(crate) struct Authority {
    dir: tempfile::TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    pub(crate) fn new() -> Self {
        init_tls();
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { dir, issuer }
    }

    pub(crate) fn ca_file(&self) -> PathBuf {
        self.dir.path().join("ca.pem")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Files of a certificate for `name`.
    pub(crate) fn identity(&self, name: &str) -> (PathBuf, PathBuf) {
        let (certificate, key) = self.issue(name);
        let paths = (
            self.dir.path().join(format!("{name}.pem")),
            self.dir.path().join(format!("{name}.key")),
        );
        std::fs::write(&paths.0, certificate.pem()).expect("written");
        std::fs::write(&paths.1, key.serialize_pem()).expect("written");
        paths
    }

    /// A server's side for `localhost`; it may ask for a client certificate of this authority.
    pub(crate) fn server(&self, protocols: &[&str], wants_client: bool) -> ServerConfig {
        let (certificate, key) = self.issue("localhost");
        let chain = vec![certificate.der().clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let builder = if wants_client {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from(self.issuer.der().to_vec()))
                .expect("an authority");
            let verifier = WebPkiClientVerifier::builder(Arc::new(roots))
                .build()
                .expect("a verifier");
            ServerConfig::builder().with_client_cert_verifier(verifier)
        } else {
            ServerConfig::builder().with_no_client_auth()
        };
        let mut config = builder.with_single_cert(chain, key).expect("a pair");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        config
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.issuer).expect("signed"), key)
    }
}
