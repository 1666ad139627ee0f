//! ACLs and TLS.

use std::path::Path;
use std::time::Duration;

use registry_testkit::consul::Consul;
use registry_testkit::{Error, init_tls, wait};
use reqwest::{Certificate, Client, Identity, Version};
use serde_json::json;

const DEADLINE: Duration = Duration::from_secs(60);

fn client(ca: &Path, identity: Option<(&Path, &Path)>) -> Client {
    init_tls();
    let ca = Certificate::from_pem(&std::fs::read(ca).unwrap()).unwrap();
    let mut builder = Client::builder()
        .tls_certs_only([ca])
        .no_proxy()
        .timeout(DEADLINE);
    if let Some((cert, key)) = identity {
        let pem = [std::fs::read(key).unwrap(), std::fs::read(cert).unwrap()].concat();
        builder = builder.identity(Identity::from_pem(&pem).unwrap());
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn acls_deny_the_anonymous_and_tokens_grant_what_their_policies_say() {
    let consul = Consul::builder().acl().start().await.unwrap();
    consul.api().register(&json!({ "Name": "web" })).await.unwrap();
    let path = "/v1/health/service/web";
    wait::until("web in the catalogue", DEADLINE, async || {
        consul
            .api()
            .get(path)
            .await
            .ok()
            .filter(|found| found != &json!([]))
    })
    .await
    .unwrap();

    // Denied looks like empty: that is how Consul is.
    assert_eq!(consul.api().with_token(None).get(path).await.unwrap(), json!([]));
    let unknown = consul
        .api()
        .with_token(Some("00000000-0000-0000-0000-000000000001"));
    assert!(matches!(
        unknown.get(path).await,
        Err(Error::Status { status: 403, .. })
    ));

    let rules = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    consul.api().create_policy("reader", rules).await.unwrap();
    let token = consul.api().create_token(&["reader"]).await.unwrap();
    let reader = consul.api().with_token(Some(&token.secret));
    assert_ne!(reader.get(path).await.unwrap(), json!([]));
    assert!(reader.register(&json!({ "Name": "db" })).await.is_err());
    consul.api().delete_token(&token.accessor).await.unwrap();
    wait::until("the token's end", DEADLINE, async || reader.get(path).await.err())
        .await
        .unwrap();
}

#[tokio::test]
async fn acls_survive_a_restart_of_a_persistent_server() {
    let mut consul = Consul::builder().acl().persistent().start().await.unwrap();
    let token = consul.token().map(str::to_owned);
    consul.restart().await.unwrap();
    assert_eq!(consul.token().map(str::to_owned), token);
    consul.api().get("/v1/acl/token/self").await.unwrap();
}

#[tokio::test]
async fn https_speaks_http_2_with_the_servers_own_authority() {
    let consul = Consul::builder().tls().start().await.unwrap();
    let url = format!("{}/v1/status/leader", consul.https_url().unwrap());
    let answer = client(consul.ca_file().unwrap(), None)
        .get(&url)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.version(), Version::HTTP_2);

    let another = Consul::builder().tls().start().await.unwrap();
    let stranger = client(another.ca_file().unwrap(), None);
    assert!(
        stranger.get(&url).send().await.is_err(),
        "another authority must not be accepted"
    );
}

#[tokio::test]
async fn a_server_that_asks_for_certificates_refuses_clients_without() {
    let consul = Consul::builder().client_certificates().start().await.unwrap();
    let url = format!("{}/v1/status/leader", consul.https_url().unwrap());
    let ca = consul.ca_file().unwrap();
    assert!(client(ca, None).get(&url).send().await.is_err());
    let answer = client(ca, consul.client_certificate())
        .get(&url)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
}
