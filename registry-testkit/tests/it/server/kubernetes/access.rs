//! Who may come in, and what they may do.

use registry_testkit::kubernetes::{ADMIN, Kubernetes, services_path};
use registry_testkit::{Error, FaultProxy};
use reqwest::{Certificate, Client};
use serde_json::{Value, json};

use super::{DEADLINE, names, services, status};

#[tokio::test]
async fn who_has_no_token_or_a_revoked_one_is_unauthorized() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    kubernetes.allow("sd", "*", "services").unwrap();
    let token = kubernetes.add_token("sd").unwrap();
    let second = kubernetes.add_token("sd").unwrap();
    let user = kubernetes.api().with_token(Some(&token));
    let mut watch = user
        .watch("/api/v1/services?watch=1&resourceVersion=0")
        .await
        .unwrap();
    kubernetes.revoke_token(&token).unwrap();
    let answer = user.answer("/api/v1/services", &[]).await.unwrap();
    assert_eq!(answer.status, 401);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "Unauthorized", "reason": "Unauthorized", "code": 401,
    });
    assert_eq!(status(&answer.body), expected);
    let anonymous = kubernetes.api().with_token(None);
    assert_eq!(
        anonymous.answer("/api/v1/services", &[]).await.unwrap().status,
        401
    );
    // The other token still works, and so does what is under way.
    kubernetes
        .api()
        .with_token(Some(&second))
        .list("/api/v1/services")
        .await
        .unwrap();
    services(kubernetes.api(), "default", &["web"]).await;
    let event = watch.next(DEADLINE).await.unwrap().unwrap();
    assert_eq!(event["object"]["metadata"]["name"], "web");
}

#[tokio::test]
async fn users_see_what_they_are_allowed_to_and_no_more() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    kubernetes.allow("sd", "default", "services").unwrap();
    let user = kubernetes
        .api()
        .with_token(Some(&kubernetes.add_token("sd").unwrap()));
    services(kubernetes.api(), "default", &["web"]).await;
    assert_eq!(
        names(&user.list(&services_path("default")).await.unwrap()),
        ["web"]
    );
    let answer = user.answer("/api/v1/services", &[]).await.unwrap();
    assert_eq!(answer.status, 403);
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "services is forbidden: User \"sd\" cannot list resource \"services\" in API group \"\" at the cluster scope",
        "reason": "Forbidden", "details": { "kind": "services" }, "code": 403,
    });
    assert_eq!(status(&answer.body), expected);
    for forbidden in [services_path("kube-system"), "/api/v1/nodes".to_owned()] {
        let outcome = user.list(&forbidden).await;
        assert!(
            matches!(outcome, Err(Error::Status { status: 403, .. })),
            "{outcome:?}"
        );
    }
    // Everybody may see what there is.
    user.get("/apis").await.unwrap();
    kubernetes.allow("sd", "*", "nodes").unwrap();
    user.list("/api/v1/nodes").await.unwrap();
    kubernetes.deny("sd", "default", "services").unwrap();
    assert!(user.list(&services_path("default")).await.is_err());
}

#[tokio::test]
async fn a_kubeconfig_leads_in_through_any_url() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let read = |path| -> Value { serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap() };
    let config = read(kubernetes.kubeconfig(ADMIN).unwrap());
    assert_eq!(config["clusters"][0]["cluster"]["server"], kubernetes.url());
    assert_eq!(config["users"][0]["user"]["token"], kubernetes.token().unwrap());
    let ca = config["clusters"][0]["cluster"]["certificate-authority"]
        .as_str()
        .unwrap();
    let ca = Certificate::from_pem_bundle(&std::fs::read(ca).unwrap()).unwrap();
    let secure = Client::builder().tls_certs_only(ca).no_proxy().build().unwrap();
    let request = secure.get(format!("{}/version", kubernetes.url()));
    let answer = request
        .bearer_auth(kubernetes.token().unwrap())
        .send()
        .await
        .unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, reqwest::Version::HTTP_2)
    );

    let proxy = FaultProxy::start(kubernetes.plain_address().unwrap().into())
        .await
        .unwrap();
    kubernetes.allow("sd", "*", "*").unwrap();
    let config = read(kubernetes.kubeconfig_for(&proxy.url(), "sd").unwrap());
    assert_eq!(config["clusters"][0]["cluster"], json!({ "server": proxy.url() }));
    let token = config["users"][0]["user"]["token"].as_str().unwrap();
    let plain = Client::builder().no_proxy().build().unwrap();
    let request = plain.get(format!("{}/api/v1/nodes", proxy.url()));
    let answer = request.bearer_auth(token).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), answer.version()),
        (200, reqwest::Version::HTTP_11)
    );
}

#[tokio::test]
async fn a_cluster_that_is_there_already_is_used_as_it_is() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let path = kubernetes.kubeconfig(ADMIN).unwrap();
    let mut external = Kubernetes::external_at(&path).await.unwrap();
    assert!(external.is_external());
    assert_eq!(
        (external.url(), external.token()),
        (kubernetes.url(), kubernetes.token())
    );
    let namespace = external.new_namespace("mine").await.unwrap();
    let name = namespace.name().to_owned();
    services(external.api(), &name, &["web"]).await;
    assert_eq!(
        kubernetes.api().list(&services_path(&name)).await.unwrap().len(),
        1
    );
    external.kubeconfig(ADMIN).unwrap();
    for refused in [
        external.kill().await,
        external.wipe(),
        external.allow("sd", "*", "*"),
    ] {
        assert!(matches!(refused, Err(Error::External { .. })), "{refused:?}");
    }
    drop(namespace);
    let gone = kubernetes.api().get(&format!("/api/v1/namespaces/{name}")).await;
    assert!(matches!(gone, Err(Error::Status { status: 404, .. })), "{gone:?}");
}
