use registry_core::{EndpointSet, PortDefaults};

use super::super::config::HttpSdConfig;
use super::super::document::Format;
use super::super::map::Reading;
use super::*;

struct Told {
    reading: Reading,
    table: Table,
}

impl Told {
    fn new() -> Self {
        Self {
            reading: Reading::new(HttpSdConfig::default(), PortDefaults::default()),
            table: Table::default(),
        }
    }

    fn tell(&mut self, document: &str) -> BTreeMap<String, ServiceRecord> {
        let groups = self.reading.document(document.as_bytes(), Format::Json).unwrap();
        self.table.replace(&groups, &mut self.reading.interner);
        let records = self.table.records();
        records.map(|record| (record.id().to_string(), record)).collect()
    }
}

/// A service of as many targets, one group for each hundred.
fn many(service: &str, targets: std::ops::Range<u32>) -> String {
    let all: Vec<u32> = targets.collect();
    let group = |part: &[u32]| {
        let texts: Vec<String> = part
            .iter()
            .map(|n| format!("\"10.{}.{}.{}:80\"", n >> 16, n >> 8 & 255, n & 255))
            .collect();
        format!(
            "{{\"targets\": [{}], \"labels\": {{\"job\": \"{service}\"}}}}",
            texts.join(",")
        )
    };
    let groups: Vec<String> = all.chunks(100).map(group).collect();
    format!("[{}]", groups.join(","))
}

fn ids(set: &EndpointSet) -> Vec<String> {
    let mut ids: Vec<String> = set.iter().map(|endpoint| endpoint.id().to_owned()).collect();
    ids.sort();
    ids
}

#[test]
fn groups_of_one_service_are_one_and_targets_that_come_twice_are_told_once() {
    let services = Told::new().tell(
        r#"[{"targets": ["a:1", "b:1"], "labels": {"job": "x", "port_name": "http", "rack": "1"}},
            {"targets": ["c:1"], "labels": {"job": "y"}},
            {"targets": ["a:1", "a:1", "A:01", "a:2", "d"], "labels": {"job": "x", "port_name": "admin", "rack": "2"}}]"#,
    );
    assert_eq!(services.keys().collect::<Vec<_>>(), ["x", "y"]);
    let x = &services["x"];
    assert_eq!(ids(x.endpoints()), ["a:1", "a:2", "b:1", "d"]);
    let ports: Vec<&str> = x.meta().ports().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(ports, ["admin", "http"]);
    let first = x
        .endpoints()
        .iter()
        .find(|endpoint| endpoint.id() == "a:1")
        .unwrap();
    assert_eq!(
        first.labels().get("rack").unwrap().as_str(),
        "1",
        "the first speaks"
    );
}

#[test]
fn one_changed_target_costs_its_bucket() {
    let mut told = Told::new();
    let before = told.tell(&many("x", 0..10_000)).remove("x").unwrap();
    let same = told.tell(&many("x", 0..10_000)).remove("x").unwrap();
    assert!(same.endpoints().ptr_eq(before.endpoints()), "nothing changed");
    assert!(std::ptr::eq(&**same.meta(), &**before.meta()));
    let after = told.tell(&many("x", 1..10_000)).remove("x").unwrap();
    assert_eq!(after.endpoints().len(), 9_999);
    let held: std::collections::HashSet<_> = before.endpoints().iter().map(Arc::as_ptr).collect();
    let shared = after
        .endpoints()
        .iter()
        .filter(|endpoint| held.contains(&Arc::as_ptr(endpoint)));
    assert_eq!(
        shared.count(),
        9_999,
        "the endpoints that stay are the same values"
    );
}

#[test]
fn a_service_that_is_not_named_any_more_is_gone_and_one_without_targets_is_not() {
    let mut told = Told::new();
    told.tell(
        r#"[{"targets": ["a:1"], "labels": {"job": "x"}}, {"targets": ["b:1"], "labels": {"job": "y"}}]"#,
    );
    let services = told.tell(r#"[{"targets": [], "labels": {"job": "y"}}]"#);
    assert_eq!(services.keys().collect::<Vec<_>>(), ["y"]);
    assert!(services["y"].endpoints().is_empty());
}

#[test]
fn what_is_derived_is_what_would_be_read_anew() {
    let mut told = Told::new();
    for range in [0..50, 0..500, 400..450, 0..1, 100..2_000, 50..1_990] {
        let derived = told.tell(&many("x", range.clone())).remove("x").unwrap();
        let anew = Told::new().tell(&many("x", range)).remove("x").unwrap();
        assert_eq!(derived.endpoints(), anew.endpoints());
        assert_eq!(
            derived.endpoints().content_hash(),
            anew.endpoints().content_hash()
        );
    }
}
