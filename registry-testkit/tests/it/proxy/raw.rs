//! The proxy for bytes of any kind.

use super::*;

/// Sends everything back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    addr
}

async fn said(stream: &mut TcpStream, bytes: &[u8]) -> Vec<u8> {
    soon(stream.write_all(bytes)).await.unwrap();
    let mut back = vec![0; bytes.len()];
    soon(stream.read_exact(&mut back)).await.unwrap();
    back
}

#[tokio::test]
async fn raw_bytes_pass_until_a_black_hole_or_a_reset() {
    let proxy = FaultProxy::tcp(echo().await).await.unwrap();
    let mut client = connect(proxy.addr()).await;
    assert_eq!(said(&mut client, b"\x16\x03\x01").await, b"\x16\x03\x01");
    let large = vec![7; 1 << 20];
    let (mut read, mut write) = client.split();
    let mut back = vec![0; large.len()];
    let (wrote, got) =
        soon(async { tokio::join!(write.write_all(&large), read.read_exact(&mut back)) }).await;
    wrote.unwrap();
    got.unwrap();
    assert_eq!(back, large);

    proxy.black_hole(true);
    client.write_all(b"hello").await.unwrap();
    assert_silent(&mut client).await;
    proxy.black_hole(false);
    let mut back = [0; 5];
    soon(client.read_exact(&mut back)).await.unwrap();
    assert_eq!(&back, b"hello");

    proxy.reset_all();
    assert_reset(&mut client).await;
    soon(proxy.wait_for_open(0)).await;
    assert_eq!(
        (
            proxy.connections_total(),
            proxy.connections_max(),
            proxy.requests_total()
        ),
        (1, 1, 0)
    );
}

#[tokio::test]
async fn raw_connections_are_cut_stalled_dripped_and_delayed() {
    let proxy = FaultProxy::tcp(echo().await).await.unwrap();
    for (number, fault) in [
        Fault::CutAnswer(4),
        Fault::StallAfter(4),
        Fault::Drip(Duration::from_millis(30)),
        Fault::Latency(A_WHILE),
        Fault::BlackHole,
    ]
    .into_iter()
    .enumerate()
    {
        proxy.inject(Rule::new(Match::any().nth(number as u64 + 1), fault));
    }
    proxy.inject(Rule::new(Match::any().nth(6), Fault::ConnectReset));

    let mut cut = connect(proxy.addr()).await;
    cut.write_all(b"123456").await.unwrap();
    assert_eq!(rest(&mut cut).await.0, "1234");

    let mut stalled = connect(proxy.addr()).await;
    assert_eq!(said(&mut stalled, b"1234").await, b"1234");
    stalled.write_all(b"56").await.unwrap();
    assert_silent(&mut stalled).await;

    let (mut dripping, before) = (connect(proxy.addr()).await, Instant::now());
    said(&mut dripping, b"12345").await;
    assert!(before.elapsed() >= Duration::from_millis(150));

    let (mut delayed, before) = (connect(proxy.addr()).await, Instant::now());
    said(&mut delayed, b"1").await;
    assert!(before.elapsed() >= A_WHILE);

    let mut swallowed = connect(proxy.addr()).await;
    swallowed.write_all(b"1").await.unwrap();
    assert_silent(&mut swallowed).await;

    assert_reset(&mut connect(proxy.addr()).await).await;
    let mut last = connect(proxy.addr()).await;
    assert_eq!(said(&mut last, b"123456").await, b"123456");
}

#[tokio::test]
#[should_panic(expected = "not possible in raw mode")]
async fn raw_mode_rejects_faults_that_need_http() {
    let proxy = FaultProxy::tcp("127.0.0.1:1".parse().unwrap()).await.unwrap();
    proxy.inject(Rule::always(Fault::CutBody(1)));
}
