//! A client that comes back after its services changed: a route leads to another cluster than before, and the one that it
//! led to is gone. Rule 15.

use registry_core::ServiceRecord;
use registry_testkit::upstream::{Kind, Load, LoadOptions, Upstream};

use super::stage::{Service, Stage, VARIANTS, assert_content, outbound, until};
use crate::support::PATIENCE;

/// A service whose cluster is called by that port, another one that stays, and one that comes or goes.
fn services(upstream: &Upstream, number: u16) -> Vec<ServiceRecord> {
    let others = if number == 80 { "even" } else { "odd" };
    [("web", number), ("stays", 80), (others, 80)]
        .map(|(name, number)| Service::new(name, "http", number).on(upstream.address()).record())
        .into()
}

#[tokio::test]
async fn who_comes_back_keeps_a_cluster_that_is_gone_until_no_route_names_it() {
    for variant in VARIANTS {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let mut stage = Stage::set(services(&web, 80), outbound(super::stage::free_port())).await;
        let envoy = stage.envoy(variant).await;
        stage.settled().await;
        let load = Load::start(&LoadOptions::new(stage.outbound, "web.static"));
        for number in [8080, 80, 8080] {
            let (address, config) = (stage.address, outbound(stage.outbound.port()));
            stage.end().await;
            stage = Stage::set_at(address, services(&web, number), config).await;
            stage.client().await;
            let [here, gone] =
                [number, 8160 - number].map(|port| format!("cluster.outbound|{port}||web_static"));
            envoy
                .until("only the new cluster is there", PATIENCE, async |envoy| {
                    let stats = envoy.stats("membership_total").await?;
                    let has = |cluster: &str| stats.contains_key(&format!("{cluster}.membership_total"));
                    Ok((has(&here) && !has(&gone)).then_some(()))
                })
                .await
                .unwrap();
            let before = web.requests();
            until("requests", async || (web.requests() > before + 100).then_some(())).await;
            stage.settled().await;
            assert_content(&envoy).await;
            stage.assert_nothing_refused();
        }
        let report = load.stop().await;
        assert_eq!(report.failures(), 0, "{variant:?}: {:?}", report.troubles);
    }
}
