//! TLS between client and server, and between client and service.

use std::path::PathBuf;

use registry_testkit::grpc::{Call, GrpcServer};
use registry_testkit::upstream::{Authority, Identity};
use registry_xds::{
    Bootstrap, BootstrapFormat, CertificateProvider, TlsConfig, UpstreamTls, UpstreamTlsSource, XdsConfig,
};
use tempfile::TempDir;

use super::{ECHO, GrpcClient, Mesh, at, call, echo, servers, service, start, waiting};

/// Files that a bootstrap can name.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn put(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Certificate and key.
    fn put_identity(&self, name: &str, identity: &Identity) -> (PathBuf, PathBuf) {
        (
            self.put(&format!("{name}.pem"), &identity.certificate),
            self.put(&format!("{name}.key"), &identity.key),
        )
    }
}

/// The client knows the server by its authority, the server knows the client by a name in its certificate.
#[tokio::test]
async fn the_server_and_the_client_prove_who_they_are_as_the_bootstrap_says() {
    let [a] = servers(["a"]).await;
    let (authority, files) = (Authority::new().unwrap(), Files::new());
    let ca = files.put("ca.pem", &authority.certificate());
    let server = authority.issue(&["127.0.0.1"]).unwrap();
    let (certificate, key) = files.put_identity("server", &server);
    let known = authority.issue(&["spiffe://mesh/checkout"]).unwrap();
    let known = files.put_identity("known", &known);
    let unknown = authority.issue(&["spiffe://mesh/other"]).unwrap();
    let unknown = files.put_identity("unknown", &unknown);
    let config = XdsConfig {
        tls: Some(TlsConfig {
            certificate,
            key,
            client_ca: Some(ca.clone()),
            clients: vec!["spiffe://mesh/check*".to_owned()],
        }),
        ..XdsConfig::default()
    };
    let mesh = Mesh::start([echo([&a])], config).await;

    let with = |client: Option<(PathBuf, PathBuf)>| Bootstrap {
        tls_ca: Some(ca.clone()),
        tls_client: client,
        ..mesh.bootstrap()
    };
    let mut client = start(&with(Some(known)), &[]).await;
    let answer = client.call(&waiting(ECHO)).await.unwrap();
    assert_eq!(answer.server.as_deref(), Some("a"), "{answer:?}");
    let clients = mesh.xds.clients().list();
    assert_eq!(clients[0].identity.as_deref(), Some("spiffe://mesh/checkout"));

    for stranger in [Some(unknown), None] {
        let mut client = start(&with(stranger), &[]).await;
        let answer = client.call(&call(ECHO)).await.unwrap();
        assert_eq!(answer.code, "UNAVAILABLE", "{answer:?}");
        eprintln!("a stranger: {:?}", answer.details);
    }
    assert_eq!(mesh.xds.clients().list().len(), 1);
}

/// Identities of the registry are what a service has to prove; who proves another one gets no call.
#[tokio::test]
async fn services_prove_the_identity_that_the_registry_knows_them_by() {
    let (authority, files) = (Authority::new().unwrap(), Files::new());
    let ca = files.put("ca.pem", &authority.certificate());
    let own = authority.issue(&["spiffe://mesh/echo"]).unwrap();
    let server = GrpcServer::start_tls("a", &own, &authority.certificate())
        .await
        .unwrap();
    let of_identity = |name: &str, identity: &str| service(name, [at(&server).identity(identity)]);
    let config = XdsConfig {
        upstream_tls: vec![UpstreamTls {
            hosts: "*".to_owned(),
            source: UpstreamTlsSource::Provider {
                instance: "default".to_owned(),
            },
            identities: Vec::new(),
            server_name: None,
        }],
        ..XdsConfig::default()
    };
    let services = [
        of_identity("echo", "spiffe://mesh/echo"),
        of_identity("impostor", "spiffe://mesh/impostor"),
    ];
    let mesh = Mesh::start(services, config).await;
    let client = authority.issue(&["spiffe://mesh/client"]).unwrap();
    let (certificate, key) = files.put_identity("client", &client);
    let provider = CertificateProvider {
        instance: "default".to_owned(),
        certificate,
        key,
        ca,
    };
    let bootstrap = mesh.bootstrap().render_with(&[provider], BootstrapFormat::Json);
    let mut client = GrpcClient::start(Some(&bootstrap), &[]).await.unwrap();

    let by_xds = |call: Call| Call {
        tls_by_xds: true,
        ..call
    };
    let answer = client.call(&by_xds(waiting(ECHO))).await.unwrap();
    assert_eq!(answer.server.as_deref(), Some("a"), "{answer:?}");
    let refused = client
        .call(&by_xds(call("xds:///impostor.static")))
        .await
        .unwrap();
    assert_eq!(
        (refused.server.as_deref(), refused.code.as_str()),
        (None, "UNAVAILABLE"),
        "{refused:?}"
    );
    eprintln!("an impostor: {:?}", refused.details);
    assert_eq!(mesh.xds.clients().metrics().nacks.values().sum::<u64>(), 0);
}
