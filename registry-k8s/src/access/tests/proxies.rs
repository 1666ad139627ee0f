//! Proxies on the way to the server.

use super::server::Authority;
use super::*;

/// Leads nowhere: only a proxy knows where the server is.
const SERVER: &str = "https://api.cluster.test:6443";

struct Net {
    server: Server,
    ca: String,
    authority: Authority,
    _dir: tempfile::TempDir,
}

async fn net() -> Net {
    let authority = Authority::new("kubernetes");
    let server = Server::start(Some(authority.server("api.cluster.test")), |_| Reply::ok("{}")).await;
    let dir = tempfile::tempdir().unwrap();
    let ca = dir.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    Net {
        server,
        ca: format!("certificate-authority: {}", ca.display()),
        authority,
        _dir: dir,
    }
}

fn with(text: String, variables: &[(&str, &str)]) -> ApiServer {
    let origin = Origin::Text {
        kubeconfig: Arc::new(text.into()),
        place: "x".to_owned(),
        trusted: true,
    };
    let environment = Environment::made_up(variables, Path::new("/nowhere"));
    ApiServer::with(&config(), origin, environment, LAZY, PATIENCE)
}

#[tokio::test]
async fn an_http_proxy_of_the_kubeconfig_is_asked_with_its_credentials() {
    let net = net().await;
    let proxy = Server::tunnel(None, net.server.addr).await;
    let cluster = format!("{}, proxy-url: 'http://me:p%40ss@{}'", net.ca, proxy.addr);
    let api = with(kubeconfig(SERVER, &cluster, "token: t"), &[("NO_PROXY", "*")]);
    assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"));
    let heads = proxy.heads();
    assert!(
        heads[0].starts_with("connect api.cluster.test:6443 http/1.1\r\n"),
        "{heads:?}"
    );
    // me:p@ss, in the small letters of the log.
    assert!(
        heads[0].contains("\r\nproxy-authorization: basic bwu6cebzcw==\r\n"),
        "{heads:?}"
    );
    assert!(!heads[0].contains("bearer"), "{heads:?}");
    assert!(net.server.heads()[0].contains("\r\nauthorization: bearer t\r\n"));
}

#[tokio::test]
async fn proxies_of_the_environment_are_asked_unless_the_server_is_excepted() {
    let net = net().await;
    let proxy = Server::tunnel(None, net.server.addr).await;
    let url = format!("http://{}", proxy.addr);
    for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"] {
        let api = with(
            kubeconfig(SERVER, &net.ca, ""),
            &[(name, &url), ("NO_PROXY", "other.test")],
        );
        assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"), "{name}");
    }
    assert_eq!(proxy.connections(), 3);
    let excepted = [
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", "other.test,.cluster.test"),
    ];
    let api = with(kubeconfig(SERVER, &net.ca, ""), &excepted);
    // Straight on there is nothing of that name.
    assert!(text_of(&api, "/x").await.is_err());
    assert_eq!(proxy.connections(), 3);
}

#[tokio::test]
async fn a_socks_proxy_looks_names_up_itself() {
    let net = net().await;
    let proxy = Server::socks(net.server.addr).await;
    for scheme in ["socks5", "socks5h"] {
        let cluster = format!("{}, proxy-url: '{scheme}://{}'", net.ca, proxy.addr);
        let api = with(kubeconfig(SERVER, &cluster, ""), &[]);
        assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"), "{scheme}");
    }
    assert_eq!(proxy.heads(), ["api.cluster.test:6443"; 2]);
}

#[tokio::test]
async fn a_proxy_may_be_spoken_to_in_tls() {
    let net = net().await;
    let proxy = Server::tunnel(Some(net.authority.server("localhost")), net.server.addr).await;
    let url = format!("https://localhost:{}", proxy.addr.port());
    let api = with(kubeconfig(SERVER, &net.ca, ""), &[("HTTPS_PROXY", &url)]);
    assert_eq!(text_of(&api, "/x").await.as_deref(), Ok("{}"));
    assert!(proxy.heads()[0].starts_with("connect api.cluster.test:6443 "));
}

#[tokio::test]
async fn a_proxy_that_refuses_is_told_without_its_password() {
    let proxy = Server::plain(|_| Reply::of("407 Proxy Authentication Required", "", "")).await;
    let cluster = format!("proxy-url: 'http://me:geheim@{}'", proxy.addr);
    let api = with(kubeconfig(SERVER, &cluster, ""), &[]);
    let text = text_of(&api, "/x").await.unwrap_err();
    assert!(text.contains("proxy") && !text.contains("geheim"), "{text}");
}
