//! The token is sent, and never shown.

use std::fmt::Write as _;

use registry_core::{ErrorKind, ServiceRegistry as _};
use registry_testkit::log::Everything;
use registry_testkit::{Fault, Match, Rule};

use super::{FakeConsul, instances, short, until_degraded, until_healthy, until_passing};
use crate::support::real::until_true;
use crate::support::{discover, status};

const TOKEN: &str = "5ec2e7aa-0000-4444-8888-7e57ab1e70ce";

// One thread, so that the subscriber of this thread hears everything.
#[tokio::test]
async fn the_token_appears_in_no_status_error_or_log() {
    let everything = Everything::default();
    let guard = everything.listen();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    std::fs::write(&path, TOKEN).unwrap();

    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let mut config = short(&proxy.url());
    config.token_file = Some(path);
    config.query.insert("ns".to_owned(), "team".to_owned());
    let registry = registry_consul::ConsulRegistry::try_new(config.clone()).unwrap();
    assert!(!format!("{registry:?} {config:?}").contains(TOKEN));
    config.query.clear();

    let discovery = discover(config.clone());
    until_passing(&discovery, "web", 2).await;
    let mut texts = String::new();
    for (fault, kind) in [
        (Fault::respond(403, &[], "ACL not found"), ErrorKind::Denied),
        (Fault::respond(500, &[], "rpc error"), ErrorKind::Unavailable),
        (Fault::replace_body("{}"), ErrorKind::Malformed),
        (Fault::CutAnswer(20), ErrorKind::Unreachable),
    ] {
        proxy.inject(Rule::new(Match::any(), fault));
        fake.put("web", &instances("web", 2));
        until_degraded(&discovery, "service web", kind).await;
        let _ = write!(texts, "{:?} ", status(&discovery));
        if let Err(error) = registry.probe().await {
            let _ = write!(texts, "{error:?} {error} {} ", error.report());
        }
        proxy.clear();
        until_healthy(&discovery).await;
    }
    proxy.shutdown().await;
    until_true("the watch to end", &discovery, || {
        everything.text().contains("the watch ended")
    })
    .await;
    let _ = write!(texts, "{:?} {:?}", status(&discovery), discovery.snapshot());
    if let Err(error) = registry.probe().await {
        let _ = write!(texts, "{error:?} {error} {}", error.report());
    }
    discovery.shutdown().await;
    drop(guard);

    let logs = everything.text();
    assert!(texts.contains("403"), "{texts}");
    let shown: Vec<&str> = logs
        .lines()
        .chain([texts.as_str()])
        .filter(|line| line.contains(TOKEN))
        .collect();
    assert!(shown.is_empty(), "{shown:#?}");
}
