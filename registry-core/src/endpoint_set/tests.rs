use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Health;

fn endpoint(n: u16, weight: u32) -> Endpoint {
    let [a, b] = n.to_be_bytes();
    Endpoint::builder(Address::V4([10, 0, a, b].into()))
        .port("http", 8080)
        .weight(weight)
        .id(format!("i-{n}"))
        .build()
}

fn set_of(n: u16) -> EndpointSet {
    (0..n).map(|n| endpoint(n, 1)).collect()
}

#[test]
fn one_change_in_ten_thousand_shares_all_other_buckets() {
    let old = set_of(10_000);
    let new = old.with(endpoint(77, 2));
    let shared = new
        .0
        .buckets
        .iter()
        .zip(&old.0.buckets)
        .filter(|(a, b)| Arc::ptr_eq(a, b))
        .count();
    assert_eq!(shared, old.0.buckets.len() - 1);
    assert_eq!(new.changed_places(&old).len(), 1);
    new.check();
}

#[test]
fn an_equal_endpoint_changes_nothing() {
    let old = set_of(100);
    assert!(old.with(endpoint(5, 1)).ptr_eq(&old));
    let rebuilt = set_of(100);
    assert!(!rebuilt.ptr_eq(&old));
    assert!(rebuilt.rebased_on(&old).ptr_eq(&old));
}

#[test]
fn a_replaced_endpoint_hands_on_when_it_was_first_seen() {
    let mut first = endpoint(1, 1);
    first.set_first_seen(crate::Timestamp::from_millis(7));
    let old: EndpointSet = [first].into();
    let derived = old.with(endpoint(1, 2));
    let rebuilt = EndpointSet::from([endpoint(1, 2)]).rebased_on(&old);
    for set in [derived, rebuilt] {
        assert_eq!(set.iter().next().unwrap().first_seen().as_millis(), 7);
    }
}

#[test]
fn rebasing_across_sizes_keeps_equal_endpoints() {
    let old = set_of(1000);
    let new = set_of(1100).rebased_on(&old);
    let kept = new
        .iter()
        .filter(|e| old.get(e).is_some_and(|held| Arc::ptr_eq(held, e)))
        .count();
    assert_eq!(kept, 1000);
    assert_eq!(new.changed_places(&old).len(), 100);
}

#[test]
fn two_endpoints_in_one_place_are_noticed_and_forgotten() {
    let place = |id: &str, port| {
        Endpoint::builder(Address::V4([10, 0, 0, 1].into()))
            .port("http", port)
            .id(id)
            .build()
    };
    let set = set_of(200).with(place("a", 80)).with(place("b", 81));
    assert!(!set.collides());
    let set = set.with(place("c", 80));
    assert!(set.collides());
    set.check();
    assert_eq!(
        set.at_address_of(&place("x", 1)).count(),
        4,
        "with the one of the two hundred"
    );
    let set = set.without(&place("c", 80));
    assert!(!set.collides());
    set.check();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_history_ends_in_the_layout_of_its_content(
        steps in prop::collection::vec((0_u16..300, 0_u32..3, any::<bool>()), 0..900)
    ) {
        let mut model = BTreeMap::new();
        let mut set = EndpointSet::default();
        for (n, weight, keep) in steps {
            if keep {
                model.insert(n, weight);
                set.insert(endpoint(n, weight));
            } else {
                prop_assert_eq!(model.remove(&n).is_some(), set.remove(&endpoint(n, weight)));
            }
        }
        set.check();
        let expected: EndpointSet = model.into_iter().map(|(n, weight)| endpoint(n, weight)).collect();
        prop_assert_eq!(&set, &expected);
        prop_assert_eq!(set.content_hash(), expected.content_hash());
    }

    #[test]
    fn changed_places_are_exactly_what_differs(
        old in prop::collection::btree_map(0_u16..400, 0_u32..3, 0..400),
        new in prop::collection::btree_map(0_u16..400, 0_u32..3, 0..400),
    ) {
        let set = |map: &BTreeMap<u16, u32>| -> EndpointSet {
            map.iter().map(|(n, weight)| endpoint(*n, *weight)).collect()
        };
        let (old_set, new_set) = (set(&old), set(&new));
        let new_set = new_set.rebased_on(&old_set);
        let found: Vec<String> =
            new_set.changed_places(&old_set).iter().map(|e| e.id().to_string()).collect();
        let mut expected: Vec<String> = (0..400)
            .filter(|n| old.get(n) != new.get(n))
            .map(|n| format!("i-{n}"))
            .collect();
        let mut found = found;
        found.sort();
        expected.sort();
        prop_assert_eq!(found, expected);
    }
}

#[test]
fn health_is_part_of_the_hash() {
    let with = |health| -> EndpointSet {
        [Endpoint::builder(Address::V4([10, 0, 0, 1].into()))
            .health(health)
            .build()]
        .into()
    };
    assert_ne!(
        with(Health::Healthy).content_hash(),
        with(Health::Draining).content_hash()
    );
}
