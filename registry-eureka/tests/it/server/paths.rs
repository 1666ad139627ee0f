//! Base URLs: those that lead to a server, and those that people write instead.

use std::net::SocketAddrV4;

use registry_core::{ErrorKind, ServiceRegistry as _};
use registry_eureka::EurekaRegistry;
use registry_testkit::eureka::{EurekaApi, Instance};
use registry_testkit::wait;

use crate::support::gate::{Gate, Verdict};
use crate::support::servers::Shared;
use crate::support::{DEADLINE, config, config_of, discover, patient, status, until_statuses};

/// Whether that base URL leads to what is registered, and what changes of it.
pub(super) async fn leads_there(url: &str, api: &EurekaApi) {
    api.register(&Instance::new("t20-orders", "t20-a")).await.unwrap();
    let registry = EurekaRegistry::try_new(config(url)).unwrap();
    registry.probe().await.unwrap();
    let discovery = discover(patient(config_of(url, "t20-*")));
    until_statuses(&discovery, "t20-orders", &["t20-a UP"]).await;
    api.set_status("t20-orders", "t20-a", "OUT_OF_SERVICE")
        .await
        .unwrap();
    until_statuses(&discovery, "t20-orders", &["t20-a OUT_OF_SERVICE"]).await;
    api.cancel("t20-orders", "t20-a").await.unwrap();
    until_statuses(&discovery, "t20-orders", &[]).await;
    assert_eq!(status(&discovery).failures, 0, "{:?}", status(&discovery));
    discovery.shutdown().await;
}

/// Whether that base URL, at which there is no registry, is said to be wrong.
pub(super) async fn is_said_to_be_wrong(address: SocketAddrV4, path: &str) {
    let url = format!("http://{address}{path}");
    let helps = |report: &str| {
        let helpful = [&url, "404", "is the base URL right?", "/eureka", "/eureka/v2"];
        helpful.iter().all(|wanted| report.contains(wanted))
    };
    let registry = EurekaRegistry::try_new(config(&url)).unwrap();
    let error = registry.probe().await.unwrap_err();
    assert!(helps(&error.report()), "{}", error.report());
    let discovery = discover(config(&url));
    wait::until("the registry to say what is wrong", DEADLINE, async || {
        let error = discovery.status().into_iter().next()?.last_error?;
        helps(&error.message).then_some(())
    })
    .await
    .unwrap();
    assert!(!discovery.readiness().ready, "there is nothing to serve");
    discovery.shutdown().await;
}

/// 20. One after the other: they share an application.
#[tokio::test(flavor = "multi_thread")]
async fn netflix_server_is_found_under_its_base_url() {
    let shared = Shared::war().await;
    let base = shared.base_url();
    assert!(base.ends_with("/eureka/v2"), "{base}");
    leads_there(base, shared.api()).await;
    leads_there(&format!("{base}/"), shared.api()).await;
    for path in ["", "/", "/eureka", "/v2"] {
        is_said_to_be_wrong(shared.server().address(), path).await;
    }
}

/// 20. The URL of a request in place of the base URL is refused before anybody is asked.
#[test]
fn the_url_of_the_applications_is_refused_with_the_one_to_use() {
    for (url, base) in [
        ("http://h:8761/eureka/apps", "http://h:8761/eureka"),
        ("http://h:8761/eureka/apps/", "http://h:8761/eureka"),
        (
            "http://user:secret@h:8761/eureka/apps/delta",
            "http://h:8761/eureka",
        ),
        ("http://h:8080/eureka/v2/apps", "http://h:8080/eureka/v2"),
        ("http://h:8761/ctx/eureka/apps/ORDERS", "http://h:8761/ctx/eureka"),
    ] {
        let error = EurekaRegistry::try_new(config(url)).unwrap_err();
        let error = registry_core::RegistryError::from(error);
        assert_eq!(error.kind(), ErrorKind::Configuration);
        let report = error.report();
        assert!(
            report.contains(&format!("{base:?}")) && !report.contains("secret"),
            "{report}"
        );
    }
}

/// 20. Netflix' server compresses lists, and sends XML, where it is not asked to compress.
#[tokio::test(flavor = "multi_thread")]
async fn compressed_answers_are_read_though_nobody_asked_for_them() {
    let shared = Shared::war().await;
    let gate = Gate::start(shared.server().address(), |head| {
        Verdict::Pass(head.without("Accept-Encoding"))
    })
    .await;
    let api = shared.api();
    api.register(&Instance::new("t20-gzip", "t20-b")).await.unwrap();
    let url = format!("http://{}{}", gate.addr(), shared.server().base_path());
    let discovery = discover(config_of(&url, "t20-gzip"));
    until_statuses(&discovery, "t20-gzip", &["t20-b UP"]).await;
    api.set_status("t20-gzip", "t20-b", "DOWN").await.unwrap();
    until_statuses(&discovery, "t20-gzip", &["t20-b DOWN"]).await;
    let is_gzip = |head: &String| head.contains("content-encoding: gzip") && head.contains("application/xml");
    let answers = gate.answers();
    assert!(!answers.is_empty() && answers.iter().all(is_gzip), "{answers:?}");
    discovery.shutdown().await;
}
