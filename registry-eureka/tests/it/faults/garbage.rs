//! Answers that are broken, or not what was asked for.

use registry_core::ErrorKind;
use registry_testkit::{Fault, Match, Rule};

use super::watching::{config, discover, until_degraded, until_healthy, until_statuses};
use super::{APPS, DELTA, FakeEureka};
use crate::support::{status, statuses};

/// Answers of which nothing may be believed, whatever of them is well-formed.
fn broken(body: &str) -> Vec<(&'static str, Vec<Fault>, ErrorKind)> {
    let half = body.len() / 2;
    let malformed = |body: &str| vec![Fault::replace_body(body.to_owned())];
    let html = "<html><body>Please sign in</body></html>";
    vec![
        ("truncated", malformed(&body[..half]), ErrorKind::Malformed),
        ("cut", vec![Fault::CutBody(20)], ErrorKind::Unreachable),
        ("no last chunk", vec![Fault::Unterminated], ErrorKind::Unreachable),
        (
            "too long a length",
            vec![Fault::ExcessLength(10)],
            ErrorKind::Unreachable,
        ),
        ("nothing", malformed(""), ErrorKind::Malformed),
        ("null", malformed("null"), ErrorKind::Malformed),
        ("a list", malformed("[]"), ErrorKind::Malformed),
        ("an empty object", malformed("{}"), ErrorKind::Malformed),
        (
            "an error as 200",
            malformed(r#"{"timestamp":1,"status":404,"error":"Not Found"}"#),
            ErrorKind::Malformed,
        ),
        (
            "no applications",
            malformed(r#"{"applications":null}"#),
            ErrorKind::Malformed,
        ),
        ("a page as JSON", malformed(html), ErrorKind::Malformed),
        (
            "a page",
            vec![
                Fault::set_header("Content-Type", "text/html"),
                Fault::replace_body(html),
            ],
            ErrorKind::Malformed,
        ),
        (
            "not text",
            vec![Fault::replace_body(vec![b'{', 0xff, 0xfe, b'}'])],
            ErrorKind::Malformed,
        ),
        (
            "two documents",
            malformed(&format!("{body}{body}")),
            ErrorKind::Malformed,
        ),
        (
            "said to be gzip",
            vec![Fault::set_header("Content-Encoding", "gzip")],
            ErrorKind::Unreachable,
        ),
        ("204", vec![Fault::respond(204, &[], "")], ErrorKind::Unavailable),
        ("not HTTP", vec![Fault::CutAnswer(5)], ErrorKind::Unreachable),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn number_13_a_broken_answer_changes_nothing() {
    let fake = FakeEureka::holding(&[("ORDERS", "a"), ("USERS", "u")]).await;
    let proxy = fake.proxy().await;
    let discovery = discover(config(&[format!("{}/eureka", proxy.url())]));
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    let whole = super::document(
        "1",
        "UP_1_",
        &[(
            ("OTHER".to_owned(), "o".to_owned()),
            super::instance("OTHER", "o", 1),
        )]
        .into(),
    );
    for (case, faults, kind) in broken(&whole.to_string()) {
        let failures = status(&discovery).failures;
        for fault in faults {
            proxy.inject(Rule::new(Match::any(), fault));
        }
        let message = until_degraded(&discovery, kind).await;
        assert!(message.contains(APPS), "{case}: {message}");
        assert_eq!(
            statuses(&discovery.snapshot(), "ORDERS").unwrap(),
            ["a UP"],
            "{case}"
        );
        assert_eq!(discovery.snapshot().services().count(), 2, "{case}");
        assert!(status(&discovery).failures > failures, "{case}: it is counted");
        proxy.clear();
        until_healthy(&discovery).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn number_13_a_broken_delta_alone_is_answered_by_fetching_everything() {
    let whole = super::document(
        "1",
        "UP_1_",
        &[(
            ("OTHER".to_owned(), "o".to_owned()),
            super::instance("OTHER", "o", 1),
        )]
        .into(),
    );
    for (case, faults, _) in broken(&whole.to_string()) {
        if matches!(case, "not HTTP") {
            continue;
        }
        let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
        let proxy = fake.proxy().await;
        let discovery = discover(config(&[format!("{}/eureka", proxy.url())]));
        until_statuses(&discovery, "ORDERS", &["a UP"]).await;
        for fault in faults {
            proxy.inject(Rule::new(Match::path(DELTA), fault));
        }
        fake.put("ORDERS", "b");
        until_statuses(&discovery, "ORDERS", &["a UP", "b UP"]).await;
        fake.cancel("ORDERS", "a");
        until_statuses(&discovery, "ORDERS", &["b UP"]).await;
        assert_eq!(discovery.snapshot().services().count(), 1, "{case}");
        until_healthy(&discovery).await;
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn number_13_an_answer_beyond_the_limit_changes_nothing() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    let mut config = config(&[fake.url()]);
    config.http.max_body_bytes = 10_000;
    config.full_interval = std::time::Duration::from_secs(1);
    let discovery = discover(config);
    until_statuses(&discovery, "ORDERS", &["a UP"]).await;
    for id in 0..20 {
        fake.put("MANY", &format!("i{id}"));
    }
    let message = until_degraded(&discovery, ErrorKind::Limit).await;
    assert!(message.contains("10000"), "{message}");
    assert_eq!(statuses(&discovery.snapshot(), "ORDERS").unwrap(), ["a UP"]);
    for id in 0..20 {
        fake.cancel("MANY", &format!("i{id}"));
    }
    fake.forget();
    until_healthy(&discovery).await;
    assert_eq!(statuses(&discovery.snapshot(), "ORDERS").unwrap(), ["a UP"]);
    discovery.shutdown().await;
}
