//! Faults that change or withhold an answer.

use tokio::net::TcpSocket;

use super::*;

#[tokio::test]
async fn requests_are_swallowed_reset_or_closed() {
    let (_upstream, proxy) = start().await;
    let rule = proxy.inject(Rule::new(Match::path("/n").nth(1), Fault::BlackHole));
    proxy.inject(Rule::new(Match::path("/n").nth(2), Fault::Reset));
    proxy.inject(Rule::new(Match::path("/n").nth(3), Fault::Close));

    let mut swallowed = connect(proxy.addr()).await;
    ask(&mut swallowed, "/n").await;
    soon(proxy.wait_for_requests(1)).await;
    assert_eq!(proxy.hits(rule), 1);
    let mut reset = connect(proxy.addr()).await;
    ask(&mut reset, "/n").await;
    assert_reset(&mut reset).await;
    let mut closed = connect(proxy.addr()).await;
    ask(&mut closed, "/n").await;
    assert_closed(&mut closed).await;
    assert_silent(&mut swallowed).await;

    assert_eq!(
        get(&mut connect(proxy.addr()).await, "/n").await,
        "answer 1",
        "upstream saw none of them"
    );
    let statuses: Vec<_> = proxy.requests().iter().map(|l| l.status).collect();
    assert_eq!(statuses, [None, None, None, Some(200)]);
    drop(swallowed);
    soon(proxy.wait_for_open(0)).await;
}

#[tokio::test]
async fn a_wrong_status_needs_no_upstream() {
    // Bound and not listening: it refuses connections, and nobody else gets the port.
    let upstream = TcpSocket::new_v4().unwrap();
    upstream.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let proxy = FaultProxy::start(upstream.local_addr().unwrap()).await.unwrap();
    let fault = Fault::respond(500, &[("X-Consul-Index", "1")], "rpc error making call: EOF");
    let rule = proxy.inject(Rule::new(Match::contains("index="), fault));

    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/v1/catalog/services?index=7").await;
    let (head, body) = answer(&mut client).await;
    assert!(
        head.starts_with("HTTP/1.1 500 Internal Server Error\r\nX-Consul-Index: 1\r\n"),
        "{head}"
    );
    assert_eq!(body, "rpc error making call: EOF");
    assert_eq!(proxy.requests()[0].status, Some(500));

    assert!(proxy.remove(rule) && !proxy.remove(rule));
    ask(&mut client, "/v1/catalog/services?index=7").await;
    assert_reset(&mut client).await;
}

#[tokio::test]
async fn headers_and_bodies_are_changed_in_the_order_of_the_rules() {
    let (_upstream, proxy) = start().await;
    for fault in [
        Fault::set_header("x-consul-index", "18446744073709551615"),
        Fault::add_header("X-Consul-Index", "none"),
        Fault::remove_header("content-type"),
        Fault::replace_body("[]"),
        Fault::map_body(|body| Bytes::from([&body[..], b"!"].concat())),
    ] {
        proxy.inject(Rule::always(fault));
    }
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/n").await;
    let (head, body) = answer(&mut client).await;
    assert_eq!(
        head,
        "HTTP/1.1 200 OK\r\nx-consul-index: 18446744073709551615\r\nX-Consul-Index: none\r\n\
         Content-Length: 3\r\n\r\n"
    );
    assert_eq!(body, "[]!");
    proxy.clear();
    assert_eq!(get(&mut client, "/n").await, "answer 2");
}

#[tokio::test]
async fn old_answers_are_replayed() {
    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    proxy.inject(Rule::new(Match::path("/n").nth(4), Fault::ReplayFirst));
    proxy.inject(Rule::new(Match::path("/n").nth(5), Fault::ReplayPrevious));
    let mut bodies = Vec::new();
    for index in 1..=6 {
        bodies.push(get(&mut client, &format!("/n?index={index}")).await);
    }
    assert_eq!(
        bodies,
        [
            "answer 1", "answer 2", "answer 3", "answer 1", "answer 4", "answer 6"
        ]
    );
    assert_eq!(get(&mut client, "/other").await, "answer 7");
}

#[tokio::test]
async fn an_answer_is_held_until_the_next_has_passed() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::new(
        Match::path("/n").times(1),
        Fault::HoldUntilNext(DEADLINE),
    ));
    let mut first = connect(proxy.addr()).await;
    ask(&mut first, "/n?who=first").await;
    soon(proxy.wait_for_requests(1)).await;
    assert_eq!(get(&mut connect(proxy.addr()).await, "/echo").await, "GET /echo ");
    assert_silent(&mut first).await;
    assert_eq!(
        get(&mut connect(proxy.addr()).await, "/n?who=second").await,
        "answer 2"
    );
    assert_eq!(answer(&mut first).await.1, "answer 1");
}

#[tokio::test]
async fn a_held_answer_passes_at_last_when_no_other_comes() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::always(Fault::HoldUntilNext(A_WHILE)));
    let before = Instant::now();
    assert_eq!(get(&mut connect(proxy.addr()).await, "/n").await, "answer 1");
    assert!(before.elapsed() >= A_WHILE);
}

#[tokio::test]
async fn latency_delays_the_answer() {
    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    proxy.inject(Rule::new(Match::any().nth(1), Fault::Latency(A_WHILE)));
    let before = Instant::now();
    assert_eq!(get(&mut client, "/n").await, "answer 1");
    assert!(before.elapsed() >= A_WHILE);
    assert_eq!(get(&mut client, "/n").await, "answer 2");
}

#[tokio::test]
async fn rules_come_and_go_while_a_request_is_parked() {
    let (mut upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    let gone = proxy.inject(Rule::always(Fault::set_header("X-Early", "1")));
    ask(&mut client, "/park-a-while").await;
    upstream.wait_for_parked(1).await;
    let late = proxy.inject(Rule::always(Fault::replace_body("late")));
    proxy.remove(gone);
    let (head, body) = answer(&mut client).await;
    assert_eq!(body, "late");
    assert!(!head.contains("X-Early"), "{head}");
    assert_eq!((proxy.hits(late), proxy.hits(gone)), (1, 0));
}
