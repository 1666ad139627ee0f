//! What the status of a ServiceExport says, as data: a controller may write it, an operator may read it.

use registry_core::{Conflict, ConflictField, RegistryId, ServiceMeta, ServiceSource, Str, short};
use registry_k8s::{NO_SERVICE, VALID};

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

/// The conditions of all exports of one service, in the order of precedence, given who takes part in the merged service,
/// and what the merge found to be at odds. Both are empty where nothing is served.
///
/// | condition | status | reason | |
/// |---|---|---|---|
/// | `Valid` | True | `Valid` | there is a Service that can be exported |
/// | | False | `NoService` | there is no Service of that name |
/// | | False | `InvalidServiceType` | the Service is of type ExternalName |
/// | `Ready` | True | `Ready` | the export is part of the merged service, for whoever pulls it |
/// | | False | `Pending` | it waits for its Service |
/// | | False | `Failed` | it cannot be exported, the hostname is somebody else's, or its policy leaves the export out |
/// | `Conflict` | False | `NoConflicts` | all agree, or the export takes no part |
/// | | True | such as `PortConflict,LabelsConflict` | on every export that takes part, whoever won |
///
/// `Ready` has the reason that the API means for implementations that are pulled from: nothing is written to any cluster,
/// so an export is as ready as it gets once it is merged. It says nothing of how fresh the cluster's word is; that is in
/// the phase of its registry.
///
/// Reasons beyond those of the API are `ClusterIDConflict`, where clusters have the same id, and `HostnameConflict`, where
/// services that may not merge have the same hostname.
pub fn statuses(
    exports: &[Export<'_>],
    sources: &[ServiceSource],
    conflicts: &[Conflict],
) -> Vec<ExportStatus> {
    let of_all = conflict(sources, conflicts, |_| true);
    let of_hostname = || conflict(sources, conflicts, |field| field == ConflictField::Hostname);
    let status = |export: &Export<'_>| {
        let part = Part::of(export, sources, conflicts);
        ExportStatus {
            registry: export.registry.clone(),
            cluster: policy::cluster(export.meta).into(),
            conditions: [
                valid(export.meta),
                part.ready(),
                match part {
                    Part::Taken => of_all.clone(),
                    Part::ShutOut => of_hostname(),
                    Part::LeftOut | Part::Pending | Part::Invalid => no_conflict(),
                },
            ],
        }
    };
    exports.iter().map(status).collect()
}

fn condition(kind: &'static str, status: Truth, reason: &str, message: &str) -> Condition {
    Condition {
        kind,
        status,
        reason: reason.to_owned(),
        message: short(message, LONGEST_MESSAGE),
    }
}

/// Whether there is something to export, and why not.
fn worth(meta: &ServiceMeta) -> &str {
    if policy::is_valid(meta) {
        return VALID;
    }
    policy::worth(meta).unwrap_or(NO_SERVICE)
}

fn valid(meta: &ServiceMeta) -> Condition {
    let (name, namespace) = (meta.name(), meta.namespace());
    let (word, status) = match worth(meta) {
        VALID => (VALID, Truth::True),
        word => (word, Truth::False),
    };
    let message = match word {
        VALID => format!("Service {name:?} of namespace {namespace:?} can be exported"),
        NO_SERVICE => format!("There is no Service {name:?} in namespace {namespace:?}"),
        _ => format!(
            "Service {name:?} of namespace {namespace:?} is of a type that cannot be exported, such as ExternalName"
        ),
    };
    condition("Valid", status, word, &message)
}

/// Which part an export has in the merged service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// It takes part.
    Taken,
    /// The hostname is another service's, which may not be merged.
    ShutOut,
    /// The policy prefers others.
    LeftOut,
    /// There is no Service yet.
    Pending,
    /// The Service cannot be exported.
    Invalid,
}

impl Part {
    pub(crate) fn of(export: &Export<'_>, sources: &[ServiceSource], conflicts: &[Conflict]) -> Self {
        let is_it = |source: &ServiceSource| {
            source.registry == *export.registry && source.meta.id() == export.meta.id()
        };
        match worth(export.meta) {
            VALID if sources.iter().any(is_it) => Self::Taken,
            VALID if is_shut_out(export.registry, conflicts) => Self::ShutOut,
            VALID => Self::LeftOut,
            NO_SERVICE => Self::Pending,
            _ => Self::Invalid,
        }
    }

    fn ready(self) -> Condition {
        let (status, reason, message) = match self {
            Self::Taken => (Truth::True, "Ready", "The export is part of the service"),
            Self::ShutOut => (Truth::False, "Failed", "The hostname belongs to another service"),
            Self::LeftOut => (
                Truth::False,
                "Failed",
                "The policy by which the hostname is merged leaves the export out",
            ),
            Self::Pending => (Truth::False, "Pending", "Waiting for the Service"),
            Self::Invalid => (
                Truth::False,
                "Failed",
                "A Service of this type has nothing to export",
            ),
        };
        condition("Ready", status, reason, message)
    }
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

/// The condition of exports for which conflicts of these fields count.
fn conflict(
    sources: &[ServiceSource],
    conflicts: &[Conflict],
    counts: impl Fn(ConflictField) -> bool,
) -> Condition {
    let mut reasons: Vec<&str> = Vec::new();
    let mut messages: Vec<String> = Vec::new();
    for (reason, fields) in REASONS {
        let of_reason = conflicts
            .iter()
            .filter(|conflict| fields.contains(&conflict.field) && counts(conflict.field));
        let before = messages.len();
        messages.extend(of_reason.map(|conflict| message(sources, conflict)));
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
fn message(sources: &[ServiceSource], conflict: &Conflict) -> String {
    let Some(((winner, value), losers)) = conflict.values.split_first() else {
        return String::new();
    };
    let export = sources
        .iter()
        .find(|source| source.registry == *winner)
        .filter(|source| policy::is_export(&source.meta));
    let cluster = export
        .map(|export| policy::cluster(&export.meta))
        .filter(|cluster| !cluster.is_empty());
    let owner = match cluster {
        Some(cluster) => format!("cluster {cluster:?}"),
        None => format!("registry {:?}", winner.as_str()),
    };
    let all = sources.len();
    let several = match sources.iter().all(|source| policy::is_export(&source.meta)) {
        true => "clusters",
        false => "registries",
    };
    let disagree = match losers {
        [_] => format!("1 of {all} {several} disagrees"),
        losers => format!("{} of {all} {several} disagree", losers.len()),
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
                "Conflicting ports. Using the ports of all, of which {owner} has {value:?}; {disagree}"
            );
        }
        ConflictField::IpFamilies => {
            return format!(
                "Conflicting IP families. There is none that all have, {owner} has {value:?}; {disagree}"
            );
        }
        ConflictField::Cluster => {
            return format!(
                "Conflicting cluster id. {} of {all} {several} say that they are {item:?}",
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
    let from = match (export, sources.first()) {
        (None, _) => owner,
        (Some(_), Some(oldest)) if oldest.registry == *winner => format!("the oldest export, of {owner}"),
        _ => format!("an older export, of {owner}"),
    };
    format!("Conflicting {what}. Using {value} from {from}; {disagree}")
}
