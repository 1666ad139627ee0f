//! What comes back is what was kept, or an error that says why not.

mod arbitrary;
mod damage;
mod directory;
mod figures;

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{Saved, Store, StoreError};
use crate::model::EndpointParts;
use crate::{
    Address, Addresses, Claim, Endpoint, Health, Interner, Labels, Locality, Origin, RegistryId, Resolution,
    ServiceId, ServiceMeta, ServicePort, ServiceRecord, SessionAffinity, Timestamp, Traffic, Transport, Vip,
};

const KIND: &str = "consul";
const TARGET: &str = "http://127.0.0.1:8500";

fn id() -> RegistryId {
    "consul-dc1".parse().unwrap()
}

fn saved(records: Vec<ServiceRecord>) -> Saved {
    Saved {
        kind: KIND.to_owned(),
        target: TARGET.to_owned(),
        confirmed: Timestamp::from_millis(1_795_219_200_123),
        saved: Timestamp::from_millis(1_795_219_201_456),
        records,
    }
}

fn endpoint(n: u8) -> Endpoint {
    let endpoint = Endpoint::builder(Address::V4([10, 0, 0, n].into()))
        .id(format!("payments-{n}"))
        .port("http", 8080)
        .health(Health::Healthy)
        .status("passing")
        .node("n1")
        .label("version", "v2")
        .locality(Locality {
            region: "eu".into(),
            zone: "eu-1a".into(),
            ..Locality::default()
        })
        .build();
    Endpoint::from_parts(&EndpointParts {
        first_seen: Timestamp::from_millis(1_795_000_000_000),
        last_changed: Timestamp::from_millis(1_795_000_000_000 + u64::from(n)),
        ..endpoint.parts()
    })
}

/// A registry of two services, one of them empty.
fn small() -> Saved {
    let meta = |name| {
        ServiceMeta::builder(ServiceId::named(name))
            .ports([ServicePort::new("http")])
            .build()
    };
    saved(vec![
        ServiceRecord::new(meta("payments"), [endpoint(1), endpoint(2)]),
        ServiceRecord::new(meta("mail"), []),
    ])
}

fn store() -> (tempfile::TempDir, Store) {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path()).unwrap();
    (directory, store)
}

fn load(store: &Store) -> Result<Option<Saved>, StoreError> {
    store.load(&id(), KIND, TARGET)
}

/// The same in every field, times included.
fn assert_same(restored: &Saved, original: &Saved) {
    let Saved {
        kind,
        target,
        confirmed,
        saved,
        records,
    } = original;
    assert_eq!((&restored.kind, &restored.target), (kind, target));
    assert_eq!((restored.confirmed, restored.saved), (*confirmed, *saved));
    assert_eq!(restored.records.len(), records.len());
    for (restored, original) in restored.records.iter().zip(records) {
        assert_eq!(restored.meta().parts(), original.meta().parts());
        assert_eq!(restored.meta().digest(), original.meta().digest());
        assert_eq!(restored.endpoints(), original.endpoints());
        assert_eq!(
            restored.endpoints().content_hash(),
            original.endpoints().content_hash()
        );
        for (restored, original) in restored.endpoints().iter().zip(original.endpoints().iter()) {
            assert_eq!(restored.parts(), original.parts());
        }
    }
}

#[test]
fn everything_that_a_registry_may_say_comes_back() {
    let (_directory, store) = store();
    let said = (arbitrary::records(), any::<u64>(), any::<u64>(), ".*");
    TestRunner::new(ProptestConfig::with_cases(64))
        .run(&said, |(records, confirmed, at, target)| {
            let original = Saved {
                target,
                confirmed: Timestamp::from_millis(confirmed),
                saved: Timestamp::from_millis(at),
                ..saved(records)
            };
            store.save(&id(), &original).unwrap();
            let restored = store.load(&id(), KIND, &original.target).unwrap().unwrap();
            assert_same(&restored, &original);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_was_never_saved_or_was_removed_is_none() {
    let (_directory, store) = store();
    assert!(load(&store).unwrap().is_none());
    store.save(&id(), &small()).unwrap();
    assert!(load(&store).unwrap().is_some());
    store.remove(&id()).unwrap();
    assert!(load(&store).unwrap().is_none());
    store.remove(&id()).unwrap();
}

#[test]
fn the_last_save_counts_and_registries_do_not_mix() {
    let (_directory, store) = store();
    let other: RegistryId = "consul/dc1".parse().unwrap();
    store.save(&other, &saved(Vec::new())).unwrap();
    store.save(&id(), &saved(Vec::new())).unwrap();
    store.save(&id(), &small()).unwrap();
    assert_same(&load(&store).unwrap().unwrap(), &small());
    let restored = store.load(&other, KIND, TARGET).unwrap().unwrap();
    assert!(restored.records.is_empty());
}

#[test]
fn the_mark_of_being_held_back_does_not_outlive_the_process() {
    let (_directory, store) = store();
    let mut original = small();
    let held: Vec<Endpoint> = [endpoint(1).held_back()].into();
    original.records[0] = ServiceRecord::new(original.records[0].meta().clone(), held);
    store.save(&id(), &original).unwrap();
    let restored = load(&store).unwrap().unwrap();
    let restored: Vec<_> = restored.records[0].endpoints().iter().collect();
    assert_eq!(restored.len(), 1);
    assert!(!restored[0].held());
}

#[test]
fn values_that_repeat_are_one_allocation_whether_they_were_before_or_not() {
    let (_directory, store) = store();
    let original = small();
    let endpoints = |saved: &Saved| -> Vec<Arc<Endpoint>> {
        saved
            .records
            .iter()
            .flat_map(|record| record.endpoints().iter().cloned())
            .collect()
    };
    let before = endpoints(&original);
    assert!(!Arc::ptr_eq(before[0].shared_ports(), before[1].shared_ports()));
    store.save(&id(), &original).unwrap();
    let restored = endpoints(&load(&store).unwrap().unwrap());
    let (one, two) = (restored[0].parts(), restored[1].parts());
    assert!(Arc::ptr_eq(one.ports, two.ports));
    assert!(Arc::ptr_eq(one.attributes, two.attributes));
    assert!(Arc::ptr_eq(one.place, two.place));
    assert!(one.status.ptr_eq(two.status));
}

#[test]
fn the_first_line_tells_an_operator_what_the_file_is() {
    let (_directory, store) = store();
    store.save(&id(), &small()).unwrap();
    let line = first_line(&store.path(&id()));
    let header: serde_json::Value = serde_json::from_str(&line).unwrap();
    for (field, value) in [
        ("format", "registry-state".into()),
        ("version", 4.into()),
        ("registry", "consul-dc1".into()),
        ("kind", KIND.into()),
        ("target", TARGET.into()),
        ("confirmed", "2026-11-21T00:00:00.123Z".into()),
        ("saved", "2026-11-21T00:00:01.456Z".into()),
        ("services", 2.into()),
        ("endpoints", 2.into()),
    ] {
        let value: serde_json::Value = value;
        assert_eq!(header[field], value, "{field} of {line}");
    }
}

fn first_line(path: &Path) -> String {
    let content = std::fs::read(path).unwrap();
    let end = content.iter().position(|byte| *byte == b'\n').unwrap();
    String::from_utf8(content[..end].to_vec()).unwrap()
}

fn origin(first_seen: u64) -> Origin {
    Origin {
        registry: "parent/consul".into(),
        id: format!("web-{first_seen}").into(),
        status: "passing".into(),
        first_seen: Timestamp::from_millis(first_seen),
        last_changed: Timestamp::from_millis(first_seen + 1_000),
    }
}

/// Something in every field that there is.
fn full() -> Saved {
    let labels = |word: &str| [("key", word)].into_iter().collect::<Labels>();
    let addresses = ["10.0.0.1", "2001:db8::1", "db.example", "unix:/run/db"]
        .map(|text| text.parse::<Address>().unwrap());
    let meta = ServiceMeta::builder(ServiceId::new("group", "namespace", "name"))
        .aliases(["alias".into()])
        .ports([ServicePort {
            number: Some(80),
            transport: Transport::Sctp,
            app_protocol: "grpc".into(),
            implicit: true,
            ..ServicePort::new("port")
        }])
        .addresses([Vip {
            cluster: "cluster".into(),
            addresses: addresses.to_vec(),
        }])
        .labels(labels("label"))
        .metadata(labels("metadata"))
        .variables(labels("variable"))
        .origins(["parent/consul".into(), "vms".into()])
        .traffic(Traffic {
            session_affinity: SessionAffinity::ClientIp,
            distribution: "PreferClose".into(),
            internal_local: true,
        })
        .created(Some(Timestamp::from_millis(1_000)))
        .resolution(Resolution::Dns)
        .build();
    let [first, others @ ..] = addresses;
    let endpoint = Endpoint::builder(Addresses::new(first, others))
        .id("id")
        .port("port", 8080)
        .health(Health::Draining)
        .administrative(true)
        .status("status")
        .weight(5)
        .priority(6)
        .label("key", "value")
        .hints(["zone".into()])
        .node_hints(["machine".into()])
        .identity("spiffe://identity")
        .locality(Locality {
            region: "region".into(),
            zone: "zone".into(),
            sub_zone: "rack".into(),
        })
        .network("network")
        .cluster("cluster")
        .node("node")
        .hostname("hostname")
        .origins([origin(6_000)])
        .build();
    let claim = Claim {
        id: "further".into(),
        status: "word".into(),
        first_seen: Timestamp::from_millis(2_000),
        last_changed: Timestamp::from_millis(3_000),
        source: 2,
        origins: [origin(8_000), origin(9_000)].into_iter().collect(),
    };
    let endpoint = Endpoint::from_parts(&EndpointParts {
        first_seen: Timestamp::from_millis(4_000),
        last_changed: Timestamp::from_millis(5_000),
        source: 1,
        claims: &[claim],
        ..endpoint.parts()
    });
    saved(vec![ServiceRecord::new(meta, [endpoint])])
}

/// What changes without its version changing would be read wrongly by the program of yesterday.
#[test]
fn another_encoding_of_the_same_is_another_version() {
    let (_directory, store) = store();
    store.save(&id(), &full()).unwrap();
    assert_same(&load(&store).unwrap().unwrap(), &full());
    let line = first_line(&store.path(&id()));
    let (_, checksum) = line.trim_end().rsplit_once("checksum").unwrap();
    assert_eq!(
        checksum, r#"":"f3d47b13d3fcff2d33be580305e06780"}"#,
        "where the format is another, raise the version in header.rs and put the new checksum here"
    );
}

#[test]
fn times_of_origins_come_back_as_well() {
    let (_directory, store) = store();
    store.save(&id(), &full()).unwrap();
    let restored = load(&store).unwrap().unwrap();
    let endpoint = restored.records[0].endpoints().iter().next().unwrap();
    let times: Vec<(u64, u64)> = endpoint
        .claims()
        .flat_map(|claim| claim.origins.to_vec())
        .map(|origin| (origin.first_seen.as_millis(), origin.last_changed.as_millis()))
        .collect();
    assert_eq!(times, [(6_000, 7_000), (8_000, 9_000), (9_000, 10_000)]);
}

/// Written by versions that knew of no origins, and of no services behind which there is nothing.
#[test]
fn files_of_the_versions_before_are_read() {
    for version in [2, 3] {
        let (_directory, store) = store();
        store.save(&id(), &small()).unwrap();
        let path = store.path(&id());
        let content = std::fs::read(&path).unwrap();
        let end = content.iter().position(|byte| *byte == b'\n').unwrap();
        let line = String::from_utf8(content[..end].to_vec()).unwrap();
        let old = line
            .trim_end()
            .replace("\"version\":4", &format!("\"version\":{version}"));
        assert_ne!(old, line.trim_end());
        let covered = &old[..old.len() - 34];
        let mut sum = xxhash_rust::xxh3::Xxh3Default::new();
        sum.update(&content[end + 1..]);
        sum.update(covered.as_bytes());
        let line = format!("{covered}{:032x}\"}}\n", sum.digest128());
        std::fs::write(&path, [line.as_bytes(), &content[end + 1..]].concat()).unwrap();
        assert_same(&load(&store).unwrap().unwrap(), &small());
    }
}
