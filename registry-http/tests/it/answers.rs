//! Bodies, deadlines and answers that are not what they should be.

use std::{io::Write, time::Duration};

use registry_http::{Error, HttpConfig, Request};

use crate::local::{
    PATIENCE, answer, client, client_of, everything, hold, read_head, refused, serve, serve_raw, write,
};

fn gzip(size: usize) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let zeros = vec![b'0'; 64 * 1024];
    for _ in 0..size / zeros.len() {
        encoder.write_all(&zeros).expect("written to memory");
    }
    encoder.finish().expect("written to memory")
}

#[tokio::test]
async fn any_status_is_an_answer_with_its_text() {
    let server = serve(|request| async move {
        assert_eq!(request.headers()["accept"], "application/json");
        assert!(
            request.headers()["user-agent"]
                .to_str()
                .unwrap()
                .starts_with("registryd/")
        );
        let mut answer = answer(503, "no leader\n");
        answer.headers_mut().insert("retry-after", "7".parse().unwrap());
        answer
    })
    .await;
    let got = client(&server.url())
        .send(&Request::get("/v1/x").with_accept("application/json"))
        .await
        .unwrap();
    assert_eq!(
        (got.status().as_u16(), got.error_text().as_str()),
        (503, "no leader")
    );
    assert_eq!(got.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(got.url().to_string(), format!("{}/v1/x", server.url()));
}

#[tokio::test]
async fn base_path_and_queries_reach_the_server() {
    let server = serve(|request| async move { answer(200, request.uri().to_string()) }).await;
    let client = client(&format!("{}/ctx/eureka/", server.url()));
    let got = client
        .send(&Request::get("/apps?x=1").with_query("y", "a b"))
        .await
        .unwrap();
    assert_eq!(got.body().as_ref(), b"/ctx/eureka/apps?x=1&y=a+b");
}

#[tokio::test]
async fn gzip_is_decoded_and_a_bomb_stops_at_the_limit() {
    let server = serve(|request| async move {
        let size = if request.uri().path() == "/bomb" {
            16 << 20
        } else {
            1 << 20
        };
        let mut answer = answer(200, gzip(size));
        answer
            .headers_mut()
            .insert("content-encoding", "gzip".parse().unwrap());
        answer
    })
    .await;
    let config = HttpConfig {
        max_body_bytes: 2 << 20,
        request_timeout: PATIENCE,
        ..HttpConfig::default()
    };
    let client = client_of(&[&server.url()], config);
    assert_eq!(
        client.send(&Request::get("/fine")).await.unwrap().body().len(),
        1 << 20
    );
    let error = client.send(&Request::get("/bomb")).await.unwrap_err();
    assert_eq!((error.kind(), error.is_retryable()), ("body_too_large", false));
    let text = error.to_string();
    assert!(
        text.contains("/bomb") && text.contains("max_body_bytes = 2097152"),
        "{text}"
    );
}

#[tokio::test]
async fn a_body_announced_as_too_large_is_not_read() {
    let server = serve(|_| async { answer(200, vec![b'x'; 2000]) }).await;
    for (limit, fits) in [(2000, true), (1999, false)] {
        let config = HttpConfig {
            max_body_bytes: limit,
            ..HttpConfig::default()
        };
        let got = client_of(&[&server.url()], config).send(&Request::get("/")).await;
        assert_eq!(got.is_ok(), fits, "{got:?}");
    }
}

#[tokio::test]
async fn a_dripping_body_ends_at_the_hard_deadline() {
    let server = serve_raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n").await;
        loop {
            write(&mut stream, b"x").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let client = client(&server.url());
    // Long enough for the head.
    let request = Request::get("/slow").with_deadline(Duration::from_secs(3));
    let error = tokio::time::timeout(PATIENCE, client.send(&request))
        .await
        .unwrap()
        .unwrap_err();
    assert_eq!(error.kind(), "timeout");
    let text = error.to_string();
    assert!(
        text.contains("/slow") && text.contains("3s") && text.contains("body"),
        "{text}"
    );
    assert_eq!(client.connections_in_use(), 0);
}

#[tokio::test]
async fn a_server_that_never_answers_ends_at_the_hard_deadline() {
    let server = serve_raw(hold).await;
    let request = Request::get("/").with_deadline(Duration::from_millis(200));
    let error = client(&server.url()).send(&request).await.unwrap_err();
    assert!(
        matches!(
            error,
            Error::Timeout {
                phase: "before its head",
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_cut_body_is_an_error_and_never_a_short_answer() {
    for cut in [
        "content-length: 10\r\n\r\nabc",
        "transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let server = serve_raw(move |mut stream| async move {
            read_head(&mut stream).await;
            write(&mut stream, format!("HTTP/1.1 200 OK\r\n{cut}").as_bytes()).await;
        })
        .await;
        let error = client(&server.url()).send(&Request::get("/")).await.unwrap_err();
        assert_eq!(error.kind(), "body", "{}", everything(&error));
    }
}

#[tokio::test]
async fn a_close_before_any_byte_is_told_from_other_failures() {
    // Consul 1.8 over its limit closes at once; later ones write an answer before they read the request, and close.
    let closing = serve_raw(|stream| async move { drop(stream) }).await;
    let client_of_closing = client(&closing.url());
    for _ in 0..20 {
        let error = client_of_closing.send(&Request::get("/")).await.unwrap_err();
        assert_eq!(error.kind(), "closed_early", "{}", everything(&error));
        assert!(error.is_retryable());
    }
    let unsolicited = serve_raw(|mut stream| async move {
        write(
            &mut stream,
            b"HTTP/1.1 429 Too Many Requests\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
    })
    .await;
    let client_of_unsolicited = client(&unsolicited.url());
    for _ in 0..20 {
        match client_of_unsolicited.send(&Request::get("/")).await {
            Ok(answer) => assert_eq!(answer.status().as_u16(), 429),
            Err(error) => assert_eq!(error.kind(), "closed_early", "{}", everything(&error)),
        }
    }
    let error = client(&refused().await)
        .send(&Request::get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "connect", "{}", everything(&error));
    let error = client("http://no-such-host.invalid:1")
        .send(&Request::get("/"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "connect", "{}", everything(&error));
}

#[tokio::test]
async fn a_parked_poll_that_loses_its_server_is_a_reset() {
    let server = serve_raw(|mut stream| async move {
        read_head(&mut stream).await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
    })
    .await;
    let config = HttpConfig {
        connect_timeout: Duration::from_millis(500),
        ..HttpConfig::default()
    };
    let poll = Request::get("/").with_wait(Duration::from_secs(30));
    let error = client_of(&[&server.url()], config).send(&poll).await.unwrap_err();
    assert_eq!(error.kind(), "reset", "{}", everything(&error));
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced_in_silence() {
    // One answer each, then a close that the client only notices when it writes.
    let server = serve_raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        read_head(&mut stream).await;
    })
    .await;
    let client = client(&server.url());
    let mut resent = Vec::new();
    for _ in 0..5 {
        let answer = client.send(&Request::get("/")).await.unwrap();
        assert_eq!(answer.body().as_ref(), b"ok");
        resent.push(answer.is_resent());
    }
    assert_eq!(server.connections.total(), 5);
    assert_eq!(resent, [false, true, true, true, true], "and yet it can be known");
}

#[tokio::test]
async fn what_is_not_http_is_a_protocol_error() {
    let server = serve_raw(|mut stream| async move {
        read_head(&mut stream).await;
        write(&mut stream, b"SSH-2.0-OpenSSH_9.2\r\n\r\n").await;
        tokio::time::sleep(Duration::from_secs(5)).await;
    })
    .await;
    let error = client(&server.url()).send(&Request::get("/")).await.unwrap_err();
    assert_eq!(error.kind(), "protocol", "{}", everything(&error));
}

#[tokio::test]
async fn redirects_are_answers_and_not_followed() {
    let target = serve(|_| async { answer(200, "followed") }).await;
    let location = target.url();
    let server = serve(move |_| {
        let location = location.clone();
        async move {
            let mut answer = answer(302, "");
            answer.headers_mut().insert("location", location.parse().unwrap());
            answer
        }
    })
    .await;
    assert_eq!(
        client(&server.url())
            .send(&Request::get("/"))
            .await
            .unwrap()
            .status()
            .as_u16(),
        302
    );
    assert_eq!(target.connections.total(), 0);
}
