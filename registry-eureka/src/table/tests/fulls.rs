//! What full fetches do.

use super::*;
use crate::config::EurekaConfig;

fn only(pattern: &str) -> Table {
    let config = EurekaConfig {
        apps: vec![pattern.to_owned()],
        ..EurekaConfig::default()
    };
    Table::new(Arc::new(config), PortDefaults::default())
}

#[test]
fn a_full_fetch_replaces_what_was_held_and_says_what_is_different() {
    let mut table = table();
    let changes = full(
        &mut table,
        [
            app("ORDERS", [instance(1), instance(2)]),
            app("PAY", [instance(3)]),
        ],
    );
    assert_eq!(applied(&changes), ["orders: i1 i2", "pay: i3"]);
    let changes = full(
        &mut table,
        [
            app("ORDERS", [instance(2), instance(4)]),
            app("NEW", [instance(5)]),
        ],
    );
    assert_eq!(applied(&changes), ["new: i5", "orders: i2 i4"]);
    assert_eq!(deletions(&changes), ["pay"]);
    assert_eq!(held(&table), ["new: i5", "orders: i2 i4"]);
    assert_eq!(table.hash(), "UP_3_");
    let changes = full(&mut table, []);
    assert_eq!(deletions(&changes), ["new", "orders"]);
    assert_eq!(table.hash(), "");
}

#[test]
fn what_did_not_change_is_the_very_same_afterwards() {
    let mut table = table();
    let apps = || [app("ORDERS", (1..=200).map(instance)), app("PAY", [instance(3)])];
    full(&mut table, apps());
    let before = [record(&table, "orders"), record(&table, "pay")];
    assert!(is_nothing(&full(&mut table, apps())));
    for record_before in &before {
        let after = record(&table, record_before.id().name());
        assert!(after.endpoints().ptr_eq(record_before.endpoints()));
        assert!(Arc::ptr_eq(after.meta(), record_before.meta()));
    }
    let [mut orders, pay] = apps();
    orders.instances[0].status = Status::Down;
    assert_eq!(full(&mut table, [orders, pay]).applied.len(), 1);
    let after = record(&table, "orders");
    let held: Vec<_> = before[0].endpoints().iter().collect();
    let is_held =
        |endpoint: &&Arc<registry_core::Endpoint>| held.iter().any(|held| Arc::ptr_eq(held, endpoint));
    assert_eq!(after.endpoints().iter().filter(is_held).count(), 199);
    assert!(Arc::ptr_eq(after.meta(), before[0].meta()));
}

#[test]
fn a_changed_endpoint_is_held_once_and_keeps_when_it_was_first_seen() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1)])]);
    let first_seen = |table: &Table| {
        let record = record(table, "orders");
        let endpoint = record.endpoints().iter().next().unwrap().clone();
        endpoint.claims().next().unwrap().first_seen
    };
    let before = first_seen(&table);
    while registry_core::Timestamp::now() <= before {
        std::hint::spin_loop();
    }
    full(&mut table, [app("ORDERS", [status(1, Status::Down)])]);
    assert_eq!(first_seen(&table), before);
    let record = record(&table, "orders");
    let in_set = record.endpoints().iter().next().unwrap();
    let entry = &table.apps["orders"].entries()[0];
    assert!(Arc::ptr_eq(in_set, entry.endpoint().unwrap()));
}

#[test]
fn a_full_fetch_that_is_not_complete_changes_nothing() {
    let mut table = table();
    full(&mut table, [app("ORDERS", [instance(1)])]);
    let mut staged = table.stage();
    table.stage_application(&mut staged, app("ORDERS", [instance(2)]));
    table.stage_application(&mut staged, app("PAY", [unreadable(3)]));
    drop(staged);
    assert_eq!(held(&table), ["orders: i1"]);
    assert!(is_nothing(&table.changes()));
    assert_eq!(table.hash(), "UP_1_");
}

#[test]
fn names_that_differ_in_case_are_one_application() {
    let mut table = table();
    full(
        &mut table,
        [app("Orders", [instance(1)]), app("ORDERS", [instance(2)])],
    );
    assert_eq!(held(&table), ["orders: i1 i2"]);
    let record = record(&table, "orders");
    assert_eq!(record.meta().metadata().get("app").unwrap().as_str(), "ORDERS");
    assert!(is_nothing(&full(
        &mut table,
        [app("orders", [instance(2), instance(1)])]
    )));
}

#[test]
fn letters_that_differ_in_upper_or_lower_case_alone_are_one_name() {
    // The sign for kelvin and K, the two forms of a small sigma, ß in both cases.
    let mut table = table();
    let names = ["K", "\u{212a}", "k", "σ", "ς", "ß", "ẞ"];
    let numbered = (1..).zip(names);
    full(&mut table, numbered.map(|(n, name)| app(name, [instance(n)])));
    let ids: std::collections::BTreeSet<String> =
        table.records().map(|record| record.id().to_string()).collect();
    assert_eq!(ids.len(), table.records().count(), "{ids:?}");
    assert_eq!(held(&table)[0], "k: i1 i2 i3");
}

#[test]
fn one_id_in_two_applications_is_two_instances() {
    let mut table = table();
    full(
        &mut table,
        [app("ORDERS", [instance(1)]), app("PAY", [instance(1)])],
    );
    assert_eq!(table.hash(), "UP_2_");
    delta(&mut table, [app("PAY", [deleted(1)])]);
    assert_eq!(held(&table), ["orders: i1"]);
    assert_eq!(table.hash(), "UP_1_");
}

#[test]
fn ids_with_spaces_slashes_and_other_letters_are_kept_apart() {
    let mut table = table();
    let ids = ["a b", "a/b", "a b ", "ä", "A B"];
    let named = |(n, id): (usize, &&'static str)| Instance {
        instance_id: Some((*id).into()),
        ..instance(u8::try_from(n).unwrap())
    };
    full(&mut table, [app("ORDERS", ids.iter().enumerate().map(named))]);
    assert_eq!(record(&table, "orders").endpoints().len(), 5);
}

#[test]
fn the_hash_lists_all_statuses_in_the_order_of_their_words() {
    let mut table = table();
    let all = [
        status(1, Status::Up),
        status(2, Status::Unknown),
        status(3, Status::Starting),
        status(4, Status::OutOfService),
        status(5, Status::Down),
        status(6, Status::Up),
    ];
    full(&mut table, [app("ORDERS", all)]);
    assert_eq!(table.hash(), "DOWN_1_OUT_OF_SERVICE_1_STARTING_1_UNKNOWN_1_UP_2_");
}

#[test]
fn an_application_that_is_not_wanted_counts_and_has_no_record() {
    let mut table = only("ord*");
    let mut other = app("OTHER", [unreadable(2), status(3, Status::Down)]);
    other.unread.push("instance 2: found null".to_owned());
    let changes = full(&mut table, [app("ORDERS", [instance(1)]), other]);
    assert_eq!(applied(&changes), ["orders: i1"]);
    assert!(changes.troubles.is_empty() && changes.skipped == 0);
    assert_eq!(table.hash(), "DOWN_1_UP_2_");
    let changes = delta(
        &mut table,
        [
            app("OTHER", [status(2, Status::Starting), deleted(3)]),
            app("MORE", [instance(4)]),
        ],
    );
    assert!(is_nothing(&changes), "{changes:?}");
    assert_eq!(table.hash(), "STARTING_1_UP_2_");
    assert_eq!(held(&table), ["orders: i1"]);
}

#[test]
fn what_cannot_be_read_of_a_full_fetch_keeps_what_was_held() {
    let mut table = table();
    full(
        &mut table,
        [
            app("ORDERS", [instance(1), instance(2)]),
            app("PAY", [instance(3)]),
        ],
    );
    let mut pay = app("PAY", []);
    pay.unread.push("instance 0: found null".to_owned());
    let changes = full(&mut table, [app("ORDERS", [unreadable(1), instance(2)]), pay]);
    assert!(changes.applied.is_empty(), "{changes:?}");
    // Nothing says that what PAY had is gone.
    assert!(changes.deleted.is_empty(), "{changes:?}");
    let named: Vec<String> = changes.troubles.iter().map(|(id, _)| id.to_string()).collect();
    assert_eq!(named, ["orders", "pay"]);
    assert_eq!(held(&table), ["orders: i1 i2"]);
    assert_eq!(table.hash(), "UP_2_");
    // It is named each time, for each listing says so.
    let changes = full(&mut table, [app("ORDERS", [unreadable(1), instance(2)])]);
    assert_eq!(changes.troubles.len(), 1);
}

#[test]
fn what_a_broken_off_delta_changed_is_told_by_the_full_fetch() {
    let mut table = table();
    full(
        &mut table,
        [app("ORDERS", [instance(1)]), app("PAY", [instance(3)])],
    );
    table.apply(app("ORDERS", [deleted(1), unreadable(7)]));
    table.apply(app("NEW", [instance(2)]));
    table.apply(app("PAY", [deleted(3)]));
    let changes = full(
        &mut table,
        [app("ORDERS", [instance(9)]), app("PAY", [instance(3)])],
    );
    assert_eq!(applied(&changes), ["orders: i9"]);
    assert!(
        changes.deleted.is_empty() && changes.troubles.is_empty(),
        "{changes:?}"
    );
    assert!(is_nothing(&table.changes()));
}

#[test]
fn an_alias_goes_with_the_last_instance_that_has_it() {
    let mut table = table();
    let with_vip = |n: u8, vip: &'static str, secure: &'static str| Instance {
        vip_address: Some(vip.into()),
        secure_vip_address: Some(secure.into()),
        ..instance(n)
    };
    let aliases = |table: &Table| -> Vec<String> {
        let record = record(table, "orders");
        record.meta().aliases().iter().map(ToString::to_string).collect()
    };
    full(
        &mut table,
        [app(
            "ORDERS",
            [
                with_vip(1, "orders,alt", ""),
                with_vip(2, "orders", "safe"),
                with_vip(3, "alt", ""),
            ],
        )],
    );
    assert_eq!(aliases(&table), ["alt", "orders", "safe"]);
    let before = record(&table, "orders");
    delta(&mut table, [app("ORDERS", [deleted(1)])]);
    assert!(
        Arc::ptr_eq(record(&table, "orders").meta(), before.meta()),
        "all names are still there"
    );
    delta(&mut table, [app("ORDERS", [deleted(3)])]);
    assert_eq!(aliases(&table), ["orders", "safe"]);
    delta(&mut table, [app("ORDERS", [with_vip(2, "orders", "")])]);
    assert_eq!(aliases(&table), ["orders"]);
}

#[test]
fn ports_of_the_service_are_those_of_its_instances() {
    let mut table = table();
    let ports = |table: &Table| -> Vec<String> {
        let record = record(table, "orders");
        record
            .meta()
            .ports()
            .iter()
            .map(|port| port.name.to_string())
            .collect()
    };
    let mut secure = instance(2);
    secure.secure_port = Port {
        number: Some(8443),
        enabled: true,
    };
    full(&mut table, [app("ORDERS", [instance(1), secure])]);
    assert_eq!(ports(&table), ["http", "https"]);
    delta(&mut table, [app("ORDERS", [deleted(2)])]);
    assert_eq!(ports(&table), ["http"]);
}
