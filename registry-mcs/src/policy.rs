//! The rules by which exports of several clusters are one service.

use std::cmp::Ordering;

use registry_core::{Claimant, Conflict, LabelRule, MergePolicy, PortRule};

/// The rules of KEP-1645: namespace sameness, the oldest export wins field by field, ports are united.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterSet;

impl MergePolicy for ClusterSet {
    fn name(&self) -> &'static str {
        "clusterset"
    }

    fn precedence(&self, _a: &Claimant<'_>, _b: &Claimant<'_>) -> Ordering {
        unimplemented!()
    }

    fn select(&self, _claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        unimplemented!()
    }

    fn ports(&self) -> PortRule {
        PortRule::Strict
    }

    fn labels(&self) -> LabelRule {
        LabelRule::First
    }

    fn conflicts(&self, _claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
        unimplemented!()
    }
}
