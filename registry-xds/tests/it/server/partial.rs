//! A registry that stays silent, and an operator who does not wait for it: `serve_partial`.

use std::time::Duration;

use registry_core::{Discovery, RegistryOptions, ServiceRecord, StaticRegistry};
use registry_testkit::envoy::{Envoy, Options};
use registry_testkit::scripted::ScriptedRegistry;
use registry_testkit::upstream::{Kind, Load, LoadOptions, Upstream, client};
use registry_xds::{BootstrapFormat, XdsConfig};

use super::stage::{Service, Stage, VARIANTS, assert_content, local, until};
use crate::support::PATIENCE;

/// A registry that need not be heard.
fn optional(hostname: &str) -> RegistryOptions {
    RegistryOptions {
        required: false,
        hostname: Some(hostname.parse().unwrap()),
        ..RegistryOptions::default()
    }
}

async fn answers(stage: &Stage, host: &str) {
    let answered = async || {
        let answer = client::http(stage.outbound, host, "/").await.ok()?;
        (answer.status == 200).then_some(())
    };
    until("an answer", answered).await;
}

#[tokio::test]
async fn envoy_begins_without_a_silent_registry_and_loses_nothing_when_it_speaks() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let record = |name| -> ServiceRecord { Service::new(name, "http", 80).on(web.address()).record() };
    // From the start on, and by a change of settings while an Envoy waits.
    for (variant, from_start) in VARIANTS
        .into_iter()
        .flat_map(|variant| [(variant, true), (variant, false)])
    {
        let known = StaticRegistry::new([record("web")]);
        let handle = known.handle();
        let silent = ScriptedRegistry::new([]);
        let late = silent.handle();
        let options = RegistryOptions {
            hostname: Some("{name}.known".parse().unwrap()),
            ..RegistryOptions::default()
        };
        let builder = Discovery::builder()
            .registry_with("known", known, options)
            .unwrap()
            .registry_with("late", silent, optional("{name}.late"))
            .unwrap()
            .start_deadline(Duration::from_millis(200));
        let config = XdsConfig {
            serve_partial: from_start,
            ..XdsConfig::default()
        };
        let stage = Stage::of(builder, handle, local(0), config).await;
        let bootstrap = stage.bootstrap(variant).render(BootstrapFormat::Yaml);
        let mut envoy = Envoy::start(&bootstrap, &Options::default()).await.unwrap();
        if !from_start {
            let asked = async || (!stage.client().await.types.is_empty()).then_some(());
            until("it asks", asked).await;
            assert!(!envoy.is_ready().await.unwrap());
            let config = XdsConfig {
                serve_partial: true,
                ..(*stage.xds.views().config()).clone()
            };
            stage.xds.reconfigure(config).unwrap();
        }
        envoy.ready(PATIENCE).await.unwrap();
        let answer = client::http(stage.outbound, "web.known", "/").await.unwrap();
        assert_eq!(answer.status, 200, "what is known is whole once it is ready");
        let answer = client::http(stage.outbound, "api.late", "/").await.unwrap();
        assert_eq!(answer.status, 404);

        let load = Load::start(&LoadOptions::new(stage.outbound, "web.known"));
        let before = web.requests();
        until("requests", async || (web.requests() > before + 50).then_some(())).await;
        late.set([record("api")]);
        answers(&stage, "api.late").await;
        stage.say([record("web"), record("new")]);
        answers(&stage, "new.known").await;
        let report = load.stop().await;
        assert!(report.requests > 50, "{report:?}");
        assert_eq!(report.failures(), 0, "{:?}", report.troubles);
        assert_content(&envoy).await;
        stage.settled().await;
        stage.assert_nothing_refused();
    }
}
