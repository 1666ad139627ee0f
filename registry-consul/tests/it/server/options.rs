//! What an operator can set, seen on a real server.

use registry_consul::{ConsulConfig, ConsulRegistry};
use registry_core::{Discovery, ErrorKind, Phase, RegistryOptions, ServiceRegistry};
use registry_testkit::consul::Consul;
use registry_testkit::wait;
use serde_json::{Value, json};

use crate::support::real::until_error;
use crate::support::{DEADLINE, config, discover, phase, service, statuses, until, until_statuses};

/// `web` with two instances, `api` and `db`, of different tags, metadata and addresses.
async fn server() -> Consul {
    let consul = Consul::builder().datacenter("dc7").start().await.unwrap();
    let instance = |id: &str, name: &str, tags: Value, zone: &str, port: u16| {
        json!({
            "ID": id, "Name": name, "Address": "10.9.0.1", "Port": port, "Tags": tags, "Meta": { "zone": zone },
            "TaggedAddresses": { "wan": { "Address": "198.51.100.7", "Port": port + 1000 } },
        })
    };
    for service in [
        instance("web-1", "web", json!(["prod", "blue"]), "a", 80),
        instance("web-2", "web", json!(["prod", "green"]), "b", 81),
        instance("api-1", "api", json!(["prod"]), "a", 82),
        instance("db-1", "db", json!(["test"]), "b", 83),
    ] {
        consul.api().register(&service).await.unwrap();
    }
    // The agent brings its registrations into the catalogue in its own time.
    for (name, instances) in [("web", 2), ("api", 1), ("db", 1)] {
        let path = format!("/v1/health/service/{name}");
        wait::until(format!("{name} in the catalogue"), DEADLINE, async || {
            let found = consul.api().get(&path).await.ok()?;
            (found.as_array()?.len() == instances).then_some(())
        })
        .await
        .unwrap();
    }
    consul
}

/// The names of the services that such a configuration leads to, once it is in sync.
async fn names(config: ConsulConfig) -> (Discovery, Vec<String>) {
    let discovery = discover(config);
    until("a first listing", &discovery, |snapshot| {
        snapshot
            .registries()
            .first()
            .is_some_and(|registry| registry.is_known())
    })
    .await;
    let mut names: Vec<String> = discovery
        .snapshot()
        .services()
        .map(|service| service.name().to_string())
        .collect();
    names.sort();
    (discovery, names)
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_tags_and_expressions_choose_services_and_instances() {
    let consul = server().await;
    let base = || config(consul.url());

    let (all, found) = names(base()).await;
    assert_eq!(found, ["api", "consul", "db", "web"]);
    assert!(
        all.snapshot().get("web.service.consul").is_some(),
        "the default hostname"
    );
    all.shutdown().await;

    let (by_name, found) = names(ConsulConfig {
        services: vec!["*b".to_owned()],
        exclude_services: vec!["d*".to_owned()],
        ..base()
    })
    .await;
    assert_eq!(found, ["web"]);
    by_name.shutdown().await;

    let (by_tag, found) = names(ConsulConfig {
        tags: vec!["prod".to_owned(), "green".to_owned()],
        ..base()
    })
    .await;
    assert_eq!(found, ["web"]);
    assert_eq!(
        statuses(&by_tag.snapshot(), "web").unwrap(),
        ["web-2 passing"],
        "both tags, on one instance"
    );
    // The tags of a service are those of all its instances together: here no single one has both.
    let (apart, found) = names(ConsulConfig {
        tags: vec!["blue".to_owned(), "green".to_owned()],
        ..base()
    })
    .await;
    assert_eq!(found, Vec::<String>::new());
    apart.shutdown().await;

    let (by_filter, found) = names(ConsulConfig {
        filter: Some(r#"Service.Meta.zone == "a""#.to_owned()),
        ..base()
    })
    .await;
    assert_eq!(found, ["api", "web"]);
    assert_eq!(statuses(&by_filter.snapshot(), "web").unwrap(), ["web-1 passing"]);

    // An instance that loses its tag is gone for this configuration, and back with it.
    let web_2 = |tags: Value| json!({ "ID": "web-2", "Name": "web", "Address": "10.9.0.1", "Port": 81, "Tags": tags, "Meta": { "zone": "a" } });
    consul.api().register(&web_2(json!(["prod"]))).await.unwrap();
    until("web gone by its tag", &by_tag, |snapshot| {
        service(snapshot, "web").is_none()
    })
    .await;
    until_statuses(&by_filter, "web", &["web-1 passing", "web-2 passing"]).await;
    consul
        .api()
        .register(&web_2(json!(["green", "prod"])))
        .await
        .unwrap();
    until_statuses(&by_tag, "web", &["web-2 passing"]).await;
    for discovery in [&by_tag, &by_filter] {
        assert!(
            discovery.status()[0].last_error.is_none(),
            "{:?}",
            discovery.status()
        );
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_expression_is_an_error_that_shows() {
    let consul = server().await;
    let discovery = discover(ConsulConfig {
        filter: Some("Service.Nonsense ==".to_owned()),
        ..config(consul.url())
    });
    let message = until_error(&discovery, ErrorKind::Unavailable, "500").await;
    println!("{message}");
    assert!(discovery.snapshot().is_empty());
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_wan_address_comes_with_its_port() {
    let consul = server().await;
    let discovery = discover(ConsulConfig {
        tagged_address: Some("wan".to_owned()),
        ..config(consul.url())
    });
    let snapshot = until_statuses(&discovery, "api", &["api-1 passing"]).await;
    let api = service(&snapshot, "api").unwrap();
    let endpoint = api.endpoints().iter().next().unwrap();
    assert_eq!(endpoint.address().to_string(), "198.51.100.7");
    assert_eq!(endpoint.ports().get("default"), Some(1082));
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_may_name_the_data_centre() {
    let consul = server().await;
    let options = RegistryOptions {
        hostname: Some("{name}.{datacenter}.mesh.internal".parse().unwrap()),
        ..RegistryOptions::default()
    };
    let registry = ConsulRegistry::try_new(ConsulConfig {
        datacenter: Some("dc7".to_owned()),
        ..config(consul.url())
    })
    .unwrap();
    let discovery = Discovery::builder()
        .registry_with("consul", registry, options)
        .unwrap()
        .start()
        .unwrap();
    until("the hostname", &discovery, |snapshot| {
        snapshot.get("web.dc7.mesh.internal").is_some()
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_data_centre_is_an_error() {
    let consul = server().await;
    let wrong = ConsulConfig {
        datacenter: Some("dc9".to_owned()),
        ..config(consul.url())
    };
    let error = ConsulRegistry::try_new(wrong.clone())
        .unwrap()
        .probe()
        .await
        .unwrap_err();
    assert!(
        error.report().contains("dc9") || error.report().contains("datacenter"),
        "{}",
        error.report()
    );
    let discovery = discover(wrong);
    until_error(&discovery, ErrorKind::Unavailable, "No path to datacenter").await;
    assert_eq!(phase(&discovery), Phase::Connecting);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn further_parameters_are_passed_on_and_those_that_the_server_would_ignore_are_refused() {
    let consul = server().await;
    let meta = json!({ "Node": "rack-node", "Address": "10.9.0.9", "NodeMeta": { "rack": "r1" }, "Service": { "ID": "racked-1", "Service": "racked", "Port": 80 } });
    consul.api().catalog_register(&meta).await.unwrap();
    let with = |key: &str, value: &str| ConsulConfig {
        query: [(key.to_owned(), value.to_owned())].into(),
        ..config(consul.url())
    };
    let (discovery, found) = names(with("node-meta", "rack:r1")).await;
    assert_eq!(found, ["racked"]);
    discovery.shutdown().await;

    // 1.8 would answer with its own instances.
    for key in ["peer", "partition", "sg", "merge-central-config"] {
        let registry = ConsulRegistry::try_new(with(key, "x")).unwrap();
        let error = registry.probe().await.unwrap_err();
        assert_eq!(
            error.kind(),
            ErrorKind::Configuration,
            "{key}: {}",
            error.report()
        );
        assert!(
            error.report().contains(key) && error.report().contains("1.8"),
            "{}",
            error.report()
        );
    }
    let discovery = discover(with("peer", "elsewhere"));
    until_error(&discovery, ErrorKind::Configuration, "peer").await;
    assert!(discovery.snapshot().is_empty());
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_probe_tells_whether_the_server_can_be_used() {
    let mut consul = server().await;
    let registry = ConsulRegistry::try_new(config(consul.url())).unwrap();
    registry.probe().await.unwrap();
    consul.kill().await.unwrap();
    let error = registry.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unreachable, "{}", error.report());
}
