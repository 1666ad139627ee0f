//! What is one allocation, and what a change leaves alone.

use std::collections::HashMap;
use std::sync::Arc;

use registry_core::{Address, Endpoint, ServiceRecord};
use serde_json::Value;

use super::{Cluster, Kind, pod, service, slice};

const SLICES: usize = 100;

fn pods(slice_at: usize) -> Vec<Value> {
    (0..100)
        .map(|at| pod(&format!("10.{slice_at}.0.{at}"), &format!("web-{slice_at}-{at}")))
        .collect()
}

fn large() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.watch(Kind::Service, &service("web"));
    for at in 0..SLICES {
        cluster.watch(Kind::Slice, &slice(&format!("web-{at}"), "web", &pods(at)));
    }
    cluster
}

fn by_address(record: &ServiceRecord) -> HashMap<Address, Arc<Endpoint>> {
    let all = record.endpoints().iter();
    all.map(|endpoint| (endpoint.address().clone(), endpoint.clone()))
        .collect()
}

#[test]
fn one_change_in_ten_thousand_leaves_all_others_where_they_are() {
    let mut cluster = large();
    let before = cluster.applied().0;
    assert_eq!(before.endpoints().len(), 10_000);
    let mut changed = pods(7);
    changed[3]["conditions"]["ready"] = false.into();
    cluster.watch(Kind::Slice, &slice("web-7", "web", &changed));
    let after = cluster.applied().0;
    let (before, after) = (by_address(&before), by_address(&after));
    let shared = after
        .iter()
        .filter(|(address, endpoint)| Arc::ptr_eq(&before[address], endpoint));
    assert_eq!(shared.count(), 9_999);
}

#[test]
fn slices_and_the_set_share_their_endpoints() {
    let mut cluster = large();
    let record = cluster.applied().0;
    let set = by_address(&record);
    let services: Vec<_> = cluster.index.services().map(|(_, _, service)| service).collect();
    let mut shared = 0;
    for slice in services[0].slices() {
        for endpoint in slice.shelf.all() {
            assert!(Arc::ptr_eq(&set[endpoint.address()], endpoint));
            shared += 1;
        }
    }
    assert_eq!(shared, 10_000);
}

#[test]
fn the_same_listing_again_changes_nothing_not_even_allocations() {
    let mut cluster = super::demo();
    cluster.take();
    let before: Vec<ServiceRecord> = cluster.index.records(None).collect();
    cluster.list(Kind::Slice, &super::items("endpointslices-demo.json"));
    cluster.list(Kind::Node, &super::items("nodes-partialmetadata.json"));
    assert!(
        cluster.index.dirty.is_empty(),
        "what is the same is dropped before it touches a service"
    );
    assert!(cluster.take().is_empty());
    for record in cluster.index.records(None) {
        let held = before.iter().find(|held| held.id() == record.id()).unwrap();
        assert!(held.endpoints().ptr_eq(record.endpoints()));
        assert!(Arc::ptr_eq(held.meta(), record.meta()));
    }
}
