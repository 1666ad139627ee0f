//! A policy with all that one may say.

use registry_core::{Claimant, Conflict, ConflictField, LabelRule, MergePolicy, PortRule, ServiceRecord};

/// Strict about ports, one for all with labels, and with conflicts of its own: what is noted. Who notes `no` is left out.
#[derive(Debug)]
pub(crate) struct Clusters;

fn note(record: &ServiceRecord) -> &str {
    record.meta().metadata().get("note").map_or("", |note| note)
}

impl MergePolicy for Clusters {
    fn name(&self) -> &'static str {
        "clusters"
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        let of = |claimant: &&Claimant<'_>| (note(claimant.record) != "no").then_some(0);
        claimants.iter().map(of).collect()
    }

    fn ports(&self) -> PortRule {
        PortRule::Strict
    }

    fn labels(&self) -> LabelRule {
        LabelRule::First
    }

    fn conflicts(&self, claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
        let said = |claimant: &Claimant<'_>| (claimant.registry.clone(), note(claimant.record).to_owned());
        let first = said(claimants[0]);
        let others = claimants[1..].iter().map(|claimant| said(claimant));
        let values: Vec<_> = others.filter(|(_, note)| *note != first.1).collect();
        if values.is_empty() {
            return Vec::new();
        }
        vec![Conflict {
            field: ConflictField::Annotations,
            item: "".into(),
            values: std::iter::once(first).chain(values).collect(),
        }]
    }
}
