//! TLS, and who may connect.

use std::fs;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use registry_testkit::wait::until;
use registry_xds::{ResourceType, TlsConfig, XdsConfig};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint as Target};

use crate::support::{ADS_DELTA, Delta, PATIENCE, first_delta, serve, service};

const SERVER: &str = "xds.example";

/// An authority, and a directory with what it issued.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn put_server(&self) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![SERVER.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        fs::write(self.path("server.pem"), certificate.pem()).unwrap();
        fs::write(self.path("server.key"), key.serialize_pem()).unwrap();
        fs::write(self.path("ca.pem"), self.issuer.pem()).unwrap();
    }

    fn client(&self, uri: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().unwrap())];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        (vec![certificate.der().clone()], der)
    }

    fn config(&self, mutual: bool, clients: &[&str]) -> XdsConfig {
        XdsConfig {
            tls: Some(TlsConfig {
                certificate: self.path("server.pem"),
                key: self.path("server.key"),
                client_ca: mutual.then(|| self.path("ca.pem")),
                clients: clients.iter().map(ToString::to_string).collect(),
            }),
            ..XdsConfig::default()
        }
    }

    async fn connect(&self, address: SocketAddr, identity: Option<Identity>) -> TlsStream<TcpStream> {
        let mut authorities = RootCertStore::empty();
        authorities.add(self.issuer.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(authorities);
        let mut config = match identity {
            None => builder.with_no_client_auth(),
            Some((chain, key)) => builder.with_client_auth_cert(chain, key).unwrap(),
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(address).await.unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from(SERVER).unwrap(), stream)
            .await
            .unwrap()
    }
}

/// Gives out a connection that is made already.
struct Made(Option<TlsStream<TcpStream>>);

impl tower_service::Service<http::Uri> for Made {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = std::io::Error;
    type Future = Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        ready(
            self.0
                .take()
                .map(TokioIo::new)
                .ok_or_else(|| std::io::ErrorKind::NotConnected.into()),
        )
    }
}

async fn channel(stream: TlsStream<TcpStream>) -> Result<Channel, tonic::transport::Error> {
    Target::from_static("http://xds.example")
        .connect_with_connector(Made(Some(stream)))
        .await
}

#[tokio::test]
async fn a_client_without_a_certificate_is_served_where_none_is_asked_for() {
    let authority = Authority::new();
    authority.put_server();
    let (served, _handle) = serve([service("web", 2, 1)], authority.config(false, &[])).await;
    let channel = channel(authority.connect(served.address, None).await)
        .await
        .unwrap();
    let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();
    talk.say(first_delta(ResourceType::Cluster, &[]));
    assert_eq!(talk.hear().await.resources.len(), 1);
    assert_eq!(served.xds.clients().list()[0].identity, None);
}

#[tokio::test]
async fn a_client_is_served_by_a_permitted_name_and_told_why_by_another() {
    let authority = Authority::new();
    authority.put_server();
    let config = authority.config(true, &["spiffe://mesh/vm/*"]);
    let (served, _handle) = serve([service("web", 2, 1)], config).await;

    let identity = authority.client("spiffe://mesh/vm/1");
    let permitted = authority.connect(served.address, Some(identity)).await;
    let permitted = channel(permitted).await.unwrap();
    let mut talk = Delta::open(&permitted, ADS_DELTA).await.unwrap();
    talk.say(first_delta(ResourceType::Cluster, &[]));
    assert_eq!(talk.hear().await.resources.len(), 1);
    let identity = served.xds.clients().list()[0].identity.clone();
    assert_eq!(identity.as_deref(), Some("spiffe://mesh/vm/1"));
    assert_eq!(served.xds.clients().metrics().refused, 0);

    let identity = authority.client("spiffe://mesh/other");
    let refused = authority.connect(served.address, Some(identity)).await;
    let refused = channel(refused).await.unwrap();
    let status = Delta::open(&refused, ADS_DELTA).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(status.message().contains("spiffe://mesh/other"), "{status}");
    assert_eq!(served.xds.clients().metrics().refused, 1);
}

#[tokio::test]
async fn a_connection_ends_when_its_client_is_permitted_no_more_or_only_now() {
    let authority = Authority::new();
    authority.put_server();
    let only = |name: &str| authority.config(true, &[name]);
    let (served, _handle) = serve([service("web", 2, 1)], only("spiffe://mesh/a")).await;
    let connect = async |name: &str| {
        let identity = authority.client(name);
        channel(authority.connect(served.address, Some(identity)).await)
            .await
            .unwrap()
    };
    let open = async |channel: &Channel| {
        let mut talk = Delta::open(channel, ADS_DELTA).await.unwrap();
        talk.say(first_delta(ResourceType::Cluster, &[]));
        talk.hear().await;
        talk
    };
    let [a, b] = [connect("spiffe://mesh/a").await, connect("spiffe://mesh/b").await];
    let mut talk = open(&a).await;
    let refused = Delta::open(&b, ADS_DELTA).await.err().unwrap();
    assert_eq!(refused.code(), Code::PermissionDenied);

    // To the other one it makes no difference.
    served.xds.reconfigure(only("spiffe://mesh/*")).unwrap();
    until(
        "the one that is permitted now is to connect again",
        PATIENCE,
        async || {
            let failed = Delta::open(&b, ADS_DELTA).await.err()?;
            (failed.code() != Code::PermissionDenied).then_some(())
        },
    )
    .await
    .unwrap();
    talk.say(first_delta(ResourceType::Listener, &[]));
    assert_eq!(talk.hear().await.type_url, ResourceType::Listener.url());
    let mut other = open(&connect("spiffe://mesh/b").await).await;

    served.xds.reconfigure(only("spiffe://mesh/b")).unwrap();
    assert_eq!(talk.end().await.code(), Code::Unavailable);
    let refused = Delta::open(&connect("spiffe://mesh/a").await, ADS_DELTA).await;
    assert_eq!(refused.err().unwrap().code(), Code::PermissionDenied);
    other.say(first_delta(ResourceType::Listener, &[]));
    assert_eq!(other.hear().await.type_url, ResourceType::Listener.url());
}

#[tokio::test]
async fn a_client_without_a_good_certificate_is_not_served() {
    let authority = Authority::new();
    authority.put_server();
    let (served, _handle) = serve([service("web", 2, 1)], authority.config(true, &[])).await;
    let stranger = Authority::new().client("spiffe://mesh/vm/1");
    for (refused, identity) in [(1, None), (2, Some(stranger))] {
        // In TLS 1.3 the client is through before the server has looked at its certificate.
        let stream = authority.connect(served.address, identity).await;
        if let Ok(channel) = channel(stream).await {
            let failed = match Delta::open(&channel, ADS_DELTA).await {
                Ok(mut talk) => talk.end().await,
                Err(status) => status,
            };
            assert_ne!(failed.code(), Code::Ok);
        }
        until("it is counted", PATIENCE, async || {
            (served.xds.clients().metrics().refused == refused).then_some(())
        })
        .await
        .unwrap();
    }
    assert!(served.xds.clients().list().is_empty());
}

#[tokio::test]
async fn new_connections_get_a_certificate_that_was_rotated() {
    let authority = Authority::new();
    authority.put_server();
    let (served, _handle) = serve([service("web", 2, 1)], authority.config(false, &[])).await;
    let presented = async || {
        let stream = authority.connect(served.address, None).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    };
    let stream = authority.connect(served.address, None).await;
    let old = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let channel = channel(stream).await.unwrap();
    let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();
    talk.say(first_delta(ResourceType::Cluster, &[]));
    talk.hear().await;

    fs::write(authority.path("server.pem"), "broken").unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(presented().await, old, "a broken file leaves what there was");
    authority.put_server();
    until("the new certificate", PATIENCE, async || {
        (presented().await != old).then_some(())
    })
    .await
    .unwrap();

    // The old connection goes on.
    talk.say(first_delta(ResourceType::Listener, &[]));
    assert_eq!(talk.hear().await.type_url, ResourceType::Listener.url());
}

#[tokio::test]
async fn a_server_without_its_certificates_does_not_start() {
    let authority = Authority::new();
    let (mut served, _handle) = serve([], authority.config(false, &[])).await;
    let error = (&mut served.ended).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("server.pem"), "{error}");
}
