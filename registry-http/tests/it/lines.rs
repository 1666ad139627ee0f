//! Answers without an end.

use std::time::Duration;

use registry_http::{Error, HttpConfig, Lane, Lines, Opened, Request};

use crate::local::{
    PATIENCE, Server, answer, client, client_of, everything, hold, read_head, refused, serve, serve_raw,
    until, write,
};

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";

/// A server that sends these pieces, each in a packet of its own, and then closes or holds the connection.
async fn sends(pieces: Vec<Vec<u8>>, closes: bool) -> Server {
    serve_raw(move |mut stream| {
        let pieces = pieces.clone();
        async move {
            read_head(&mut stream).await;
            write(&mut stream, HEAD).await;
            for piece in pieces {
                write(&mut stream, &piece).await;
                tokio::task::yield_now().await;
            }
            if !closes {
                hold(stream).await;
            }
        }
    })
    .await
}

async fn opened(client: &registry_http::HttpClient) -> Box<Lines> {
    let request = Request::get("/events").with_lane(Lane::Watch);
    match tokio::time::timeout(PATIENCE, client.open(&request)).await {
        Ok(Ok(Opened::Lines(lines))) => lines,
        other => panic!("{other:?}"),
    }
}

async fn read(lines: &mut Lines) -> Vec<String> {
    let mut read = Vec::new();
    while let Some(line) = lines.next_line(PATIENCE).await.expect("the stream goes on") {
        read.push(String::from_utf8(line.to_vec()).expect("text"));
    }
    read
}

#[tokio::test]
async fn lines_come_whole_wherever_they_are_cut() {
    let text = b"{}\n{\"a\":1}\r\n\nlast\nbroken off";
    for cut in 0..text.len() {
        let (left, right) = text.split_at(cut);
        let server = sends(vec![left.to_vec(), right.to_vec()], true).await;
        let mut lines = opened(&client(&server.url())).await;
        assert_eq!(lines.status(), 200);
        assert_eq!(
            read(&mut lines).await,
            ["{}", "{\"a\":1}", "", "last"],
            "cut at {cut}"
        );
    }
}

#[tokio::test]
async fn a_silence_is_an_error_and_nothing_before_it_is_lost() {
    let server = sends(vec![b"one\ntw".to_vec()], false).await;
    let mut lines = opened(&client(&server.url())).await;
    assert_eq!(lines.next_line(PATIENCE).await.unwrap().unwrap(), "one");
    // A wait that is dropped half-way loses nothing either.
    let dropped = tokio::time::timeout(Duration::from_millis(20), lines.next_line(PATIENCE)).await;
    assert!(dropped.is_err());
    let error = lines.next_line(Duration::from_millis(50)).await.unwrap_err();
    assert_eq!(error.kind(), "timeout", "{}", everything(&error));
}

#[tokio::test]
async fn a_line_beyond_the_limit_is_refused() {
    let server = sends(vec![b"short\n".to_vec(), vec![b'x'; 5_000]], false).await;
    let config = HttpConfig {
        max_body_bytes: 1_000,
        ..HttpConfig::default()
    };
    let mut lines = opened(&client_of(&[&server.url()], config)).await;
    assert_eq!(lines.next_line(PATIENCE).await.unwrap().unwrap(), "short");
    let error = lines.next_line(PATIENCE).await.unwrap_err();
    assert!(
        matches!(error, Error::BodyTooLarge { limit: 1_000, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_refusal_is_read_to_its_end() {
    let server = serve(|_| async { answer(403, "Permission denied") }).await;
    let opened = client(&server.url()).open(&Request::get("/events")).await;
    let Ok(Opened::Refused(response)) = opened else {
        panic!("{opened:?}");
    };
    assert_eq!(
        (response.status().as_u16(), response.error_text().as_str()),
        (403, "Permission denied")
    );
}

#[tokio::test]
async fn a_server_that_is_gone_leads_to_the_next() {
    let server = sends(vec![b"here\n".to_vec()], false).await;
    let client = client_of(&[&refused().await, &server.url()], HttpConfig::default());
    let mut lines = opened(&client).await;
    assert_eq!(lines.base(), 1);
    assert_eq!(lines.next_line(PATIENCE).await.unwrap().unwrap(), "here");
}

#[tokio::test]
async fn lines_hold_a_permit_and_close_their_connection_when_dropped() {
    let server = sends(vec![b"here\n".to_vec()], false).await;
    let client = client(&server.url());
    let lines = opened(&client).await;
    assert_eq!(client.requests_in_flight(), 1);
    drop(lines);
    until("the permit is given back", || client.requests_in_flight() == 0).await;
    let second = opened(&client).await;
    assert_eq!(
        server.connections.total(),
        2,
        "a stream's connection is not used again"
    );
    drop(second);
}
