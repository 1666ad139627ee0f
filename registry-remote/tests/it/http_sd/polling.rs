//! A document at a URL: what is asked, what an unchanged one costs, and what a wrong one does.

use std::time::Duration;

use registry_core::{Discovery, Phase, ServiceRegistry};
use registry_remote::HttpSdRegistry;
use registry_testkit::wait;

use super::pages::{Page, Pages, etag};
use super::watching::{DEADLINE, Watching, config, config_of};

const ONE: &str = r#"[{"targets": ["10.0.0.1:80"], "labels": {"job": "web"}}]"#;
const TWO: &str = r#"[{"targets": ["10.0.0.1:80", "10.0.0.2:80"], "labels": {"job": "web"}}]"#;

#[tokio::test]
async fn a_change_is_told_and_what_did_not_change_is_only_confirmed() {
    let pages = Pages::start(ONE).await;
    let mut watching = Watching::listed(config_of(&pages.url())).await;
    watching.until_ids(&["web 10.0.0.1:80"]).await;
    for _ in 0..3 {
        assert_eq!(watching.next().await, "confirmed");
    }
    pages.set(TWO);
    watching.until_ids(&["web 10.0.0.1:80", "web 10.0.0.2:80"]).await;
    let meta = watching.records["web"].meta().clone();
    pages.set(r#"[{"targets": ["10.0.0.2:80"], "labels": {"job": "web"}}, {"targets": ["c:1"], "labels": {"job": "db"}}]"#);
    watching.until_ids(&["web 10.0.0.2:80", "db c:1"]).await;
    assert!(
        std::ptr::eq(&*meta, &**watching.records["web"].meta()),
        "the service itself is the same value"
    );
    pages.set("[]");
    watching.until_ids(&[]).await;
    assert!(
        watching.log.iter().all(|word| *word != "degraded"),
        "{:?}",
        watching.log
    );
}

#[tokio::test]
async fn it_asks_as_prometheus_does_and_for_changes_only() {
    let pages = Pages::start(ONE).await;
    pages.change(|page| {
        page.etag = true;
        page.headers
            .push(("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT".to_owned()));
    });
    let mut watching = Watching::listed(config_of(&pages.url())).await;
    let (target, first) = pages.change(|page| page.requests[0].clone());
    assert_eq!(target, "/sd/targets/?env=prod");
    assert_eq!(first["x-prometheus-refresh-interval-seconds"], "0.1");
    assert!(first["accept"].starts_with("application/json"), "{first:?}");
    assert!(!first.contains_key("if-none-match"));
    assert_eq!(watching.next().await, "confirmed");
    let second = pages.last();
    assert_eq!(second["if-none-match"], etag(ONE));
    assert_eq!(pages.change(|page| page.not_modified), 1);
}

#[tokio::test]
async fn a_date_is_not_taken_for_a_proof_that_nothing_changed() {
    let dated = |page: &mut Page, date: &str| {
        page.headers = vec![("Last-Modified", date.to_owned())];
    };
    let pages = Pages::start(TWO).await;
    pages.change(|page| dated(page, "Wed, 21 Oct 2015 07:28:00 GMT"));
    let mut watching = Watching::listed(config_of(&pages.url())).await;
    assert_eq!(watching.next().await, "confirmed");
    // What was there before is put back.
    pages.change(|page| {
        dated(page, "Tue, 20 Oct 2015 07:28:00 GMT");
        page.body = ONE.to_owned();
    });
    watching.until_ids(&["web 10.0.0.1:80"]).await;
    let asked = pages.change(|page| page.requests.clone());
    let dates = asked
        .iter()
        .filter(|(_, headers)| headers.contains_key("if-modified-since"));
    assert_eq!(dates.count(), 0, "{asked:?}");
}

#[tokio::test]
async fn a_wish_is_answered_with_everything_and_a_strong_one_asks_past_all_caches() {
    let pages = Pages::start(ONE).await;
    pages.change(|page| page.etag = true);
    let mut watching = Watching::listed(config_of(&pages.url())).await;
    for strong in [false, true] {
        let before = watching.log.len();
        watching.ask(strong);
        watching
            .until("an answer", |seen| seen.log[before..].contains(&"listed"))
            .await;
        let asked = pages.change(|page| page.requests.clone());
        let anew =
            |(_, headers): &(_, std::collections::BTreeMap<_, _>)| headers.contains_key("cache-control");
        assert_eq!(asked.iter().any(anew), strong);
        // As the first look of all does, each wish asks for the document itself.
        let whole = asked
            .iter()
            .filter(|(_, headers)| !headers.contains_key("if-none-match"));
        assert_eq!(whole.count(), 2 + usize::from(strong));
    }
    let anew = pages.change(|page| page.requests.clone()).into_iter();
    let anew: Vec<_> = anew
        .filter(|(_, headers)| headers.contains_key("cache-control"))
        .collect();
    assert_eq!(anew.len(), 1);
    assert!(!anew[0].1.contains_key("if-none-match"));
}

#[tokio::test]
async fn whatever_is_wrong_is_told_and_what_was_known_stays() {
    type Change = fn(&mut Page);
    let wrongs: [(Change, &str); 14] = [
        (|page| page.status = 500, ": 500"),
        (|page| page.status = 404, ": 404"),
        (|page| page.status = 204, ": 204"),
        (|page| page.status = 304, ": 304"),
        (
            |page| {
                page.status = 301;
                page.headers
                    .push(("Location", "/elsewhere?token=hunter2".to_owned()));
            },
            "to \"/elsewhere\", expected the document: redirects are not followed",
        ),
        (
            |page| page.content_type = Some("text/html".to_owned()),
            "found the Content-Type \"text/html\"",
        ),
        (
            |page| page.content_type = Some("text/plain".to_owned()),
            "expected \"application/json\"",
        ),
        (|page| page.content_type = None, "found no Content-Type"),
        (|page| page.body.clear(), "EOF"),
        (
            |page| page.body = "null".to_owned(),
            "found null, expected a list of groups",
        ),
        (|page| page.body.truncate(page.body.len() - 1), "EOF"),
        (|page| page.body = "<html>".to_owned(), "expected value"),
        (
            |page| page.body = ONE.replace(":80", ":http"),
            "[0].targets[0]: found \"10.0.0.1:http\", expected a port from 1 to 65535",
        ),
        (
            |page| page.body = TWO.replace("job", "jobs"),
            "[0]: found targets without a service, expected one of the labels service, job,",
        ),
    ];
    let pages = Pages::start(ONE).await;
    let good = pages.change(|page| page.clone());
    let mut watching = Watching::listed(config_of(&pages.url())).await;
    let known = watching.ids();
    for (wrong, expected) in wrongs {
        pages.change(wrong);
        watching.until_trouble(expected).await;
        let told = watching.trouble.clone().unwrap();
        assert!(
            told.contains(&pages.address().to_string()) && !told.contains("hunter2"),
            "{told}"
        );
        assert_eq!(watching.ids(), known, "{expected}");
        pages.change(|page| {
            *page = Page {
                requests: std::mem::take(&mut page.requests),
                ..good.clone()
            };
        });
        watching.until("mended", |seen| seen.trouble.is_none()).await;
        assert_eq!(*watching.log.last().unwrap(), "confirmed", "nothing changed");
    }
}

#[tokio::test]
async fn nothing_is_listed_before_the_document_could_be_read() {
    let pages = Pages::start("[").await;
    let mut watching = Watching::open(config_of(&pages.url())).await;
    watching.until_trouble("EOF").await;
    watching.ask(false);
    for _ in 0..3 {
        assert_eq!(watching.next().await, "degraded");
    }
    pages.set(ONE);
    watching.until_ids(&["web 10.0.0.1:80"]).await;
    assert_eq!(*watching.log.last().unwrap(), "listed");
}

#[tokio::test]
async fn a_document_that_was_refused_is_none_that_may_stay_unchanged() {
    let pages = Pages::start(ONE).await;
    pages.change(|page| page.etag = true);
    let mut watching = Watching::listed(config_of(&pages.url())).await;
    pages.set("[0]");
    watching.until_trouble("[0]: found integer").await;
    let refused = pages.requests();
    // The same trouble again, of an answer that was read again.
    for _ in 0..2 {
        watching.next().await;
    }
    assert!(watching.trouble.is_some() && pages.requests() > refused);
    assert_eq!(pages.last()["if-none-match"], etag(ONE));
    pages.set(ONE);
    watching.until("mended", |seen| seen.trouble.is_none()).await;
    assert_eq!(*watching.log.last().unwrap(), "confirmed");
}

#[tokio::test]
async fn a_server_that_wants_to_be_left_alone_is_and_that_is_told_meanwhile() {
    let pages = Pages::start(ONE).await;
    let mut config = config_of(&pages.url());
    config.http.request_timeout = Duration::from_secs(1);
    let mut watching = Watching::listed(config).await;
    pages.change(|page| {
        page.status = 503;
        page.headers.push(("Retry-After", "3600".to_owned()));
    });
    watching.until_trouble(": 503").await;
    let asked = pages.requests();
    assert_eq!(watching.next().await, "degraded");
    watching.ask(true);
    for _ in 0..2 {
        assert_eq!(watching.next().await, "degraded");
    }
    assert_eq!(pages.requests(), asked);
}

#[tokio::test]
async fn a_document_in_yaml_is_read_where_it_says_that_it_is() {
    let pages = Pages::start("- targets: ['10.0.0.1:80']\n  labels: { job: web }\n").await;
    pages.change(|page| page.content_type = Some("application/yaml; charset=utf-8".to_owned()));
    let watching = Watching::listed(config_of(&pages.url())).await;
    assert!(watching.ids().contains("web 10.0.0.1:80"));
}

#[tokio::test]
async fn a_document_that_is_too_large_is_refused() {
    let pages = Pages::start(ONE).await;
    let mut config = config_of(&pages.url());
    config.http.max_body_bytes = ONE.len() as u64;
    let mut watching = Watching::listed(config).await;
    pages.set(TWO);
    watching.until_trouble("larger than max_body_bytes").await;
    assert_eq!(watching.ids().len(), 1);
}

#[tokio::test]
async fn the_probe_reads_the_document_and_says_what_is_wrong() {
    let pages = Pages::start(ONE).await;
    let registry = HttpSdRegistry::try_new(config_of(&pages.url())).unwrap();
    registry.probe().await.unwrap();
    pages.set("{}");
    let error = registry.probe().await.unwrap_err().report();
    assert!(error.contains("found map, expected a list of groups"), "{error}");
}

#[tokio::test]
async fn a_discovery_serves_what_was_known_and_shows_that_it_is_stale() {
    let pages = Pages::start(ONE).await;
    let registry = HttpSdRegistry::try_new(config_of(&pages.url())).unwrap();
    let discovery = Discovery::builder()
        .registry("sd", registry)
        .unwrap()
        .start()
        .unwrap();
    tokio::time::timeout(DEADLINE, discovery.ready()).await.unwrap();
    assert_eq!(
        discovery.snapshot().get("web.http-sd").unwrap().endpoints().len(),
        1
    );
    pages.set("[{}, 5]");
    let phase = || discovery.status()[0].phase;
    wait::until("stale", DEADLINE, async || {
        (phase() == Phase::Stale).then_some(())
    })
    .await
    .unwrap();
    let error = discovery.status()[0].last_error.clone().unwrap();
    assert!(
        format!("{error:?}").contains("[1]: found integer `5`, expected a group"),
        "{error:?}"
    );
    assert_eq!(
        discovery.snapshot().get("web.http-sd").unwrap().endpoints().len(),
        1
    );
    pages.set(TWO);
    let both = || {
        discovery
            .snapshot()
            .get("web.http-sd")
            .is_some_and(|web| web.endpoints().len() == 2)
    };
    wait::until("both", DEADLINE, async || {
        (both() && phase() == Phase::Synced).then_some(())
    })
    .await
    .unwrap();
    discovery.shutdown().await;
}

#[test]
fn what_cannot_be_watched_is_refused_at_once() {
    let error = HttpSdRegistry::try_new(config()).unwrap_err();
    assert!(
        error.to_string().starts_with("url: found nothing, expected"),
        "{error}"
    );
}
