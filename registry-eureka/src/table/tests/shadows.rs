//! Who speaks for an address and port.

use super::*;

/// An instance with its own id at the address and port of another one.
fn at(id: &'static str, n: u8, updated: u64) -> Instance<'static> {
    Instance {
        instance_id: Some(id.into()),
        last_updated: Some(updated),
        ..instance(n)
    }
}

#[test]
fn of_two_instances_at_one_address_and_port_the_newer_speaks_until_it_goes() {
    let mut table = table();
    let old = Instance {
        status: Status::Down,
        ..at("old", 1, 1000)
    };
    full(&mut table, [app("ORDERS", [old.clone()])]);
    let changes = delta(&mut table, [app("ORDERS", [at("new", 1, 2000)])]);
    assert_eq!(applied(&changes), ["orders: new"]);
    assert_eq!(table.hash(), "DOWN_1_UP_1_");
    let again = Instance {
        last_updated: Some(1500),
        ..old
    };
    assert!(is_nothing(&delta(&mut table, [app("ORDERS", [again])])));
    let gone = Instance {
        action: Action::Deleted,
        ..at("new", 1, 3000)
    };
    assert_eq!(
        applied(&delta(&mut table, [app("ORDERS", [gone])])),
        ["orders: old"]
    );
}

#[test]
fn the_order_in_which_they_come_does_not_matter() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let instances = [at("a", 1, 1000), at("b", 1, 3000), at("c", 1, 2000)];
        let mut at_once = table();
        full(
            &mut at_once,
            [app("ORDERS", order.map(|n: usize| instances[n].clone()))],
        );
        let mut one_by_one = table();
        for n in order {
            delta(&mut one_by_one, [app("ORDERS", [instances[n].clone()])]);
        }
        assert_eq!(held(&at_once), ["orders: b"]);
        assert_eq!(held(&one_by_one), ["orders: b"]);
    }
}

#[test]
fn at_one_time_the_instances_own_clock_decides_and_then_the_key() {
    let mut table = table();
    let dirty = |id: &'static str, dirty: Option<u64>| Instance {
        last_dirty: dirty,
        ..at(id, 1, 1000)
    };
    full(
        &mut table,
        [app(
            "ORDERS",
            [dirty("a", Some(2)), dirty("b", Some(1)), dirty("c", None)],
        )],
    );
    assert_eq!(held(&table), ["orders: a"]);
    full(
        &mut table,
        [app("ORDERS", [dirty("a", Some(1)), dirty("b", Some(1))])],
    );
    assert_eq!(held(&table), ["orders: b"]);
}

#[test]
fn a_time_alone_changes_who_speaks() {
    let mut table = table();
    full(
        &mut table,
        [app(
            "ORDERS",
            [at("a", 1, 1000), at("b", 1, 2000), at("c", 2, 1000)],
        )],
    );
    assert_eq!(held(&table), ["orders: b c"]);
    let changes = delta(&mut table, [app("ORDERS", [at("a", 1, 3000), at("c", 2, 3000)])]);
    assert_eq!(applied(&changes), ["orders: a c"]);
}

#[test]
fn only_what_has_a_port_in_common_is_shadowed() {
    let mut table = table();
    let port = |id: &'static str, number: i64, updated: u64| Instance {
        port: Port {
            number: Some(number),
            enabled: true,
        },
        ..at(id, 1, updated)
    };
    let disabled = |id: &'static str, updated: u64| Instance {
        port: Port::default(),
        ..at(id, 1, updated)
    };
    full(
        &mut table,
        [app(
            "ORDERS",
            [
                port("a", 8080, 1000),
                port("b", 8081, 2000),
                disabled("c", 1000),
                disabled("d", 2000),
                at("e", 2, 1000),
            ],
        )],
    );
    assert_eq!(held(&table), ["orders: a b d e"]);
    // One that needs both ports silences both, and one silenced port is enough to be silent.
    let both = Instance {
        secure_port: Port {
            number: Some(8081),
            enabled: true,
        },
        ..port("f", 8080, 3000)
    };
    delta(&mut table, [app("ORDERS", [both.clone()])]);
    assert_eq!(held(&table), ["orders: d e f"]);
    let older = Instance {
        last_updated: Some(1500),
        ..both
    };
    full(
        &mut table,
        [app(
            "ORDERS",
            [older, port("a", 8080, 1000), port("b", 8081, 2000)],
        )],
    );
    assert_eq!(
        held(&table),
        ["orders: a b"],
        "who is silent himself silences nobody"
    );
}

#[test]
fn a_silent_instance_lends_its_service_neither_names_nor_ports() {
    let mut table = table();
    let mut old = at("old", 1, 1000);
    old.vip_address = Some("was".into());
    old.secure_port = Port {
        number: Some(8443),
        enabled: true,
    };
    full(&mut table, [app("ORDERS", [old, at("new", 1, 2000)])]);
    let record = record(&table, "orders");
    assert_eq!(record.meta().aliases(), [Str::from("orders")]);
    assert_eq!(record.meta().ports().len(), 1);
}

#[test]
fn applications_do_not_shadow_each_other() {
    let mut table = table();
    full(
        &mut table,
        [app("ORDERS", [at("a", 1, 1000)]), app("PAY", [at("b", 1, 2000)])],
    );
    assert_eq!(held(&table), ["orders: a", "pay: b"]);
}
