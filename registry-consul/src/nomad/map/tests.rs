use super::*;
use crate::nomad::answer::id;

/// One instance with overrides.
fn instance(id: &str, more: &str) -> String {
    format!(
        r#"{{"ID":"{id}","ServiceName":"web","Namespace":"default","NodeID":"n1","Datacenter":"dc1","JobID":"shop",
            "AllocID":"a1","Address":"10.0.0.7","Port":26805,"Tags":["v1","blue"],"CreateIndex":24{more}}}"#
    )
}

fn mapped(
    body: &str,
    region: &str,
    ports: &PortDefaults,
    status: impl Fn(&Instance<'_>) -> Option<Status>,
) -> (ServiceRecord, Vec<String>) {
    let instances: Vec<Instance<'_>> = serde_json::from_str(body).unwrap();
    let mapping = Mapping { region, ports };
    record(
        &id("default", "web"),
        &instances,
        mapping,
        status,
        &mut Interner::default(),
    )
}

fn plain(body: &str) -> (ServiceRecord, Vec<String>) {
    mapped(body, "", &PortDefaults::default(), |_| Some(Status::Registered))
}

fn only(record: &ServiceRecord) -> &Endpoint {
    let mut endpoints = record.endpoints().iter();
    let first = endpoints.next().unwrap();
    assert!(endpoints.next().is_none());
    first
}

#[test]
fn an_instance_is_an_endpoint_where_nomad_put_it() {
    let body = format!("[{}]", instance("i1", ""));
    let (record, skipped) = mapped(&body, "eu", &PortDefaults::default(), |_| {
        Some(Status::Registered)
    });
    assert!(skipped.is_empty());
    let endpoint = only(&record);
    assert_eq!(endpoint.address().to_string(), "10.0.0.7");
    let ports: Vec<(String, u16)> = endpoint
        .ports()
        .iter()
        .map(|port| (port.name.to_string(), port.number))
        .collect();
    assert_eq!(ports, [("default".to_owned(), 26805)]);
    assert_eq!(endpoint.id(), "i1");
    assert_eq!(endpoint.node(), "n1");
    assert_eq!(endpoint.cluster(), "dc1");
    assert_eq!(
        (&*endpoint.locality().region, &*endpoint.locality().zone),
        ("eu", "dc1")
    );
    assert_eq!(endpoint.health(), Health::Unknown);
    assert_eq!(endpoint.claims().next().unwrap().status, "registered");
    let labels: Vec<String> = endpoint
        .labels()
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(labels, ["nomad.alloc=a1", "nomad.job=shop", "nomad.tags=blue,v1"]);
    let meta = record.meta();
    assert_eq!(
        (meta.id().group().as_str(), meta.id().namespace().as_str()),
        ("default", "default")
    );
    assert_eq!(meta.variables().get("datacenter").unwrap(), "dc1");
    assert_eq!(meta.variables().get("region").unwrap(), "eu");
    assert_eq!(meta.metadata().get("tags").unwrap(), "blue,v1");
}

#[test]
fn the_order_of_instances_and_tags_changes_nothing() {
    let (one, two) = (
        instance("i1", ""),
        instance("i2", r#","Address":"10.0.0.8","Datacenter":"dc2""#),
    );
    let (two, swapped) = (
        two.replacen(r#""Address":"10.0.0.7","#, "", 1)
            .replacen(r#""Datacenter":"dc1","#, "", 1),
        one.replace(r#"["v1","blue"]"#, r#"["blue","v1"]"#),
    );
    let (a, _) = plain(&format!("[{one},{two}]"));
    let (b, _) = plain(&format!("[{two},{swapped}]"));
    assert_eq!(a.endpoints().content_hash(), b.endpoints().content_hash());
    registry_core::fuzzing::check_same(&a, &b);
    assert_eq!(a.endpoints().len(), 2);
}

#[test]
fn every_status_has_its_word_and_its_health() {
    for (status, word, health) in [
        (Status::Registered, "registered", Health::Unknown),
        (Status::Success, "success", Health::Healthy),
        (Status::Pending, "pending", Health::Unknown),
        (Status::Failure, "failure", Health::Unhealthy),
        (Status::Stopping, "stopping", Health::Draining),
        (Status::Disconnected, "disconnected", Health::Unknown),
        (Status::Ghost, "ghost", Health::Unhealthy),
    ] {
        let body = format!("[{}]", instance("i1", ""));
        let (record, _) = mapped(&body, "", &PortDefaults::default(), |_| Some(status));
        let endpoint = only(&record);
        assert_eq!(
            (endpoint.health(), &*endpoint.claims().next().unwrap().status),
            (health, word)
        );
    }
}

#[test]
fn what_has_no_status_is_left_out_without_a_word() {
    let body = format!("[{}]", instance("i1", ""));
    let (record, skipped) = mapped(&body, "", &PortDefaults::default(), |_| None);
    assert!(record.endpoints().is_empty() && skipped.is_empty());
}

#[test]
fn addresses_and_ports_that_cannot_be_used_are_named() {
    let without = |field: &str| instance("i1", "").replace(field, "");
    let (record, skipped) = plain(&format!("[{}]", without(r#""Address":"10.0.0.7","#)));
    assert!(record.endpoints().is_empty());
    assert_eq!(skipped, ["i1: found no address"]);
    let (_, skipped) = plain(&format!("[{}]", instance("i1", "").replace("26805", "70000")));
    assert_eq!(skipped, ["i1: found port 70000, expected 1 to 65535"]);
    let (_, skipped) = plain(&format!("[{}]", instance("i1", "").replace("26805", "-1")));
    assert_eq!(skipped.len(), 1);
    let (record, skipped) = plain(&format!("[{}]", instance("i1", "").replace("26805", "0")));
    assert!(skipped.is_empty() && only(&record).ports().is_empty());
    assert!(record.meta().ports().is_empty());
    let named = instance("i1", "").replace("10.0.0.7", "db.example.internal");
    let (record, _) = plain(&format!("[{named}]"));
    assert_eq!(only(&record).address().to_string(), "db.example.internal");
}

#[test]
fn the_port_has_the_name_and_number_that_are_configured() {
    let ports = PortDefaults {
        name: Some("http".into()),
        number: Some(80),
        ..PortDefaults::default()
    };
    let body = format!("[{}]", instance("i1", ""));
    let (record, _) = mapped(&body, "", &ports, |_| Some(Status::Registered));
    let port = &record.meta().ports()[0];
    assert_eq!((&*port.name, port.number), ("http", Some(80)));
    assert_eq!(&*only(&record).ports().iter().next().unwrap().name, "http");
}
