//! Acceptance test 17: two servers whose registries say the same are one as good as the other.

use std::collections::BTreeMap;

use registry_core::ServiceRecord;
use registry_testkit::upstream::{Kind, Load, LoadOptions, Upstream};
use registry_xds::{Node, ResourceType, Variant};

use super::stage::{
    Service, Stage, VARIANTS, assert_content, bootstrap, free_port, outbound, start, until, virtual_address,
};

fn services(web: &Upstream, number: u16) -> Vec<ServiceRecord> {
    let services = [
        Service::new("a", "http", 80).on(web.address()),
        Service::new("b", "grpc", 80).on(web.address()),
        Service::new("c", "redis", number)
            .at(virtual_address(1))
            .on(web.address()),
        Service::new("d", "tls", number)
            .at(virtual_address(2))
            .on(web.address()),
    ];
    services.map(Service::record).into()
}

/// All versions that an Envoy would get, and all bytes.
async fn content(stage: &Stage) -> BTreeMap<(ResourceType, String), (String, Vec<u8>)> {
    let (set, _) = stage.xds.views().look(&Node::default()).await.unwrap();
    let resources = ResourceType::ALL.into_iter().flat_map(|type_| {
        let whole = ((type_, String::new()), (set.version(type_), Vec::new()));
        let each = set.iter(type_).map(move |resource| {
            let name = resource.name().to_string();
            ((type_, name), (resource.version(), resource.body().to_vec()))
        });
        std::iter::once(whole).chain(each)
    });
    resources.collect()
}

#[tokio::test]
async fn acceptance_17_an_envoy_that_changes_to_another_server_gets_nothing_again() {
    for variant in VARIANTS {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let records = services(&web, free_port());
        let config = outbound(free_port());
        let first = Stage::set(records.clone(), config.clone()).await;
        // In another order, after another history.
        let second = Stage::set(records[..2].to_vec(), config).await;
        second.xds.views().look(&Node::default()).await.unwrap();
        second.say(records.into_iter().rev());
        let expected = content(&first).await;
        assert!(expected.len() > 4 + 4, "{expected:?}");
        until("both have the same content", async || {
            (content(&second).await == expected).then_some(())
        })
        .await;

        let envoy = start(&bootstrap(&[first.address, second.address], variant)).await;
        first.settled().await;
        assert_eq!(second.xds.clients().list().len(), 0);
        let load = Load::start(&LoadOptions::new(first.outbound, "a.static"));
        first.end().await;

        second.client().await;
        let all = async || (second.client().await.types.len() == 4).then_some(());
        until("it asks for all types", all).await;
        second.settled().await;
        let before = web.requests();
        until("requests", async || (web.requests() > before + 100).then_some(())).await;
        let report = load.stop().await;
        assert_eq!(report.failures(), 0, "{:?}", report.troubles);

        let sent = second.xds.clients().metrics().resources;
        if variant == Variant::Delta {
            // What is asked for by name is always sent; of the names that it asks for it has one of each cluster.
            let expected = [
                (ResourceType::Cluster, 0),
                (ResourceType::Endpoints, 4),
                (ResourceType::Listener, 0),
                (ResourceType::Route, 1),
            ];
            assert_eq!(sent, BTreeMap::from(expected));
        }
        // In state of the world all is sent, and all is what it was.
        let stats = envoy
            .stats(r"modified|cluster_removed|listener_removed|config_reload")
            .await
            .unwrap();
        let stat = |name: &str| stats.get(name).copied().unwrap_or_default();
        assert_eq!(stat("cluster_manager.cluster_modified"), 0, "{stats:?}");
        assert_eq!(stat("cluster_manager.cluster_removed"), 0, "{stats:?}");
        assert_eq!(stat("listener_manager.listener_modified"), 0, "{stats:?}");
        assert_eq!(stat("listener_manager.listener_removed"), 0, "{stats:?}");
        assert_content(&envoy).await;
        second.assert_nothing_refused();
    }
}
