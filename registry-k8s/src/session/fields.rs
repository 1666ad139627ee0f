//! What was told of each field: whether it is open, when it was last confirmed, and how often it failed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use registry_core::{RegistryError, Scope, ServiceId, Str};
use tokio::time::Instant;

use super::namespaces::Namespaces;

/// What was told.
#[derive(Debug, Default)]
pub(super) struct Fields {
    /// Complete knowledge of the whole was told.
    begun: bool,
    open: BTreeSet<Option<Str>>,
    /// When the whole was last told or confirmed.
    confirmed: Option<Instant>,
    /// Fields in trouble, and failures in a row that were told of each; `None` for what concerns all fields.
    failures: BTreeMap<Option<Option<Str>>, u32>,
}

impl Fields {
    pub(super) fn begun(&self) -> bool {
        self.begun
    }

    pub(super) fn begin(&mut self) {
        self.begun = true;
    }

    /// Opens a field; false where it is open.
    pub(super) fn open(&mut self, field: &Option<Str>) -> bool {
        self.open.insert(field.clone())
    }

    /// Closes a field for good; false where nothing was told of it that has to be taken back.
    pub(super) fn close(&mut self, field: &Option<Str>) -> bool {
        let told = self.failures.remove(&Some(field.clone())).is_some();
        (self.open.remove(field) || told) && self.begun
    }

    pub(super) fn is_open(&self, field: &Option<Str>) -> bool {
        self.open.contains(field)
    }

    /// True where the service belongs to an open field.
    pub(super) fn covers(&self, id: &ServiceId) -> bool {
        self.begun && (self.open.contains(&None) || self.open.contains(&Some(id.group().clone())))
    }

    /// Complete knowledge of a scope was told, but of what could not be read: that is in trouble from then on.
    pub(super) fn told(&mut self, scope: &Scope, unread: &[(Scope, Arc<RegistryError>)], now: Instant) {
        let is_unread = |scope: &Scope| unread.iter().any(|(unread, _)| unread == scope);
        if *scope == Scope::Registry && !is_unread(scope) {
            self.confirmed = Some(now);
        }
        self.failures.retain(|part, _| match part {
            Some(field) => !scope.covers(&Namespaces::scope(field)),
            None => *scope != Scope::Registry || is_unread(scope),
        });
        for (unread, _) in unread {
            if let Scope::Group(group) = unread {
                self.failures.insert(Some(Some(group.clone())), 0);
            }
        }
    }

    /// A part of a field failed that often in a row. True where no other part has failed as often: this is to be told.
    pub(super) fn count_failure(&mut self, field: Option<&Option<Str>>, failures: u32) -> bool {
        let told = self.failures.entry(field.cloned()).or_default();
        let news = failures > *told;
        *told = failures.max(*told);
        news
    }

    /// What is to be confirmed: each field that failed and was confirmed in both halves since, and the whole where every
    /// field that has an answer was confirmed since the whole was last told. Given are the last answer of the watch of
    /// namespaces, where there is one, and that of each field; `None` while it fails.
    pub(super) fn confirmed(
        &mut self,
        namespaces: Option<Option<Instant>>,
        fields: &[(Option<Str>, Option<Instant>)],
        now: Instant,
    ) -> Vec<Scope> {
        let mut scopes = Vec::new();
        let open = fields.iter().filter(|(field, _)| self.open.contains(field));
        let answering: Vec<_> = open
            .filter_map(|(field, confirmed)| Some((field, (*confirmed)?)))
            .collect();
        for (field, _) in answering.iter().filter(|(field, _)| field.is_some()) {
            if self.failures.remove(&Some((*field).clone())).is_some() {
                scopes.push(Namespaces::scope(field));
            }
        }
        // Parts have clocks of their own: the whole is as old as the oldest of them.
        let oldest = answering
            .iter()
            .map(|(_, confirmed)| *confirmed)
            .chain(namespaces.flatten())
            .min();
        let all_fail = answering.is_empty() && !fields.is_empty();
        let news = oldest.is_some_and(|oldest| self.confirmed.is_none_or(|told| oldest > told));
        if self.begun && news && !all_fail && namespaces != Some(None) {
            self.confirmed = Some(now);
            self.failures.remove(&None);
            self.failures.remove(&Some(None));
            scopes.push(Scope::Registry);
        }
        scopes
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn begun(fields: &[Option<Str>]) -> (Fields, Instant) {
        let mut told = Fields::default();
        told.begin();
        for field in fields {
            assert!(told.open(field));
        }
        let now = Instant::now();
        told.told(&Scope::Registry, &[], now);
        (told, now)
    }

    #[test]
    fn the_whole_is_confirmed_when_its_oldest_part_is() {
        let all = None;
        let (mut told, start) = begun(std::slice::from_ref(&all));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(
            told.confirmed(None, &[(all.clone(), Some(at(0)))], at(1))
                .is_empty()
        );
        assert_eq!(
            told.confirmed(None, &[(all.clone(), Some(at(2)))], at(3)),
            [Scope::Registry]
        );
        // The half that is behind spoke at 2, which is before the word at 3.
        assert!(
            told.confirmed(None, &[(all.clone(), Some(at(2)))], at(20))
                .is_empty()
        );
        assert!(told.confirmed(None, &[(all, None)], at(30)).is_empty());
    }

    #[test]
    fn a_namespace_in_trouble_does_not_age_the_others() {
        let (a, b) = (Some(Str::from("a")), Some(Str::from("b")));
        let (mut told, start) = begun(&[a.clone(), b.clone()]);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(told.count_failure(Some(&b), 1));
        assert!(
            !told.count_failure(Some(&b), 1),
            "the other half of the same failure"
        );
        let confirmed = told.confirmed(None, &[(a.clone(), Some(at(5))), (b.clone(), None)], at(5));
        assert_eq!(confirmed, [Scope::Registry]);
        let confirmed = told.confirmed(None, &[(a, Some(at(5))), (b, Some(at(9)))], at(9));
        assert_eq!(confirmed, [Scope::Group("b".into())]);
    }

    #[test]
    fn without_the_list_of_namespaces_nothing_is_confirmed_as_a_whole() {
        let a = Some(Str::from("a"));
        let (mut told, start) = begun(std::slice::from_ref(&a));
        let at = start + Duration::from_secs(5);
        assert!(
            told.confirmed(Some(None), &[(a.clone(), Some(at))], at)
                .is_empty()
        );
        assert_eq!(
            told.confirmed(Some(Some(at)), &[(a, Some(at))], at),
            [Scope::Registry]
        );
    }
}
