//! User name and password are sent, and never shown.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use registry_core::{ErrorKind, ServiceRegistry as _};
use registry_eureka::EurekaRegistry;
use registry_testkit::log::Everything;
use registry_testkit::{Fault, Match, Rule};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::watching::{config, discover, until_degraded, until_healthy, until_statuses};
use super::{FakeEureka, cut, until_logged};
use crate::support::status;

/// A server of one request per connection that writes down what it was sent.
async fn listening() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let heads: Arc<Mutex<Vec<String>>> = Arc::default();
    let written = heads.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.windows(4).any(|window| window == b"\r\n\r\n") {
                let mut part = [0; 1024];
                let Ok(read @ 1..) = stream.read(&mut part).await else {
                    break;
                };
                head.extend_from_slice(&part[..read]);
            }
            written
                .lock()
                .unwrap()
                .push(String::from_utf8(head).unwrap().to_lowercase());
            let body = super::document("1", "", &Default::default()).to_string();
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
            );
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    (addr.to_string(), heads)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_servers_need_to_answer_as_they_should_is_sent() {
    let (addr, heads) = listening().await;
    let discovery = discover(config(&[format!("http://reader:hunter2@{addr}/eureka/")]));
    super::watching::until_true("three requests", &discovery, || heads.lock().unwrap().len() >= 3).await;
    discovery.shutdown().await;
    let heads = heads.lock().unwrap();
    assert!(heads[0].starts_with("get /eureka/apps http/1.1"), "{heads:#?}");
    assert!(
        heads[1].starts_with("get /eureka/apps/delta http/1.1"),
        "{heads:#?}"
    );
    for head in heads.iter() {
        // Without either of the two Netflix's server answers in XML.
        assert!(head.contains("\r\naccept: application/json"), "{head}");
        assert!(head.contains("\r\naccept-encoding: gzip"), "{head}");
        // reader:hunter2
        assert!(
            head.contains("\r\nauthorization: basic cmvhzgvyomh1bnrlcji="),
            "{head}"
        );
    }
}

// One thread, so that the subscriber of this thread hears everything.
#[tokio::test]
async fn number_19_the_password_of_a_url_appears_in_no_status_error_or_log() {
    const SECRETS: [&str; 3] = ["hunter2", "cmVhZGVyOmh1bnRlcjI", "reader"];
    let everything = Everything::default();
    let guard = everything.listen();
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let proxy = fake.proxy().await;
    let config = config(&[
        format!("http://reader:hunter2@{}/eureka", proxy.addr()),
        format!("http://reader:hunter2@{}/eureka/", proxy.addr()),
    ]);
    let registry = EurekaRegistry::try_new(config.clone()).unwrap();
    let mut texts = format!("{registry:?} {config:?} {} ", registry.target());

    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    for (fault, kind) in [
        (Fault::respond(401, &[], "reader may not"), ErrorKind::Denied),
        (Fault::respond(403, &[], ""), ErrorKind::Unavailable),
        (Fault::respond(500, &[], "boom"), ErrorKind::Unavailable),
        (
            Fault::respond(302, &[("Location", "http://reader:hunter2@x/eureka/apps")], ""),
            ErrorKind::Unavailable,
        ),
        (Fault::replace_body("{}"), ErrorKind::Malformed),
        (Fault::CutAnswer(20), ErrorKind::Unreachable),
    ] {
        proxy.inject(Rule::new(Match::any(), fault));
        until_degraded(&discovery, kind).await;
        let _ = write!(texts, "{:?} ", status(&discovery));
        if let Err(error) = registry.probe().await {
            let _ = write!(texts, "{error:?} {error} {} ", error.report());
        }
        proxy.clear();
        until_healthy(&discovery).await;
    }
    cut(&proxy);
    until_degraded(&discovery, ErrorKind::Unreachable).await;
    if let Err(error) = registry.probe().await {
        let _ = write!(texts, "{error:?} {error} {} ", error.report());
    }
    let _ = write!(texts, "{:?} {:?}", status(&discovery), discovery.snapshot());
    discovery.shutdown().await;
    until_logged(&everything, "the registry cannot be read").await;
    drop(guard);

    assert!(
        texts.contains("401") && texts.contains("wants a user name"),
        "{texts}"
    );
    let logs = everything.text();
    for secret in SECRETS {
        let shown: Vec<&str> = logs
            .lines()
            .chain([texts.as_str()])
            .filter(|line| line.contains(secret))
            .collect();
        assert!(shown.is_empty(), "{secret}: {shown:#?}");
    }
}
