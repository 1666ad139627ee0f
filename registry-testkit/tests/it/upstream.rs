//! The upstream servers and their clients, without anything between them.

use std::time::Duration;

use registry_testkit::upstream::client::MongoForm;
use registry_testkit::upstream::{Authority, Kind, Load, LoadOptions, Upstream, client};

#[tokio::test]
async fn an_http_server_says_who_it_is_in_both_versions() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let one = client::http(web.address(), "web.example", "/").await.unwrap();
    let two = client::http2(web.address(), "web.example", "/status/503")
        .await
        .unwrap();
    assert_eq!((one.status, one.body.as_str()), (200, "web-1"));
    assert_eq!((two.status, two.body.as_str()), (503, "web-1"));
    let asked = client::http(web.address(), "web.example", "/request?a=b")
        .await
        .unwrap();
    let asked: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(asked["headers"]["host"], "web.example");
    assert_eq!(asked["query"], "a=b");
    assert_eq!(web.requests(), 3);
}

#[tokio::test]
async fn every_kind_says_who_it_is() {
    let socket = Upstream::start("ws-1", Kind::WebSocket).await.unwrap();
    let heard = client::websocket(socket.address(), "ws.example", "/", "hello").await;
    assert_eq!(heard.unwrap(), "ws-1 hello");

    let raw = Upstream::start("tcp-1", Kind::Tcp).await.unwrap();
    assert_eq!(client::tcp(raw.address(), "hello").await.unwrap(), "tcp-1");

    let authority = Authority::new().unwrap();
    let names = ["a.example", "b.example", "spiffe://example/a"];
    let kind = Kind::Tls(authority.issue(&names).unwrap());
    let tls = Upstream::start("tls-1", kind).await.unwrap();
    let heard = client::tls(tls.address(), "b.example", &authority, "hello").await;
    assert_eq!(heard.unwrap(), "tls-1 b.example");
    let wrong = client::tls(tls.address(), "c.example", &authority, "hello").await;
    assert!(wrong.is_err());

    let mongo = Upstream::start("mongo-1", Kind::Mongo).await.unwrap();
    for (form, command) in [(MongoForm::Query, "isMaster"), (MongoForm::Message, "ping")] {
        let heard = client::mongo(mongo.address(), form, command).await;
        assert_eq!(heard.unwrap(), "mongo-1");
    }
}

#[tokio::test]
async fn a_server_that_ends_slowly_serves_who_is_connected_and_nobody_else() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let address = web.address();
    let options = LoadOptions {
        connections: 1,
        ..LoadOptions::new(address, "web.example")
    };
    let load = Load::start(&options);
    while web.requests() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let ending = tokio::spawn(web.end_slowly(Duration::from_secs(60)));
    // The listener is closed by a task of its own.
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while client::http(address, "web.example", "/").await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline, "it still accepts");
    }
    let report = load.stop().await;
    assert_eq!(report.failures(), 0, "{:?}", report.troubles);
    ending.abort();
}

#[tokio::test]
async fn load_counts_who_answered_and_what_went_wrong() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let good = Load::start(&LoadOptions::new(web.address(), "web.example"));
    let bad = Load::start(&LoadOptions {
        path: "/status/404".to_owned(),
        ..LoadOptions::new(web.address(), "web.example")
    });
    while web.requests() < 100 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (good, bad) = (good.stop().await, bad.stop().await);
    assert!(good.requests > 0 && good.by_server["web-1"] == good.requests);
    assert_eq!(good.failures(), 0, "{:?}", good.troubles);
    assert!(bad.requests > 0 && bad.failures() == bad.requests);
    assert_eq!(bad.by_status[&404], bad.requests);

    let address = web.address();
    drop(web);
    let refused = Load::start(&LoadOptions::new(address, "web.example"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    let refused = refused.stop().await;
    assert!(refused.errors > 0, "{refused:?}");
    assert_eq!(refused.errors, refused.requests, "{:?}", refused.troubles);
}
