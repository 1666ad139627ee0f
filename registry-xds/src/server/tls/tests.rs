use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, SanType};
use tempfile::TempDir;

use super::*;

/// An authority, and a directory with files that it issued.
struct Files {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: TempDir,
}

impl Files {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let files = Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap(),
            directory: tempfile::tempdir().unwrap(),
        };
        files.put("ca.pem", &files.issuer.pem());
        files
    }

    fn put(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn certificate(&self, uris: &[&str], hosts: &[&str]) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(hosts.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        for uri in uris {
            params
                .subject_alt_names
                .push(SanType::URI((*uri).try_into().unwrap()));
        }
        (params.signed_by(&key, &self.issuer).unwrap(), key)
    }

    fn put_server(&self) {
        let (certificate, key) = self.certificate(&[], &["xds.example"]);
        self.put("server.pem", &certificate.pem());
        self.put("server.key", &key.serialize_pem());
    }

    fn config(&self) -> TlsConfig {
        TlsConfig {
            certificate: self.path("server.pem"),
            key: self.path("server.key"),
            client_ca: Some(self.path("ca.pem")),
            clients: Vec::new(),
        }
    }
}

async fn server(certificates: &Certificates, config: &TlsConfig) -> Arc<ServerConfig> {
    certificates.acceptor(config).await.unwrap().config().clone()
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let files = Files::new();
    files.put_server();
    for (name, content) in [
        ("server.pem", "no certificate"),
        ("server.key", "no key"),
        ("ca.pem", ""),
        (
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ] {
        let good = fs::read_to_string(files.path(name)).unwrap();
        files.put(name, content);
        let result = Certificates::default().acceptor(&files.config()).await;
        let error = result.err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
        fs::remove_file(files.path(name)).unwrap();
        let result = Certificates::default().acceptor(&files.config()).await;
        let error = result.err().unwrap().to_string();
        assert!(error.contains(name), "{error}");
        files.put(name, &good);
    }
    Certificates::default()
        .acceptor(&files.config())
        .await
        .map(drop)
        .unwrap();
}

#[tokio::test]
async fn a_key_of_another_certificate_is_refused() {
    let files = Files::new();
    files.put_server();
    files.put("server.key", &KeyPair::generate().unwrap().serialize_pem());
    let result = Certificates::default().acceptor(&files.config()).await;
    assert!(result.err().unwrap().to_string().contains("server.pem"));
}

#[tokio::test(start_paused = true)]
async fn files_that_change_are_read_again_and_bad_ones_leave_the_good() {
    let files = Files::new();
    files.put_server();
    let config = files.config();
    let certificates = Certificates::default();
    let first = server(&certificates, &config).await;
    tokio::time::advance(2 * CHECK_EVERY).await;
    assert!(Arc::ptr_eq(&first, &server(&certificates, &config).await));

    files.put_server();
    assert!(
        Arc::ptr_eq(&first, &server(&certificates, &config).await),
        "too soon to look"
    );
    tokio::time::advance(CHECK_EVERY).await;
    let second = server(&certificates, &config).await;
    assert!(!Arc::ptr_eq(&first, &second));

    files.put("server.key", "half a ke");
    tokio::time::advance(CHECK_EVERY).await;
    assert!(Arc::ptr_eq(&second, &server(&certificates, &config).await));
    fs::remove_file(files.path("server.key")).unwrap();
    tokio::time::advance(CHECK_EVERY).await;
    assert!(Arc::ptr_eq(&second, &server(&certificates, &config).await));

    files.put_server();
    tokio::time::advance(CHECK_EVERY).await;
    assert!(!Arc::ptr_eq(&second, &server(&certificates, &config).await));
}

#[test]
fn a_client_is_let_in_by_a_name_that_a_pattern_fits() {
    let files = Files::new();
    let uri = "spiffe://mesh/ns/default/sa/web";
    let (certificate, _) = files.certificate(&[uri], &["web.mesh"]);
    let of = |patterns: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
        identify(Some(certificate.der()), &patterns)
    };
    assert_eq!(of(&[]), Ok(Some(uri.to_owned())));
    assert_eq!(of(&["nobody", "spiffe://mesh/ns/*"]), Ok(Some(uri.to_owned())));
    assert_eq!(of(&["*.mesh"]), Ok(Some("web.mesh".to_owned())));
    let refused = of(&["spiffe://other/*", "web"]).unwrap_err();
    assert!(refused.contains(uri) && refused.contains("web.mesh"), "{refused}");

    let (nameless, _) = files.certificate(&[], &[]);
    assert_eq!(identify(Some(nameless.der()), &[]), Ok(None));
    assert!(identify(Some(nameless.der()), &["*".to_owned()]).is_err());
    assert!(identify(None, &["*".to_owned()]).is_err());
    assert_eq!(identify(None, &[]), Ok(None));
}
