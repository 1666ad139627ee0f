//! What is still to be told, in batches.

use std::collections::VecDeque;
use std::sync::Arc;

use registry_core::{Event, RegistryError, Scope, ServiceRecord};

use super::trouble;
use crate::table::Changes;

/// Most events in a batch.
const BATCH: usize = 1024;

/// What is still to be told. A listing is told before anything else happens.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    events: VecDeque<Event>,
    records: std::vec::IntoIter<ServiceRecord>,
    /// The end of the listing of the records.
    done: Option<Event>,
}

impl Outbox {
    /// Nothing changed.
    pub(super) fn confirm(&mut self) {
        self.events.push_back(Event::Confirmed(Scope::Registry));
    }

    /// Nothing could be read.
    pub(super) fn degrade(&mut self, error: Arc<RegistryError>) {
        self.events.push_back(Event::degraded(Scope::Registry, error));
    }

    /// Still nothing can be read.
    pub(super) fn degrade_again(&mut self, error: Option<&Arc<RegistryError>>) {
        if let Some(error) = error {
            self.degrade(error.clone());
        }
    }

    /// This is all there is, apart from what could not be read.
    pub(super) fn list(
        &mut self,
        records: impl Iterator<Item = ServiceRecord>,
        unread: Vec<(Scope, Arc<RegistryError>)>,
    ) {
        self.events.push_back(Event::Init(Scope::Registry));
        self.records = records.collect::<Vec<_>>().into_iter();
        self.done = Some(Event::InitDone {
            scope: Scope::Registry,
            unread,
        });
    }

    /// The registry announced these changes; all else is as it was.
    pub(super) fn change(&mut self, changes: Changes) {
        // That its last instance was removed is announced, that the service is gone is not: instances of it which were held
        // before may be absent only, from a server that was started again.
        let applied = changes.applied.into_iter().chain(changes.emptied);
        self.events.extend(applied.map(|record| Event::Apply {
            record,
            explicit: true,
        }));
        let deleted = changes.deleted.into_iter();
        self.events
            .extend(deleted.map(|id| Event::Delete { id, explicit: false }));
        // What a full fetch lacked may be held for want of this word.
        let removed = changes.removed.into_iter();
        self.events
            .extend(removed.map(|(id, gone)| Event::Announced { id, gone }));
        let troubles = changes.troubles.into_iter();
        self.events
            .extend(troubles.map(|(id, problem)| Event::degraded(Scope::Service(id), trouble(&problem))));
        self.confirm();
    }

    /// The next events.
    pub(super) fn next_batch(&mut self) -> Option<Vec<Event>> {
        let some = self.events.len().min(BATCH);
        let mut batch: Vec<Event> = self.events.drain(..some).collect();
        batch.extend(self.records.by_ref().take(BATCH - some).map(Event::apply));
        if batch.len() < BATCH {
            batch.extend(self.done.take());
        }
        (!batch.is_empty()).then_some(batch)
    }
}

#[cfg(test)]
mod tests {
    use registry_core::{ServiceId, ServiceMeta};

    use super::*;

    fn records(count: usize) -> impl Iterator<Item = ServiceRecord> {
        (0..count).map(|number| {
            let id = ServiceId::named(format!("service-{number}"));
            ServiceRecord::new(ServiceMeta::builder(id).build(), [])
        })
    }

    #[test]
    fn a_listing_comes_in_batches_with_its_end_last() {
        for count in [0, 1, 1022, 1023, 1024, 2047, 2048, 5000] {
            let mut outbox = Outbox::default();
            outbox.list(records(count), Vec::new());
            let batches: Vec<Vec<Event>> = std::iter::from_fn(|| outbox.next_batch()).collect();
            assert!(batches.iter().all(|batch| batch.len() <= BATCH), "{count}");
            let events: Vec<Event> = batches.into_iter().flatten().collect();
            assert_eq!(events.len(), count + 2);
            assert!(matches!(events.first(), Some(Event::Init(Scope::Registry))));
            assert!(matches!(events.last(), Some(Event::InitDone { .. })), "{count}");
        }
    }

    #[test]
    fn changes_come_before_the_word_that_all_else_is_as_it_was() {
        let mut outbox = Outbox::default();
        outbox.change(Changes {
            applied: records(1500).collect(),
            deleted: vec![ServiceId::named("gone")],
            emptied: records(1).collect(),
            removed: vec![(ServiceId::named("gone"), vec!["gone-1".into()])],
            troubles: vec![(ServiceId::named("odd"), "port 0".to_owned())],
            ..Changes::default()
        });
        let events: Vec<Event> = std::iter::from_fn(|| outbox.next_batch()).flatten().collect();
        assert_eq!(events.len(), 1505);
        assert!(
            matches!(&events[1500], Event::Apply { record, explicit: true } if record.endpoints().is_empty())
        );
        assert!(matches!(&events[1501], Event::Delete { explicit: false, .. }));
        assert!(matches!(&events[1502], Event::Announced { gone, .. } if gone.len() == 1));
        assert!(matches!(
            &events[1503],
            Event::Degraded {
                scope: Scope::Service(_),
                ..
            }
        ));
        assert!(matches!(&events[1504], Event::Confirmed(Scope::Registry)));
        assert!(outbox.next_batch().is_none());
    }
}
