//! What the status of a ServiceExport says, as data: a controller may write it, an operator may read it.

use std::collections::BTreeSet;

use registry_core::{Conflict, ConflictField, RegistryId, Service, ServiceMeta, Snapshot, Str, short};
use registry_k8s::{INVALID_SERVICE_TYPE, NO_SERVICE, VALID};

use crate::policy;

/// One cluster's export of a service.
#[derive(Debug, Clone, Copy)]
pub struct Export<'a> {
    /// The registry of the cluster.
    pub registry: &'a RegistryId,
    /// What it says, as [`McsRegistry::exports`](crate::McsRegistry::exports) maps it.
    pub meta: &'a ServiceMeta,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It does.
    True,
    /// It does not.
    False,
    /// That is not known.
    Unknown,
}

impl Truth {
    /// The word that a condition has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// A condition of an export, in the words of `multicluster.x-k8s.io/v1beta1`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// `Valid`, `Ready` or `Conflict`.
    pub kind: &'static str,
    /// Whether it holds.
    pub status: Truth,
    /// The reason; several of `Conflict` are joined by commas.
    pub reason: String,
    /// What a person should know.
    pub message: String,
}

/// The conditions of one cluster's export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportStatus {
    /// The registry of the cluster.
    pub registry: RegistryId,
    /// The id of the cluster.
    pub cluster: Str,
    /// `Valid`, `Ready` and `Conflict`, in this order.
    pub conditions: [Condition; 3],
}

/// As many characters as Kubernetes allows for the message of a condition, but one that says that there was more.
const LONGEST_MESSAGE: usize = 32_767;

/// The conditions of all exports of one service, in the order of precedence, given what the merge found to be at odds.
///
/// | condition | status | reason | |
/// |---|---|---|---|
/// | `Valid` | True | `Valid` | there is a Service that can be exported |
/// | | False | `NoService` | there is no Service of that name |
/// | | False | `InvalidServiceType` | the Service is of type ExternalName |
/// | `Ready` | True | `Ready` | the export is part of the merged service, for whoever pulls it |
/// | | False | `Pending` | it waits for its Service |
/// | | False | `Failed` | it cannot be exported, or the hostname is somebody else's |
/// | `Conflict` | False | `NoConflicts` | all agree, or the export takes no part |
/// | | True | such as `PortConflict,LabelsConflict` | on every export that takes part, whoever won |
///
/// `Ready` has the reason that the API means for implementations that are pulled from: nothing is written to any cluster,
/// so an export is as ready as it gets once it is merged. It says nothing of how fresh the cluster's word is; that is in
/// the phase of its registry.
///
/// Reasons beyond those of the API are `ClusterIDConflict`, where clusters have the same id, and `HostnameConflict`, where
/// services that may not merge have the same hostname.
pub fn statuses(exports: &[Export<'_>], conflicts: &[Conflict]) -> Vec<ExportStatus> {
    let conflict = conflict(exports, conflicts);
    let status = |export: &Export<'_>| {
        let valid = valid(export.meta);
        let takes_part = valid.status == Truth::True;
        ExportStatus {
            registry: export.registry.clone(),
            cluster: policy::cluster(export.meta).into(),
            conditions: [
                valid,
                ready(export, conflicts),
                if takes_part {
                    conflict.clone()
                } else {
                    no_conflict()
                },
            ],
        }
    };
    exports.iter().map(status).collect()
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
    let claims: Vec<(&RegistryId, &Service)> = snapshot
        .claims(hostname)
        .map(|(registry, claim)| (registry, &**claim))
        .collect();
    let metas = claims.iter().flat_map(|(registry, claim)| {
        claim
            .sources()
            .iter()
            .map(move |source| (*registry, &*source.meta))
    });
    let mut exports: Vec<Export<'_>> = metas
        .filter(|(_, meta)| policy::is_export(meta))
        .map(|(registry, meta)| Export { registry, meta })
        .collect();
    exports.sort_by(|a, b| policy::older((a.registry, a.meta), (b.registry, b.meta)));
    let merged = claims.first().and_then(|(_, claim)| {
        let service = snapshot.get(claim.hostname())?;
        (service.hostname() == claim.hostname()).then_some(service)
    });
    statuses(&exports, merged.map_or(&[], |service| service.conflicts()))
}

/// The hostnames of all services that clusters export, served or not, in alphabetical order.
pub fn exported(snapshot: &Snapshot) -> BTreeSet<&Str> {
    let claims = snapshot.all_claims();
    let exports = claims.filter(|claim| {
        claim
            .sources()
            .iter()
            .any(|source| policy::is_export(&source.meta))
    });
    exports.map(|claim| claim.hostname()).collect()
}

fn condition(kind: &'static str, status: Truth, reason: &str, message: &str) -> Condition {
    Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message: short(message, LONGEST_MESSAGE),
    }
}

fn valid(meta: &ServiceMeta) -> Condition {
    let (name, namespace) = (meta.name(), meta.namespace());
    match policy::worth(meta).unwrap_or(VALID) {
        VALID => condition(
            "Valid",
            Truth::True,
            VALID,
            &format!("Service {name:?} of namespace {namespace:?} can be exported"),
        ),
        NO_SERVICE => condition(
            "Valid",
            Truth::False,
            NO_SERVICE,
            &format!("There is no Service {name:?} in namespace {namespace:?}"),
        ),
        word => condition(
            "Valid",
            Truth::False,
            word,
            &format!(
                "Service {name:?} of namespace {namespace:?} is of a type that cannot be exported, such as ExternalName"
            ),
        ),
    }
}

fn ready(export: &Export<'_>, conflicts: &[Conflict]) -> Condition {
    let (status, reason, message) = match policy::worth(export.meta) {
        Some(NO_SERVICE) => (Truth::False, "Pending", "Waiting for the Service"),
        Some(INVALID_SERVICE_TYPE) => (
            Truth::False,
            "Failed",
            "A Service of this type has nothing to export",
        ),
        _ if is_shut_out(export.registry, conflicts) => {
            (Truth::False, "Failed", "The hostname belongs to another service")
        }
        _ => (Truth::True, "Ready", "The export is part of the service"),
    };
    condition("Ready", status, reason, message)
}

/// Whether the registry lost the hostname to another one.
fn is_shut_out(registry: &RegistryId, conflicts: &[Conflict]) -> bool {
    let of_hostname = |conflict: &&Conflict| conflict.field == ConflictField::Hostname;
    let mut conflicts = conflicts.iter().filter(of_hostname);
    conflicts.any(|conflict| {
        let (owner, losers) = match &*conflict.values {
            [(owner, _), losers @ ..] => (owner, losers),
            [] => return false,
        };
        // The owner loses to itself where it has several services of that name; one of them is served.
        owner != registry && losers.iter().any(|(loser, _)| loser == registry)
    })
}

fn no_conflict() -> Condition {
    condition("Conflict", Truth::False, "NoConflicts", "")
}

/// The reasons in the order of the API, each with the fields that it is given for.
const REASONS: &[(&str, &[ConflictField])] = &[
    (
        "PortConflict",
        &[
            ConflictField::Ports,
            ConflictField::PortNumber,
            ConflictField::PortTransport,
            ConflictField::PortName,
            ConflictField::AppProtocol,
        ],
    ),
    ("TypeConflict", &[ConflictField::Resolution]),
    ("SessionAffinityConflict", &[ConflictField::SessionAffinity]),
    (
        "SessionAffinityConfigConflict",
        &[ConflictField::SessionAffinityTimeout],
    ),
    ("LabelsConflict", &[ConflictField::Labels]),
    ("AnnotationsConflict", &[ConflictField::Annotations]),
    (
        "InternalTrafficPolicyConflict",
        &[ConflictField::InternalTrafficPolicy],
    ),
    (
        "TrafficDistributionConflict",
        &[ConflictField::TrafficDistribution],
    ),
    ("IPFamilyConflict", &[ConflictField::IpFamilies]),
    ("ClusterIDConflict", &[ConflictField::Cluster]),
    ("HostnameConflict", &[ConflictField::Hostname]),
];

/// What all exports that take part have for a condition.
fn conflict(exports: &[Export<'_>], conflicts: &[Conflict]) -> Condition {
    let mut reasons: Vec<&str> = Vec::new();
    let mut messages: Vec<String> = Vec::new();
    for (reason, fields) in REASONS {
        let of_reason = conflicts
            .iter()
            .filter(|conflict| fields.contains(&conflict.field));
        let before = messages.len();
        messages.extend(of_reason.map(|conflict| message(exports, conflict)));
        if messages.len() > before {
            reasons.push(reason);
        }
    }
    if reasons.is_empty() {
        return no_conflict();
    }
    condition("Conflict", Truth::True, &reasons.join(","), &messages.join(". "))
}

/// One conflict in a sentence: `Conflicting type. Using "ClusterSetIP" from the oldest export, of cluster "a"; 1 of 2
/// clusters disagrees`.
fn message(exports: &[Export<'_>], conflict: &Conflict) -> String {
    let Some(((winner, value), losers)) = conflict.values.split_first() else {
        return String::new();
    };
    let export = exports.iter().find(|export| export.registry == winner);
    let owner = export
        .map(|export| policy::cluster(export.meta))
        .filter(|cluster| !cluster.is_empty())
        .unwrap_or(winner.as_str());
    let all = exports
        .iter()
        .filter(|export| policy::is_valid(export.meta))
        .count();
    let disagree = match losers {
        [_] => format!("1 of {all} clusters disagrees"),
        several => format!("{} of {all} clusters disagree", several.len()),
    };
    let item = &conflict.item;
    let what = match conflict.field {
        ConflictField::PortNumber => format!("number of port {item:?}"),
        ConflictField::PortTransport => format!("protocol of port {item:?}"),
        ConflictField::PortName => format!("name of port {item}"),
        ConflictField::AppProtocol => format!("application protocol of port {item:?}"),
        ConflictField::Resolution => "type".to_owned(),
        ConflictField::SessionAffinity => "session affinity".to_owned(),
        ConflictField::SessionAffinityTimeout => "session affinity timeout".to_owned(),
        ConflictField::InternalTrafficPolicy => "internal traffic policy".to_owned(),
        ConflictField::TrafficDistribution => "traffic distribution".to_owned(),
        ConflictField::Labels => "exported labels".to_owned(),
        ConflictField::Annotations => "exported annotations".to_owned(),
        ConflictField::Ports => {
            return format!(
                "Conflicting ports. Using the ports of all, of which cluster {owner:?} has {value:?}; {disagree}"
            );
        }
        ConflictField::IpFamilies => {
            return format!(
                "Conflicting IP families. There is none that all have, cluster {owner:?} has {value:?}; {disagree}"
            );
        }
        ConflictField::Cluster => {
            return format!(
                "Conflicting cluster id. {} of {all} clusters say that they are {item:?}",
                conflict.values.len()
            );
        }
        ConflictField::Hostname => {
            return format!(
                "Conflicting hostname. It belongs to {value} of registry {winner}, and may not be merged"
            );
        }
    };
    let value = match (conflict.field, value.as_str()) {
        (_, "") => "none".to_owned(),
        (ConflictField::Resolution, "headless") => format!("{:?}", "Headless"),
        (ConflictField::Resolution, "static") => format!("{:?}", "ClusterSetIP"),
        (ConflictField::PortTransport, word) => format!("{:?}", word.to_ascii_uppercase()),
        (_, word) => format!("{word:?}"),
    };
    // The oldest that has a port need not be the oldest of all.
    let oldest = exports.iter().find(|export| policy::is_valid(export.meta));
    let age = if oldest.is_some_and(|oldest| oldest.registry == winner) {
        "the oldest"
    } else {
        "an older"
    };
    format!("Conflicting {what}. Using {value} from {age} export, of cluster {owner:?}; {disagree}")
}
