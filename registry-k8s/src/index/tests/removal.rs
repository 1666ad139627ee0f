//! When what is gone goes, and what is said of why.

use std::time::Duration;

use serde_json::json;

use super::{Change, Cluster, DELAY, Kind, Part, Source, addresses, pod, service, slice};

fn two_slices() -> Cluster {
    let mut cluster = Cluster::new();
    cluster.list(Kind::Service, &[service("web")]);
    cluster.list(
        Kind::Slice,
        &[
            slice("a", "web", &[pod("10.0.0.1", "p")]),
            slice("b", "web", &[pod("10.0.0.2", "q")]),
        ],
    );
    cluster.take();
    cluster
}

#[test]
fn a_removal_waits_and_then_goes_alone() {
    let mut cluster = two_slices();
    cluster.watch(Kind::Slice, &slice("a", "web", &[]));
    assert_eq!(cluster.index.next_due(), Some(cluster.now + DELAY));
    cluster.pass(DELAY - Duration::from_millis(1));
    assert!(cluster.take().is_empty());
    cluster.pass(Duration::from_millis(1));
    let (record, explicit) = cluster.applied();
    assert_eq!(
        (addresses(&record), explicit),
        (vec!["10.0.0.2".to_owned()], true)
    );
    assert_eq!(cluster.index.next_due(), None);
}

#[test]
fn a_newcomer_takes_the_place_of_what_was_leaving_at_once() {
    let mut cluster = two_slices();
    cluster.watch(Kind::Slice, &slice("a", "web", &[]));
    cluster.watch(
        Kind::Slice,
        &slice("b", "web", &[pod("10.0.0.2", "q"), pod("10.0.0.1", "new")]),
    );
    let (record, explicit) = cluster.applied();
    let ids: Vec<&str> = record.endpoints().iter().map(|endpoint| endpoint.id()).collect();
    assert!(ids.contains(&"new/u-new") && !ids.contains(&"p/u-p"), "{ids:?}");
    assert!(explicit);
    assert_eq!(cluster.index.next_due(), None);
}

#[test]
fn a_pod_that_is_made_anew_replaces_the_one_of_its_name_at_once() {
    let again = |address: &str| {
        let mut pod = pod(address, "p");
        pod["targetRef"]["uid"] = json!("u-of-the-next-life");
        pod
    };
    let in_one_write = vec![slice("a", "web", &[again("10.0.0.9")])];
    let in_another_slice = vec![
        slice("a", "web", &[]),
        slice("b", "web", &[pod("10.0.0.2", "q"), again("10.0.0.9")]),
    ];
    for writes in [in_one_write, in_another_slice] {
        let mut cluster = two_slices();
        for write in &writes {
            cluster.watch(Kind::Slice, write);
        }
        let (record, explicit) = cluster.applied();
        assert_eq!(
            (addresses(&record), explicit),
            (vec!["10.0.0.2".to_owned(), "10.0.0.9".to_owned()], true)
        );
        assert_eq!(cluster.index.next_due(), None);
    }
}

#[test]
fn additions_and_health_do_not_wait_for_removals() {
    let mut cluster = two_slices();
    cluster.watch(Kind::Slice, &slice("a", "web", &[]));
    let mut ailing = pod("10.0.0.2", "q");
    ailing["conditions"]["ready"] = json!(false);
    cluster.watch(Kind::Slice, &slice("b", "web", &[ailing, pod("10.0.0.3", "r")]));
    let (record, _) = cluster.applied();
    assert_eq!(addresses(&record), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
    assert_eq!(
        record
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.health().routable())
            .count(),
        2
    );
}

#[test]
fn both_addresses_of_a_pod_go_together() {
    let mut cluster = two_slices();
    let mut v6 = slice("c", "web", &[pod("fd00::1", "p")]);
    v6["addressType"] = json!("IPv6");
    cluster.watch(Kind::Slice, &v6);
    assert_eq!(addresses(&cluster.applied().0), ["10.0.0.1+fd00::1", "10.0.0.2"]);
    cluster.delete(Kind::Slice, &slice("a", "web", &[]));
    cluster.pass(Duration::from_millis(20));
    cluster.delete(Kind::Slice, &v6);
    cluster.pass(DELAY - Duration::from_millis(20));
    assert_eq!(addresses(&cluster.applied().0), ["10.0.0.2"]);
    cluster.pass(DELAY);
    assert!(cluster.take().is_empty());
}

#[test]
fn what_a_listing_lacks_goes_at_its_end_and_was_not_announced() {
    let mut cluster = two_slices();
    let part = Part {
        kind: Kind::Slice,
        namespace: None,
    };
    cluster.index.begin(&part);
    // Of slices that are listed later nothing is known yet: the endpoint may be in one of them.
    cluster
        .tell(Kind::Slice, slice("b", "web", &[]), Source::Listed)
        .unwrap();
    assert!(cluster.take().is_empty());
    cluster.index.complete(&part, cluster.now);
    let (record, explicit) = cluster.applied();
    assert_eq!((record.endpoints().len(), explicit), (0, false));
    cluster.list(Kind::Service, &[]);
    assert!(matches!(
        cluster.take().as_slice(),
        [Change::Delete { explicit: false, .. }]
    ));
}

#[test]
fn a_listing_that_begins_anew_takes_nothing_that_the_first_one_lacked() {
    let mut cluster = two_slices();
    let part = Part {
        kind: Kind::Slice,
        namespace: None,
    };
    cluster.index.begin(&part);
    cluster.index.begin(&part);
    cluster
        .tell(
            Kind::Slice,
            slice("a", "web", &[pod("10.0.0.1", "p")]),
            Source::Listed,
        )
        .unwrap();
    cluster
        .tell(
            Kind::Slice,
            slice("b", "web", &[pod("10.0.0.2", "q")]),
            Source::Listed,
        )
        .unwrap();
    cluster.index.complete(&part, cluster.now);
    assert!(cluster.take().is_empty());
    cluster.index.complete(&part, cluster.now);
    assert!(cluster.take().is_empty(), "there is no listing to complete");
}

#[test]
fn a_listing_of_one_namespace_says_nothing_of_another() {
    let mut cluster = two_slices();
    let part = Part {
        kind: Kind::Service,
        namespace: Some("other".into()),
    };
    cluster.index.begin(&part);
    cluster.index.complete(&part, cluster.now);
    assert!(cluster.take().is_empty());
    assert_eq!(cluster.index.records(Some("demo")).count(), 1);
    assert_eq!(cluster.index.records(Some("other")).count(), 0);
}

#[test]
fn a_namespace_that_is_forgotten_takes_everything_with_it() {
    for explicit in [true, false] {
        let mut cluster = two_slices();
        cluster.watch(Kind::Slice, &slice("a", "web", &[]));
        cluster.index.forget("demo", explicit);
        assert_eq!(cluster.index.next_due(), None);
        let changes = cluster.take();
        assert!(matches!(changes.as_slice(), [Change::Delete { explicit: said, .. }] if *said == explicit));
        cluster.watch(Kind::Service, &service("web"));
        assert_eq!(cluster.applied().0.endpoints().len(), 0);
    }
}

#[test]
fn what_comes_back_as_it_was_before_anybody_asked_is_no_change() {
    let mut cluster = two_slices();
    cluster.delete(Kind::Service, &service("web"));
    cluster.watch(Kind::Service, &service("web"));
    assert!(cluster.take().is_empty());
    cluster.delete(Kind::Service, &service("web"));
    cluster.watch(Kind::Service, &service("web"));
    cluster.watch(Kind::Slice, &slice("c", "web", &[pod("10.0.0.3", "r")]));
    assert_eq!(cluster.applied().0.endpoints().len(), 3);
}
