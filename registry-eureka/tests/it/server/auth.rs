//! A server that wants a user name and password: sent where they belong, and shown nowhere.

use std::fmt::Write as _;

use registry_core::{ErrorKind, ServiceRegistry as _};
use registry_eureka::{EurekaConfig, EurekaRegistry};
use registry_testkit::eureka::Instance;
use registry_testkit::log::Everything;
use registry_testkit::wait;

use crate::support::gate::{Gate, Verdict};
use crate::support::servers::Shared;
use crate::support::{DEADLINE, canonical, config_of, discover, status, until_statuses};

/// As they stand in a URL, and as they are sent.
const RIGHT: &str = "operator:p%40ss%2Fw0rd-9f31";
const RIGHT_SENT: &str = "Basic b3BlcmF0b3I6cEBzcy93MHJkLTlmMzE=";
const WRONG: &str = "operator:wr0ng-77aa";

/// What must not be seen anywhere.
const SECRETS: [&str; 5] = ["p@ss", "p%40ss", "w0rd-9f31", "wr0ng-77aa", "b3BlcmF0b3I6"];

/// A gate that only those pass who know the password.
async fn guarded(shared: &Shared) -> Gate {
    Gate::start(shared.server().address(), |head| {
        match head.header("Authorization") {
            Some(RIGHT_SENT) => Verdict::Pass(head.without("Authorization")),
            _ => Verdict::Answer("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"Eureka\""),
        }
    })
    .await
}

fn refused(gate: &Gate) -> usize {
    let answers = gate.answers();
    answers
        .iter()
        .filter(|head| head.starts_with("http/1.1 401"))
        .count()
}

fn url(user: &str, gate: &Gate, shared: &Shared) -> String {
    format!("http://{user}{}{}", gate.addr(), shared.server().base_path())
}

/// 19. One thread, so that its subscriber hears everything.
#[tokio::test]
async fn a_password_opens_the_server_and_is_shown_nowhere() {
    let everything = Everything::default();
    let listening = everything.listen();
    let shared = Shared::war().await;
    shared
        .api()
        .register(&Instance::new("t19-orders", "a"))
        .await
        .unwrap();
    let (first, second) = (guarded(&shared).await, guarded(&shared).await);
    let mut texts = String::new();

    // Who is refused by the one asks the other, which lets it in.
    let config = EurekaConfig {
        urls: vec![
            url(&format!("{WRONG}@"), &first, &shared),
            url(&format!("{RIGHT}@"), &second, &shared),
        ],
        ..config_of("", "t19-*")
    };
    let registry = EurekaRegistry::try_new(config.clone()).unwrap();
    registry.probe().await.unwrap();
    let _ = writeln!(texts, "{config:?} {registry:?} {}", registry.target());
    let discovery = discover(config);
    let snapshot = until_statuses(&discovery, "t19-orders", &["a UP"]).await;
    let _ = writeln!(
        texts,
        "{snapshot:?} {:?} {:?}",
        canonical(&snapshot),
        status(&discovery)
    );
    assert!(refused(&first) > 0, "{:?}", first.answers());
    assert_eq!(refused(&second), 0, "{:?}", second.answers());
    shared.api().cancel("t19-orders", "a").await.unwrap();
    until_statuses(&discovery, "t19-orders", &[]).await;
    discovery.shutdown().await;

    // Without a password, or with a wrong one, there is nobody to ask.
    for user in ["", &format!("{WRONG}@")] {
        let config = config_of(&url(user, &second, &shared), "t19-*");
        let registry = EurekaRegistry::try_new(config.clone()).unwrap();
        let error = registry.probe().await.unwrap_err();
        let _ = writeln!(
            texts,
            "{error:?} {error} {} {config:?} {registry:?}",
            error.report()
        );
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
        let report = error.report();
        for wanted in ["401", "user name and password", &second.addr().to_string()] {
            assert!(report.contains(wanted), "{wanted}: {report}");
        }
        let discovery = discover(config);
        let what = "the registry to say that it is refused";
        wait::until(what, DEADLINE, async || {
            let error = discovery.status().into_iter().next()?.last_error?;
            (error.kind == ErrorKind::Denied && error.message.contains("401")).then_some(())
        })
        .await
        .unwrap();
        let _ = writeln!(texts, "{:?} {:?}", status(&discovery), discovery.snapshot());
        discovery.shutdown().await;
    }

    // And where the password comes from a file.
    shared
        .api()
        .register(&Instance::new("t19-orders", "b"))
        .await
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "p@ss/w0rd-9f31\n").unwrap();
    let mut config = config_of(&url("", &second, &shared), "t19-*");
    config.credentials.basic = Some(registry_http::BasicConfig {
        username: "operator".to_owned(),
        password_file: Some(file),
        password_env: None,
    });
    let _ = writeln!(texts, "{config:?}");
    let discovery = discover(config);
    until_statuses(&discovery, "t19-orders", &["b UP"]).await;
    let _ = writeln!(texts, "{:?}", status(&discovery));
    discovery.shutdown().await;
    drop(listening);

    let logs = everything.text();
    assert!(logs.contains("401"), "{logs}");
    let mut shown = logs.lines().chain(texts.lines());
    let shown = shown.find(|line| SECRETS.iter().any(|secret| line.contains(secret)));
    assert_eq!(shown, None);
}
