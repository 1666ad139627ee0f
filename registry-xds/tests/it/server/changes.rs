//! Acceptance tests 6 and 7, and the rules 13 and 14: a cluster that changes gets its endpoints again, so that Envoy, which
//! warms it anew and answers for it only then, never waits for them.

use registry_core::ServiceRecord;
use registry_testkit::envoy::Envoy;
use registry_testkit::upstream::{Kind, Load, LoadOptions, LoadReport, Upstream};
use registry_xds::{ResourceType, Variant, XdsConfig};

use super::stage::{Service, Stage, VARIANTS, assert_content, outbound, until};

/// Three services at one server, of which one speaks this.
fn services(upstream: &Upstream, protocol: &str) -> [ServiceRecord; 3] {
    [("a", "http"), ("b", protocol), ("c", "http")]
        .map(|(name, protocol)| Service::new(name, protocol, 80).on(upstream.address()).record())
}

/// Load on the service that changes, once it has begun.
async fn load(stage: &Stage, upstream: &Upstream) -> Load {
    let before = upstream.requests();
    let load = Load::start(&LoadOptions::new(stage.outbound, "b.static"));
    go_on(upstream, before).await;
    load
}

/// Waits until requests arrive after so many.
async fn go_on(upstream: &Upstream, before: u64) {
    until("requests", async || {
        (upstream.requests() > before + 100).then_some(())
    })
    .await;
}

fn assert_unharmed(report: &LoadReport) {
    assert!(report.requests > 100, "{report:?}");
    assert_eq!(report.failures(), 0, "{:?}", report.troubles);
}

/// Waits until Envoy has changed clusters so often, and uses all that it has.
async fn modified(envoy: &Envoy, count: u64) {
    until("the changed cluster is in use", async || {
        let stats = envoy.stats(r"^cluster_manager\.").await.ok()?;
        let stat = |name: &str| {
            stats
                .get(&format!("cluster_manager.{name}"))
                .copied()
                .unwrap_or_default()
        };
        (stat("cluster_modified") >= count && stat("warming_clusters") == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn acceptance_6_a_live_service_changes_its_protocol_without_an_error() {
    for variant in VARIANTS {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let stage = Stage::set(services(&web, "http"), XdsConfig::default()).await;
        let envoy = stage.envoy(variant).await;
        stage.settled().await;
        let before = stage.responses().await;
        let endpoints = stage.sent(ResourceType::Endpoints);

        let load = load(&stage, &web).await;
        stage.say(services(&web, "grpc"));
        envoy
            .until("requests go by HTTP/2", crate::support::PATIENCE, async |envoy| {
                let stat = "cluster.outbound|80||b_static.upstream_cx_http2_total";
                Ok((envoy.stat(stat).await? > 0).then_some(()))
            })
            .await
            .unwrap();
        go_on(&web, web.requests()).await;
        assert_unharmed(&load.stop().await);

        stage.settled().await;
        let after = stage.responses().await;
        let more = |type_| after[&type_] - before[&type_];
        assert_eq!(
            (more(ResourceType::Cluster), more(ResourceType::Endpoints)),
            (1, 1)
        );
        assert_eq!(stage.sent(ResourceType::Endpoints) - endpoints, 1);
        assert_content(&envoy).await;
        stage.assert_nothing_refused();
    }
}

#[tokio::test]
async fn acceptance_7_a_changed_cluster_gets_its_endpoints_again_and_no_other_does() {
    for variant in VARIANTS {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let stage = Stage::set(services(&web, "http"), XdsConfig::default()).await;
        let envoy = stage.envoy(variant).await;
        stage.settled().await;
        let before = (
            stage.sent(ResourceType::Cluster),
            stage.sent(ResourceType::Endpoints),
        );
        let load = load(&stage, &web).await;

        stage.say(services(&web, "http2"));
        modified(&envoy, 1).await;
        stage.settled().await;
        let clusters = stage.sent(ResourceType::Cluster) - before.0;
        let endpoints = stage.sent(ResourceType::Endpoints) - before.1;
        assert_content(&envoy).await;
        // The state of the world is all clusters, whichever changed.
        let all = if variant == Variant::Sotw { 3 } else { 1 };
        assert_eq!((clusters, endpoints), (all, 1));

        // The same for one who comes back after the cluster changed: it says that it has the endpoints, and needs them.
        let (address, config) = (stage.address, outbound(stage.outbound.port()));
        stage.end().await;
        let stage = Stage::set_at(address, services(&web, "http"), config).await;
        modified(&envoy, 2).await;
        stage.settled().await;
        assert_content(&envoy).await;
        go_on(&web, web.requests()).await;
        assert_unharmed(&load.stop().await);
        stage.assert_nothing_refused();
    }
}
