//! Faults before a request is read.

use super::*;

#[tokio::test]
async fn every_second_connection_is_reset() {
    let (_upstream, proxy) = start().await;
    let rule = proxy.inject(Rule::new(Match::any().every(2).times(2), Fault::ConnectReset));
    for number in 1..=6 {
        let mut client = connect(proxy.addr()).await;
        if number == 2 || number == 4 {
            assert_reset(&mut client).await;
        } else {
            get(&mut client, "/n").await;
        }
    }
    assert_eq!(proxy.hits(rule), 2);
    assert_eq!((proxy.connections_total(), proxy.requests_total()), (6, 4));
}

#[tokio::test]
async fn a_connection_is_closed_without_a_byte() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::new(Match::any().nth(1), Fault::ConnectClose));
    assert_closed(&mut connect(proxy.addr()).await).await;
    assert_eq!(get(&mut connect(proxy.addr()).await, "/n").await, "answer 1");
}

#[tokio::test]
async fn too_many_requests_is_written_before_a_request_is_read() {
    let (upstream, proxy) = start().await;
    proxy.inject(Rule::new(Match::any().times(1), Fault::TooManyRequests));
    let (text, end) = rest(&mut connect(proxy.addr()).await).await;
    end.unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 429 Too Many Requests\r\n") && head.ends_with("Connection: close"),
        "{head}"
    );
    assert_eq!(body.len(), 81);
    assert_eq!((proxy.requests_total(), *upstream.accepted.borrow()), (0, 0));
}
