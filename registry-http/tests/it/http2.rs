//! TLS: many long polls on few connections, own authorities, client certificates.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use registry_http::{HttpConfig, Protocol, Request, TlsConfig};
use tokio::{sync::Semaphore, task::JoinSet, time::timeout};

use crate::local::{
    Authority, PATIENCE, answer, client_of, everything, hold, init_tls, serve_raw, serve_tls, until,
};

fn trusting(authority: &Authority) -> HttpConfig {
    let tls = TlsConfig {
        ca_file: Some(authority.ca_file()),
        ..TlsConfig::default()
    };
    HttpConfig {
        tls,
        connect_timeout: PATIENCE,
        request_timeout: PATIENCE,
        ..HttpConfig::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_parked_polls_share_three_connections() {
    let authority = Authority::new();
    let parked = Arc::new(AtomicUsize::new(0));
    let release = Arc::new(Semaphore::new(0));
    let (count, gate) = (parked.clone(), release.clone());
    let server = serve_tls(authority.server(&["h2", "http/1.1"], false), move |request| {
        let (count, gate) = (count.clone(), gate.clone());
        async move {
            if request.uri().path() == "/park" {
                count.fetch_add(1, Ordering::SeqCst);
                let _ = gate.acquire().await;
            }
            answer(200, "ok")
        }
    })
    .await;
    let client = client_of(&[&server.url()], trusting(&authority));
    assert_eq!(client.protocol(), None);
    // All at once on a cold client: none of them may dial for itself.
    let mut polls = JoinSet::new();
    for _ in 0..500 {
        let client = client.clone();
        polls.spawn(async move { client.send(&Request::get("/park").with_wait(PATIENCE)).await });
    }
    until("500 parked", || parked.load(Ordering::SeqCst) == 500).await;
    assert_eq!(
        (client.protocol(), client.watch_capacity()),
        (Some(Protocol::Http2), 64 * 200 - 4)
    );
    assert_eq!(
        (client.requests_in_flight(), client.connections_in_use()),
        (500, 3)
    );
    // A dial may be lost to each.
    assert!(server.connections.total() <= 2 * 3, "{:?}", server.connections);
    let read = timeout(PATIENCE, client.send(&Request::get("/")))
        .await
        .expect("not queued behind polls");
    assert!(read.unwrap().is_success());
    release.close();
    let answers = timeout(PATIENCE, polls.join_all()).await.expect("all released");
    assert!(
        answers
            .into_iter()
            .all(|answer| answer.is_ok_and(|answer| answer.is_success()))
    );
    assert_eq!(client.connections_in_use(), 0);
    assert!(server.connections.total() <= 2 * 3, "{:?}", server.connections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polls_that_lose_their_connections_all_at_once_do_not_dial_one_each() {
    let authority = Authority::new();
    let parked = Arc::new(AtomicUsize::new(0));
    let count = parked.clone();
    let server = serve_tls(authority.server(&["h2"], false), move |_| {
        count.fetch_add(1, Ordering::SeqCst);
        async {
            std::future::pending::<()>().await;
            answer(200, "")
        }
    })
    .await;
    let client = client_of(&[&server.url()], trusting(&authority));
    let mut polls = JoinSet::new();
    for _ in 0..300 {
        let client = client.clone();
        polls.spawn(async move {
            let poll = Request::get("/park").with_wait(PATIENCE);
            let lost = client.send(&poll).await.unwrap_err();
            assert!(
                matches!(lost.kind(), "closed_early" | "reset"),
                "{}",
                everything(&lost)
            );
            client.send(&poll).await
        });
    }
    until("300 parked", || parked.load(Ordering::SeqCst) == 300).await;
    assert!(server.connections.total() <= 2 * 2, "{:?}", server.connections);
    // Long enough to be no stale connection, whose requests would be sent again in silence.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    server.cut();
    until("300 parked again", || parked.load(Ordering::SeqCst) == 600).await;
    assert!(server.connections.total() <= 2 * 5, "{:?}", server.connections);
    polls.shutdown().await;
    until("all gone", || client.requests_in_flight() == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_one_dial_share_its_failure() {
    init_tls();
    let silent = serve_raw(hold).await;
    let config = HttpConfig {
        connect_timeout: Duration::from_millis(500),
        request_timeout: Duration::from_secs(20),
        ..HttpConfig::default()
    };
    let client = client_of(&[&silent.url().replace("http://", "https://")], config);
    let mut requests = JoinSet::new();
    for _ in 0..60 {
        let client = client.clone();
        requests.spawn(async move { client.send(&Request::get("/")).await });
    }
    // One after the other they would take half a minute, and most would find their own deadline.
    for outcome in timeout(PATIENCE, requests.join_all())
        .await
        .expect("all failed in time")
    {
        let error = outcome.unwrap_err();
        assert_eq!(error.kind(), "connect", "{}", everything(&error));
        assert!(
            everything(&error).contains("connect_timeout = 500ms"),
            "{}",
            everything(&error)
        );
    }
    assert!(silent.connections.total() <= 2 * 6, "{:?}", silent.connections);
}

#[tokio::test]
async fn a_close_in_the_handshake_is_a_refusal_and_not_tried_again() {
    init_tls();
    let closing = serve_raw(|stream| async move { drop(stream) }).await;
    let client = client_of(
        &[&closing.url().replace("http://", "https://")],
        HttpConfig::default(),
    );
    let error = client.send(&Request::get("/")).await.unwrap_err();
    assert_eq!(error.kind(), "closed_early", "{}", everything(&error));
    assert_eq!(closing.connections.total(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tls_server_without_http2_gets_the_http1_budget() {
    let authority = Authority::new();
    let server = serve_tls(authority.server(&["http/1.1"], false), |_| async {
        tokio::time::sleep(Duration::from_millis(2)).await;
        answer(200, "ok")
    })
    .await;
    let config = HttpConfig {
        max_connections: 10,
        ..trusting(&authority)
    };
    let client = client_of(&[&server.url()], config);
    let mut readers = JoinSet::new();
    for _ in 0..40 {
        let client = client.clone();
        readers.spawn(async move {
            for _ in 0..10 {
                client.send(&Request::get("/")).await.unwrap();
            }
        });
    }
    timeout(PATIENCE, readers.join_all())
        .await
        .expect("all served in time");
    assert_eq!(
        (client.protocol(), client.watch_capacity()),
        (Some(Protocol::Http1), 5)
    );
    server.connections.assert_within(10);
}

#[tokio::test]
async fn an_unknown_authority_is_a_tls_error_unless_verification_is_off() {
    let (authority, other) = (Authority::new(), Authority::new());
    let server = serve_tls(authority.server(&["h2"], false), |_| async { answer(200, "ok") }).await;
    let error = client_of(&[&server.url()], trusting(&other))
        .send(&Request::get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "tls", "{}", everything(&error));
    let mut config = trusting(&other);
    config.tls.insecure_skip_verify = true;
    assert!(
        client_of(&[&server.url()], config)
            .send(&Request::get("/"))
            .await
            .unwrap()
            .is_success()
    );
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let authority = Authority::new();
    let server = serve_tls(authority.server(&["h2"], true), |_| async {
        answer(200, "known")
    })
    .await;
    let without = client_of(&[&server.url()], trusting(&authority))
        .send(&Request::get("/"))
        .await
        .unwrap_err();
    assert_eq!(without.kind(), "tls", "{}", everything(&without));
    let (certificate, key) = authority.identity("registryd");
    let mut config = trusting(&authority);
    config.tls.client_cert_file = Some(certificate);
    config.tls.client_key_file = Some(key);
    let got = client_of(&[&server.url()], config)
        .send(&Request::get("/"))
        .await
        .unwrap();
    assert_eq!(got.body().as_ref(), b"known");
}

#[tokio::test]
async fn a_changed_authority_file_is_used_and_a_broken_one_is_not() {
    let (old, new) = (Authority::new(), Authority::new());
    let file = old.path().join("rotating.pem");
    std::fs::copy(old.ca_file(), &file).unwrap();
    let first = serve_tls(old.server(&["h2"], false), |_| async { answer(200, "first") }).await;
    let second = serve_tls(new.server(&["h2"], false), |_| async { answer(200, "second") }).await;
    let mut config = trusting(&old);
    config.tls.ca_file = Some(file.clone());
    let of_first = client_of(&[&first.url()], config.clone());
    let of_second = client_of(&[&second.url()], config);
    assert!(of_first.send(&Request::get("/")).await.unwrap().is_success());
    assert_eq!(
        of_second.send(&Request::get("/")).await.unwrap_err().kind(),
        "tls"
    );

    std::fs::write(&file, "not a certificate").unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    assert!(of_first.send(&Request::get("/")).await.unwrap().is_success());

    std::fs::copy(new.ca_file(), &file).unwrap();
    let works = async {
        while of_second.send(&Request::get("/")).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, works)
        .await
        .expect("the new authority is trusted");
}

#[tokio::test]
async fn broken_files_at_the_start_are_named() {
    let authority = Authority::new();
    let file = authority.path().join("broken.pem");
    std::fs::write(&file, "not a certificate").unwrap();
    for (path, text) in [
        (file.clone(), "not usable for TLS"),
        (authority.path().join("absent"), "cannot read"),
    ] {
        let mut config = trusting(&authority);
        config.tls.ca_file = Some(path.clone());
        let error = registry_http::HttpClient::try_new(&["https://localhost"], config, Default::default());
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains(text) && error.contains(&path.display().to_string()),
            "{error}"
        );
    }
}
