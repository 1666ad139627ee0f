//! Calls that change something.

use registry_core::{Discovery, ServiceId, ServiceMeta, ServiceRecord};
use registryd::http::HttpOptions;
use serde_json::json;

use super::client::{Answer, get, request};
use super::setup::{Daemon, endpoint, one_registry};

const ACK: &str = "/v1/registries/vms/ack";
const JSON: (&str, &str) = ("content-type", "application/json");
const EMPTY: (&str, &str) = ("content-length", "0");

fn record(name: &str, endpoints: usize) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named(name)).build();
    let endpoints = (1..=endpoints).map(|n| endpoint(&format!("10.0.0.{n}"), &format!("{name}-{n}")).build());
    ServiceRecord::new(meta, endpoints.collect::<Vec<_>>())
}

async fn post(daemon: &Daemon, path: &str) -> Answer {
    request(daemon.at, "POST", path, &[JSON, EMPTY]).await
}

#[tokio::test]
async fn a_loss_is_acknowledged_and_whoever_looks_next_finds_it_gone() {
    let (daemon, script) = one_registry([record("a", 20), record("b", 4)]).await;
    let tag = |answer: &Answer| answer.header("etag").to_owned();
    let list = get(daemon.at, "/v1/services").await;
    let answer = post(&daemon, ACK).await;
    let none = json!({ "registry": "vms", "endpoints": 0, "services": 0, "names": [] });
    assert_eq!((answer.status, answer.json()), (200, none));

    script.list([record("a", 5)]);
    let held = |s: &registry_core::Snapshot| {
        let services = s.services().flat_map(|service| service.endpoints().iter());
        services.filter(|endpoint| endpoint.held()).count()
    };
    daemon.until("a loss", |s| held(s) == 19).await;
    let marked = get(daemon.at, "/v1/services").await;
    assert_eq!(
        marked.json()["root_hash"],
        list.json()["root_hash"],
        "marks are no content"
    );
    assert_ne!(tag(&marked), tag(&list), "marks are something to know");
    let one = get(daemon.at, "/v1/services/a.mesh.internal").await.json();
    let shown = one["endpoints"].as_array().unwrap().iter();
    let shown: Vec<bool> = shown.map(|endpoint| endpoint["held"] == true).collect();
    assert_eq!(shown, [[false; 5].as_slice(), &[true; 15]].concat());
    assert!(one["endpoints"][0].get("held").is_none());

    let answer = post(&daemon, ACK).await;
    let gone = json!({ "registry": "vms", "endpoints": 19, "services": 2, "names": ["a", "b"] });
    assert_eq!((answer.status, answer.json()), (200, gone));
    let list = get(daemon.at, "/v1/services").await.json();
    let services = list["services"].as_array().unwrap();
    assert_eq!(services.len(), 1);
    assert_eq!(services[0]["endpoints"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn orders_need_a_json_content_type_and_nothing_else() {
    let (daemon, _script) = one_registry([record("a", 1)]).await;
    for order in ["ack", "resync"] {
        let path = format!("/v1/registries/vms/{order}");
        for kind in [
            "",
            "text/plain",
            "application/x-www-form-urlencoded",
            "application/jsonx",
        ] {
            let answer = request(daemon.at, "POST", &path, &[("content-type", kind), EMPTY]).await;
            let detail = answer.problem(415);
            assert!(detail.contains("expected application/json"), "{detail}");
        }
        let answer = request(daemon.at, "POST", &path, &[EMPTY]).await;
        answer.problem(415);
        let charset = ("content-type", "Application/JSON; charset=utf-8");
        assert!(request(daemon.at, "POST", &path, &[charset, EMPTY]).await.status < 300);

        post(&daemon, &format!("{path}?force=1")).await.problem(400);
        let detail = post(&daemon, &path.replace("vms", "vmz")).await.problem(404);
        assert!(detail.contains("did you mean \"vms\""), "{detail}");
        post(&daemon, &path.replace("vms", "%ff")).await.problem(400);
        for method in ["GET", "PUT", "DELETE"] {
            let answer = request(daemon.at, method, &path, &[EMPTY]).await;
            assert!(answer.problem(405).contains("only by POST"));
            assert_eq!(answer.header("allow"), "POST");
        }
    }
    let answer = post(&daemon, "/v1/registries/vms/resync").await;
    assert_eq!(
        (answer.status, answer.json()),
        (202, json!({ "registry": "vms", "requested": true }))
    );
}

#[tokio::test]
async fn orders_need_the_token_as_everything_else() {
    let options = HttpOptions {
        token: Some("s3cret-token".into()),
        ..HttpOptions::default()
    };
    let daemon = Daemon::with(Discovery::builder(), options).await;
    post(&daemon, ACK).await.problem(401);
    let authorization = ("authorization", "Bearer s3cret-token");
    let answer = request(daemon.at, "POST", ACK, &[JSON, EMPTY, authorization]).await;
    answer.problem(404);
    let host = ("host", "evil.example");
    request(daemon.at, "POST", ACK, &[JSON, EMPTY, authorization, host])
        .await
        .problem(403);
}
