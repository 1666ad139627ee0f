//! The exports that a snapshot tells of, by service.

use std::collections::{BTreeMap, BTreeSet};

use registry_core::{Conflict, Service, ServiceSource, Snapshot, Str};

use crate::policy;
use crate::status::{Export, ExportStatus, Part, statuses};

/// All exports of one service, and what became of them.
#[derive(Debug, Clone)]
pub struct Exported<'a> {
    hostname: &'a Str,
    exports: Vec<Export<'a>>,
    /// What the merge made of them; `None` where there was nothing to merge.
    service: Option<&'a Service>,
}

/// How an export stands, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// There is nothing that could be exported.
    Invalid,
    /// It could take part in the service, and does not.
    LeftOut,
    /// It takes part, and clusters are at odds.
    Conflict,
    /// It takes part, and all agree.
    Fine,
}

impl<'a> Exported<'a> {
    /// All services that clusters export, served or not, in alphabetical order of hostnames. It looks at every claim of the
    /// snapshot once.
    ///
    /// ```
    /// # let snapshot = registry_core::Snapshot::default();
    /// for service in registry_mcs::Exported::all(&snapshot) {
    ///     println!("{}: {} exports", service.hostname(), service.exports().len());
    /// }
    /// ```
    pub fn all(snapshot: &'a Snapshot) -> Vec<Self> {
        let mut by_hostname = BTreeMap::<&Str, Vec<Export<'a>>>::new();
        for claim in snapshot.all_claims() {
            let mut exports = of_claim(claim).peekable();
            if exports.peek().is_some() {
                by_hostname.entry(claim.hostname()).or_default().extend(exports);
            }
        }
        let services = by_hostname.into_iter();
        services
            .map(|(hostname, exports)| Self::of(snapshot, hostname, exports))
            .collect()
    }

    /// The exports of the service with that hostname; `None` where no cluster exports it.
    pub fn find(snapshot: &'a Snapshot, hostname: &str) -> Option<Self> {
        let mut claims = snapshot.claims(hostname).peekable();
        let hostname = claims.peek()?.1.hostname();
        let exports: Vec<Export<'a>> = claims.flat_map(|(_, claim)| of_claim(claim)).collect();
        (!exports.is_empty()).then(|| Self::of(snapshot, hostname, exports))
    }

    fn of(snapshot: &'a Snapshot, hostname: &'a Str, mut exports: Vec<Export<'a>>) -> Self {
        exports.sort_by(|a, b| policy::older((a.registry, a.meta), (b.registry, b.meta)));
        let service = snapshot.get(hostname);
        // The name may be another service's alias.
        let service = service.filter(|service| service.hostname() == hostname);
        Self {
            hostname,
            exports,
            service: service.map(|service| &**service),
        }
    }

    /// The hostname of the service.
    pub fn hostname(&self) -> &'a Str {
        self.hostname
    }

    /// The exports, in the order of precedence.
    pub fn exports(&self) -> &[Export<'a>] {
        &self.exports
    }

    /// The conditions of all of them, in the same order.
    pub fn statuses(&self) -> Vec<ExportStatus> {
        let (sources, conflicts) = self.merged();
        statuses(&self.exports, sources, conflicts)
    }

    /// How an export stands: what its [conditions](Self::statuses) come to, without their words.
    pub fn standing(&self, export: &Export<'_>) -> Standing {
        let (sources, conflicts) = self.merged();
        match Part::of(export, sources, conflicts) {
            Part::Taken if conflicts.is_empty() => Standing::Fine,
            Part::Taken => Standing::Conflict,
            Part::ShutOut | Part::LeftOut => Standing::LeftOut,
            Part::Pending | Part::Invalid => Standing::Invalid,
        }
    }

    /// Who takes part in the service, and what is at odds in it.
    fn merged(&self) -> (&'a [ServiceSource], &'a [Conflict]) {
        let service = self.service;
        service.map_or((&[], &[]), |service| (service.sources(), service.conflicts()))
    }
}

fn of_claim(claim: &Service) -> impl Iterator<Item = Export<'_>> {
    let sources = claim.sources().iter();
    let exports = sources.filter(|source| policy::is_export(&source.meta));
    exports.map(|source| Export {
        registry: &source.registry,
        meta: &source.meta,
    })
}

/// The conditions of all exports of the service with that hostname, in the order of precedence; empty where no cluster
/// exports it.
///
/// ```
/// # let snapshot = registry_core::Snapshot::default();
/// for export in registry_mcs::exports(&snapshot, "web.shop.svc.clusterset.local") {
///     let [valid, _, conflict] = &export.conditions;
///     println!("{} {} {}", export.cluster, valid.reason, conflict.reason);
/// }
/// ```
pub fn exports(snapshot: &Snapshot, hostname: &str) -> Vec<ExportStatus> {
    let service = Exported::find(snapshot, hostname);
    service.map_or_else(Vec::new, |service| service.statuses())
}

/// The hostnames of all services that clusters export, served or not, in alphabetical order.
pub fn exported(snapshot: &Snapshot) -> BTreeSet<&Str> {
    let claims = snapshot.all_claims();
    let exports = claims.filter(|claim| of_claim(claim).next().is_some());
    exports.map(|claim| claim.hostname()).collect()
}
