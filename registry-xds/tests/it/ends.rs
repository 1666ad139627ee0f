//! How connections end.

use std::time::Duration;

use registry_testkit::wait::until;
use registry_xds::{ResourceType, XdsConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::Code;

use crate::support::{ADS_DELTA, Delta, PATIENCE, connect, first_delta, serve, service};

#[tokio::test]
async fn streams_end_as_unavailable_when_the_server_stops() {
    let (mut served, _handle) = serve([service("web", 2, 1)], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();
    talk.say(first_delta(ResourceType::Cluster, &[]));
    talk.hear().await;

    served.stop.cancel();
    assert_eq!(talk.end().await.code(), Code::Unavailable);
    timeout(PATIENCE, &mut served.ended)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
    assert!(served.xds.clients().list().is_empty());
}

#[tokio::test]
async fn a_goaway_is_sent_before_the_end() {
    let (served, _handle) = serve([], XdsConfig::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    // The preface and empty settings of HTTP/2.
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    // The server has taken them once it says that its first frame is there.
    let mut head = [0; 9];
    timeout(PATIENCE, stream.read_exact(&mut head))
        .await
        .unwrap()
        .unwrap();
    served.stop.cancel();
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .unwrap()
        .unwrap();

    let mut types = vec![head[3]];
    let mut at = &rest[length(&head)..];
    while let Some((head, after)) = at.split_at_checked(9) {
        types.push(head[3]);
        at = &after[length(head)..];
    }
    assert!(types.contains(&7), "no GOAWAY in {types:?}");
}

fn length(head: &[u8]) -> usize {
    usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2])
}

#[tokio::test]
async fn a_connection_ends_at_its_age_and_the_next_one_is_served() {
    let config = XdsConfig {
        max_connection_age: Duration::from_secs(1),
        ..XdsConfig::default()
    };
    let (served, _handle) = serve([service("web", 2, 1)], config).await;
    let channel = connect(served.address).await;
    for _ in 0..3 {
        let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();
        talk.say(first_delta(ResourceType::Cluster, &[]));
        talk.hear().await;
        assert_eq!(talk.end().await.code(), Code::Unavailable);
    }
}

#[tokio::test]
async fn what_is_no_http_2_is_dropped() {
    let (served, _handle) = serve([], XdsConfig::default()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    // The server lives.
    connect(served.address).await;
}

#[tokio::test]
async fn streams_that_clients_leave_are_forgotten() {
    let (served, _handle) = serve([service("web", 2, 1)], XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut talks = Vec::new();
    for _ in 0..10 {
        let mut talk = Delta::open(&channel, ADS_DELTA).await.unwrap();
        talk.say(first_delta(ResourceType::Cluster, &[]));
        talk.hear().await;
        talks.push(talk);
    }
    assert_eq!(served.xds.clients().list().len(), 10);
    drop(talks);
    drop(channel);
    until("all are gone", PATIENCE, async || {
        served.xds.clients().list().is_empty().then_some(())
    })
    .await
    .unwrap();
}
