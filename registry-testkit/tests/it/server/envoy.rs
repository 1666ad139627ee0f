//! Envoy with a bootstrap that needs no control plane, and load through it.

use std::time::Duration;

use registry_testkit::envoy::{Envoy, Options, Version};
use registry_testkit::upstream::{Kind, Load, LoadOptions, Upstream, client};
use registry_testkit::wrk::{self, Wrk};
use registry_testkit::{Error, ports};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);

/// One listener with one route, to one host.
fn bootstrap(port: u16, upstream: &Upstream) -> String {
    let address = |port| json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } });
    let typed = |name: &str, mut config: Value| {
        config["@type"] = json!(format!("type.googleapis.com/{name}"));
        config
    };
    let router = typed("envoy.extensions.filters.http.router.v3.Router", json!({}));
    let connections = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "http",
            "http_filters": [{ "name": "router", "typed_config": router }],
            "route_config": { "virtual_hosts": [
                { "name": "web", "domains": ["web.example"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "web" } }] },
            ] },
        }),
    );
    let host = json!({ "endpoint": { "address": address(upstream.port()) } });
    json!({ "static_resources": {
        "listeners": [{
            "name": "http",
            "address": address(port),
            "filter_chains": [{ "filters": [{ "name": "http", "typed_config": connections }] }],
        }],
        "clusters": [{
            "name": "web",
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": { "cluster_name": "web", "endpoints": [{ "lb_endpoints": [host] }] },
        }],
    } })
    .to_string()
}

#[tokio::test]
async fn both_versions_proxy_what_a_bootstrap_says() {
    for version in [Version::V1_40, Version::V1_36] {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let port = ports::free(1).unwrap()[0];
        let options = Options {
            version,
            ..Options::default()
        };
        let mut envoy = Envoy::start(&bootstrap(port, &web), &options).await.unwrap();
        envoy.ready(DEADLINE).await.unwrap();

        let proxy = ([127, 0, 0, 1], port).into();
        let answer = client::http(proxy, "web.example", "/").await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "web-1"));
        assert_eq!(client::http(proxy, "other", "/").await.unwrap().status, 404);

        assert_eq!(envoy.stat("http.http.downstream_rq_2xx").await.unwrap(), 1);
        assert_eq!(envoy.stat("no.such.thing").await.unwrap(), 0);
        let stats = envoy.stats(r"^cluster\.web\.upstream_rq_").await.unwrap();
        assert_eq!(stats["cluster.web.upstream_rq_total"], 1);
        let hosts = envoy.hosts().await.unwrap();
        assert_eq!(hosts["web"], [web.address().to_string()]);
        let listeners = envoy.listeners().await.unwrap();
        assert_eq!(listeners["listener_statuses"][0]["name"], "http");
        let dump = envoy.config_dump().await.unwrap();
        assert!(
            dump["configs"]
                .as_array()
                .is_some_and(|configs| !configs.is_empty())
        );

        // It is the same one again, with the same listener.
        envoy.kill().await.unwrap();
        assert!(client::http(proxy, "web.example", "/").await.is_err());
        envoy.restart().await.unwrap();
        envoy.ready(DEADLINE).await.unwrap();
        let answer = client::http(proxy, "web.example", "/").await.unwrap();
        assert_eq!(answer.status, 200);
        envoy.pause().await.unwrap();
        envoy.resume().unwrap();
        envoy.terminate().await.unwrap();
        assert_eq!(envoy.pid(), None);
    }
}

#[tokio::test]
async fn a_bootstrap_is_judged_and_one_that_is_wrong_does_not_start() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let good = bootstrap(10_000, &web);
    let bad = good.replace("connect_timeout", "no_such_field");
    for version in [Version::V1_40, Version::V1_36] {
        Envoy::validate(&good, version).await.unwrap();
        let said = Envoy::validate(&bad, version).await.unwrap_err();
        assert!(said.contains("no_such_field"), "{said}");
    }
    let error = Envoy::start(&bad, &Options::default()).await.unwrap_err();
    assert!(
        matches!(&error, Error::Ended { log, .. } if log.contains("no_such_field")),
        "{error}"
    );
}

#[tokio::test]
async fn load_through_envoy_is_counted_by_status() {
    let web = Upstream::start("web-1", Kind::Http).await.unwrap();
    let port = ports::free(1).unwrap()[0];
    let mut envoy = Envoy::start(&bootstrap(port, &web), &Options::default())
        .await
        .unwrap();
    envoy.ready(DEADLINE).await.unwrap();

    let url = format!("http://127.0.0.1:{port}/");
    let mut options = wrk::Options::new(url, Duration::from_secs(1));
    let unknown = Wrk::start(&options).unwrap();
    options.host = Some("web.example".to_owned());
    let known = Wrk::start(&options).unwrap();
    let own = Load::start(&LoadOptions::new(([127, 0, 0, 1], port).into(), "web.example"));
    let (unknown, known) = (unknown.report().await.unwrap(), known.report().await.unwrap());
    let own = own.stop().await;
    assert!(
        unknown.requests > 0 && unknown.by_status.keys().eq(&[404]),
        "{unknown:?}"
    );
    assert_eq!(unknown.failures(), unknown.requests, "{unknown:?}");
    assert!(
        known.requests > 0 && known.by_status.keys().eq(&[200]),
        "{known:?}"
    );
    assert_eq!(known.failures(), 0, "{known:?}");
    assert!(own.requests > 0 && own.failures() == 0, "{:?}", own.troubles);

    options.url = format!("http://127.0.0.1:{}/", ports::free(1).unwrap()[0]);
    let refused = Wrk::start(&options).unwrap().report().await;
    // It makes nothing of a server that is not there.
    assert!(
        matches!(&refused, Err(Error::Tool { output, .. }) if output.contains("unable to connect")),
        "{refused:?}"
    );
}
