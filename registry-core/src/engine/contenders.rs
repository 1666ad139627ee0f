//! Who of those that claim a hostname may take part in its service.

use crate::merge::Claimant;
use crate::model::{Conflict, ConflictField, RegistryId, ServiceId};
use crate::text::Str;

/// A claim that is being weighed.
#[derive(Debug)]
pub(super) struct Contender<'a> {
    pub(super) claimant: Claimant<'a>,
    pub(super) alias: bool,
    /// Its name was chosen by an operator, not by the default of its kind.
    pub(super) set: bool,
    /// Other services of the same registry with the same name.
    pub(super) beaten: Vec<&'a ServiceId>,
}

impl Contender<'_> {
    /// Whether there is nothing behind the claim.
    pub(super) fn is_empty(&self) -> bool {
        self.claimant.record.is_of_nothing()
    }

    /// The order within one registry: what has something behind it, a service's own hostname before an alias, then by
    /// identity.
    pub(super) fn rank(&self) -> (&RegistryId, bool, bool, &ServiceId) {
        let id = self.claimant.record.id();
        (self.claimant.registry, self.is_empty(), self.alias, id)
    }

    pub(super) fn says(&self, id: &ServiceId) -> (RegistryId, String) {
        (self.claimant.registry.clone(), format!("service {id}"))
    }
}

/// Who may take part in the hostname: all that set it, if the first did; else the first alone. The rest is noted. These are
/// all that have something behind their claim: who has nothing neither gets nor loses a hostname.
pub(super) fn eligible<'a>(contenders: &[Contender<'a>]) -> (Vec<Claimant<'a>>, Vec<Conflict>) {
    let chosen = |contender: &Contender<'_>| contender.alias || contender.set;
    let all_that_set_it = contenders.first().is_some_and(chosen)
        && contenders
            .iter()
            .any(|contender| contender.set && !contender.alias);
    let first = contenders.iter().position(|contender| !contender.alias);
    let merges = |at: usize| {
        if all_that_set_it {
            chosen(&contenders[at])
        } else {
            Some(at) == first
        }
    };
    let merging = (0..contenders.len()).filter(|at| merges(*at));
    let claimants = merging.clone().map(|at| contenders[at].claimant).collect();

    let mut losers = Vec::new();
    for (at, contender) in contenders.iter().enumerate() {
        if !merges(at) {
            losers.push(contender.says(contender.claimant.record.id()));
        }
        losers.extend(contender.beaten.iter().map(|id| contender.says(id)));
    }
    let mut settled = Vec::new();
    if let Some(owner) = merging.clone().next()
        && !losers.is_empty()
    {
        let owner = &contenders[owner];
        losers.insert(0, owner.says(owner.claimant.record.id()));
        settled.push(Conflict {
            field: ConflictField::Hostname,
            item: Str::default(),
            values: losers,
        });
    }
    (claimants, settled)
}
