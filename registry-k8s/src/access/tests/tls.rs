//! Certificates: of servers, and of ours.

use std::os::unix::fs::PermissionsExt;

use super::server::Authority;
use super::*;

/// The URL of a server under a name that it has a certificate for.
fn https(server: &Server) -> String {
    format!("https://localhost:{}", server.addr.port())
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.display().to_string()
}

#[tokio::test]
async fn a_handshake_that_fails_says_why() {
    let (ours, theirs) = (Authority::new("kubernetes"), Authority::new("other"));
    let dir = tempfile::tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", &ours.pem());
    for (config, more, expected) in [
        (ours.server("localhost"), "", Ok("{}")),
        (
            ours.server("other.example"),
            "tls-server-name: other.example",
            Ok("{}"),
        ),
        (
            theirs.server("localhost"),
            "insecure-skip-tls-verify: true",
            Ok("{}"),
        ),
        (
            theirs.server("localhost"),
            "",
            Err("TLS: the certificate of the server is of an issuer that is not trusted here"),
        ),
        (
            ours.server("other.example"),
            "",
            Err("TLS: the certificate of the server is for another name"),
        ),
        (
            ours.server_until("localhost", Some(2020)),
            "",
            Err("TLS: the certificate of the server has expired"),
        ),
    ] {
        let server = Server::start(Some(config), |_| Reply::ok("{}")).await;
        let cluster = format!("certificate-authority: {ca}, {more}");
        let api = of_text(kubeconfig(&https(&server), &cluster, ""), LAZY);
        let answer = text_of(&api, "/x").await;
        match expected {
            Ok(_) => assert_eq!(answer.as_deref(), expected.map_err(|_| unreachable!())),
            Err(expected) => {
                let text = answer.unwrap_err();
                assert!(
                    text.starts_with(&format!("GET {}/x: {expected}", https(&server))),
                    "{text}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_read_again_when_it_is_refused() {
    let (ours, theirs) = (Authority::new("kubernetes"), Authority::new("other"));
    let server = Server::start(Some(ours.server_for("localhost", &ours)), |_| Reply::ok("{}")).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", &ours.pem());
    let identity = |authority: &Authority| {
        let pair = authority.pair("me");
        let certificate = write(dir.path(), "me.pem", &pair.certificate);
        let key = write(dir.path(), "me.key", &pair.key);
        format!("client-certificate: {certificate}, client-key: {key}")
    };
    let cluster = format!("certificate-authority: {ca}");
    let without = of_text(kubeconfig(&https(&server), &cluster, ""), EAGER);
    let text = text_of(&without, "/x").await.unwrap_err();
    assert!(
        text.contains("TLS: the server refused the handshake (CertificateRequired)"),
        "{text}"
    );

    let user = identity(&theirs);
    let pace = Pace {
        look_every: LAZY.look_every,
        ..EAGER
    };
    let api = of_text(kubeconfig(&https(&server), &cluster, &user), pace);
    let text = text_of(&api, "/x").await.unwrap_err();
    assert!(text.contains("TLS: the server refused the handshake"), "{text}");
    identity(&ours);
    assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"));
}

#[tokio::test]
async fn a_plugin_may_give_a_client_certificate() {
    let ours = Authority::new("kubernetes");
    let server = Server::start(Some(ours.server_for("localhost", &ours)), |_| Reply::ok("{}")).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = write(dir.path(), "ca.pem", &ours.pem());
    let pair = ours.pair("me");
    let answer = format!(
        r#"{{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1beta1","status":{{"clientCertificateData":{:?},"clientKeyData":{:?}}}}}"#,
        pair.certificate, pair.key
    );
    let answer = write(dir.path(), "answer.json", &answer);
    let user = format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1beta1, command: cat, args: ['{answer}']}}"
    );
    let cluster = format!("certificate-authority: {ca}");
    let api = of_text(kubeconfig(&https(&server), &cluster, &user), LAZY);
    assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"));
}

#[tokio::test]
async fn a_pod_uses_its_service_account() {
    let ours = Authority::new("kubernetes");
    let server = Server::start(Some(ours.server("127.0.0.1")), |_| Reply::ok("{}")).await;
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "ca.crt", &ours.pem());
    write(dir.path(), "token", "of-the-pod");
    let port = server.addr.port().to_string();
    let variables = [
        ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ("KUBERNETES_SERVICE_PORT", &port),
    ];
    let environment = Environment::made_up(&variables, dir.path());
    let api = ApiServer::with(&config(), Origin::Configured, environment, EAGER, PATIENCE);
    assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"));
    assert!(server.heads()[0].contains("\r\nauthorization: bearer of-the-pod\r\n"));
    assert_eq!(api.cluster_name().await.unwrap(), "kubernetes");
    assert_eq!(api.target(), format!("https://127.0.0.1:{port}/"));
    // Authorities are rotated, too.
    std::fs::remove_file(dir.path().join("ca.crt")).unwrap();
    write(dir.path(), "ca.crt", &Authority::new("kubernetes").pem());
    let text = text_of(&api, "/x").await.unwrap_err();
    assert!(
        text.contains("trusted here by name, but has another key"),
        "{text}"
    );
}
