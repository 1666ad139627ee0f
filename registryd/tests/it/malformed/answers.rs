//! A server in Consul's place that answers as no Consul would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::Chance;
use crate::daemon::Daemon;

/// So many registries ask it: each waits longer after each failure.
pub(super) const REGISTRIES: usize = 16;

/// So many services are in its catalogue: each is asked for by itself.
const SERVICES: usize = 60;

/// What Consul says of a service.
const SOUND: &str = r#"[{"Node":{"ID":"a","Node":"n1","Address":"10.0.0.1","Datacenter":"dc1","TaggedAddresses":{"lan":"10.0.0.1"},"Meta":{}},"Service":{"ID":"web-1","Service":"web","Tags":["v1"],"Address":"10.0.0.7","Meta":{"a":"b"},"Port":80,"Weights":{"Passing":1,"Warning":1},"EnableTagOverride":false,"CreateIndex":1,"ModifyIndex":1},"Checks":[{"Node":"n1","CheckID":"serfHealth","Status":"passing","ServiceID":""}]}]"#;

pub(super) struct Server {
    url: String,
    shared: Arc<Shared>,
}

struct Shared {
    seed: AtomicU64,
    malformed: AtomicUsize,
    /// Before its turn has come it says nothing at all.
    turn: watch::Sender<bool>,
}

impl Server {
    pub(super) async fn start(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            seed: AtomicU64::new(seed),
            malformed: AtomicUsize::new(0),
            turn: watch::Sender::new(false),
        });
        let accepting = shared.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(converse(stream, accepting.clone()));
            }
        });
        Self { url, shared }
    }

    pub(super) fn url(&self) -> String {
        self.url.clone()
    }

    /// Begins to answer, and waits until it has given so many answers that are malformed.
    pub(super) async fn gave(&self, daemon: &Daemon, count: usize) {
        self.shared.turn.send_replace(true);
        daemon
            .wait("malformed answers", async || {
                (self.shared.malformed.load(Ordering::Relaxed) >= count).then_some(())
            })
            .await;
    }
}

/// Answers requests until one of the two has had enough.
async fn converse(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            match stream.read_buf(&mut buffer).await {
                Ok(read) if read > 0 => {}
                _ => return,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        if shared.turn.subscribe().wait_for(|turn| *turn).await.is_err() {
            return;
        }
        let mut chance = Chance(shared.seed.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed));
        chance.below(2);
        let catalogue = head.starts_with("GET /v1/catalog/services");
        // Where the catalogue is sound now and then, there is more that is asked for.
        let (answer, ends) = if catalogue && chance.below(4) > 0 {
            (sound(&self::catalogue(), 7), false)
        } else {
            shared.malformed.fetch_add(1, Ordering::Relaxed);
            malformed(&mut chance, catalogue)
        };
        if stream.write_all(&answer).await.is_err() || ends {
            return;
        }
    }
}

fn catalogue() -> String {
    let names: Vec<String> = (0..SERVICES).map(|n| format!("\"s{n}\":[]")).collect();
    format!("{{\"consul\":[],{}}}", names.join(","))
}

fn sound(body: &str, index: usize) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-consul-index: {index}\r\nx-consul-knownleader: true\r\n\
         x-consul-lastcontact: 0\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// An answer, and whether the connection ends with it.
fn malformed(chance: &mut Chance, catalogue: bool) -> (Vec<u8>, bool) {
    let body = if catalogue {
        self::catalogue()
    } else {
        SOUND.to_owned()
    };
    let whole = sound(&body, 1 + chance.below(1_000));
    match chance.below(9) {
        0 => (chance.bytes(2_000), true),
        1 => (chance.spoil(&whole), true),
        2 => {
            let body = chance.spoil(body.as_bytes());
            let length = body.len();
            let index = ["0", "-1", "x", "99999999999999999999", "", "7"];
            let index = chance.one_of(&index);
            let head = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-consul-index: {index}\r\ncontent-length: {length}\r\n\r\n"
            );
            ([head.as_bytes(), &body].concat(), false)
        }
        3 => {
            let status = chance.one_of(&[
                "204 No Content",
                "301 Moved",
                "403 Forbidden",
                "500 No",
                "999 What",
                "200 OK",
            ]);
            let body = "<html>";
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            (head.into_bytes(), true)
        }
        4 => {
            let deep = chance.one_of(&["[", "{\"a\":", "[{\"Service\":"]).repeat(50_000);
            (sound(&deep, 5), false)
        }
        5 => {
            let long = format!("[{{\"Service\":{{\"ID\":\"{}\"}}}}]", "x".repeat(500_000));
            (sound(&long, 5), false)
        }
        6 => {
            let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n";
            let garbage = chance.bytes(500);
            let chunk = format!("{:x}\r\n", chance.one_of(&[&garbage.len(), &0xffff_ffff_usize]));
            (
                [head.as_bytes(), chunk.as_bytes(), &garbage, b"\r\n0\r\n\r\n"].concat(),
                true,
            )
        }
        7 => {
            let wrong = [
                "null",
                "{}",
                "[null]",
                "[[]]",
                "[{}]",
                "\"a\"",
                "1",
                "true",
                "[{\"Service\":null}]",
                "",
            ];
            (sound(chance.one_of(&wrong), 5), false)
        }
        _ => {
            let cut = chance.below(whole.len());
            (whole[..cut].to_vec(), true)
        }
    }
}
