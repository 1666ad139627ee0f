//! What is to be told of the changes since they were last told.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry_core::{ServiceId, ServiceRecord, Str};

use super::Changes;
use crate::error::short;

/// No more notes are kept than this: they are for people.
const MOST_NOTES: usize = 100;

/// What is to be told, by the names of services.
#[derive(Debug, Default)]
pub(super) struct Pending {
    touched: BTreeMap<Str, Touched>,
    /// Keys of instances that were announced to be removed.
    removed: BTreeMap<Str, Vec<Str>>,
    troubles: BTreeMap<Str, Trouble>,
    notes: Vec<String>,
    pub(super) skipped: u64,
}

#[derive(Debug)]
struct Touched {
    /// What was told of it last.
    before: Option<ServiceRecord>,
    /// It is to be told even if it is the same: something of it could not be read, and can be now.
    mended: bool,
}

#[derive(Debug)]
struct Trouble {
    first: String,
    more: u64,
}

impl Pending {
    /// An application is about to change, or has changed, from this.
    pub(super) fn note(&mut self, app: &Str, before: Option<ServiceRecord>) {
        self.touch(app, before, false);
    }

    /// All of an application can be read again.
    pub(super) fn mended(&mut self, app: &Str, before: Option<ServiceRecord>) {
        self.touch(app, before, true);
    }

    fn touch(&mut self, app: &Str, before: Option<ServiceRecord>, mended: bool) {
        let touched = self.touched.entry(app.clone()).or_insert(Touched {
            before,
            mended: false,
        });
        touched.mended |= mended;
    }

    /// An instance of an application was announced to be removed, whether it was held or not.
    pub(super) fn removed(&mut self, app: &Str, key: &str) {
        let removed = match self.removed.get_mut(app) {
            Some(removed) => removed,
            None => self.removed.entry(app.clone()).or_default(),
        };
        removed.push(Str::from(key));
    }

    /// An instance cannot be read.
    pub(super) fn trouble(&mut self, app: &Str, key: Option<&str>, problem: &str) {
        self.skipped += 1;
        match self.troubles.get_mut(app) {
            Some(trouble) => trouble.more += 1,
            None => {
                let first = told(app, key, problem);
                self.troubles.insert(app.clone(), Trouble { first, more: 0 });
            }
        }
    }

    /// Something of an instance was left out.
    pub(super) fn remark(&mut self, app: &Str, key: &str, note: &str) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(told(app, Some(key), note));
        }
    }

    /// What was wrong is told anew by a full fetch.
    pub(super) fn replaced_by(&mut self, noted: Self) {
        let touched = std::mem::take(&mut self.touched);
        *self = Self { touched, ..noted };
    }

    /// All that is to be told, given the records of applications as they are now.
    pub(super) fn drain(&mut self, full: bool, record: impl Fn(&Str) -> Option<ServiceRecord>) -> Changes {
        let Self {
            touched,
            removed,
            troubles,
            notes,
            skipped,
        } = std::mem::take(self);
        let mut changes = Changes {
            notes,
            skipped,
            ..Changes::default()
        };
        for (app, Touched { before, mended }) in touched {
            match (before, record(&app)) {
                (Some(before), Some(record)) if !mended && same(&before, &record) => {}
                (_, Some(record)) => changes.applied.push(record),
                (Some(_), None) if full && troubles.contains_key(&app) => {}
                (Some(before), None) => {
                    changes.deleted.push(before.id().clone());
                    changes
                        .emptied
                        .push(ServiceRecord::new(before.meta().clone(), []));
                }
                // Nothing of it was ever told here, but it may be known from an earlier start.
                (None, None) if mended => changes.deleted.push(ServiceId::named(app)),
                (None, None) => {}
            }
        }
        let removed = removed.into_iter();
        changes.removed = removed.map(|(app, keys)| (ServiceId::named(app), keys)).collect();
        changes.troubles = troubles
            .into_iter()
            .map(|(app, Trouble { first, more })| {
                let text = match more {
                    0 => first,
                    more => format!("{first}; and {more} more"),
                };
                (ServiceId::named(app), text)
            })
            .collect();
        changes
    }
}

/// True where nothing of one service differs. Names of ports and aliases are all that can, beside endpoints.
fn same(a: &ServiceRecord, b: &ServiceRecord) -> bool {
    let (held, meta) = (a.meta(), b.meta());
    (Arc::ptr_eq(held, meta) || (held.ports() == meta.ports() && held.aliases() == meta.aliases()))
        && a.endpoints() == b.endpoints()
}

fn told(app: &str, key: Option<&str>, problem: &str) -> String {
    let (app, problem) = (short(&app.to_uppercase(), 100), short(problem, 200));
    match key {
        Some(key) => format!("{app}/{}: {problem}", short(key, 100)),
        None => format!("{app}: {problem}"),
    }
}
