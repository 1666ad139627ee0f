//! Envoy with a bootstrap that needs no control plane, and load through it.

use std::net::SocketAddr;
use std::time::Duration;

use registry_testkit::envoy::{Envoy, Options, Version};
use registry_testkit::redis::{Redis, RedisClient};
use registry_testkit::upstream::client::MongoForm;
use registry_testkit::upstream::{Authority, Kind, Load, LoadOptions, Upstream, client};
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

/// A listener with one filter for each of its chains, and a cluster with one host.
fn pass(name: &str, port: u16, host: SocketAddr, filters: &[Value], sni: bool) -> (Value, Value) {
    let address = |address: SocketAddr| json!({ "socket_address": { "address": address.ip(), "port_value": address.port() } });
    let mut chain = json!({ "filters": filters });
    let mut listener = json!({ "name": name, "address": address(([127, 0, 0, 1], port).into()) });
    if sni {
        chain["filter_chain_match"] = json!({ "server_names": ["a.example"] });
        let inspector = "type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector";
        listener["listener_filters"] = json!([{ "name": "tls", "typed_config": { "@type": inspector } }]);
    }
    listener["filter_chains"] = json!([chain]);
    let endpoint = json!({ "endpoint": { "address": address(host) } });
    let cluster = json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": { "cluster_name": name, "endpoints": [{ "lb_endpoints": [endpoint] }] },
    });
    (listener, cluster)
}

fn filter(name: &str, mut config: Value) -> Value {
    config["@type"] = json!(format!(
        "type.googleapis.com/envoy.extensions.filters.network.{name}"
    ));
    json!({ "name": name, "typed_config": config })
}

#[tokio::test]
async fn every_kind_of_upstream_is_reached_through_envoy() {
    let authority = Authority::new().unwrap();
    let identity = authority.issue(&["a.example", "b.example"]).unwrap();
    let socket = Upstream::start("ws-1", Kind::WebSocket).await.unwrap();
    let raw = Upstream::start("tcp-1", Kind::Tcp).await.unwrap();
    let tls = Upstream::start("tls-1", Kind::Tls(identity)).await.unwrap();
    let mongo = Upstream::start("mongo-1", Kind::Mongo).await.unwrap();
    let redis = Redis::start().await.unwrap();

    let tcp = |name: &str| {
        let config = json!({ "stat_prefix": name, "cluster": name });
        filter("tcp_proxy.v3.TcpProxy", config)
    };
    let router = json!({ "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" });
    let upgrade = filter(
        "http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "ws",
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "http_filters": [{ "name": "router", "typed_config": router }],
            "route_config": { "virtual_hosts": [
                { "name": "ws", "domains": ["*"], "routes": [{ "match": { "prefix": "/" }, "route": { "cluster": "ws" } }] },
            ] },
        }),
    );
    let sniff = filter("mongo_proxy.v3.MongoProxy", json!({ "stat_prefix": "db" }));
    let split = filter(
        "redis_proxy.v3.RedisProxy",
        json!({
            "stat_prefix": "redis",
            "settings": { "op_timeout": "5s" },
            "prefix_routes": { "catch_all_route": { "cluster": "redis" } },
        }),
    );
    let ports = ports::free(5).unwrap();
    let passed = [
        pass("ws", ports[0], socket.address(), &[upgrade], false),
        pass("tcp", ports[1], raw.address(), &[tcp("tcp")], false),
        pass("tls", ports[2], tls.address(), &[tcp("tls")], true),
        pass("mongo", ports[3], mongo.address(), &[sniff, tcp("mongo")], false),
        pass("redis", ports[4], redis.address(), &[split], false),
    ];
    let (listeners, clusters): (Vec<Value>, Vec<Value>) = passed.into_iter().unzip();
    let bootstrap = json!({ "static_resources": { "listeners": listeners, "clusters": clusters } });
    let mut envoy = Envoy::start(&bootstrap.to_string(), &Options::default())
        .await
        .unwrap();
    envoy.ready(DEADLINE).await.unwrap();

    let at = |port: usize| SocketAddr::from(([127, 0, 0, 1], ports[port]));
    let heard = client::websocket(at(0), "ws.example", "/", "hello").await;
    assert_eq!(heard.unwrap(), "ws-1 hello");
    assert_eq!(client::tcp(at(1), "hello").await.unwrap(), "tcp-1");
    let heard = client::tls(at(2), "a.example", &authority, "hello").await;
    assert_eq!(heard.unwrap(), "tls-1 a.example");
    // No chain is for that name.
    assert!(
        client::tls(at(2), "b.example", &authority, "hello")
            .await
            .is_err()
    );
    for (form, command) in [(MongoForm::Query, "isMaster"), (MongoForm::Message, "ping")] {
        assert_eq!(client::mongo(at(3), form, command).await.unwrap(), "mongo-1");
    }
    let stats = envoy.stats(r"^mongo\.db\.").await.unwrap();
    assert_eq!(stats["mongo.db.op_query"], 1, "{stats:?}");
    // Envoy does not know the new form: it stops to look, and passes on what it does not understand.
    assert_eq!(stats["mongo.db.decoding_error"], 1, "{stats:?}");
    let mut client = RedisClient::connect(at(4)).await.unwrap();
    assert_eq!(
        client.command(&["SET", "a", "1"]).await.unwrap().as_deref(),
        Some("OK")
    );
    assert_eq!(client.command(&["GET", "a"]).await.unwrap().as_deref(), Some("1"));
}
