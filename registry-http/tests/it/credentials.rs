//! Credentials on the wire, rotated under way, and never in a text.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use http::HeaderName;
use registry_http::{Credential, Error, HttpClient, HttpConfig, Placement, Request};

use crate::local::{answer, everything, init_tls, refused, serve};

fn consul() -> Placement {
    Placement::Header(HeaderName::from_static("x-consul-token"))
}

fn client(url: &str, credential: Credential) -> HttpClient {
    init_tls();
    HttpClient::try_new(&[url], HttpConfig::default(), credential).expect("a valid client")
}

#[tokio::test]
async fn a_rotated_token_file_is_read_on_403_and_the_request_sent_once_more() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let (count, valid) = (requests.clone(), Arc::new(std::sync::Mutex::new("old")));
    let accepted = valid.clone();
    let server = serve(move |request| {
        count.fetch_add(1, Ordering::SeqCst);
        let accepted = *accepted.lock().unwrap();
        let ok = request
            .headers()
            .get("x-consul-token")
            .is_some_and(|token| token == accepted);
        async move {
            if ok {
                answer(200, "in")
            } else {
                answer(403, "ACL not found")
            }
        }
    })
    .await;
    let client = client(&server.url(), Credential::from_file(&path, consul()));
    assert!(client.send(&Request::get("/")).await.unwrap().is_success());

    *valid.lock().unwrap() = "new";
    let refused = client.send(&Request::get("/")).await.unwrap();
    assert_eq!(
        (refused.status().as_u16(), refused.error_text().as_str()),
        (403, "ACL not found")
    );
    assert_eq!(
        requests.load(Ordering::SeqCst),
        2,
        "the same token is not tried twice"
    );

    std::fs::write(&path, "new\n").unwrap();
    assert!(client.send(&Request::get("/")).await.unwrap().is_success());
    assert_eq!(
        requests.load(Ordering::SeqCst),
        4,
        "one refused, one more with the new token"
    );
}

#[tokio::test]
async fn userinfo_of_a_url_is_sent_as_basic_authentication_beside_a_token() {
    let server = serve(|request| async move {
        let header = |name: &str| request.headers()[name].to_str().unwrap().to_owned();
        answer(
            200,
            format!("{} {}", header("authorization"), header("x-consul-token")),
        )
    })
    .await;
    let url = server.url().replace("http://", "http://user:p%40ss@");
    let token = Credential::from_token("tok".to_owned().into(), consul());
    let got = client(&url, token).send(&Request::get("/")).await.unwrap();
    assert_eq!(got.body().as_ref(), b"Basic dXNlcjpwQHNz tok");

    let bearer = Credential::from_token("tok".to_owned().into(), Placement::Bearer);
    let both = HttpClient::try_new(&[&url], HttpConfig::default(), bearer).unwrap_err();
    assert!(
        matches!(both, Error::Config { .. }) && !everything(&both).contains("p%40ss"),
        "{both}"
    );
}

#[tokio::test]
async fn no_text_shows_a_secret() {
    let url = refused().await.replace("http://", "http://user:hunter2@");
    let token = Credential::from_token("hunter2".to_owned().into(), consul());
    let client = client(&url, token);
    let request = Request::get("/v1/x")
        .with_query("token", "hunter2")
        .with_header(HeaderName::from_static("x-other"), "hunter2".parse().unwrap());
    let error = client.send(&request).await.unwrap_err();
    assert_eq!(error.kind(), "connect");
    assert!(error.to_string().contains("/v1/x?token=***"), "{error}");
    let all = format!(
        "{} {client:?} {request:?} {:?}",
        everything(&error),
        client.bases()
    );
    assert!(
        !all.contains("hunter2") && !all.contains("user:") && !all.contains("dXNlcj"),
        "{all}"
    );
}

#[tokio::test]
async fn a_missing_token_file_fails_before_anything_is_sent() {
    let server = serve(|_| async { answer(200, "") }).await;
    let client = client(
        &server.url(),
        Credential::from_file("/nonexistent/token", consul()),
    );
    let error = client.send(&Request::get("/")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential: file /nonexistent/token cannot be read"
    );
    assert_eq!(server.connections.total(), 0);
}
