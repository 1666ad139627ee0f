use super::*;
use crate::wire::Port;

mod captures;
mod deltas;
mod fulls;
mod model;
mod shadows;

/// An instance of any application at 10.0.0.`n`, known as `i<n>`, last changed at 1000.
fn instance(n: u8) -> Instance<'static> {
    Instance {
        instance_id: Some(format!("i{n}").into()),
        host_name: Some(format!("h{n}").into()),
        ip_addr: Some(format!("10.0.0.{n}").into()),
        status: Status::Up,
        port: Port {
            number: Some(8080),
            enabled: true,
        },
        vip_address: Some("orders".into()),
        last_updated: Some(1000),
        last_dirty: Some(900),
        ..Instance::default()
    }
}

fn status(n: u8, status: Status) -> Instance<'static> {
    Instance {
        status,
        ..instance(n)
    }
}

fn deleted(n: u8) -> Instance<'static> {
    Instance {
        action: Action::Deleted,
        last_updated: Some(2000),
        ..instance(n)
    }
}

/// An instance under that key which has no usable address.
fn unreadable(n: u8) -> Instance<'static> {
    Instance {
        ip_addr: None,
        host_name: Some("no name".into()),
        ..instance(n)
    }
}

fn app(name: &str, instances: impl IntoIterator<Item = Instance<'static>>) -> Application<'static> {
    Application {
        name: name.to_owned().into(),
        instances: instances.into_iter().collect(),
        unread: Vec::new(),
    }
}

fn table() -> Table {
    Table::new(Arc::default(), PortDefaults::default())
}

fn full(table: &mut Table, apps: impl IntoIterator<Item = Application<'static>>) -> Changes {
    let mut staged = table.stage();
    for app in apps {
        table.stage_application(&mut staged, app);
    }
    table.replace(staged)
}

fn delta(table: &mut Table, apps: impl IntoIterator<Item = Application<'static>>) -> Changes {
    apps.into_iter().for_each(|app| table.apply(app));
    table.changes()
}

/// The changes as names with the ids of their endpoints, each sorted.
fn applied(changes: &Changes) -> Vec<String> {
    changes.applied.iter().map(told).collect()
}

fn deletions(changes: &Changes) -> Vec<String> {
    changes.deleted.iter().map(ToString::to_string).collect()
}

fn told(record: &ServiceRecord) -> String {
    let mut ids: Vec<&str> = record.endpoints().iter().map(|endpoint| endpoint.id()).collect();
    ids.sort_unstable();
    format!("{}: {}", record.id(), ids.join(" "))
}

fn held(table: &Table) -> Vec<String> {
    let mut held: Vec<String> = table.records().map(|record| told(&record)).collect();
    held.sort();
    held
}

fn record(table: &Table, name: &str) -> ServiceRecord {
    let mut records = table.records();
    records.find(|record| record.id().name() == name).unwrap()
}

fn is_nothing(changes: &Changes) -> bool {
    changes.applied.is_empty()
        && changes.deleted.is_empty()
        && changes.troubles.is_empty()
        && changes.notes.is_empty()
        && changes.skipped == 0
}
