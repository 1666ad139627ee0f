//! The rules by which exports of several clusters are one service.

use std::borrow::Cow;
use std::cmp::Ordering;

use registry_core::{
    Claimant, Conflict, ConflictField, LabelRule, MergePolicy, PortRule, RegistryId, Resolution, ServiceMeta,
    SessionAffinity, Str, short,
};
use registry_k8s::ANNOTATION;

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
/// servers say is what counts. An export that tells no time is the youngest.
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
        let (x, y) = (a.record.meta(), b.record.meta());
        let untold = |meta: &ServiceMeta| meta.created().is_none();
        (untold(x), x.created(), cluster(x), a.registry).cmp(&(
            untold(y),
            y.created(),
            cluster(y),
            b.registry,
        ))
    }

    fn select(&self, claimants: &[&Claimant<'_>]) -> Vec<Option<u8>> {
        vec![Some(0); claimants.len()]
    }

    fn ports(&self) -> PortRule {
        PortRule::Strict
    }

    fn labels(&self) -> LabelRule {
        LabelRule::First
    }

    fn conflicts(&self, claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
        let mut conflicts: Vec<Conflict> = RULES
            .iter()
            .filter_map(|(field, says)| differing(claimants, *field, says))
            .collect();
        conflicts.extend(without_common_family(claimants));
        conflicts.extend(same_cluster(claimants));
        conflicts
    }
}

/// The order of exports: the oldest first.
pub(crate) fn older(a: (&RegistryId, &ServiceMeta), b: (&RegistryId, &ServiceMeta)) -> Ordering {
    let untold = |meta: &ServiceMeta| meta.created().is_none();
    let ((x, a), (y, b)) = (a, b);
    (untold(a), a.created(), cluster(a), x).cmp(&(untold(b), b.created(), cluster(b), y))
}

/// The id of the cluster that an export is of; empty where it is unknown.
pub(crate) fn cluster(meta: &ServiceMeta) -> &str {
    meta.variables().get("cluster").map_or("", |cluster| cluster)
}

/// Whether an export has something to export. Why not is in its metadata.
pub(crate) fn is_valid(meta: &ServiceMeta) -> bool {
    meta.resolution() != Resolution::Nothing
}

/// Of what a cluster says of a field this many characters are shown. Annotations may be long.
const LONGEST_VALUE: usize = 256;

/// What a service says of a field: `None` where the field means nothing for it.
type Says = fn(&ServiceMeta) -> Option<Cow<'_, str>>;

/// Fields that are the oldest export's as a whole. The type is not among them, since every merge compares it.
const RULES: &[(ConflictField, Says)] = &[
    (ConflictField::Ports, |meta| Some(ports(meta))),
    (ConflictField::SessionAffinity, |meta| {
        Some(affinity(meta.traffic().session_affinity).into())
    }),
    (ConflictField::SessionAffinityTimeout, |meta| {
        let counts = meta.traffic().session_affinity == SessionAffinity::ClientIp;
        counts.then(|| affinity_timeout(meta).into())
    }),
    (ConflictField::InternalTrafficPolicy, |meta| {
        Some(internal_traffic_policy(meta).into())
    }),
    (ConflictField::TrafficDistribution, |meta| {
        Some(meta.traffic().distribution.as_str().into())
    }),
    (ConflictField::Labels, |meta| Some(pairs(meta.labels().iter()))),
    (ConflictField::Annotations, |meta| Some(pairs(annotations(meta)))),
];

/// Who says something else of a field than the first that says anything.
fn differing(claimants: &[&Claimant<'_>], field: ConflictField, says: &Says) -> Option<Conflict> {
    let mut said = claimants
        .iter()
        .filter_map(|claimant| Some((claimant.registry, says(claimant.record.meta())?)));
    let (winner, first) = said.next()?;
    let value = |registry: &RegistryId, text: &str| (registry.clone(), short(text, LONGEST_VALUE));
    let losers = said.filter(|(_, text)| *text != first);
    let mut values: Vec<_> = losers.map(|(registry, text)| value(registry, &text)).collect();
    if values.is_empty() {
        return None;
    }
    values.insert(0, value(winner, &first));
    Some(Conflict {
        field,
        item: Str::default(),
        values,
    })
}

/// All that say their IP families, where no family is one of all.
fn without_common_family(claimants: &[&Claimant<'_>]) -> Option<Conflict> {
    let metas: Vec<&ServiceMeta> = claimants
        .iter()
        .map(|claimant| &**claimant.record.meta())
        .collect();
    if !common_families(&metas).is_empty() {
        return None;
    }
    let says: Says =
        |meta| Some(ip_families(meta).into()).filter(|families: &Cow<'_, str>| !families.is_empty());
    differing(claimants, ConflictField::IpFamilies, &says)
}

/// Clusters of one id, for each id.
fn same_cluster(claimants: &[&Claimant<'_>]) -> Vec<Conflict> {
    let mut conflicts: Vec<Conflict> = Vec::new();
    for (at, claimant) in claimants.iter().enumerate() {
        let id = cluster(claimant.record.meta());
        let same = |other: &&&Claimant<'_>| cluster(other.record.meta()) == id;
        if id.is_empty() || claimants[..at].iter().any(|earlier| same(&earlier)) {
            continue;
        }
        let values: Vec<_> = claimants[at..]
            .iter()
            .filter(same)
            .map(|claimant| (claimant.registry.clone(), id.to_owned()))
            .collect();
        if values.len() > 1 {
            conflicts.push(Conflict {
                field: ConflictField::Cluster,
                item: id.into(),
                values,
            });
        }
    }
    conflicts
}

/// The families that all of those have that say any, in the order of the first.
pub(crate) fn common_families<'a>(metas: &[&'a ServiceMeta]) -> Vec<&'a str> {
    let mut said = metas
        .iter()
        .map(|meta| ip_families(meta))
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

/// The exported annotations.
pub(crate) fn annotations(meta: &ServiceMeta) -> impl Iterator<Item = (&str, &Str)> {
    let pairs = meta.metadata().iter();
    pairs.filter_map(|(key, value)| Some((key.strip_prefix(ANNOTATION)?, value)))
}

fn raw<'a>(meta: &'a ServiceMeta, key: &str, default: &'a str) -> &'a str {
    meta.metadata().get(key).map_or(default, |word| word)
}

/// Which ports there are. Their numbers are compared one by one.
fn ports(meta: &ServiceMeta) -> Cow<'_, str> {
    match meta.ports() {
        [] => "".into(),
        [one] => one.name.as_str().into(),
        several => {
            let names: Vec<&str> = several.iter().map(|port| port.name.as_str()).collect();
            names.join(", ").into()
        }
    }
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
