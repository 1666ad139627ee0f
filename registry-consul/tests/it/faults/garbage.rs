//! Answers that are broken, or not what was asked for.

use registry_core::ErrorKind;
use registry_testkit::log::Everything;
use registry_testkit::{Exchange, Fault, Match, Rule};
use serde_json::{Value, json};

use super::{
    FakeConsul, current, degraded, health, health_path, instance, instances, short, until_degraded,
    until_healthy, until_passing, with_service,
};
use crate::support::real::until_true;
use crate::support::{discover, service, status, statuses, until};

/// Answers to be refused whole, whatever of them is well-formed.
fn broken(body: &str) -> Vec<(&'static str, Vec<Fault>, ErrorKind)> {
    let half = body.len() / 2;
    let malformed = |replacement: &str| vec![Fault::replace_body(replacement.to_owned())];
    vec![
        ("truncated JSON", malformed(&body[..half]), ErrorKind::Malformed),
        ("cut", vec![Fault::CutBody(half)], ErrorKind::Unreachable),
        ("no last chunk", vec![Fault::Unterminated], ErrorKind::Unreachable),
        (
            "too long a length",
            vec![Fault::ExcessLength(10)],
            ErrorKind::Unreachable,
        ),
        ("null", malformed("null"), ErrorKind::Malformed),
        ("nothing", malformed(""), ErrorKind::Malformed),
        ("a word", malformed("\"web\""), ErrorKind::Malformed),
        (
            "an object or a list in the other's place",
            malformed(if body.starts_with('[') {
                r#"{"a":"b"}"#
            } else {
                "[1]"
            }),
            ErrorKind::Malformed,
        ),
        (
            "a page",
            vec![
                Fault::set_header("Content-Type", "text/html"),
                Fault::replace_body("<html><body>Please sign in</body></html>"),
            ],
            ErrorKind::Malformed,
        ),
        (
            "not text",
            vec![Fault::replace_body(vec![b'[', 0xff, 0xfe, b']'])],
            ErrorKind::Malformed,
        ),
        (
            "two values",
            malformed(&format!("{body}{body}")),
            ErrorKind::Malformed,
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_11_a_broken_answer_about_a_service_changes_nothing() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let discovery = discover(short(&proxy.url()));
    until_passing(&discovery, "web", 2).await;
    let mut count = 2;
    let body = serde_json::to_string(&instances("web", 5)).unwrap();
    for (case, faults, kind) in broken(&body) {
        for fault in faults {
            proxy.inject(Rule::new(Match::path(health_path("web")), fault));
        }
        let before = count;
        count = before % 5 + 1;
        fake.put("web", &instances("web", count));
        until_degraded(&discovery, "service web", kind).await;
        assert_eq!(
            statuses(&discovery.snapshot(), "web").unwrap().len(),
            before,
            "{case}"
        );
        assert_eq!(
            degraded(&discovery),
            ["service web"],
            "{case}: nothing else is concerned"
        );
        proxy.clear();
        until_passing(&discovery, "web", count).await;
        until_healthy(&discovery).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_11_a_broken_catalogue_changes_nothing() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let proxy = fake.proxy().await;
    let discovery = discover(short(&proxy.url()));
    until_passing(&discovery, "web", 2).await;
    for (number, (case, faults, kind)) in broken(r#"{"consul":[],"web":[]}"#).into_iter().enumerate() {
        for fault in faults {
            proxy.inject(Rule::new(Match::path("/v1/catalog/services"), fault));
        }
        let name = format!("new-{number}");
        fake.put(&name, &instances(&name, 1));
        until_degraded(&discovery, "registry", kind).await;
        assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2, "{case}");
        assert!(service(&discovery.snapshot(), &name).is_none(), "{case}");
        proxy.clear();
        until_passing(&discovery, &name, 1).await;
        until_healthy(&discovery).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_11_one_malformed_instance_of_five_refuses_the_whole_answer() {
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let discovery = discover(short(&fake.url()));
    until_passing(&discovery, "web", 2).await;
    let third = |malformed: Value| {
        let mut instances = instances("web", 5);
        instances[2] = malformed;
        instances
    };
    for malformed in [
        json!(null),
        json!("web-3"),
        json!({ "Node": instance("web", 3)["Node"], "Checks": [] }),
        with_service(instance("web", 3), json!({ "Port": "8080" })),
        with_service(instance("web", 3), json!({ "Tags": "v1" })),
        with_service(instance("web", 3), json!({ "Meta": { "zone": 1 } })),
        with_service(instance("web", 3), json!({ "ID": null })),
    ] {
        let text = malformed.to_string();
        fake.health("web", &third(malformed));
        until_degraded(&discovery, "service web", ErrorKind::Malformed).await;
        assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2, "{text}");
        fake.health("web", &instances("web", 2));
        until_healthy(&discovery).await;
    }
    discovery.shutdown().await;
}

// One thread, so that the log of this thread is the whole log.
#[tokio::test]
async fn idea_11_an_instance_whose_address_is_unusable_is_left_out_counted_and_named() {
    let log = Everything::default();
    let _guard = log.listen();
    let fake = FakeConsul::start(&[("web", 2)]).await;
    let discovery = discover(short(&fake.url()));
    until_passing(&discovery, "web", 2).await;
    let mut skipped = 0;
    for (number, unusable) in [
        json!({ "Address": "not an address" }),
        json!({ "Address": "10.0.0.1:80" }),
        json!({ "Port": 70_000 }),
        json!({ "Port": -1 }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut five = instances("web", 5);
        five[2] = with_service(five[2].clone(), unusable.clone());
        fake.health("web", &five);
        until("four of five", &discovery, |snapshot| {
            statuses(snapshot, "web").is_some_and(|held| held.len() == 4)
        })
        .await;
        assert!(
            status(&discovery).skipped > skipped,
            "{unusable}: {}",
            status(&discovery).skipped
        );
        assert!(degraded(&discovery).is_empty(), "{unusable}");
        let logged = log.text();
        let named = logged
            .lines()
            .filter(|line| line.contains("left out: n3/web-3: "));
        assert_eq!(named.count(), number + 1, "{unusable}: {logged}");
        skipped = status(&discovery).skipped;
        fake.health("web", &instances("web", 2));
        until_passing(&discovery, "web", 2).await;
    }
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_about_another_service_is_refused() {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let discovery = discover(short(&fake.url()));
    until_passing(&discovery, "web", 2).await;
    let index = fake.next_index();
    fake.server
        .set(current(Exchange::get(health_path("web")), &json!(instances("api", 1))).with_index(index));
    until_degraded(&discovery, "service web", ErrorKind::Malformed).await;
    until_passing(&discovery, "web", 2).await;
    fake.health("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_the_bound_is_a_limit_and_the_content_stays() {
    let fake = FakeConsul::start(&[("web", 2), ("api", 1)]).await;
    let mut config = short(&fake.url());
    config.http.max_body_bytes = 20_000;
    let discovery = discover(config);
    until_passing(&discovery, "web", 2).await;
    fake.put("web", &instances("web", 200));
    until_degraded(&discovery, "service web", ErrorKind::Limit).await;
    let told = status(&discovery).last_error.unwrap().message;
    assert!(told.contains("max_body_bytes = 20000"), "{told}");
    assert_eq!(statuses(&discovery.snapshot(), "web").unwrap().len(), 2);
    fake.put("api", &instances("api", 2));
    until_passing(&discovery, "api", 2).await;
    fake.put("web", &instances("web", 3));
    until_passing(&discovery, "web", 3).await;
    until_healthy(&discovery).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_need_escaping_are_asked_for_as_they_are() {
    let fake = FakeConsul::start(&[]).await;
    let names = [
        ("a/b c", "a%2Fb%20c", "a-b-c"),
        ("50%?x#y&z", "50%25%3Fx%23y%26z", "50--x-y-z"),
        ("grün", "gr%C3%BCn", "gr-n"),
        ("UPPER", "UPPER", "upper"),
    ];
    let mut catalog = serde_json::Map::new();
    catalog.insert("consul".to_owned(), json!([]));
    for (name, escaped, _) in names {
        catalog.insert(name.to_owned(), json!([]));
        let answer = health("x", &instances(name, 2)).with_index(50);
        let target = health_path(escaped);
        fake.server.set(Exchange { target, ..answer });
    }
    let index = fake.next_index();
    fake.server
        .set(current(Exchange::get("/v1/catalog/services"), &Value::Object(catalog)).with_index(index));
    let discovery = discover(short(&fake.url()));
    for (name, escaped, _) in names {
        until_true(name, &discovery, || {
            let requests = fake.server.requests();
            requests
                .iter()
                .any(|logged| logged.path() == health_path(escaped))
        })
        .await;
    }
    for (name, _, hostname) in names {
        let snapshot = until(name, &discovery, |snapshot| service(snapshot, hostname).is_some()).await;
        assert_eq!(service(&snapshot, hostname).unwrap().name().as_str(), name);
    }
    discovery.shutdown().await;
}
