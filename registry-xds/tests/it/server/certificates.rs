//! TLS from Envoy to endpoints: it shows its certificate, and takes those alone that prove an identity.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use registry_testkit::init_tls;
use registry_testkit::upstream::{Authority, Identity, client};
use registry_xds::{UpstreamTls, UpstreamTlsSource, Variant, XdsConfig};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::stage::{Service, Stage, assert_content, free_port, local, outbound, until};

/// A server that demands a certificate of that authority. It says which server name was asked for and which certificate
/// was shown, as a number, and then what it is told.
pub(super) async fn guarded(identity: &Identity, clients: &Authority) -> SocketAddr {
    init_tls();
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(clients.certificate().as_bytes()).unwrap();
    roots.add(ca).unwrap();
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).unwrap();
    let config = ServerConfig::builder()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], key)
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            // Who gives up, or shows nothing, is of no interest here.
            tokio::spawn(async move { drop(greet(&acceptor, stream).await) });
        }
    });
    address
}

async fn greet(acceptor: &TlsAcceptor, stream: TcpStream) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    let connection = stream.get_ref().1;
    let name = connection.server_name().unwrap_or("-").to_owned();
    let shown = connection.peer_certificates().and_then(<[_]>::first);
    let shown = shown.map_or_else(|| "nothing".to_owned(), |certificate| mark(certificate));
    stream.write_all(format!("{name} {shown}\n").as_bytes()).await?;
    let (mut from, mut to) = tokio::io::split(stream);
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await
}

/// Tells a certificate from others.
fn mark(certificate: &[u8]) -> String {
    let end = &certificate[certificate.len().saturating_sub(8)..];
    end.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn mark_of(identity: &Identity) -> String {
    mark(&CertificateDer::from_pem_slice(identity.certificate.as_bytes()).unwrap())
}

fn write(folder: &Path, identity: &Identity) {
    // A whole file takes the place of another, as those do it that rotate certificates.
    for (name, text) in [("cert.pem", &identity.certificate), ("key.pem", &identity.key)] {
        let new = folder.join("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, folder.join(name)).unwrap();
    }
}

fn files(folder: &TempDir) -> UpstreamTlsSource {
    UpstreamTlsSource::Files {
        certificate: folder.path().join("cert.pem"),
        key: folder.path().join("key.pem"),
        ca: folder.path().join("ca.pem"),
    }
}

#[tokio::test]
async fn an_endpoint_has_to_prove_its_identity_and_sees_the_one_of_envoy() {
    let (servers, clients) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let own = clients.issue(&["spiffe://mesh/envoy"]).unwrap();
    write(folder.path(), &own);
    std::fs::write(folder.path().join("ca.pem"), servers.certificate()).unwrap();
    let right = servers.issue(&["spiffe://mesh/bank", "bank.static"]).unwrap();
    let wrong = servers.issue(&["spiffe://mesh/thief", "bank.static"]).unwrap();
    let stranger = Authority::new()
        .unwrap()
        .issue(&["spiffe://mesh/bank", "bank.static"])
        .unwrap();
    let rule = |hosts: &str, identities: &[&str]| UpstreamTls {
        hosts: hosts.to_owned(),
        source: files(&folder),
        identities: identities.iter().map(ToString::to_string).collect(),
        server_name: None,
    };
    let config = XdsConfig {
        outbound: outbound(free_port()).outbound,
        upstream_tls: vec![
            rule("pattern*", &["spiffe://mesh/b*", "spiffe://other/*/x"]),
            rule("*", &[]),
        ],
        ..XdsConfig::default()
    };
    // Each at a port of its own.
    let ports: [u16; 5] = std::array::from_fn(|_| free_port());
    let service = |name, port: u16, address, identity: &'static str| {
        let service = Service::new(name, "tcp", 7).label("registryd.local_port", &port.to_string());
        service
            .with(address, |endpoint| endpoint.identity(identity))
            .record()
    };
    let bank = guarded(&right, &clients).await;
    let thief = guarded(&wrong, &clients).await;
    let records = [
        service("exact", ports[0], bank, "spiffe://mesh/bank"),
        service("exact-thief", ports[1], thief, "spiffe://mesh/bank"),
        service("pattern", ports[2], bank, ""),
        service("pattern-thief", ports[3], thief, ""),
        service("stranger", ports[4], guarded(&stranger, &clients).await, ""),
    ];
    let stage = Stage::set(records, config.clone()).await;
    let envoy = stage.envoy(Variant::Delta).await;
    let said = async |port| client::tcp(local(port), "hear me").await;
    let shown = mark_of(&own);
    assert_eq!(said(ports[0]).await.unwrap(), format!("exact.static {shown}"));
    assert_eq!(said(ports[2]).await.unwrap(), format!("pattern.static {shown}"));
    for (port, name, why) in [
        (ports[1], "exact-thief", "ssl.fail_verify_san"),
        (ports[3], "pattern-thief", "ssl.fail_verify_san"),
        (ports[4], "stranger", "ssl.fail_verify_error"),
    ] {
        assert!(said(port).await.is_err(), "{name}");
        let stat = envoy
            .stat(&format!("cluster.outbound|7||{name}_static.{why}"))
            .await
            .unwrap();
        assert!(stat > 0, "{name}: {stat}");
    }
    assert_content(&envoy).await;
    stage.settled().await;
    stage.assert_nothing_refused();

    // What takes their place is not looked for: it counts once the cluster is made anew.
    let renewed = clients.issue(&["spiffe://mesh/envoy"]).unwrap();
    write(folder.path(), &renewed);
    assert_eq!(said(ports[0]).await.unwrap(), format!("exact.static {shown}"));
    let slower = XdsConfig {
        connect_timeout: Duration::from_secs(7),
        ..config
    };
    stage.xds.reconfigure(slower).unwrap();
    let shown = mark_of(&renewed);
    let is_shown = async || said(ports[0]).await.ok().filter(|said| said.ends_with(&shown));
    until("the new certificate", is_shown).await;
}
