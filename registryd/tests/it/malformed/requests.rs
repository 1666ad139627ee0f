//! Requests that no client should send.

use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Chance;
use crate::daemon::{DEADLINE, Daemon};

/// How much of an answer is read: the head and the reason.
const ENOUGH: usize = 64 * 1024;

const TARGETS: &[&str] = &[
    "/v1/services",
    "/v1/services?host=*.file&label=a:b&limit=3",
    "/v1/services/payments.default.file",
    "/v1/services/payments.default.file@vms",
    "/v1/registries/vms",
    "/v1/registries/vms/ack",
    "/v1/registries/vms/resync",
    "/v1/watch?last_event_id=0123456789abcdef.7",
    "/readyz",
    "/metrics",
];

const METHODS: &[&str] = &["GET", "POST", "HEAD", "PUT", "OPTIONS", "BREW", "get", ""];

/// Sends so many, and checks what comes back.
pub(super) async fn send(daemon: &Daemon, chance: &mut Chance, count: usize) {
    let to = daemon.url().trim_start_matches("http://").to_owned();
    let mut refused = 0;
    for n in 0..count {
        let request = request(chance);
        let answer = ask(&to, &request).await;
        if let Some(status) = judge(&answer) {
            refused += usize::from(status >= 400);
        } else {
            // Not answered at all: what was sent is not even the beginning of a request.
            assert!(answer.is_empty(), "{n}: {}", String::from_utf8_lossy(&answer));
        }
    }
    assert!(refused > count / 4, "{refused} of {count} were refused");
    let (status, _) = daemon.get("/v1/services").await;
    assert_eq!(status, 200, "it goes on");
}

fn request(chance: &mut Chance) -> Vec<u8> {
    let target = chance.one_of(TARGETS);
    let sound = format!(
        "GET {target} HTTP/1.1\r\nhost: localhost\r\naccept: */*\r\nif-none-match: \"a\"\r\nlast-event-id: 1.2\r\n\r\n"
    );
    match chance.below(8) {
        0 => chance.bytes(2_000),
        1..4 => chance.spoil(sound.as_bytes()),
        4 => {
            let spoilt = chance.spoil(target.as_bytes());
            let method = chance.one_of(METHODS).as_bytes();
            [
                method,
                b" ",
                &spoilt,
                b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
            ]
            .concat()
        }
        5 => {
            // Bodies of every kind behind heads of every kind.
            let body = chance.spoil(b"{\"a\":[1,2,{\"b\":null}]}");
            let length = ["0", "5", "99999999999", "-1", "x", "20"];
            let head = format!(
                "POST /v1/registries/vms/{} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n{}: {}\r\n\r\n",
                chance.one_of(&["ack", "resync"]),
                chance.one_of(&["content-length", "transfer-encoding", "expect"]),
                chance.one_of(&length),
            );
            [head.as_bytes(), &body].concat()
        }
        6 => {
            // Too long in one way or another.
            let long = "a".repeat(1_000 * chance.below(150));
            let many = "x-y: z\r\n".repeat(chance.below(2_000));
            match chance.below(3) {
                0 => format!("GET /v1/services/{long} HTTP/1.1\r\nhost: localhost\r\n\r\n"),
                1 => format!("GET {target} HTTP/1.1\r\nhost: localhost\r\nx: {long}\r\n\r\n"),
                _ => format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{many}\r\n"),
            }
            .into_bytes()
        }
        _ => {
            let name = [
                "host",
                "registry",
                "namespace",
                "label",
                "limit",
                "after",
                "last_event_id",
                "q",
                "",
            ];
            let value = chance.bytes(40);
            let mut query = format!("{}=", chance.one_of(&name));
            for byte in value {
                query.push_str(&format!("%{byte:02x}"));
            }
            format!("GET /v1/services?{query} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
                .into_bytes()
        }
    }
}

/// What comes back: up to the end, up to where it is enough, or up to the first pause of a stream.
async fn ask(to: &str, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(to).await.expect("a daemon that listens");
    // It may have heard enough before the end.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let mut patience = DEADLINE;
    while answer.len() < ENOUGH {
        match timeout(patience, stream.read_buf(&mut answer)).await {
            Ok(Ok(read)) if read > 0 => {}
            // A connection that is reset because there was more to be read is an end as well.
            Ok(_) => break,
            Err(_) if answer.is_empty() => panic!(
                "nothing came within {patience:?} of {:?}",
                String::from_utf8_lossy(request)
            ),
            Err(_) => break,
        }
        if is_whole(&answer) {
            break;
        }
        patience = Duration::from_secs(5);
    }
    answer
}

fn head(answer: &[u8]) -> Option<(&str, &[u8])> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).expect("a head in ASCII");
    Some((head, &answer[end + 4..]))
}

/// True once all is there that is looked at: of a refusal its body, of all else the head.
fn is_whole(answer: &[u8]) -> bool {
    let Some((head, body)) = head(answer) else {
        return false;
    };
    let refused = !head.starts_with("HTTP/1.1 2") && !head.starts_with("HTTP/1.0 2");
    !refused || length(head).is_none_or(|length| body.len() >= length)
}

fn length(head: &str) -> Option<usize> {
    let mut lengths = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length: "));
    lengths.next()?.parse().ok()
}

/// The status, after a look at the reason of a refusal; `None` where it is no answer.
fn judge(answer: &[u8]) -> Option<u16> {
    let (head, body) = head(answer)?;
    let status: u16 = head.split(' ').nth(1)?.parse().ok()?;
    assert!(status < 500 || status == 503, "{head}");
    if status >= 400 {
        if head.contains("content-type: application/problem+json") {
            // An answer to HEAD has no body; behind that of others there may be the answer to what came after it.
            let body = length(head).and_then(|length| body.get(..length)).unwrap_or(body);
            if body.starts_with(b"{") {
                let problem: Value = serde_json::from_slice(body).expect("one whole problem");
                let detail = problem["detail"].as_str().expect("a reason");
                assert!(!detail.is_empty() && problem["status"] == status, "{problem}");
            }
        } else {
            // What is no HTTP gets no further than to the server itself, whose reason is the status.
            assert!(matches!(status, 400 | 408 | 414 | 431), "{head}");
        }
    }
    Some(status)
}
