//! Faults in how an answer is written.

use super::*;

#[tokio::test]
async fn a_drip_is_one_byte_per_interval() {
    let (_upstream, proxy) = start().await;
    let interval = Duration::from_millis(30);
    proxy.inject(Rule::new(Match::any().times(2), Fault::Drip(interval)));
    let mut client = connect(proxy.addr()).await;
    // From before the request: who knows how late this task reads the head.
    let before = Instant::now();
    ask(&mut client, "/n").await;
    let head = soon(read_head(&mut client)).await.unwrap();
    assert_eq!(soon(read_body(&mut client, &head)).await.unwrap(), b"answer 1");
    assert!(before.elapsed() >= interval * 7, "{:?}", before.elapsed());

    ask(&mut client, "/chunked").await;
    soon(read_head(&mut client)).await.unwrap();
    let mut chunks = [0; 12];
    soon(client.read_exact(&mut chunks)).await.unwrap();
    assert_eq!(&chunks, b"1\r\nh\r\n1\r\ne\r\n");
}

#[tokio::test]
async fn an_answer_stalls_after_n_bytes() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::always(Fault::StallAfter(3)));
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/n").await;
    assert!(
        soon(read_head(&mut client))
            .await
            .unwrap()
            .contains("Content-Length: 8\r\n")
    );
    let mut shown = [0; 3];
    soon(client.read_exact(&mut shown)).await.unwrap();
    assert_eq!(&shown, b"ans");
    assert_silent(&mut client).await;
    assert_eq!(proxy.connections_open(), 1);
    drop(client);
    soon(proxy.wait_for_open(0)).await;
}

#[tokio::test]
async fn an_answer_is_cut_at_byte_n() {
    let (_upstream, proxy) = start().await;
    for (fault, target, expected) in [
        (Fault::CutBody(0), "/echo", ""),
        (Fault::CutBody(3), "/echo", "GET"),
        (Fault::CutBody(5), "/chunked", "5\r\nhello\r\n"),
        (Fault::CutBody(11), "/chunked", "b\r\nhello world\r\n"),
        (Fault::Unterminated, "/chunked", "b\r\nhello world\r\n"),
        (Fault::Unterminated, "/echo", "a\r\nGET /echo \r\n"),
    ] {
        let rule = proxy.inject(Rule::always(fault.clone()));
        let mut client = connect(proxy.addr()).await;
        ask(&mut client, target).await;
        assert_eq!(body_until_end(&mut client).await, expected, "{fault:?} {target}");
        proxy.remove(rule);
    }
    for bytes in [0, 1, 20, 90] {
        let rule = proxy.inject(Rule::always(Fault::CutAnswer(bytes)));
        let mut client = connect(proxy.addr()).await;
        ask(&mut client, "/echo").await;
        let (text, end) = rest(&mut client).await;
        end.unwrap();
        assert_eq!(text, plain("GET /echo ")[..bytes]);
        proxy.remove(rule);
    }
}

#[tokio::test]
async fn a_declared_length_is_too_long() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::always(Fault::ExcessLength(5)));
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/echo").await;
    let (text, end) = rest(&mut client).await;
    end.unwrap();
    assert!(
        text.contains("Content-Length: 15\r\n") && text.ends_with("\r\n\r\nGET /echo "),
        "{text}"
    );

    proxy.inject(Rule::always(Fault::StallAfter(usize::MAX)));
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/echo").await;
    let head = soon(read_head(&mut client)).await.unwrap();
    assert!(head.contains("Content-Length: 15\r\n"), "{head}");
    soon(client.read_exact(&mut [0; 10])).await.unwrap();
    assert_silent(&mut client).await;
}

#[tokio::test]
async fn an_answer_is_written_twice() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::new(Match::any().nth(1), Fault::Duplicate));
    let mut client = connect(proxy.addr()).await;
    assert_eq!(get(&mut client, "/n").await, "answer 1");
    assert_eq!(answer(&mut client).await.1, "answer 1");
    assert_eq!(get(&mut client, "/n").await, "answer 2");
}

#[tokio::test]
async fn a_real_client_notices_a_cut() {
    registry_testkit::init_tls();
    let (_upstream, proxy) = start().await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(DEADLINE)
        .build()
        .unwrap();
    for (fault, target) in [
        (Fault::CutBody(3), "/n"),
        (Fault::Unterminated, "/chunked"),
        (Fault::ExcessLength(1), "/n"),
    ] {
        let rule = proxy.inject(Rule::always(fault.clone()));
        let answer = client
            .get(format!("{}{target}", proxy.url()))
            .send()
            .await
            .unwrap();
        let read = answer.bytes().await;
        assert!(
            read.as_ref().is_err_and(|error| !error.is_timeout()),
            "{fault:?}: {read:?}"
        );
        proxy.remove(rule);
    }
}
