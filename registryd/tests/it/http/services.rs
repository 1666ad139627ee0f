//! Lists of services, and single ones.

use registry_core::{
    Discovery, ErrorKind, Event, Health, Labels, Locality, RegistryError, Resolution, Scope, ServiceId,
    ServiceMeta, ServicePort, ServiceRecord, Traffic, Vip,
};
use serde_json::{Value, json};

use super::client::{get, request};
use super::setup::{Daemon, Scripted, endpoint, merging, one_registry, service};

/// Puts words in place of what no test can know.
fn redact(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                match key.as_str() {
                    "first_seen" | "last_changed" | "since" | "last_confirmed" | "at" if !value.is_null() => {
                        let time = value.as_str().unwrap();
                        assert!(time.ends_with('Z') && time.starts_with("20"), "{time}");
                        *value = "TIME".into();
                    }
                    "age_s" if !value.is_null() => {
                        assert!(value.as_f64().unwrap() < 60.0);
                        *value = "AGE".into();
                    }
                    "hash" | "root_hash" => {
                        assert_eq!(value.as_str().unwrap().len(), 32);
                        *value = "HASH".into();
                    }
                    "revision" => {
                        assert!(value.as_u64().unwrap() > 0);
                        *value = "REVISION".into();
                    }
                    _ => redact(value),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

fn redacted(mut value: Value) -> Value {
    redact(&mut value);
    value
}

/// The same service in a file and in Consul: one endpoint in common, a port that differs.
async fn shop() -> Daemon {
    let (vms, vms_script) = Scripted::new();
    let (consul, consul_script) = Scripted::new();
    let port = |number| ServicePort {
        number: Some(number),
        app_protocol: "http".into(),
        ..ServicePort::new("http")
    };
    let meta = ServiceMeta::builder(ServiceId::new("vms.yaml", "default", "payments"))
        .ports([port(80)])
        .aliases(["pay.internal".into()])
        .addresses([Vip {
            cluster: "".into(),
            addresses: vec!["10.96.0.1".parse().unwrap()],
        }])
        .labels(Labels::from_iter([("team", "money")]))
        .traffic(Traffic {
            internal_local: true,
            ..Traffic::default()
        });
    let locality = Locality {
        region: "eu".into(),
        zone: "eu-1a".into(),
        ..Locality::default()
    };
    let common = endpoint("10.0.0.7", "payments-1")
        .label("version", "v2")
        .locality(locality);
    vms_script.list([ServiceRecord::new(meta.build(), [common.build()])]);
    let meta = ServiceMeta::builder(ServiceId::named("payments"))
        .ports([port(81)])
        .metadata(Labels::from_iter([("owner", "team money")]));
    let far = endpoint("10.0.0.10", "node2/payments")
        .health(Health::Unhealthy)
        .node("node2")
        .node_hints(["node2".into(), "node3".into()])
        .weight(5);
    let same = endpoint("10.0.0.7", "node1/payments");
    consul_script.list([ServiceRecord::new(meta.build(), [far.build(), same.build()])]);
    let builder = Discovery::builder()
        .registry_with("vms", vms, merging())
        .unwrap()
        .registry_with("dc/one", consul, merging())
        .unwrap();
    let daemon = Daemon::start(builder).await;
    daemon.discovery.ready().await;
    daemon
}

fn payments() -> Value {
    json!({
        "hostname": "payments.mesh.internal",
        "revision": "REVISION",
        "hash": "HASH",
        "namespace": "default",
        "name": "payments",
        "aliases": ["pay.internal"],
        "ports": [{ "name": "http", "number": 80, "protocol": "http" }],
        "resolution": "static",
        "addresses": [{ "addresses": ["10.96.0.1"] }],
        "labels": { "team": "money" },
        "traffic": { "internal_policy": "local" },
        "endpoints": [
            {
                "address": "10.0.0.7",
                "ports": { "http": 8080 },
                "health": "healthy",
                "weight": 1,
                "priority": 0,
                "locality": { "region": "eu", "zone": "eu-1a" },
                "labels": { "version": "v2" },
                "sources": [
                    { "registry": "vms", "id": "payments-1", "status": "passing", "first_seen": "TIME", "last_changed": "TIME" },
                    { "registry": "dc/one", "id": "node1/payments", "status": "passing", "first_seen": "TIME", "last_changed": "TIME" },
                ],
            },
            {
                "address": "10.0.0.10",
                "ports": { "http": 8080 },
                "health": "unhealthy",
                "weight": 5,
                "node_hints": ["node2", "node3"],
                "priority": 0,
                "node": "node2",
                "sources": [
                    { "registry": "dc/one", "id": "node2/payments", "status": "passing", "first_seen": "TIME", "last_changed": "TIME" },
                ],
            },
        ],
        "sources": ["vms", "dc/one"],
        "conflicts": [{
            "field": "port.number",
            "item": "http",
            "values": [{ "registry": "vms", "value": "80" }, { "registry": "dc/one", "value": "81" }],
            "text": "port.number http: vms says 80, dc/one says 81",
        }],
        "metadata": { "dc/one": { "owner": "team money" } },
    })
}

#[tokio::test]
async fn a_service_shows_endpoints_provenance_and_conflicts() {
    let daemon = shop().await;
    let answer = get(daemon.at, "/v1/services/payments.mesh.internal").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "application/json")
    );
    let trust = json!({ "kind": "scripted", "phase": "synced", "age_s": "AGE" });
    let mut expected = payments();
    expected["registries"] = json!({ "vms": trust, "dc/one": trust });
    assert_eq!(redacted(answer.json()), expected);
    assert!(
        answer.text().starts_with("{\"hostname\":"),
        "people read from the top"
    );

    let mut listed = get(daemon.at, "/v1/services").await.json();
    assert_eq!(
        listed["root_hash"],
        daemon.discovery.snapshot().root_hash().to_string()
    );
    redact(&mut listed);
    let expected = json!({
        "revision": "REVISION", "root_hash": "HASH", "ready": true, "services": [payments()],
        "registries": { "vms": trust, "dc/one": trust },
    });
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn a_service_is_found_by_each_of_its_names() {
    let daemon = shop().await;
    for name in [
        "PAYMENTS.mesh.internal",
        "pay.internal",
        "10.96.0.1",
        "pay%2einternal",
    ] {
        let answer = get(daemon.at, &format!("/v1/services/{name}")).await;
        assert_eq!(answer.json()["hostname"], "payments.mesh.internal", "{name}");
    }
    let view = get(daemon.at, "/v1/services/payments.mesh.internal@dc%2Fone")
        .await
        .json();
    assert_eq!(view["sources"], json!(["dc/one"]));
    assert_eq!(view["ports"][0]["number"], 81);
    assert_eq!(view["registries"].as_object().unwrap().len(), 1);
}

#[tokio::test]
async fn an_endpoint_of_a_headless_service_shows_its_name() {
    let meta = ServiceMeta::builder(ServiceId::named("db")).resolution(Resolution::Headless);
    let endpoints = [
        endpoint("10.0.0.1", "a").hostname("db-0").build(),
        endpoint("10.0.0.2", "b").build(),
    ];
    let (daemon, _script) = one_registry([ServiceRecord::new(meta.build(), endpoints)]).await;
    let db = get(daemon.at, "/v1/services/db.mesh.internal").await.json();
    assert_eq!(db["resolution"], "headless");
    let (named, nameless) = (&db["endpoints"][0], &db["endpoints"][1]);
    assert_eq!(
        (&named["hostname"], &named["dns_name"]),
        (&json!("db-0"), &json!("db-0.db.mesh.internal"))
    );
    assert_eq!(nameless["address"], "10.0.0.2");
    assert_eq!((nameless.get("hostname"), nameless.get("dns_name")), (None, None));
}

#[tokio::test]
async fn a_registry_shows_its_whole_status() {
    let daemon = shop().await;
    let mut one = get(daemon.at, "/v1/registries/dc%2Fone").await.json();
    redact(&mut one);
    let expected = json!({
        "id": "dc/one", "kind": "scripted", "required": true, "phase": "synced", "since": "TIME", "age_s": "AGE",
        "last_confirmed": "TIME", "attempts": 1, "panics": 0, "last_error": null, "degraded": [], "services": 1,
        "endpoints": 2, "warnings": [], "requests": 0, "failures": 0, "skipped": 0, "connections": 0, "note": null,
        "restored": false, "held": null, "comparisons": 0, "repaired": 0, "saved": null, "save_error": null,
        "outage": { "policy": "keep", "keep_for_s": null, "since": null, "remaining_s": null },
    });
    assert_eq!(one, expected);
    let all = get(daemon.at, "/v1/registries").await.json();
    assert_eq!(
        (&all["registries"][0]["id"], &all["ready"]),
        (&json!("vms"), &json!(true))
    );
    assert_eq!(redacted(all)["registries"][1], expected);
    let detail = get(daemon.at, "/v1/registries/dc%2Fon").await.problem(404);
    assert!(
        detail.contains("\"dc/on\"") && detail.contains("did you mean \"dc/one\""),
        "{detail}"
    );
}

#[tokio::test]
async fn a_registry_in_trouble_says_what_cannot_be_read_and_why() {
    let (daemon, script) = one_registry([service("a", "10.0.0.1")]).await;
    let error = || RegistryError::new(ErrorKind::Denied, "GET http://10.9.9.9/a: 403");
    let scope = Scope::Service(ServiceId::named("a"));
    for _ in 0..3 {
        script.say(vec![Event::degraded(scope.clone(), error())]);
    }
    daemon
        .until("stale", |s| s.registries()[0].phase().as_str() == "stale")
        .await;
    let status = get(daemon.at, "/v1/registries/vms").await.json();
    assert_eq!(status["phase"], "stale");
    let degraded = json!([{
        "scope": "service a", "stale": true, "failures": 3, "kind": "denied", "error": "GET http://10.9.9.9/a: 403"
    }]);
    assert_eq!(status["degraded"], degraded);
    let last = redacted(status["last_error"].clone());
    assert_eq!(
        last,
        json!({ "at": "TIME", "kind": "denied", "message": "GET http://10.9.9.9/a: 403" })
    );
    let one = get(daemon.at, "/v1/services/a.mesh.internal").await.json();
    assert_eq!(one["registries"]["vms"]["phase"], "stale");
    assert_eq!(one["endpoints"].as_array().unwrap().len(), 1, "nothing is lost");
}

#[tokio::test]
async fn an_entity_tag_covers_content_and_phases_and_not_ages() {
    let (daemon, script) = one_registry([service("a", "10.0.0.1"), service("b", "10.0.0.2")]).await;
    for path in [
        "/v1/services",
        "/v1/services/a.mesh.internal",
        "/v1/services?host=a.*",
    ] {
        script.list([service("a", "10.0.0.1"), service("b", "10.0.0.2")]);
        daemon
            .until("synced", |s| {
                let b = s.get("b.mesh.internal");
                let back = b.is_some_and(|b| {
                    b.endpoints()
                        .iter()
                        .all(|e| e.address().to_string() == "10.0.0.2")
                });
                s.registries()[0].phase().as_str() == "synced" && s.len() == 2 && back
            })
            .await;
        let fetch = async |tag: &str| request(daemon.at, "GET", path, &[("if-none-match", tag)]).await;
        let first = fetch("\"other\"").await;
        assert_eq!((first.status, first.header("cache-control")), (200, "no-cache"));
        let tag = first.header("etag").to_owned();
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        let again = fetch(&format!("\"x\", {tag}")).await;
        assert_eq!((again.status, again.body.len()), (304, 0));
        assert_eq!(again.header("etag"), tag);

        script.fail();
        daemon
            .until("stale", |s| s.registries()[0].phase().as_str() == "stale")
            .await;
        let stale = fetch(&tag).await;
        assert_eq!(stale.status, 200, "a phase changed");
        script.list([service("a", "10.0.0.1"), service("b", "10.0.0.2")]);
        daemon
            .until("synced", |s| s.registries()[0].phase().as_str() == "synced")
            .await;
        assert_eq!(fetch(&tag).await.status, 304, "all is as it was");

        script.apply(service("b", "10.0.0.3"));
        let moved = |s: &registry_core::Snapshot| {
            let b = s.get("b.mesh.internal").unwrap();
            b.endpoints()
                .iter()
                .any(|e| e.address().to_string() == "10.0.0.3")
        };
        daemon.until("b moved", moved).await;
        let other = fetch(&tag).await;
        let expected = if path == "/v1/services" { 200 } else { 304 };
        assert_eq!(other.status, expected, "{path}: only what is asked for counts");
    }
}

#[tokio::test]
async fn a_list_is_filtered_sorted_and_paged() {
    let record = |namespace: &str, name: &str, team: &str| {
        let meta = ServiceMeta::builder(ServiceId::new("", namespace, name))
            .labels(Labels::from_iter([("team", team), ("tier", "1")]));
        ServiceRecord::new(meta.build(), [endpoint("10.0.0.1", name).build()])
    };
    let (daemon, _script) = one_registry([
        record("x", "c", "money"),
        record("x", "a", "goods"),
        record("y", "b", "money"),
        record("y", "d1", "a=b"),
    ])
    .await;
    let names = async |query: &str| {
        let list = get(daemon.at, &format!("/v1/services{query}")).await.json();
        let services = list["services"].as_array().unwrap();
        let names = services.iter().map(|service| service["name"].as_str().unwrap());
        (names.collect::<Vec<_>>().join(" "), list["next"].clone())
    };
    for (query, expected) in [
        ("", "a b c d1"),
        ("?host=*.mesh.internal", "a b c d1"),
        ("?host=D*", "d1"),
        ("?host=a.*&host=b.*", "a b"),
        ("?namespace=y", "b d1"),
        ("?label=team:money", "b c"),
        ("?label=team%3Dmoney&label=tier:*", "b c"),
        ("?label=team:money&label=tier:2", ""),
        ("?label=team:a%3Db", "d1"),
        ("?registry=vms&namespace=x", "a c"),
        ("?registry=other", ""),
    ] {
        assert_eq!(names(query).await, (expected.to_owned(), Value::Null), "{query}");
    }
    let (page, next) = names("?limit=3").await;
    assert_eq!((page.as_str(), &next), ("a b c", &json!("c.mesh.internal")));
    assert_eq!(
        names("?limit=3&after=c.mesh.internal").await,
        ("d1".to_owned(), Value::Null)
    );
    assert_eq!(names("?limit=4").await.1, Value::Null);
}

#[tokio::test]
async fn a_large_list_comes_in_pieces_and_whole() {
    let many = |n: u32| {
        let meta = ServiceMeta::builder(ServiceId::named(format!("s{n}"))).build();
        let address = |i: u32| format!("10.{}.{}.{}", n, i / 250, i % 250);
        ServiceRecord::new(
            meta,
            (0..2_000)
                .map(|i| endpoint(&address(i), &format!("i-{i}")).build())
                .collect::<Vec<_>>(),
        )
    };
    let (daemon, _script) = one_registry((0..3).map(many)).await;
    let answer = get(daemon.at, "/v1/services").await;
    assert_eq!(answer.header("transfer-encoding"), "chunked");
    assert!(answer.body.len() > 1_000_000, "{}", answer.body.len());
    let list = answer.json();
    for service in list["services"].as_array().unwrap() {
        let endpoints = service["endpoints"].as_array().unwrap();
        assert_eq!(endpoints.len(), 2_000);
        let ips: Vec<std::net::Ipv4Addr> = endpoints
            .iter()
            .map(|e| e["address"].as_str().unwrap().parse().unwrap())
            .collect();
        assert!(
            ips.is_sorted(),
            "in the order of addresses, not of how they are stored"
        );
    }
}
