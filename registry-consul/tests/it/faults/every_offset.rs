//! Captured answers that break off, at every byte.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use registry_consul::ConsulConfig;
use registry_core::{Discovery, Phase};
use registry_http::{Credential, HttpClient, HttpConfig, Request};
use registry_testkit::{Exchange, wait};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{fixture, short};
use crate::support::{DEADLINE, discover, status, until, until_phase};

/// An answer in bytes, and how many of them are sent before the connection is closed.
#[derive(Debug, Clone)]
struct Reply {
    bytes: Vec<u8>,
    sent: usize,
}

impl Reply {
    fn whole(bytes: Vec<u8>) -> Self {
        Self {
            sent: bytes.len(),
            bytes,
        }
    }

    fn cut(bytes: Vec<u8>, sent: usize) -> Self {
        Self { bytes, sent }
    }
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked,
}

/// A captured answer with another body, as it goes over the wire.
fn raw(status: &str, headers: &[(String, String)], body: &[u8], framing: Framing) -> Vec<u8> {
    let mut bytes = format!("HTTP/1.1 {status}\r\n").into_bytes();
    for (name, value) in headers {
        bytes.extend(format!("{name}: {value}\r\n").into_bytes());
    }
    match framing {
        Framing::Length => bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).into_bytes()),
        Framing::Chunked => {
            bytes.extend(format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n", body.len()).into_bytes());
        }
    }
    bytes.extend(body);
    if matches!(framing, Framing::Chunked) {
        bytes.extend(b"\r\n0\r\n\r\n");
    }
    bytes
}

/// With another index.
fn indexed(capture: &Exchange, index: u64) -> Vec<(String, String)> {
    capture.clone().with_index(index).headers
}

/// A server of which every path has a whole answer first, and another one once the weather changes.
struct Server {
    addr: SocketAddr,
    rough: watch::Sender<bool>,
    /// How often each path was answered in rough weather.
    answered: Arc<Mutex<HashMap<String, usize>>>,
    _task: JoinSet<()>,
}

impl Server {
    /// `replies`: by path, in calm and in rough weather.
    async fn start(replies: HashMap<String, (Reply, Reply)>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (rough, weather) = watch::channel(false);
        let (replies, answered) = (Arc::new(replies), Arc::new(Mutex::new(HashMap::new())));
        let mut task = JoinSet::new();
        let counted = answered.clone();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, replies.clone(), weather.clone(), counted.clone()));
            }
        });
        Self {
            addr,
            rough,
            answered,
            _task: task,
        }
    }

    fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    fn answered(&self, path: &str) -> usize {
        self.answered.lock().unwrap().get(path).copied().unwrap_or(0)
    }
}

async fn serve(
    mut stream: TcpStream,
    replies: Arc<HashMap<String, (Reply, Reply)>>,
    mut weather: watch::Receiver<bool>,
    answered: Arc<Mutex<HashMap<String, usize>>>,
) {
    let mut head = Vec::new();
    loop {
        head.clear();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0; 512];
            match stream.read(&mut byte).await {
                Ok(read) if read > 0 => head.extend(&byte[..read]),
                _ => return,
            }
        }
        let text = String::from_utf8_lossy(&head).into_owned();
        let target = text.split(' ').nth(1).unwrap_or_default();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if query.contains("index=") {
            let _ = tokio::time::timeout(Duration::from_secs(30), weather.wait_for(|rough| *rough)).await;
        }
        let Some((calm, rough)) = replies.get(path) else {
            return;
        };
        let is_rough = *weather.borrow();
        let reply = if is_rough { rough } else { calm };
        if is_rough {
            *answered.lock().unwrap().entry(path.to_owned()).or_default() += 1;
        }
        if stream.write_all(&reply.bytes[..reply.sent]).await.is_err() || reply.sent < reply.bytes.len() {
            return;
        }
    }
}

fn capture(version: &str, name: &str) -> Exchange {
    Exchange::load(fixture(version, name)).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_the_client_takes_no_answer_that_breaks_off_at_any_byte() {
    registry_testkit::init_tls();
    let cases = [
        ("1.8", "health-service-web", Framing::Chunked),
        ("current", "catalog-services", Framing::Length),
    ];
    let cases = cases.map(|(version, name, framing)| {
        let answer = capture(version, name);
        raw("200 OK", &answer.headers, &answer.body, framing)
    });
    let paths = cases.iter().enumerate().flat_map(|(case, bytes)| {
        (0..=bytes.len()).map(move |sent| (format!("/{case}/{sent}"), Reply::cut(bytes.clone(), sent)))
    });
    let replies: HashMap<String, (Reply, Reply)> = paths
        .map(|(path, reply)| (path, (reply.clone(), reply)))
        .collect();
    let wanted: HashMap<String, bool> = replies
        .iter()
        .map(|(path, (reply, _))| (path.clone(), reply.sent == reply.bytes.len()))
        .collect();
    let server = Server::start(replies).await;
    let client = HttpClient::try_new(&[server.url()], HttpConfig::default(), Credential::none()).unwrap();
    let (client, count) = (&client, wanted.len());
    let wrong: Vec<String> = stream::iter(wanted)
        .map(async |(path, whole)| {
            let answer = client.send(&Request::get(path.clone())).await;
            (answer.is_ok() != whole).then(|| format!("{path}: {answer:?}"))
        })
        .buffer_unordered(16)
        .filter_map(async |wrong| wrong)
        .collect()
        .await;
    eprintln!("{count} offsets");
    assert!(
        wrong.is_empty(),
        "{} of {count}: {:?}",
        wrong.len(),
        wrong.first()
    );
}

/// Checks that nothing was published since.
async fn unchanged(discovery: &Discovery, case: &str, hash: registry_core::ContentHash, revision: u64) {
    let snapshot = discovery.snapshot();
    assert_eq!(snapshot.root_hash(), hash, "{case}: {:?}", status(discovery));
    let touched: Vec<String> = snapshot
        .services()
        .filter(|service| service.revision() > revision)
        .map(|service| service.hostname().to_string())
        .collect();
    assert!(touched.is_empty(), "{case}: {touched:?}");
}

/// Settings under which only what a test spoils fails: many discoveries at once keep a slow machine busy for long, and this
/// server parks polls for longer than they ask.
fn patient(url: &str) -> ConsulConfig {
    let mut config = short(url);
    config.http.connect_timeout = DEADLINE;
    config.http.request_timeout = DEADLINE;
    config
}

/// Makes the answer in rough weather from the body in calm weather.
type Rough<'a> = dyn Fn(&[u8]) -> Vec<u8> + 'a;

/// One service for each byte of its answer's body, where it breaks off.
async fn instances_break_off(version: &str) {
    let answer = capture(version, "health-service-db-hostname-and-v6");
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    let named = |name: &str, body: &str| {
        assert!(
            body.contains(r#""Service": "db""#) || body.contains(r#""Service":"db""#),
            "{body}"
        );
        body.replace(r#""Service": "db""#, &format!(r#""Service": "{name}""#))
            .replace(r#""Service":"db""#, &format!(r#""Service":"{name}""#))
            .into_bytes()
    };
    let mut replies = HashMap::new();
    let mut tags: BTreeMap<String, [&str; 0]> = BTreeMap::new();
    let mut add = |name: String, rough: &dyn Fn(&[u8]) -> Reply| {
        let body = named(&name, &body);
        let calm = raw("200 OK", &answer.headers, &body, Framing::Chunked);
        replies.insert(super::health_path(&name), (Reply::whole(calm), rough(&body)));
        tags.insert(name, []);
    };
    add("consul".to_owned(), &|body| {
        Reply::whole(raw("200 OK", &answer.headers, body, Framing::Chunked))
    });
    for at in 0..named("s0000", &body).len() {
        let framing = if at % 2 == 0 {
            Framing::Chunked
        } else {
            Framing::Length
        };
        add(format!("s{at:04}"), &|body| {
            let bytes = raw("200 OK", &answer.headers, body, framing);
            // What of the head is cut the client refuses, see above.
            let start = bytes.len() - body.len() - if matches!(framing, Framing::Chunked) { 7 } else { 0 };
            Reply::cut(bytes, start + at)
        });
    }
    let ours = answer.index().unwrap();
    let variants: [(&str, &Rough<'_>); 6] = [
        ("r-empty", &|_| {
            raw("200 OK", &answer.headers, b"[]", Framing::Length)
        }),
        ("r-empty-later", &|_| {
            raw("200 OK", &indexed(&answer, ours + 5), b"[]", Framing::Length)
        }),
        ("r-500", &|body| {
            raw(
                "500 Internal Server Error",
                &answer.headers,
                body,
                Framing::Length,
            )
        }),
        ("r-page", &|_| {
            let html = [("Content-Type".to_owned(), "text/html".to_owned())];
            raw("200 OK", &html, b"<html>Please sign in</html>", Framing::Length)
        }),
        ("r-page-of-json", &|_| {
            let mut html = indexed(&answer, ours + 5);
            html.retain(|(name, _)| name != "Content-Type");
            html.push(("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned()));
            raw("200 OK", &html, b"[]", Framing::Length)
        }),
        ("r-null", &|_| {
            raw("200 OK", &indexed(&answer, ours + 5), b"null", Framing::Length)
        }),
    ];
    for (name, rough) in variants {
        add(name.to_owned(), &|body| Reply::whole(rough(body)));
    }
    let names: Vec<String> = tags.keys().filter(|name| *name != "consul").cloned().collect();
    let listed = capture(version, "catalog-services");
    let catalog = serde_json::to_vec(&tags).unwrap();
    let catalog = Reply::whole(raw("200 OK", &listed.headers, &catalog, Framing::Length));
    replies.insert("/v1/catalog/services".to_owned(), (catalog.clone(), catalog));

    let server = Server::start(replies).await;
    let mut config = patient(&server.url());
    config.wait = Duration::from_secs(10);
    config.sweep_reads_per_second = 10_000;
    let discovery = discover(config);
    let count = names.len();
    until("all services", &discovery, |snapshot| snapshot.len() == count + 1).await;
    until_phase(&discovery, Phase::Synced).await;
    let snapshot = discovery.snapshot();
    let (hash, revision) = (snapshot.root_hash(), snapshot.revision());
    server.rough.send_replace(true);
    let asked = wait::until(
        "each service to be asked for",
        Duration::from_secs(90),
        async || {
            let all = names.iter().all(|name| {
                // The empty ones are looked at twice.
                let times = if name.starts_with("r-empty") { 2 } else { 1 };
                server.answered(&super::health_path(name)) >= times
            });
            all.then_some(())
        },
    );
    asked.await.unwrap();
    // What was answered last is being read.
    super::pause(0.5).await;
    unchanged(&discovery, version, hash, revision).await;
    eprintln!("{version}: {count} answers");
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_instances_that_break_off_at_any_byte_or_are_replaced_change_nothing() {
    tokio::join!(instances_break_off("1.8"), instances_break_off("current"));
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_2_a_catalogue_that_breaks_off_at_any_byte_or_is_replaced_changes_nothing() {
    let listed = capture("1.8", "catalog-services");
    let names: BTreeMap<String, serde_json::Value> = serde_json::from_slice(&listed.body).unwrap();
    let instances = capture("1.8", "health-service-db-hostname-and-v6");
    let whole = |headers: &[(String, String)], body: &[u8]| {
        Reply::whole(raw("200 OK", headers, body, Framing::Length))
    };
    let bytes = raw("200 OK", &listed.headers, &listed.body, Framing::Length);
    let start = bytes.len() - listed.body.len();
    let mut cases: Vec<(String, Reply)> = (start..bytes.len())
        .map(|sent| (format!("cut-{sent}"), Reply::cut(bytes.clone(), sent)))
        .collect();
    let later = indexed(&listed, listed.index().unwrap() + 5);
    let mut html = later.clone();
    html.retain(|(name, _)| name != "Content-Type");
    html.push(("Content-Type".to_owned(), "text/html".to_owned()));
    cases.extend([
        ("list".to_owned(), whole(&later, b"[]")),
        ("nothing".to_owned(), whole(&later, b"{}")),
        (
            "500".to_owned(),
            Reply::whole(raw(
                "500 Internal Server Error",
                &listed.headers,
                &listed.body,
                Framing::Length,
            )),
        ),
        ("page".to_owned(), whole(&html, b"<html>Please sign in</html>")),
        ("page-of-json".to_owned(), whole(&html, br#"{"consul":[]}"#)),
    ]);
    // Every case is a base path of its own on one server.
    let mut replies = HashMap::new();
    for (case, rough) in &cases {
        let calm = whole(&listed.headers, &listed.body);
        replies.insert(format!("/{case}/v1/catalog/services"), (calm, rough.clone()));
        for name in names.keys() {
            let body = String::from_utf8(instances.body.to_vec()).unwrap();
            let body = body
                .replace(r#""Service": "db""#, &format!(r#""Service": "{name}""#))
                .replace(r#""Service":"db""#, &format!(r#""Service":"{name}""#));
            let reply = whole(&instances.headers, body.as_bytes());
            replies.insert(
                format!("/{case}/v1/health/service/{name}"),
                (reply.clone(), reply),
            );
        }
    }
    let server = Server::start(replies).await;
    let mut running = Vec::new();
    for (case, _) in cases {
        running.push((discover(patient(&format!("{}/{case}", server.url()))), case));
    }
    let mut before = Vec::new();
    for (discovery, case) in running {
        let snapshot = until(&case, &discovery, |snapshot| snapshot.len() == names.len()).await;
        let (hash, revision) = (snapshot.root_hash(), snapshot.revision());
        before.push((discovery, case, hash, revision));
    }
    server.rough.send_replace(true);
    for (discovery, case, hash, revision) in &before {
        let path = format!("/{case}/v1/catalog/services");
        let asked = wait::until(
            "the catalogue to be asked for",
            Duration::from_secs(90),
            async || (server.answered(&path) >= 2).then_some(()),
        );
        asked.await.unwrap();
        until(case, discovery, |_| status(discovery).last_error.is_some()).await;
        unchanged(discovery, case, *hash, *revision).await;
    }
    eprintln!("{} catalogues", before.len());
    for (discovery, ..) in before {
        discovery.shutdown().await;
    }
}
