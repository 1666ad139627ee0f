//! Base URLs that are wrong in the usual ways.

use registry_core::{ErrorKind, ServiceRegistry as _};
use registry_eureka::EurekaRegistry;
use registry_testkit::{Exchange, ReplayServer};

use super::FakeEureka;
use super::watching::{config, discover, until_degraded};

async fn probed(url: &str) -> Result<(), String> {
    let registry = EurekaRegistry::try_new(config(&[url.to_owned()])).unwrap();
    registry.probe().await.map_err(|error| error.report())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_url_without_a_registry_is_told_with_the_usual_ones() {
    let fake = FakeEureka::start().await;
    for url in [fake.server.url(), format!("{}/eureka/v2", fake.server.url())] {
        let error = probed(&url).await.unwrap_err();
        assert!(
            error.contains("404") && error.contains("is the base URL right?"),
            "{error}"
        );
        assert!(
            error.contains("/eureka/v2") && error.contains(":8761/eureka"),
            "{error}"
        );
        let discovery = discover(config(&[url]));
        let message = until_degraded(&discovery, ErrorKind::Unavailable).await;
        assert!(message.contains("is the base URL right?"), "{message}");
        discovery.shutdown().await;
    }
    for url in [fake.url(), format!("{}/", fake.url())] {
        probed(&url).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_told_with_where_it_leads_as_a_base_url_and_without_secrets() {
    let server = ReplayServer::start().await.unwrap();
    for (location, base) in [
        (
            "https://user:hunter2@other:8443/eureka/apps/delta?token=hunter2",
            "https://other:8443/eureka".to_owned(),
        ),
        ("/ctx/eureka/apps", format!("{}/ctx/eureka", server.url())),
        ("/login", format!("{}/login", server.url())),
    ] {
        for path in [super::APPS, super::DELTA] {
            let redirect = Exchange::get(path)
                .with_status(302)
                .with_header("Location", location);
            server.set(redirect);
        }
        let error = probed(&format!("{}/eureka", server.url())).await.unwrap_err();
        assert!(
            error.contains("302") && error.ends_with(&format!("is this the base URL? {base}")),
            "{error}"
        );
        assert!(!error.contains("hunter2"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_deltas_is_probed_all_the_same() {
    let fake = FakeEureka::holding(&[("ORDERS", "a")]).await;
    fake.server.remove(super::DELTA);
    probed(&fake.url()).await.unwrap();
    for status in [204, 403, 405, 500] {
        fake.server.set(Exchange::get(super::DELTA).with_status(status));
        assert_eq!(probed(&fake.url()).await, Ok(()), "{status}, as a watch takes it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_is_content_with_one_server_that_answers() {
    let fake = FakeEureka::start().await;
    let port = registry_testkit::ports::free(1).unwrap()[0];
    let dead = format!("http://127.0.0.1:{port}/eureka");
    let both = EurekaRegistry::try_new(config(&[dead.clone(), fake.url()])).unwrap();
    both.probe().await.unwrap();
    let error = probed(&dead).await.unwrap_err();
    assert!(error.contains(&dead), "{error}");
}
