//! What deltas do.

use super::*;

#[test]
fn a_delta_adds_changes_and_removes_instances() {
    let mut table = table();
    full(
        &mut table,
        [
            app("ORDERS", [instance(1), instance(2)]),
            app("PAY", [instance(3)]),
        ],
    );
    let changes = delta(
        &mut table,
        [
            app("ORDERS", [deleted(1), status(2, Status::Down), instance(4)]),
            app("NEW", [instance(5)]),
        ],
    );
    assert_eq!(applied(&changes), ["new: i5", "orders: i2 i4"]);
    assert!(deletions(&changes).is_empty());
    assert_eq!(held(&table), ["new: i5", "orders: i2 i4", "pay: i3"]);
    assert_eq!(table.hash(), "DOWN_1_UP_3_");
    let changes = delta(&mut table, [app("PAY", [deleted(3)])]);
    assert_eq!(deletions(&changes), ["pay"]);
    assert_eq!(held(&table), ["new: i5", "orders: i2 i4"]);
}

#[test]
fn each_removal_is_announced_whether_the_instance_was_held_or_not() {
    let mut table = table();
    let removed = |changes: &Changes| -> Vec<String> {
        let removed = changes.removed.iter();
        removed
            .map(|(id, keys)| format!("{id}: {}", keys.join(" ")))
            .collect()
    };
    let news = Instance {
        last_updated: Some(3000),
        ..instance(2)
    };
    full(&mut table, [app("ORDERS", [instance(1), news])]);
    let changes = || {
        [
            app("ORDERS", [deleted(1), deleted(2), deleted(3)]),
            app("PAY", [deleted(4)]),
        ]
    };
    // Of the second something newer is held: it came back.
    let expected = ["orders: i1 i3", "pay: i4"];
    assert_eq!(removed(&delta(&mut table, changes())), expected);
    assert_eq!(
        removed(&delta(&mut table, changes())),
        expected,
        "as often as it is told"
    );
    let back = app("ORDERS", [deleted(1), instance(1)]);
    assert!(
        removed(&delta(&mut table, [back])).is_empty(),
        "the last word counts"
    );
    assert!(removed(&full(&mut table, [app("PAY", [instance(4)])])).is_empty());

    let config = EurekaConfig {
        apps: vec!["PAY".to_owned()],
        ..EurekaConfig::default()
    };
    let mut table = Table::new(Arc::new(config), PortDefaults::default());
    assert_eq!(removed(&delta(&mut table, changes())), ["pay: i4"]);
}

#[test]
fn the_same_delta_again_is_no_change() {
    let mut table = table();
    let changes = || {
        [app(
            "ORDERS",
            [instance(1), deleted(2), status(3, Status::Starting)],
        )]
    };
    assert!(!is_nothing(&delta(&mut table, changes())));
    let before = record(&table, "orders");
    assert!(is_nothing(&delta(&mut table, changes())));
    let after = record(&table, "orders");
    assert!(after.endpoints().ptr_eq(before.endpoints()) && Arc::ptr_eq(after.meta(), before.meta()));
    assert_eq!(table.hash(), "STARTING_1_UP_1_");
}

#[test]
fn times_and_the_order_of_keys_are_no_change() {
    let mut table = table();
    let labelled = |pairs: [(&'static str, &'static str); 2]| Instance {
        metadata: pairs.map(|(k, v)| (k.into(), v.into())).into(),
        ..instance(1)
    };
    full(&mut table, [app("ORDERS", [labelled([("a", "1"), ("b", "2")])])]);
    let mut again = labelled([("b", "2"), ("a", "1")]);
    again.last_updated = Some(3000);
    again.last_dirty = Some(3000);
    again.action = Action::Modified;
    assert!(is_nothing(&delta(&mut table, [app("ORDERS", [again])])));
    let changes = delta(&mut table, [app("ORDERS", [labelled([("a", "2"), ("b", "1")])])]);
    assert!(is_nothing(&changes), "older than what is held");
    let mut newer = labelled([("a", "2"), ("b", "1")]);
    newer.last_updated = Some(3000);
    assert_eq!(
        applied(&delta(&mut table, [app("ORDERS", [newer])])),
        ["orders: i1"]
    );
}

#[test]
fn metadata_that_arrive_as_an_addition_change_the_instance_they_are_of() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1)])]);
    let changed = Instance {
        metadata: vec![("version".into(), "v2".into())],
        ..instance(1)
    };
    assert_eq!(
        applied(&delta(&mut table, [app("ORDERS", [changed])])),
        ["orders: i1"]
    );
    let record = record(&table, "orders");
    let endpoint = record.endpoints().iter().next().unwrap();
    assert_eq!(endpoint.labels().get("version").unwrap().as_str(), "v2");
    assert_eq!(table.hash(), "UP_1_");
}

#[test]
fn a_removal_of_what_was_never_there_leaves_no_ghost() {
    let mut table = table();
    assert!(is_nothing(&delta(
        &mut table,
        [app("GHOST", [deleted(1)]), app("EMPTY", [])]
    )));
    assert!(held(&table).is_empty() && table.apps.is_empty());
    assert_eq!(table.hash(), "");
}

#[test]
fn what_is_older_than_what_is_held_is_skipped_and_what_has_no_time_is_not() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1)])]);
    let at = |time: Option<u64>, of: Instance<'static>| Instance {
        last_updated: time,
        ..of
    };
    for old in [at(Some(999), deleted(1)), at(Some(999), status(1, Status::Down))] {
        assert!(is_nothing(&delta(&mut table, [app("ORDERS", [old])])));
    }
    let down = at(None, status(1, Status::Down));
    assert_eq!(
        applied(&delta(&mut table, [app("ORDERS", [down])])),
        ["orders: i1"]
    );
    assert_eq!(table.hash(), "DOWN_1_");
    let gone = at(None, deleted(1));
    assert_eq!(deletions(&delta(&mut table, [app("ORDERS", [gone])])), ["orders"]);
}

#[test]
fn an_instance_that_goes_and_comes_in_one_delta_is_told_once_or_not_at_all() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1)])]);
    let changes = delta(
        &mut table,
        [
            app("ORDERS", [deleted(1)]),
            app("orders", [instance(1), instance(2)]),
            app("Orders", [deleted(2)]),
        ],
    );
    assert!(is_nothing(&changes), "{changes:?}");
    let changes = delta(
        &mut table,
        [app("ORDERS", [instance(3)]), app("ORDERS", [instance(4)])],
    );
    assert_eq!(applied(&changes), ["orders: i1 i3 i4"]);
}

#[test]
fn of_one_key_in_one_application_the_last_word_counts() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1)])]);
    let changes = delta(
        &mut table,
        [app(
            "ORDERS",
            [deleted(1), status(1, Status::Down), instance(2), deleted(2)],
        )],
    );
    assert_eq!(applied(&changes), ["orders: i1"]);
    assert_eq!(table.hash(), "DOWN_1_");
}

#[test]
fn an_instance_that_cannot_be_read_keeps_what_it_had() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1), instance(2)])]);
    let changes = delta(&mut table, [app("ORDERS", [unreadable(1)])]);
    assert!(changes.applied.is_empty() && changes.deleted.is_empty());
    assert_eq!(changes.skipped, 1);
    let (id, text) = &changes.troubles[0];
    assert_eq!(id.to_string(), "orders");
    assert_eq!(
        text,
        "ORDERS/i1: hostName: found \"no name\", expected an IP address or a host name"
    );
    assert_eq!(held(&table), ["orders: i1 i2"]);
    // As long as it comes it is named, and when it can be read again that is told.
    let changes = delta(&mut table, [app("ORDERS", [unreadable(1)])]);
    assert_eq!((changes.troubles.len(), changes.applied.len()), (1, 0));
    let changes = delta(&mut table, [app("ORDERS", [instance(1)])]);
    assert_eq!(applied(&changes), ["orders: i1 i2"]);
    assert!(changes.troubles.is_empty());
    assert!(is_nothing(&delta(&mut table, [app("ORDERS", [instance(1)])])));
}

#[test]
fn an_unreadable_instance_counts_with_its_status_and_can_be_removed() {
    let mut table = table();
    let down = Instance {
        status: Status::Down,
        ..unreadable(1)
    };
    let changes = delta(&mut table, [app("ORDERS", [down])]);
    assert!(held(&table).is_empty(), "nothing of it was ever read");
    assert_eq!((changes.troubles.len(), table.hash().as_str()), (1, "DOWN_1_"));
    let changes = delta(&mut table, [app("ORDERS", [deleted(1)])]);
    assert_eq!(
        deletions(&changes),
        ["orders"],
        "an earlier start may have known it"
    );
    assert!(changes.troubles.is_empty() && table.apps.is_empty());
    assert_eq!(table.hash(), "");
}

#[test]
fn what_is_no_instance_or_has_no_key_is_named() {
    let mut table = table();
    let keyless = Instance {
        instance_id: None,
        host_name: None,
        ..instance(1)
    };
    let mut odd = app("ORDERS", [keyless, instance(2)]);
    odd.unread = vec!["instance 3: found a number".to_owned()];
    let changes = delta(&mut table, [odd]);
    assert_eq!(applied(&changes), ["orders: i2"]);
    assert_eq!(changes.skipped, 2);
    assert_eq!(
        changes.troubles[0].1,
        "ORDERS: instance 3: found a number; and 1 more"
    );
    assert_eq!(table.hash(), "UP_1_");
}

#[test]
fn what_is_left_out_of_an_instance_is_noted_once() {
    let mut table = table();
    let mut odd = instance(1);
    odd.port.number = Some(-1);
    let changes = delta(&mut table, [app("ORDERS", [odd.clone()])]);
    assert_eq!(
        changes.notes,
        ["ORDERS/i1: port: found -1, expected 1 to 65535; left out"]
    );
    assert!(changes.troubles.is_empty() && changes.skipped == 0);
    assert!(is_nothing(&delta(&mut table, [app("ORDERS", [odd])])));
}

#[test]
fn what_belongs_to_no_application_is_counted() {
    let mut table = table();
    let mut nameless = app("", [instance(1), instance(2)]);
    nameless.unread.push("instance 2: found null".to_owned());
    let changes = delta(&mut table, [nameless]);
    assert_eq!(changes.skipped, 3);
    assert!(changes.applied.is_empty() && changes.troubles.is_empty() && table.apps.is_empty());
}

#[test]
fn the_name_of_an_application_goes_before_what_its_instances_say() {
    let mut table = table();
    let other = Instance {
        app: Some("OTHER".into()),
        ..instance(1)
    };
    delta(&mut table, [app("ORDERS", [other])]);
    assert_eq!(held(&table), ["orders: i1"]);
}
