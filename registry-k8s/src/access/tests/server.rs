//! Servers that do as they are told: of HTTP/1.1, with or without TLS, and proxies.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::PATIENCE;

/// What a request is answered with.
pub(super) enum Reply {
    /// A whole answer; further requests come over the same connection.
    Whole(Vec<u8>),
    /// A piece of an answer, and the end of the connection.
    Cut(Vec<u8>),
    /// A piece of an answer, and then nothing for as long as the client waits.
    Hang(Vec<u8>),
    /// A head, and pieces of a body for as long as anyone takes them.
    Endless(Vec<u8>),
}

impl Reply {
    /// An answer with this status line, lines of headers, and body.
    pub(super) fn of(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let mut text = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {}\r\n{headers}\r\n",
            body.len()
        )
        .into_bytes();
        text.extend_from_slice(body);
        Self::Whole(text)
    }

    pub(super) fn ok(body: &str) -> Self {
        Self::of("200 OK", "", body)
    }

    pub(super) fn unauthorized() -> Self {
        Self::of(
            "401 Unauthorized",
            "",
            r#"{"kind":"Status","message":"Unauthorized","code":401}"#,
        )
    }
}

/// What a listener saw: the heads of requests, or destinations that a proxy was asked for.
#[derive(Debug, Default)]
struct Seen {
    heads: Mutex<Vec<String>>,
    open: AtomicUsize,
    all: AtomicUsize,
}

#[derive(Debug)]
pub(super) struct Server {
    pub(super) addr: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) async fn plain(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        Self::start(None, answer).await
    }

    pub(super) async fn start(
        tls: Option<ServerConfig>,
        answer: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let answer = Arc::new(answer);
        Self::listen(move |stream, seen| {
            let (answer, acceptor) = (answer.clone(), acceptor(tls.as_ref()));
            async move {
                match acceptor {
                    None => serve(stream, &seen, &*answer).await,
                    Some(acceptor) => serve(acceptor.accept(stream).await?, &seen, &*answer).await,
                }
            }
        })
        .await
    }

    /// A proxy that asks for `CONNECT`, and connects to `target` whatever it is asked for.
    pub(super) async fn tunnel(tls: Option<ServerConfig>, target: SocketAddr) -> Self {
        Self::listen(move |stream, seen| {
            let acceptor = acceptor(tls.as_ref());
            async move {
                match acceptor {
                    None => tunnel(stream, &seen, target).await,
                    Some(acceptor) => tunnel(acceptor.accept(stream).await?, &seen, target).await,
                }
            }
        })
        .await
    }

    /// A proxy of SOCKS 5, likewise.
    pub(super) async fn socks(target: SocketAddr) -> Self {
        Self::listen(move |stream, seen| socks(stream, seen, target)).await
    }

    async fn listen<F>(serve: impl Fn(TcpStream, Arc<Seen>) -> F + Send + 'static) -> Self
    where
        F: Future<Output = std::io::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let shared = seen.clone();
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.open.fetch_add(1, Ordering::SeqCst);
                shared.all.fetch_add(1, Ordering::SeqCst);
                let (serving, seen) = (serve(stream, shared.clone()), shared.clone());
                connections.spawn(async move {
                    // However a connection ends: tests look at what the client makes of it.
                    let _ = serving.await;
                    seen.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        Self { addr, seen, task }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// The heads of all requests so far, in small letters.
    pub(super) fn heads(&self) -> Vec<String> {
        self.seen.heads.lock().unwrap().clone()
    }

    /// Connections so far.
    pub(super) fn connections(&self) -> usize {
        self.seen.all.load(Ordering::SeqCst)
    }

    /// Waits until so many connections are open.
    pub(super) async fn has_open(&self, count: usize) {
        let reached = async {
            while self.seen.open.load(Ordering::SeqCst) != count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap();
    }
}

fn acceptor(tls: Option<&ServerConfig>) -> Option<TlsAcceptor> {
    tls.map(|config| TlsAcceptor::from(Arc::new(config.clone())))
}

async fn head(stream: &mut (impl AsyncRead + Unpin)) -> std::io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).to_lowercase())
}

async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Seen,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    loop {
        let head = head(&mut stream).await?;
        seen.heads.lock().unwrap().push(head.clone());
        match answer(&head) {
            Reply::Whole(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
            }
            Reply::Cut(bytes) => {
                stream.write_all(&bytes).await?;
                return stream.shutdown().await;
            }
            Reply::Hang(bytes) => {
                stream.write_all(&bytes).await?;
                stream.flush().await?;
                // Until the client has had enough of it.
                stream.read_u8().await?;
            }
            Reply::Endless(bytes) => {
                stream.write_all(&bytes).await?;
                loop {
                    stream.write_all(&[b'x'; 4096]).await?;
                }
            }
        }
    }
}

async fn tunnel(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    seen: &Seen,
    target: SocketAddr,
) -> std::io::Result<()> {
    let head = head(&mut stream).await?;
    seen.heads.lock().unwrap().push(head);
    let mut upstream = TcpStream::connect(target).await?;
    stream
        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
        .await?;
    stream.flush().await?;
    copy_bidirectional(&mut stream, &mut upstream).await.map(|_| ())
}

async fn socks(mut stream: TcpStream, seen: Arc<Seen>, target: SocketAddr) -> std::io::Result<()> {
    let _version = stream.read_u8().await?;
    let mut methods = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut methods).await?;
    stream.write_all(&[5, 0]).await?;
    let mut request = [0; 4];
    stream.read_exact(&mut request).await?;
    assert_eq!(request, [5, 1, 0, 3], "a connection to a name");
    let mut name = vec![0; usize::from(stream.read_u8().await?)];
    stream.read_exact(&mut name).await?;
    let port = stream.read_u16().await?;
    let name = String::from_utf8_lossy(&name).into_owned();
    seen.heads.lock().unwrap().push(format!("{name}:{port}"));
    let mut upstream = TcpStream::connect(target).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut stream, &mut upstream).await.map(|_| ())
}

/// An authority that makes certificates.
pub(super) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

impl Authority {
    pub(super) fn new(name: &str) -> Self {
        registry_testkit::init_tls();
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        Self { issuer }
    }

    pub(super) fn pem(&self) -> String {
        self.issuer.pem()
    }

    fn issue(&self, name: &str, until: Option<i32>) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        if let Some(year) = until {
            params.not_after = rcgen::date_time_ymd(year, 1, 1);
        }
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    pub(super) fn pair(&self, name: &str) -> Pair {
        let (certificate, key) = self.issue(name, None);
        Pair {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The side of a server of this name.
    pub(super) fn server(&self, name: &str) -> ServerConfig {
        self.server_until(name, None)
    }

    pub(super) fn server_until(&self, name: &str, until: Option<i32>) -> ServerConfig {
        let (certificate, key) = self.issue(name, until);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder().with_no_client_auth();
        builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }

    /// The same, for clients with a certificate of this authority.
    pub(super) fn server_for(&self, name: &str, clients: &Self) -> ServerConfig {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from(clients.issuer.der().to_vec()))
            .unwrap();
        let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
        let (certificate, key) = self.issue(name, None);
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(verifier);
        builder
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap()
    }
}
