//! For fuzz targets, and for tests that replay what they found: documents, from their bytes to records. No part of the API.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use registry_core::fuzzing::{check_message, check_record, check_same};
use registry_core::{PortDefaults, ServiceRecord};

use super::{Changes, Counts, Table};
use crate::config::EurekaConfig;
use crate::wire::decode;

type Picture = BTreeMap<String, ServiceRecord>;

/// What one after another becomes of a line of documents each; the first byte of a line says whether it is all there is or
/// what changed.
pub fn history(bytes: &[u8]) {
    let mut table = table();
    let mut heard = Picture::new();
    // Services that are told to keep what they had, whatever that was.
    let mut kept: BTreeSet<String> = BTreeSet::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((what, document)) = line.split_first() else {
            continue;
        };
        if what % 3 == 0 {
            let Some(changes) = full(&mut table, document) else {
                continue;
            };
            let troubled: BTreeSet<String> = changes.troubles.iter().map(|(id, _)| id.to_string()).collect();
            let mut before = std::mem::replace(&mut heard, picture(&table));
            if troubled.is_empty() {
                is_as_of(&table, document);
            }
            before.retain(|id, _| troubled.contains(id) && !heard.contains_key(id));
            kept = before.keys().cloned().collect();
            heard.extend(before);
            let again = full(&mut table, document).expect("what was read can be read again");
            assert!(is_nothing(&again) || !again.troubles.is_empty(), "{again:?}");
        } else {
            let Some(changes) = delta(&mut table, document) else {
                continue;
            };
            hear(&mut heard, &mut kept, &changes);
            let again = delta(&mut table, document).expect("what was read can be read again");
            assert!(is_nothing(&again) || !again.troubles.is_empty(), "{again:?}");
            hear(&mut heard, &mut kept, &again);
        }
        check(&table, &heard, &kept);
    }
}

fn table() -> Table {
    Table::new(Arc::new(EurekaConfig::default()), PortDefaults::default())
}

fn full(table: &mut Table, document: &[u8]) -> Option<Changes> {
    let mut staged = table.stage();
    decode(document, None, |application| {
        table.stage_application(&mut staged, application);
    })
    .ok()?;
    Some(told(table.replace(staged)))
}

/// As a session does: to its end before anything of it is applied.
fn delta(table: &mut Table, document: &[u8]) -> Option<Changes> {
    decode(document, None, drop).ok()?;
    decode(document, None, |application| table.apply(application)).expect("it was read before");
    Some(told(table.changes()))
}

/// What is told of changes is fit to be shown, and told once.
fn told(changes: Changes) -> Changes {
    changes
        .troubles
        .iter()
        .for_each(|(_, problem)| check_message(problem));
    changes.notes.iter().for_each(|note| check_message(note));
    let applied = changes.applied.iter().map(|record| record.id());
    let ids: Vec<_> = applied.chain(&changes.deleted).collect();
    assert_eq!(
        ids.iter().collect::<BTreeSet<_>>().len(),
        ids.len(),
        "told twice: {ids:?}"
    );
    assert!(
        changes
            .emptied
            .iter()
            .all(|record| changes.deleted.contains(record.id()))
    );
    changes
}

fn is_nothing(changes: &Changes) -> bool {
    changes.applied.is_empty() && changes.deleted.is_empty()
}

fn hear(heard: &mut Picture, kept: &mut BTreeSet<String>, changes: &Changes) {
    for record in &changes.applied {
        let id = record.id().to_string();
        kept.remove(&id);
        heard.insert(id, record.clone());
    }
    for id in &changes.deleted {
        kept.remove(&id.to_string());
        heard.remove(&id.to_string());
    }
}

fn picture(table: &Table) -> Picture {
    table
        .records()
        .map(|record| (record.id().to_string(), record))
        .collect()
}

/// What is held is what somebody holds who never saw anything but that document.
fn is_as_of(table: &Table, document: &[u8]) {
    let mut fresh = self::table();
    full(&mut fresh, document);
    compare(&picture(table), &picture(&fresh));
    assert_eq!(table.hash(), fresh.hash());
}

fn compare(a: &Picture, b: &Picture) {
    assert!(a.keys().eq(b.keys()), "{:?} {:?}", a.keys(), b.keys());
    a.values().zip(b.values()).for_each(|(a, b)| check_same(a, b));
}

/// Records can be kept, are those that were told, and instances are counted as they are held.
fn check(table: &Table, heard: &Picture, kept: &BTreeSet<String>) {
    let held = picture(table);
    held.values().for_each(check_record);
    let mut known = heard.clone();
    known.retain(|id, _| !kept.contains(id));
    compare(&held, &known);
    let mut counts = Counts::default();
    let entries = table.apps.values().flat_map(|app| app.entries());
    entries.for_each(|entry| counts.add(entry.status()));
    assert_eq!(counts, table.counts);
}
