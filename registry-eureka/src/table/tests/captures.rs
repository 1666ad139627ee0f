//! What real servers sent, from body to records.

use super::*;
use crate::wire::{Head, decode};

/// The body of a captured answer.
fn captured(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(name);
    let answer = std::fs::read(&path).unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    answer[head + 4..].to_vec()
}

fn full_of(table: &mut Table, name: &str) -> (Changes, Head) {
    let body = captured(name);
    let mut staged = table.stage();
    let head = decode(&body, None, |app| table.stage_application(&mut staged, app)).unwrap();
    (table.replace(staged), head)
}

fn delta_of(table: &mut Table, name: &str) -> (Changes, Head) {
    let body = captured(name);
    let head = decode(&body, None, |app| table.apply(app)).unwrap();
    (table.changes(), head)
}

/// All that is said of an endpoint.
fn described(record: &ServiceRecord) -> Vec<String> {
    let endpoints = record.endpoints().iter();
    let mut lines: Vec<String> = endpoints
        .map(|endpoint| {
            let locality = endpoint.locality();
            let labels: Vec<String> = endpoint
                .labels()
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect();
            format!(
                "{} {} {:?} {}{} x{} {}/{} on {} [{}]",
                endpoint.id(),
                endpoint.address(),
                endpoint.ports(),
                endpoint.health(),
                if endpoint.administrative() { " by hand" } else { "" },
                endpoint.weight(),
                locality.region,
                locality.zone,
                endpoint.node(),
                labels.join(" "),
            )
        })
        .collect();
    lines.sort();
    lines
}

#[test]
fn a_full_fetch_of_a_real_server_becomes_its_services() {
    for name in ["apps-full.json.http", "apps-full.xml.http"] {
        let mut table = table();
        let (changes, head) = full_of(&mut table, name);
        assert_eq!(head.hash.as_deref(), Some(table.hash().as_str()), "{name}");
        assert_eq!(
            applied(&changes),
            ["orders: host1:orders:8080 host2:orders:8080", "payments: i-0abc"]
        );
        assert!(
            changes.troubles.is_empty() && changes.notes.is_empty(),
            "{changes:?}"
        );
        let labels = "management.port=8081 version=v1 weight=3 zone=zone1";
        assert_eq!(
            described(&record(&table, "orders")),
            [
                format!(
                    "host1:orders:8080 10.0.0.1 {{\"http\": 8080, \"management\": 8081}} healthy x3 /zone1 on host1.example [{labels}]"
                ),
                format!(
                    "host2:orders:8080 10.0.0.2 {{\"http\": 8080, \"management\": 8081}} draining by hand x3 /zone1 on host2.example [{labels}]"
                ),
            ]
        );
        assert_eq!(
            described(&record(&table, "payments")),
            [
                "i-0abc 1.2.3.4 {\"https\": 7443} unhealthy x1 us-east-1/us-east-1c on i-0abc [eureka.asg=payments-v7]"
            ]
        );
        let aliases = |name: &str| -> Vec<String> {
            let record = record(&table, name);
            record.meta().aliases().iter().map(ToString::to_string).collect()
        };
        assert_eq!(aliases("orders"), ["orders", "orders-alt", "orders-s"]);
        assert_eq!(aliases("payments"), ["payments", "payments-sec"]);
    }
}

#[test]
fn the_delta_of_a_real_server_tells_nothing_that_its_full_fetch_has_not() {
    for (full, delta) in [
        ("apps-full.json.http", "apps-delta.json.http"),
        ("apps-full.xml.http", "apps-delta.xml.http"),
        ("apps-full.json.http", "apps-delta.xml.http"),
    ] {
        let mut table = table();
        full_of(&mut table, full);
        let (changes, head) = delta_of(&mut table, delta);
        assert!(is_nothing(&changes), "{full} {delta}: {changes:?}");
        assert_eq!(head.hash.as_deref(), Some(table.hash().as_str()));
        // To one that knew nothing before it tells all the same.
        let mut anew = self::table();
        delta_of(&mut anew, delta);
        assert_eq!(held(&anew), held(&table));
        assert_eq!(anew.hash(), table.hash());
    }
}

#[test]
fn both_formats_and_both_servers_are_read_alike() {
    let mut table = table();
    full_of(&mut table, "apps-full.json.http");
    assert!(is_nothing(&full_of(&mut table, "apps-full.xml.http").0));
    for name in ["netflix-war-apps-full.json.http", "apps-compact.json.http"] {
        let mut other = self::table();
        let (changes, head) = full_of(&mut other, name);
        assert!(
            changes.troubles.is_empty() && !changes.applied.is_empty(),
            "{name}"
        );
        assert_eq!(head.hash.as_deref(), Some(other.hash().as_str()), "{name}");
    }
}
