//! Without faults: messages pass, closings pass, the log and the counters are right.

use super::*;

#[tokio::test]
async fn messages_of_every_framing_pass() {
    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;

    assert_eq!(get(&mut client, "/n").await, "answer 1");
    ask(&mut client, "/chunked").await;
    assert_eq!(
        soon(read_head(&mut client)).await.unwrap(),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut chunks = [0; 21];
    soon(client.read_exact(&mut chunks)).await.unwrap();
    assert_eq!(&chunks, b"b\r\nhello world\r\n0\r\n\r\n");

    client
        .write_all(b"PUT /echo?a=b HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody")
        .await
        .unwrap();
    assert_eq!(answer(&mut client).await.1, "PUT /echo?a=b body");
    client
        .write_all(b"PUT /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
        .await
        .unwrap();
    assert_eq!(answer(&mut client).await.1, "PUT /echo body");

    client.write_all(b"HEAD /head HTTP/1.1\r\n\r\n").await.unwrap();
    assert_eq!(
        soon(read_head(&mut client)).await.unwrap(),
        "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n"
    );
    ask(&mut client, "/nothing").await;
    assert_eq!(
        soon(read_head(&mut client)).await.unwrap(),
        "HTTP/1.1 204 No Content\r\nX-Kept: yes\r\n\r\n"
    );

    assert_eq!(get(&mut client, "/until-close").await, "to the end");
    assert_closed(&mut client).await;
    assert_eq!(proxy.connections_total(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/n").await;
    ask(&mut client, "/n").await;
    assert_eq!(answer(&mut client).await.1, "answer 1");
    assert_eq!(answer(&mut client).await.1, "answer 2");
}

#[tokio::test]
async fn a_client_that_waits_for_permission_gets_it() {
    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    let head = b"PUT /echo HTTP/1.1\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    client.write_all(head).await.unwrap();
    assert_eq!(
        soon(read_head(&mut client)).await.unwrap(),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    client.write_all(b"body").await.unwrap();
    assert_eq!(answer(&mut client).await.1, "PUT /echo body");
}

#[tokio::test]
async fn the_log_tells_what_was_asked_and_answered() {
    let (_upstream, proxy) = start().await;
    let before = Instant::now();
    let mut first = connect(proxy.addr()).await;
    get(&mut first, "/n?index=7&wait=30s&stale").await;
    let mut second = connect(proxy.addr()).await;
    get(&mut second, "/n").await;
    ask(&mut first, "/park").await;
    soon(proxy.wait_for_requests(3)).await;

    let log = proxy.requests();
    let told: Vec<_> = log.iter().map(|l| (l.connection, l.path(), l.status)).collect();
    assert_eq!(
        told,
        [(1, "/n", Some(200)), (2, "/n", Some(200)), (1, "/park", None)]
    );
    assert_eq!(log[0].method, "GET");
    assert_eq!(log[0].query("wait").as_deref(), Some("30s"));
    assert_eq!(log[0].query("stale").as_deref(), Some(""));
    assert_eq!(log[0].query("dc"), None);
    assert!(before <= log[0].at && log[0].at <= log[1].at);
}

#[tokio::test]
async fn counters_follow_the_connections() {
    let (_upstream, proxy) = start().await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        clients.push(connect(proxy.addr()).await);
    }
    soon(proxy.wait_for_open(50)).await;
    clients.truncate(20);
    soon(proxy.wait_for_open(20)).await;
    clients.push(connect(proxy.addr()).await);
    soon(proxy.wait_for_connections(51)).await;
    soon(proxy.wait_for_open(21)).await;
    drop(clients);
    soon(proxy.wait_for_open(0)).await;
    assert_eq!(
        (
            proxy.connections_open(),
            proxy.connections_total(),
            proxy.connections_max()
        ),
        (0, 51, 50)
    );
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_parked_request_with_it() {
    let (mut upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/park").await;
    upstream.wait_for_parked(1).await;
    drop(client);
    upstream.wait_for_parked(0).await;
    soon(proxy.wait_for_open(0)).await;
}

#[tokio::test]
async fn a_server_that_ends_shows_on_all_connections() {
    let (mut upstream, proxy) = start().await;
    let mut idle = connect(proxy.addr()).await;
    get(&mut idle, "/n").await;
    let mut parked = connect(proxy.addr()).await;
    ask(&mut parked, "/park").await;
    upstream.wait_for_parked(1).await;

    let mut abandoned = connect(proxy.addr()).await;
    ask(&mut abandoned, "/close").await;
    assert_eq!(rest(&mut abandoned).await.0, "");

    drop(upstream);
    assert_eq!(rest(&mut idle).await.0, "");
    assert_eq!(rest(&mut parked).await.0, "");
    soon(proxy.wait_for_open(0)).await;
    // The proxy stays, and shows that nobody is behind it.
    let mut late = connect(proxy.addr()).await;
    ask(&mut late, "/n").await;
    assert_reset(&mut late).await;
}

#[tokio::test]
async fn what_the_server_says_unasked_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
    let mut client = connect(proxy.addr()).await;
    let (mut accepted, _) = soon(listener.accept()).await.unwrap();
    accepted
        .write_all(b"HTTP/1.1 429 Too Many Requests\r\n\r\nlimit")
        .await
        .unwrap();
    drop(accepted);
    let (text, end) = rest(&mut client).await;
    end.unwrap();
    assert_eq!(text, "HTTP/1.1 429 Too Many Requests\r\n\r\nlimit");
}

#[tokio::test]
async fn a_pooled_client_works_through_it() {
    registry_testkit::init_tls();
    let (_upstream, proxy) = start().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..64 {
        let request = client.get(format!("{}/echo?n={number}", proxy.url()));
        tasks.spawn(async move { (number, request.send().await.unwrap().text().await.unwrap()) });
    }
    while let Some(done) = tasks.join_next().await {
        let (number, text) = done.unwrap();
        assert_eq!(text, format!("GET /echo?n={number} "));
    }
    assert_eq!(proxy.requests_total(), 64);
    assert!(proxy.connections_max() <= 64);
}

#[tokio::test]
async fn upstream_is_asked_for_a_readable_body() {
    let (_upstream, proxy) = start().await;
    assert_eq!(
        get(&mut connect(proxy.addr()).await, "/compressed").await,
        "false"
    );
}

#[tokio::test]
async fn stopping_it_closes_port_and_connections() {
    let (_upstream, proxy) = start().await;
    let addr = proxy.addr();
    let mut client = connect(addr).await;
    get(&mut client, "/n").await;
    soon(proxy.shutdown()).await;
    assert_closed(&mut client).await;
    assert!(soon(TcpStream::connect(addr)).await.is_err());

    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    get(&mut client, "/n").await;
    drop(proxy);
    assert_closed(&mut client).await;
}
