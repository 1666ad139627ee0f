//! What could not be served as it is, by service and reason; lists of it within bounds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use registry_core::Str;

use super::Warning;

/// The longest list; beyond it there is one warning more, without a hostname, that says how many are left out.
const MOST: usize = 1_000;

/// What found it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Its translation.
    Service,
    /// A domain of it that another service has.
    Domain,
    /// Its wish to listen there.
    Listener(SocketAddr),
}

/// All warnings of one view.
#[derive(Debug, Default)]
pub(super) struct Table {
    held: BTreeMap<(Str, Origin), Vec<String>>,
    /// How many there are.
    count: usize,
    changed: bool,
}

/// Warnings to be read, and how many more there are.
#[derive(Debug, Default)]
pub(super) struct Listed {
    warnings: Vec<Warning>,
    more: usize,
}

// === impl Table ===

impl Table {
    /// These are all problems that a service has for that reason.
    pub(super) fn set(&mut self, hostname: &Str, origin: Origin, problems: Vec<String>) {
        let key = (hostname.clone(), origin);
        let before = self.held.get(&key).map_or(&[][..], Vec::as_slice);
        if before == problems {
            return;
        }
        self.changed = true;
        self.count = self.count - before.len() + problems.len();
        if problems.is_empty() {
            self.held.remove(&key);
        } else {
            self.held.insert(key, problems);
        }
    }

    /// The list, where it is another one than at the last call.
    pub(super) fn take_changed(&mut self) -> Option<Arc<Listed>> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        let all = self.held.iter().flat_map(|((hostname, _), problems)| {
            problems.iter().map(|problem| Warning {
                hostname: hostname.clone(),
                problem: problem.clone(),
            })
        });
        let warnings: Vec<Warning> = all.take(MOST).collect();
        Some(Arc::new(Listed {
            more: self.count - warnings.len(),
            warnings,
        }))
    }
}

// === impl Listed ===

/// The warnings of several views as one list: sorted, each once.
pub(super) fn together(lists: &[Arc<Listed>]) -> Vec<Warning> {
    let all: BTreeSet<&Warning> = lists.iter().flat_map(|list| &list.warnings).collect();
    // What one view left out is mostly what the others did.
    let more = lists.iter().map(|list| list.more).max().unwrap_or(0) + all.len().saturating_sub(MOST);
    let mut shown: Vec<Warning> = all.into_iter().take(MOST).cloned().collect();
    if more > 0 {
        shown.push(Warning {
            hostname: Str::default(),
            problem: format!("{more} more"),
        });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(services: std::ops::Range<usize>) -> Table {
        let mut table = Table::default();
        for n in services {
            table.set(
                &format!("s{n:05}").into(),
                Origin::Service,
                vec!["no port".to_owned()],
            );
        }
        table
    }

    #[test]
    fn a_list_is_made_anew_only_where_something_changed() {
        let mut table = table(0..3);
        assert_eq!(table.take_changed().unwrap().warnings.len(), 3);
        table.set(&"s00001".into(), Origin::Service, vec!["no port".to_owned()]);
        table.set(&"other".into(), Origin::Domain, Vec::new());
        assert!(table.take_changed().is_none());
        table.set(&"s00001".into(), Origin::Service, Vec::new());
        assert_eq!(table.take_changed().unwrap().warnings.len(), 2);
    }

    #[test]
    fn views_warn_once_of_the_same_and_say_how_much_is_left_out() {
        let list = |services| table(services).take_changed().unwrap();
        let shown = together(&[list(0..3), list(1..4)]);
        let names: Vec<&str> = shown.iter().map(|warning| warning.hostname.as_str()).collect();
        assert_eq!(names, ["s00000", "s00001", "s00002", "s00003"]);

        let shown = together(&[list(0..1_500)]);
        assert_eq!(shown.len(), MOST + 1);
        assert_eq!(
            (shown[MOST].hostname.as_str(), shown[MOST].problem.as_str()),
            ("", "500 more")
        );
        assert!(together(&[]).is_empty());
    }
}
