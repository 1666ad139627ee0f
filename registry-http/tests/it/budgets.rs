//! Connections over HTTP/1.1: never more than allowed, and short reads always get one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use registry_http::{HttpConfig, Protocol, Request};
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

use crate::local::{PATIENCE, answer, client_of, serve, until};

fn small(max_connections: usize) -> HttpConfig {
    HttpConfig {
        max_connections,
        request_timeout: PATIENCE,
        ..HttpConfig::default()
    }
}

fn park() -> Request {
    Request::get("/park").with_wait(PATIENCE)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_stay_within_the_budget_under_churn() {
    let served = Arc::new(AtomicUsize::new(0));
    let (at_once, most_at_once) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
    let (count, now, most) = (served.clone(), at_once, most_at_once.clone());
    let server = serve(move |_| {
        let turn = count.fetch_add(1, Ordering::Relaxed);
        most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        let now = now.clone();
        async move {
            if turn.is_multiple_of(7) {
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
            now.fetch_sub(1, Ordering::SeqCst);
            answer(200, vec![b'x'; (turn % 5) * 3000])
        }
    })
    .await;
    let client = client_of(&[&server.url()], small(20));
    let mut readers = JoinSet::new();
    for _ in 0..60 {
        let client = client.clone();
        readers.spawn(async move {
            for _ in 0..60 {
                client.send(&Request::get("/")).await.unwrap();
            }
        });
    }
    timeout(PATIENCE, readers.join_all())
        .await
        .expect("all served in time");
    assert_eq!(served.load(Ordering::Relaxed), 3600);
    // Of requests there is never one too many, on no machine.
    assert!(
        most_at_once.load(Ordering::SeqCst) <= 20,
        "{most_at_once:?} at once"
    );
    server.connections.assert_within(20);
    // They were reused: without a pool there would be thousands.
    assert!(server.connections.total() <= 100, "{:?}", server.connections);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parked_watches_never_starve_a_read() {
    let server = serve(|request| async move {
        if request.uri().path() == "/park" {
            std::future::pending::<()>().await;
        }
        answer(200, "read")
    })
    .await;
    let client = client_of(&[&server.url()], small(20));
    assert_eq!(
        (client.protocol(), client.watch_capacity()),
        (Some(Protocol::Http1), 15)
    );
    let mut watches = JoinSet::new();
    for _ in 0..100 {
        let client = client.clone();
        watches.spawn(async move { client.send(&park()).await });
    }
    until("all watches parked", || server.connections.open() == 15).await;
    for _ in 0..50 {
        let read = timeout(PATIENCE, client.send(&Request::get("/")))
            .await
            .expect("not starved")
            .unwrap();
        assert_eq!(read.body().as_ref(), b"read");
    }
    until("only the watches left", || client.connections_in_use() == 15).await;
    server.connections.assert_within(20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_parked_watch_closes_its_connection_and_frees_the_budget() {
    let server = serve(|_| async {
        std::future::pending::<()>().await;
        answer(200, "")
    })
    .await;
    let client = client_of(&[&server.url()], small(10));
    for _ in 0..5 {
        let mut watches = JoinSet::new();
        for _ in 0..client.watch_capacity() {
            let client = client.clone();
            watches.spawn(async move { client.send(&park()).await });
        }
        until("parked", || server.connections.open() == client.watch_capacity()).await;
        watches.shutdown().await;
        assert_eq!(client.connections_in_use(), 0);
        until("closed", || server.connections.open() == 0).await;
    }
    server.connections.assert_within(10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_budget_holds_while_watches_come_and_go_beside_reads() {
    let turns = Arc::new(AtomicUsize::new(0));
    let server = serve(move |request| {
        let turn = turns.fetch_add(1, Ordering::Relaxed);
        async move {
            if request.uri().path() == "/park" {
                tokio::time::sleep(Duration::from_millis((turn % 40) as u64)).await;
            }
            answer(200, "ok")
        }
    })
    .await;
    let client = client_of(&[&server.url()], small(80));
    let mut tasks = JoinSet::new();
    for task in 0..120 {
        let client = client.clone();
        tasks.spawn(async move {
            for _ in 0..30 {
                let request = if task % 3 == 0 { Request::get("/") } else { park() };
                client.send(&request).await.unwrap();
            }
        });
    }
    timeout(PATIENCE, tasks.join_all())
        .await
        .expect("all served in time");
    server.connections.assert_within(80);
}

#[tokio::test]
async fn a_full_budget_is_said_in_the_error() {
    let server = serve(|_| async {
        std::future::pending::<()>().await;
        answer(200, "")
    })
    .await;
    let client = client_of(&[&server.url()], small(1));
    let parked = tokio::spawn({
        let client = client.clone();
        async move { client.send(&park()).await }
    });
    until("parked", || client.connections_in_use() == 1).await;
    let read = Request::get("/").with_deadline(Duration::from_millis(100));
    let error = client.send(&read).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), ("busy", true));
    assert!(error.to_string().contains("max_connections"), "{error}");
    parked.abort();
}

#[tokio::test]
async fn requests_are_paced() {
    let server = serve(|_| async { answer(200, "") }).await;
    let config = HttpConfig {
        max_requests_per_second: Some(1),
        ..HttpConfig::default()
    };
    let client = client_of(&[&server.url()], config);
    // So many that, however slow the machine, some still wait for their second.
    let start = Instant::now();
    let mut requests = JoinSet::new();
    for _ in 0..6 {
        let client = client.clone();
        requests.spawn(async move { client.send(&Request::get("/")).await });
    }
    requests.join_next().await.unwrap().unwrap().unwrap();
    let hurried = Request::get("/").with_deadline(Duration::from_millis(10));
    let error = client.send(&hurried).await.unwrap_err();
    assert!(error.to_string().contains("max_requests_per_second"), "{error}");
    let paced = timeout(PATIENCE, requests.join_all()).await.expect("all in time");
    assert!(paced.into_iter().all(|answer| answer.is_ok()));
    assert!(start.elapsed() >= Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_smaller_limit_takes_effect_at_once() {
    let server = serve(|_| async { answer(200, "") }).await;
    let client = client_of(&[&server.url()], small(80));
    assert_eq!(client.watch_capacity(), 72);
    client.set_max_connections(40);
    assert_eq!(client.watch_capacity(), 34);
}
