//! Captures are answered byte for byte, and parked as a real server parks them.

use std::error::Error;
use std::time::Duration;

use registry_testkit::replay::CaptureError;
use registry_testkit::{Exchange, ReplayServer, Route, Step};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::proxy::{answer, ask, assert_silent, connect, get, soon};

/// As a capture of Consul looks, with the traps of JSON in it.
const CAPTURE: &str = r#"{
 "request": "GET /v1/health/service/web?filter=Service.ID%20==%20%22a%22&tag=v1",
 "status": 200,
 "elapsed_ms": 7.7,
 "note": "ignored",
 "response_headers": {
  "Content-Type": "application/json",
  "Date": "Sat, 21 Nov 2026 00:47:54 GMT",
  "X-Consul-Index": "22",
  "X-Consul-Lastcontact": "0",
  "Transfer-Encoding": "chunked"
 },
 "body": [
  {
   "Node": "a \"quoted\\\" { b",
   "Meta": null,
   "Big": 18446744073709551615.10,
   "After": "é\u00e9"
  }
 ]
}"#;

const COMPACT: &str = "[{\"Node\":\"a \\\"quoted\\\\\\\" { b\",\"Meta\":null,\"Big\":18446744073709551615.10,\"After\":\"é\\u00e9\"}]";

const WEB: &str = "/v1/health/service/web";

fn web() -> Exchange {
    Exchange::get(WEB).with_index(7).with_body("[]")
}

async fn start() -> (ReplayServer, TcpStream) {
    let server = ReplayServer::start().await.unwrap();
    let client = connect(server.addr()).await;
    (server, client)
}

#[tokio::test]
async fn a_capture_is_answered_byte_for_byte() {
    let (server, mut client) = start().await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("web.json");
    std::fs::write(&path, CAPTURE).unwrap();
    server.load(&path).unwrap();

    ask(
        &mut client,
        "/v1/health/service/web?tag=v1&filter=Service.ID+%3D%3D+%22a%22",
    )
    .await;
    let (head, body) = answer(&mut client).await;
    assert_eq!(
        head,
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Consul-Index: 22\r\n\
             X-Consul-Lastcontact: 0\r\nContent-Length: {}\r\n\r\n",
            COMPACT.len()
        )
    );
    assert_eq!(body, COMPACT);
}

#[tokio::test]
async fn text_and_null_are_bodies_too() {
    let (server, mut client) = start().await;
    let text = r#"{"request": "GET /a", "status": 400, "response_headers": {}, "body_text": "Invalid  \n"}"#;
    server.set(Exchange::parse(text).unwrap());
    let null = r#"{"request": "PUT /b", "status": 200, "response_headers": {}, "body": null}"#;
    let put = server.set(Exchange::parse(null).unwrap());

    assert_eq!(get(&mut client, "/a").await, "Invalid  \n");
    assert_eq!(put, Route::from("PUT /b"));
    assert_eq!(
        server.set(Exchange::parse(null).unwrap().with_method("GET")),
        Route::from("/b")
    );
    assert_eq!(get(&mut client, "/b").await, "null");
}

#[test]
fn what_is_no_capture_is_an_error_that_names_the_cause() {
    assert!(matches!(Exchange::parse("[]"), Err(CaptureError::Shape { .. })));
    assert!(matches!(
        Exchange::parse(r#"{"request":"/x","status":200}"#),
        Err(CaptureError::RequestLine { .. })
    ));
    assert!(matches!(
        Exchange::parse(r#"{"request":"GET /x","status":7}"#),
        Err(CaptureError::Status { .. })
    ));
    assert!(matches!(
        Exchange::load("/nowhere.json"),
        Err(CaptureError::Read { .. })
    ));

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.json");
    std::fs::write(&path, "{").unwrap();
    let error = Exchange::load(&path).unwrap_err();
    assert_eq!(error.to_string(), format!("{} is no capture", path.display()));
    assert!(
        error
            .source()
            .unwrap()
            .source()
            .unwrap()
            .is::<serde_json::Error>()
    );
}

#[tokio::test]
async fn routes_differ_by_the_parameters_that_matter() {
    let server = ReplayServer::start_ignoring(["index", "wait", "stale"])
        .await
        .unwrap();
    let mut client = connect(server.addr()).await;
    server.set(web().with_body("all"));
    server.set(Exchange::get("/v1/health/service/web?passing=1").with_body("passing"));

    assert_eq!(
        get(&mut client, "/v1/health/service/web?stale&index=0&wait=5m").await,
        "all"
    );
    assert_eq!(
        get(&mut client, "/v1/health/service/web?stale&passing=1").await,
        "passing"
    );
    ask(&mut client, "/v1/health/service/web?dc=other").await;
    let (head, body) = answer(&mut client).await;
    assert!(
        head.starts_with("HTTP/1.1 404 Not Found\r\nContent-Type: text/plain"),
        "{head}"
    );
    assert_eq!(body, "no exchange for GET /v1/health/service/web?dc=other\n");
}

#[tokio::test]
async fn a_query_is_parked_until_the_index_rises() {
    let (server, mut client) = start().await;
    let route = server.set(web());
    let mut bystander = connect(server.addr()).await;
    let other = server.set(Exchange::get("/other").with_index(7).with_body("other"));

    assert_eq!(get(&mut client, WEB).await, "[]", "without an index");
    assert_eq!(
        get(&mut client, "/v1/health/service/web?index=6").await,
        "[]",
        "with an old one"
    );
    ask(&mut client, "/v1/health/service/web?index=7").await;
    ask(&mut bystander, "/other?index=7").await;
    soon(server.wait_for_requests(4)).await;
    assert_silent(&mut client).await;

    assert_eq!(
        server.update(&route, Exchange::get(WEB).with_body("[1]")),
        Some(8)
    );
    let (head, body) = answer(&mut client).await;
    assert!(head.contains("X-Consul-Index: 8\r\n"), "{head}");
    assert_eq!(body, "[1]");
    assert_silent(&mut bystander).await;

    assert_eq!(
        server.update(other, Exchange::get("/other").with_index(90)),
        Some(90)
    );
    assert_eq!(answer(&mut bystander).await.1, "");
    let statuses: Vec<_> = server.requests().iter().map(|l| l.status).collect();
    assert_eq!(statuses, [Some(200); 4]);
}

#[tokio::test]
async fn a_query_that_waited_in_vain_gets_the_same_again() {
    let (server, mut client) = start().await;
    server.set(web());
    let before = Instant::now();
    assert_eq!(
        get(&mut client, "/v1/health/service/web?index=7&wait=250ms").await,
        "[]"
    );
    assert!(before.elapsed() >= Duration::from_millis(250));
}

#[tokio::test]
async fn a_server_that_lost_its_state_keeps_old_queries_parked() {
    let (server, mut client) = start().await;
    let route = server.set(web().with_index(200));
    let before = Instant::now();
    ask(&mut client, "/v1/health/service/web?index=200&wait=1s").await;
    soon(server.wait_for_requests(1)).await;
    server.set(web().with_index(5).with_body("[5]"));
    server.update(&route, web().with_body("[6]"));
    let (head, body) = answer(&mut client).await;
    assert!(
        before.elapsed() >= Duration::from_secs(1),
        "it was blind for the wait"
    );
    assert!(head.contains("X-Consul-Index: 7\r\n"), "{head}");
    assert_eq!(body, "[6]");
}

#[tokio::test]
async fn an_index_moves_without_its_body() {
    let (server, mut client) = start().await;
    let route = server.set(web());
    ask(&mut client, "/v1/health/service/web?index=7").await;
    soon(server.wait_for_requests(1)).await;
    server.update_index(&route, 9);
    let (head, body) = answer(&mut client).await;
    assert!(head.contains("X-Consul-Index: 9\r\n"), "{head}");
    assert_eq!(body, "[]");
}

#[tokio::test]
#[should_panic(expected = "GET /nowhere has no answer")]
async fn an_index_needs_an_answer() {
    ReplayServer::start().await.unwrap().update_index("/nowhere", 1);
}

#[tokio::test]
async fn answers_without_an_index_and_errors_never_block() {
    let (server, mut client) = start().await;
    server.set(Exchange::get("/plain").with_body("plain"));
    server.set(web().with_status(403).with_index(1).with_body("ACL not found"));
    assert_eq!(get(&mut client, "/plain?index=7").await, "plain");
    assert_eq!(
        get(&mut client, "/v1/health/service/web?index=7").await,
        "ACL not found"
    );
}

#[tokio::test]
async fn invalid_parameters_are_refused() {
    let (server, mut client) = start().await;
    server.set(web());
    assert_eq!(
        get(&mut client, "/v1/health/service/web?index=-1").await,
        "Invalid index"
    );
    assert_eq!(
        get(&mut client, "/v1/health/service/web?index=1&wait=abc").await,
        "Invalid wait time"
    );
    assert_eq!(server.requests()[1].status, Some(400));
}

#[tokio::test]
async fn a_script_gives_one_answer_per_request_and_keeps_the_last() {
    let (server, mut client) = start().await;
    let delay = Duration::from_millis(100);
    server.script(
        WEB,
        [
            Step::answer(web().with_body("1")),
            Step::answer(web().with_status(500).with_body("2")).after(delay),
            Step::answer(web().with_body("3")),
        ],
    );
    let before = Instant::now();
    assert_eq!(get(&mut client, WEB).await, "1");
    assert_eq!(
        get(&mut client, "/v1/health/service/web?index=7").await,
        "2",
        "whatever the index"
    );
    assert!(before.elapsed() >= delay);
    assert_eq!(get(&mut client, "/v1/health/service/web?index=7").await, "3");
    assert_eq!(get(&mut client, WEB).await, "3");
    ask(&mut client, "/v1/health/service/web?index=7").await;
    assert_silent(&mut client).await;
    server.remove(WEB);
    assert!(answer(&mut client).await.0.starts_with("HTTP/1.1 404 "));
}

#[tokio::test]
async fn connections_are_counted_and_let_go() {
    let (server, mut client) = start().await;
    server.set(web());
    ask(&mut client, "/v1/health/service/web?index=7").await;
    soon(server.wait_for_requests(1)).await;
    let second = connect(server.addr()).await;
    soon(server.wait_for_open(2)).await;
    drop((client, second));
    soon(server.wait_for_open(0)).await;
    assert_eq!((server.connections_total(), server.connections_max()), (2, 2));
    assert_eq!(server.requests()[0].status, None);
}
