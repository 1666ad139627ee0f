//! What is answered to requests that cannot be answered as asked.

use std::time::Duration;

use registry_core::Discovery;
use registryd::http::HttpOptions;
use serde_json::json;

use super::client::{get, request};
use super::setup::{Daemon, Down, Scripted, merging, one_registry, optional, service};

#[tokio::test]
async fn an_unknown_name_is_not_found_and_the_nearest_one_is_named() {
    let (daemon, _script) = one_registry([service("payments", "10.0.0.1")]).await;
    let answer = get(daemon.at, "/v1/services/paymets.mesh.internal").await;
    let detail = answer.problem(404);
    assert!(
        detail.contains("did you mean \"payments.mesh.internal\""),
        "{detail}"
    );
    assert_eq!(answer.json()["nearest"], "payments.mesh.internal");
    let detail = get(daemon.at, "/v1/services/payments").await.problem(404);
    assert!(detail.contains("payments.mesh.internal"), "{detail}");
    let detail = get(daemon.at, "/v1/services/nothing.like.that")
        .await
        .problem(404);
    assert!(!detail.contains("did you mean"), "{detail}");
    let detail = get(daemon.at, "/v1/services/payments.mesh.internal@consul")
        .await
        .problem(404);
    assert!(detail.contains("no registry \"consul\""), "{detail}");
}

#[tokio::test]
async fn nobody_says_no_while_a_registry_that_may_own_the_name_is_silent() {
    let (vms, script) = Scripted::new();
    let builder = Discovery::builder()
        .registry_with("vms", vms, merging())
        .unwrap()
        .registry_with("consul-dc1", Down, optional())
        .unwrap()
        .start_deadline(Duration::ZERO);
    let daemon = Daemon::start(builder).await;
    let answer = get(daemon.at, "/v1/services/a.mesh.internal").await;
    assert!(answer.problem(503).contains("vms, consul-dc1"));
    assert_eq!(answer.header("retry-after"), "1");
    script.list([service("a", "10.0.0.1")]);
    daemon.discovery.ready().await;
    assert_eq!(get(daemon.at, "/v1/services/a.mesh.internal").await.status, 200);
    let answer = get(daemon.at, "/v1/services/b.mesh.internal").await;
    assert!(answer.problem(503).contains("consul-dc1"));
    assert_eq!(answer.json()["awaited"], json!(["consul-dc1"]));
    get(daemon.at, "/v1/services/b.mesh.internal@vms")
        .await
        .problem(404);
}

#[tokio::test]
async fn a_misspelt_parameter_is_an_error_that_names_the_known_ones() {
    let (daemon, _script) = one_registry([]).await;
    let answer = get(daemon.at, "/v1/services?namspace=x").await;
    let detail = answer.problem(400);
    assert!(
        detail.contains("\"namspace\", did you mean \"namespace\""),
        "{detail}"
    );
    assert_eq!(answer.json()["known"][1], "registry");
    for path in [
        "/v1/services?limit=none",
        "/v1/services?limit=0",
        "/v1/services?label=team",
        "/v1/services?registry=A%20B",
        "/v1/services?host=",
        "/v1/services/a.mesh.internal?host=a",
        "/v1/services/%ff",
        "/v1/registries?phase=stale",
        "/v1/watch?limit=3",
    ] {
        get(daemon.at, path).await.problem(400);
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems() {
    let (daemon, _script) = one_registry([]).await;
    assert!(
        get(daemon.at, "/v2/services")
            .await
            .problem(404)
            .contains("/v1/services")
    );
    get(daemon.at, "/").await.problem(404);
    for method in ["POST", "DELETE"] {
        let answer = request(daemon.at, method, "/v1/services", &[("content-length", "0")]).await;
        answer.problem(405);
        assert_eq!(answer.header("allow"), "GET,HEAD");
    }
    let head = request(daemon.at, "HEAD", "/v1/services", &[]).await;
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[tokio::test]
async fn a_loopback_listener_answers_to_local_names_only() {
    let options = HttpOptions {
        allowed_hosts: vec!["registry.example".to_owned()],
        ..HttpOptions::default()
    };
    let daemon = Daemon::with(Discovery::builder(), options).await;
    for (host, expected) in [
        ("localhost:7380", 200),
        ("127.0.0.1:7380", 200),
        ("[::1]", 200),
        ("registry.example", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:7380", 403),
    ] {
        let answer = request(daemon.at, "GET", "/v1/registries", &[("host", host)]).await;
        assert_eq!(answer.status, expected, "{host}");
    }
}

#[tokio::test]
async fn a_token_guards_everything_but_health_and_readiness() {
    let options = HttpOptions {
        token: Some("s3cret-token".into()),
        ..HttpOptions::default()
    };
    assert!(!format!("{options:?}").contains("s3cret"));
    let daemon = Daemon::with(Discovery::builder(), options).await;
    daemon.discovery.ready().await;
    let paths = [
        "/v1/services",
        "/v1/registries",
        "/v1/watch",
        "/metrics",
        "/nothing",
    ];
    for path in paths {
        for given in [
            "",
            "Bearer s3cret-toke",
            "Bearer s3cret-token2",
            "Basic s3cret-token",
            "Bearer",
        ] {
            let answer = request(daemon.at, "GET", path, &[("authorization", given)]).await;
            answer.problem(401);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    get(daemon.at, "/v1/services").await.problem(401);
    let authorization = ("authorization", "bearer s3cret-token");
    assert_eq!(
        request(daemon.at, "GET", "/v1/services", &[authorization])
            .await
            .status,
        200
    );
    assert_eq!(get(daemon.at, "/healthz").await.status, 200);
    assert_eq!(get(daemon.at, "/readyz").await.status, 200);
}
