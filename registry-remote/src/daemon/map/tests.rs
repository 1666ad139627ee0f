//! What is read of lines that a daemon would not write, or only in a corner.

use registry_core::{Phase, ServiceRecord};
use serde_json::{Value, json};

use super::*;

fn service() -> Value {
    json!({
        "hostname": "web.mesh", "revision": 3, "hash": "00", "name": "web", "ports": [{ "name": "http" }],
        "resolution": "static", "sources": ["consul", "parent"], "origins": { "parent": ["vms", "far/k8s"] },
        "conflicts": [], "metadata": { "parent": { "a": "far", "b": "far" }, "consul": { "a": "near" } },
        "endpoints": [{
            "address": "10.0.0.1", "ports": { "http": 8080 }, "health": "healthy", "weight": 1, "priority": 0,
            "sources": [
                { "registry": "consul", "id": "i-1", "status": "passing",
                  "first_seen": "2026-11-21T00:00:00.000Z", "last_changed": "2026-11-21T00:00:01.000Z" },
                { "registry": "parent", "id": "x", "status": "up",
                  "first_seen": "2026-11-21T00:00:00.000Z", "last_changed": "2026-11-21T00:00:01.000Z",
                  "origins": [
                      { "registry": "vms", "id": "v-1", "status": "ok",
                        "first_seen": "2026-11-20T00:00:00.000Z", "last_changed": "2026-11-20T00:00:01.000Z" },
                      { "registry": "far/k8s", "id": "p-1", "status": "ready",
                        "first_seen": "2026-11-20T00:00:00.000Z", "last_changed": "2026-11-20T00:00:01.000Z" },
                  ] },
            ],
        }],
    })
}

fn read(service: &Value) -> Result<ServiceRecord, (Option<ServiceId>, String)> {
    Mapper::default().service(service.to_string().as_bytes())
}

#[test]
fn ways_lead_through_every_tier_and_metadata_is_that_of_the_first_who_says_it() {
    let record = read(&service()).unwrap();
    let meta = record.meta();
    assert_eq!(meta.origins(), ["consul", "parent/vms", "parent/far/k8s"]);
    assert_eq!(
        (meta.name().as_str(), meta.id().name().as_str()),
        ("web", "web.mesh")
    );
    let metadata: Vec<_> = meta
        .metadata()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(metadata, ["a=near", "b=far"]);
    let endpoint = record.endpoints().iter().next().unwrap();
    let origins: Vec<_> = endpoint
        .origins()
        .iter()
        .map(|o| format!("{} {} {}", o.registry, o.id, o.status))
        .collect();
    assert_eq!(
        origins,
        [
            "consul i-1 passing",
            "parent/vms v-1 ok",
            "parent/far/k8s p-1 ready"
        ]
    );
    assert_eq!(endpoint.id(), "consul/i-1");
}

#[test]
fn two_registries_may_call_two_endpoints_at_one_address_the_same() {
    let mut service = service();
    let mut other = service["endpoints"][0].clone();
    other["ports"]["http"] = json!(9090);
    other["sources"] = json!([{ "registry": "vms", "id": "i-1", "status": "",
        "first_seen": "2026-11-21T00:00:00.000Z", "last_changed": "2026-11-21T00:00:01.000Z" }]);
    service["endpoints"].as_array_mut().unwrap().push(other);
    assert_eq!(read(&service).unwrap().endpoints().len(), 2);
}

#[test]
fn what_cannot_be_read_names_the_service_and_the_value() {
    for (pointer, value, told) in [
        ("/endpoints/0/address", json!("300.1.1.1"), "300.1.1.1"),
        ("/endpoints/0/health", json!("splendid"), "splendid"),
        ("/endpoints/0/weight", json!(-1), "-1"),
        (
            "/endpoints/0/sources/0/first_seen",
            json!("yesterday"),
            "yesterday",
        ),
        ("/resolution", json!("guess"), "guess"),
        ("/endpoints", json!({}), "a sequence"),
    ] {
        let mut service = service();
        *service.pointer_mut(pointer).unwrap() = value;
        let (id, problem) = read(&service).unwrap_err();
        assert_eq!(id, Some(identity("web.mesh")), "{pointer}");
        assert!(problem.contains(told), "{pointer}: {problem}");
    }
    let (id, _) = Mapper::default().service(b"{\"name\":\"web\"}").unwrap_err();
    assert_eq!(id, None);
}

#[tokio::test(start_paused = true)]
async fn a_chain_of_daemons_has_an_end() {
    let chain = |daemons: usize| {
        (0..daemons).fold(json!({}), |behind, _| {
            json!({ "next": { "phase": "synced", "age_s": 1.5, "kind": "registryd", "behind": behind } })
        })
    };
    let read = |value: &Value| {
        let text = value.to_string();
        let registries: wire::Registries<'_> = serde_json::from_str(&text).unwrap();
        behind(&registries, Instant::now())
    };
    let found = read(&chain(10)).unwrap();
    assert_eq!(
        (found[0].phase, found[0].age()),
        (Phase::Synced, Some(Duration::from_millis(1500)))
    );
    assert!(read(&chain(17)).unwrap_err().contains("16 daemons"));
    for wrong in [
        json!({ "Wrong Name": { "phase": "synced" } }),
        json!({ "a": { "phase": "fine" } }),
        json!({ "a": { "phase": "synced", "instance": "me" } }),
    ] {
        assert!(read(&wrong).is_err(), "{wrong}");
    }
    let odd = read(&json!({ "a": { "phase": "stale", "age_s": -1e300 } })).unwrap();
    assert_eq!(odd[0].age(), None);
}
