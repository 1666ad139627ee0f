//! The rules by which exports of several clusters are one service.

use std::borrow::Cow;
use std::cmp::Ordering;

use registry_core::{
    Claimant, Conflict, ConflictField, LabelRule, MergePolicy, PortRule, RegistryId, Resolution, ServiceMeta,
    ServicePort, SessionAffinity, Str, short,
};
use registry_k8s::{ANNOTATION, APP_PROTOCOL, EXPORT, INVALID_SERVICE_TYPE, NO_SERVICE, VALID};

/// The rules of KEP-1645: namespace sameness, the oldest export wins field by field, ports are united.
///
/// | of a service | is |
/// |---|---|
/// | which exports take part | all: one without a Service that can be exported takes part in no merge, see [`Resolution::Nothing`] |
/// | type, session affinity with its timeout, internal traffic policy, traffic distribution | that of the oldest export, each as a whole |
/// | exported labels, exported annotations | those of the oldest export, each as a whole, even where it has none |
/// | ports | the ports of all: first by name, then by number and protocol. Where two are at odds the older export's stays, and endpoints of the other cluster get nothing on it; of a headless service only protocols can be, as clients connect to the numbers of its endpoints |
/// | IP families | those that all have; where there are none, that is a conflict |
///
/// Of two exports the older one is that with the earlier creation time, which Kubernetes tells in seconds; then that of
/// the lesser cluster id, then of the lesser registry. Clocks of clusters differ, and nobody can tell: what their API
/// servers say is what counts. An export that tells no time is the youngest. What other registries have of the service
/// is no export: it counts as younger than all of them, and its labels are neither told nor compared.
///
/// Two clusters of one id both take part, and that is a conflict. So is each of these fields that an export has otherwise
/// than the oldest one; the policy says nothing of how fresh a cluster's word is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClusterSet;

impl MergePolicy for ClusterSet {
    fn name(&self) -> &'static str {
        "clusterset"
    }

    fn precedence(&self, a: &Claimant<'_>, b: &Claimant<'_>) -> Ordering {
        older((a.registry, a.record.meta()), (b.registry, b.record.meta()))
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        vec![Some(0); claimants.len()]
    }

    fn ports(&self) -> PortRule {
        PortRule::Strict
    }

    fn app_protocol<'a>(&self, meta: &'a ServiceMeta, port: &'a ServicePort) -> Option<&'a str> {
        // What a registry other than a cluster calls a protocol is not in Kubernetes' words.
        is_export(meta).then(|| app_protocol(meta, &port.name))
    }

    fn labels(&self) -> LabelRule {
        LabelRule::First
    }

    fn conflicts(&self, claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
        let rules = RULES.iter();
        let mut conflicts: Vec<Conflict> = rules.filter_map(|rule| differing(claimants, rule)).collect();
        conflicts.extend(without_common_family(claimants));
        conflicts.extend(same_cluster(claimants));
        conflicts
    }
}

/// The order of precedence: exports first, the oldest of them before others.
pub(crate) fn older(a: (&RegistryId, &ServiceMeta), b: (&RegistryId, &ServiceMeta)) -> Ordering {
    let age = |meta: &ServiceMeta| (!is_export(meta), meta.created().is_none(), meta.created());
    let ((x, a), (y, b)) = (a, b);
    (age(a), cluster(a), x).cmp(&(age(b), cluster(b), y))
}

/// The id of the cluster that an export is of; empty where it is unknown.
pub(crate) fn cluster(meta: &ServiceMeta) -> &str {
    meta.variables().get("cluster").map_or("", |cluster| cluster)
}

/// What an export is worth in the words of its registry; `None` for what is no export.
pub(crate) fn worth(meta: &ServiceMeta) -> Option<&str> {
    let word = meta.metadata().get(EXPORT)?.as_str();
    [VALID, NO_SERVICE, INVALID_SERVICE_TYPE]
        .contains(&word)
        .then_some(word)
}

/// Whether a registry says this of an export.
pub(crate) fn is_export(meta: &ServiceMeta) -> bool {
    worth(meta).is_some()
}

/// Whether an export has something to export. Why not is in its metadata.
pub(crate) fn is_valid(meta: &ServiceMeta) -> bool {
    meta.resolution() != Resolution::Nothing
}

/// Of what a cluster says of a field this many characters are shown. Annotations may be long.
const LONGEST_VALUE: usize = 256;

/// A field that is the oldest export's as a whole.
struct Rule {
    field: ConflictField,
    /// Whether the field means anything for a service.
    counts: fn(&ServiceMeta) -> bool,
    /// Whether two say the same of it. Every change of an endpoint asks, so nothing is formatted for it.
    same: fn(&ServiceMeta, &ServiceMeta) -> bool,
    /// What one says of it, for people.
    says: fn(&ServiceMeta) -> Cow<'_, str>,
}

/// The type is not among them, since every merge compares it.
const RULES: &[Rule] = &[
    Rule {
        field: ConflictField::Ports,
        // A registry that knows ports by neither name nor number says nothing of which there are.
        counts: |meta| meta.ports().is_empty() || own_ports(meta).next().is_some(),
        same: |a, b| own_ports(a).eq(own_ports(b)),
        says: |meta| {
            own_ports(meta)
                .map(Str::as_str)
                .collect::<Vec<_>>()
                .join(", ")
                .into()
        },
    },
    Rule {
        field: ConflictField::SessionAffinity,
        counts: |_| true,
        same: |a, b| a.traffic().session_affinity == b.traffic().session_affinity,
        says: |meta| affinity(meta.traffic().session_affinity).into(),
    },
    Rule {
        field: ConflictField::SessionAffinityTimeout,
        counts: |meta| meta.traffic().session_affinity == SessionAffinity::ClientIp,
        same: |a, b| affinity_timeout(a) == affinity_timeout(b),
        says: |meta| affinity_timeout(meta).into(),
    },
    Rule {
        field: ConflictField::InternalTrafficPolicy,
        counts: |_| true,
        same: |a, b| internal_traffic_policy(a) == internal_traffic_policy(b),
        says: |meta| internal_traffic_policy(meta).into(),
    },
    Rule {
        field: ConflictField::TrafficDistribution,
        counts: |_| true,
        same: |a, b| a.traffic().distribution == b.traffic().distribution,
        says: |meta| meta.traffic().distribution.as_str().into(),
    },
    Rule {
        field: ConflictField::Labels,
        // Labels of other registries are nothing that anybody exported.
        counts: is_export,
        same: |a, b| a.labels() == b.labels(),
        says: |meta| pairs(meta.labels().iter()),
    },
    Rule {
        field: ConflictField::Annotations,
        counts: is_export,
        same: |a, b| annotations(a).eq(annotations(b)),
        says: |meta| pairs(annotations(meta)),
    },
];

/// Who says something else of a field than the first, whose word it is.
fn differing(claimants: &[&Claimant<'_>], rule: &Rule) -> Option<Conflict> {
    let (first, others) = claimants.split_first()?;
    let meta = first.record.meta();
    let differs = |other: &ServiceMeta| (rule.counts)(other) && !(rule.same)(meta, other);
    let value = |claimant: &Claimant<'_>| {
        let text = (rule.says)(claimant.record.meta());
        (claimant.registry.clone(), short(&text, LONGEST_VALUE))
    };
    if !(rule.counts)(meta) {
        return None;
    }
    let losers = others.iter().filter(|other| differs(other.record.meta()));
    let mut losers = losers.map(|other| value(other)).peekable();
    losers.peek()?;
    Some(Conflict {
        field: rule.field,
        item: Str::default(),
        values: std::iter::once(value(first)).chain(losers).collect(),
    })
}

/// All that say their IP families, where no family is one of all.
fn without_common_family(claimants: &[&Claimant<'_>]) -> Option<Conflict> {
    let metas = claimants.iter().map(|claimant| &**claimant.record.meta());
    if !common_families(metas).is_empty() {
        return None;
    }
    let said: Vec<(&RegistryId, &str)> = claimants
        .iter()
        .map(|claimant| (claimant.registry, ip_families(claimant.record.meta())))
        .filter(|(_, families)| !families.is_empty())
        .collect();
    let (_, first) = said.first()?;
    let shown = said
        .iter()
        .enumerate()
        .filter(|(at, (_, families))| *at == 0 || families != first);
    Some(Conflict {
        field: ConflictField::IpFamilies,
        item: Str::default(),
        values: shown
            .map(|(_, (registry, families))| ((*registry).clone(), short(families, LONGEST_VALUE)))
            .collect(),
    })
}

/// Clusters of one id, for each id, in alphabetical order.
fn same_cluster(claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
    let ids = claimants.iter().map(|claimant| cluster(claimant.record.meta()));
    let mut ids: Vec<(&str, usize)> = ids.zip(0..).filter(|(id, _)| !id.is_empty()).collect();
    // Of one id they stay in order of precedence.
    ids.sort_unstable();
    let several = ids
        .chunk_by(|(a, _), (b, _)| a == b)
        .filter(|same| same.len() > 1);
    let conflicts = several.map(|same| Conflict {
        field: ConflictField::Cluster,
        item: same[0].0.into(),
        values: same
            .iter()
            .map(|(id, at)| (claimants[*at].registry.clone(), (*id).to_owned()))
            .collect(),
    });
    conflicts.collect()
}

/// The families that all of those have that say any, in the order of the first.
pub(crate) fn common_families<'a>(metas: impl IntoIterator<Item = &'a ServiceMeta>) -> Vec<&'a str> {
    let mut said = metas
        .into_iter()
        .map(ip_families)
        .filter(|families| !families.is_empty());
    let Some(first) = said.next() else {
        return Vec::new();
    };
    let others: Vec<&str> = said.collect();
    let in_all = |family: &&str| {
        others
            .iter()
            .all(|other| other.split(',').any(|held| held == *family))
    };
    first.split(',').filter(in_all).collect()
}

/// The IP families in Kubernetes' words, joined by commas; empty where they are unknown.
fn ip_families(meta: &ServiceMeta) -> &str {
    raw(meta, "ipFamilies", "")
}

/// Session affinity in Kubernetes' words.
pub(crate) fn affinity(affinity: SessionAffinity) -> &'static str {
    match affinity {
        SessionAffinity::None => "None",
        SessionAffinity::ClientIp => "ClientIP",
    }
}

/// For how many seconds a client stays with an endpoint; 10800 is what Kubernetes takes where nothing is said.
pub(crate) fn affinity_timeout(meta: &ServiceMeta) -> &str {
    raw(meta, "sessionAffinityTimeoutSeconds", "10800")
}

/// The internal traffic policy in Kubernetes' words.
pub(crate) fn internal_traffic_policy(meta: &ServiceMeta) -> &str {
    let word = if meta.traffic().internal_local {
        "Local"
    } else {
        "Cluster"
    };
    raw(meta, "internalTrafficPolicy", word)
}

/// What an export declares to be spoken on a port, in the words of its Service; empty where it declares nothing.
pub(crate) fn app_protocol<'a>(meta: &'a ServiceMeta, port: &str) -> &'a str {
    let mut pairs = meta.metadata().iter();
    let declared = pairs.find(|(key, _)| key.strip_prefix(APP_PROTOCOL) == Some(port));
    declared.map_or("", |(_, word)| word)
}

/// The exported annotations.
pub(crate) fn annotations(meta: &ServiceMeta) -> impl Iterator<Item = (&str, &Str)> {
    let pairs = meta.metadata().iter();
    pairs.filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATION)?, value)))
}

fn raw<'a>(meta: &'a ServiceMeta, key: &str, default: &'a str) -> &'a str {
    meta.metadata().get(key).map_or(default, |word| word)
}

/// The names of its ports, whose numbers every merge compares, but for those that have neither a name nor a number.
fn own_ports(meta: &ServiceMeta) -> impl Iterator<Item = &Str> {
    let ports = meta.ports().iter();
    let own = ports.filter(|port| !port.implicit || port.number.is_some());
    own.map(|port| &port.name)
}

fn pairs<'a, K: AsRef<str> + 'a>(pairs: impl Iterator<Item = (K, &'a Str)>) -> Cow<'a, str> {
    let mut text = String::new();
    for (key, value) in pairs {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(key.as_ref());
        text.push('=');
        // Annotations may hold anything: what is between quotes is no further pair.
        let plain = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
        if value.chars().all(plain) {
            text.push_str(value);
        } else {
            text.push_str(&format!("{value:?}"));
        }
    }
    text.into()
}
