//! What cannot be used, or cannot be meant.

use registry_core::RegistryId;
use registry_k8s::{Cluster, Fleet, KubernetesConfig};

use super::{ClusterConfig, McsConfig, Mode};
use crate::error::Error;
use crate::identity;

/// The longest name that DNS allows.
const LONGEST: usize = 253;

/// The longest domain: namespace and name of a service come before it, and between them `svc`.
const LONGEST_DOMAIN: usize = LONGEST - 2 * 64 - "svc.".len();

pub(super) fn check(config: &McsConfig) -> Result<(), Error> {
    names(config)?;
    one_mode(config)?;
    match (config.mode(), &config.import) {
        (Mode::Import, Some(import)) => cluster_of_imports(import),
        (Mode::Fleet, _) => {
            domain_of_clusters("kubernetes", &config.kubernetes)?;
            let fleet = Fleet::try_new(config.kubernetes.clone());
            fleet.map(drop).map_err(|source| of_cluster("kubernetes", source))
        }
        _ => {
            all_clusters(&config.kubernetes)?;
            let clusters = config.clusters.iter().enumerate();
            for (index, cluster) in clusters {
                one_cluster(config, index, cluster)?;
            }
            Ok(())
        }
    }
}

fn wrong(field: impl Into<String>, problem: impl Into<String>) -> Error {
    Error::Config {
        field: field.into(),
        problem: problem.into(),
    }
}

fn of_cluster(field: impl Into<String>, source: registry_k8s::Error) -> Error {
    Error::Cluster {
        field: field.into(),
        source,
    }
}

fn names(config: &McsConfig) -> Result<(), Error> {
    if config.groups.is_empty() {
        let problem = "found no group, expected one such as `multicluster.x-k8s.io`";
        return Err(wrong("groups", problem));
    }
    for (index, group) in config.groups.iter().enumerate() {
        let field = format!("groups[{index}]");
        if !is_dns_name(group, LONGEST) {
            let problem = format!("found {group:?}, expected a group such as `multicluster.x-k8s.io`");
            return Err(wrong(field, problem));
        }
        if config.groups[..index].contains(group) {
            return Err(wrong(field, format!("found {group:?} twice, expected it once")));
        }
    }
    if !is_dns_name(&config.domain, LONGEST_DOMAIN) {
        let problem = format!(
            "found {:?}, expected a DNS name in lower case of at most {LONGEST_DOMAIN} characters, such as \
             `clusterset.local`",
            config.domain
        );
        return Err(wrong("domain", problem));
    }
    Ok(())
}

/// Exactly one of `clusters`, a fleet in `kubernetes`, and `import`.
fn one_mode(config: &McsConfig) -> Result<(), Error> {
    if config.import.is_some() {
        if !config.clusters.is_empty() {
            return Err(wrong(
                "import",
                "found beside `clusters`, expected one of the two",
            ));
        }
        if config.kubernetes != KubernetesConfig::default() {
            let problem = "found beside `kubernetes`, expected all settings of its cluster in `import`";
            return Err(wrong("import", problem));
        }
        return Ok(());
    }
    match (config.clusters.is_empty(), config.kubernetes.is_fleet()) {
        (true, false) => Err(wrong(
            "clusters",
            "found no cluster, expected `clusters`, or `directory` or `secrets` in `kubernetes`, or `import`",
        )),
        (false, true) => {
            let directory = config.kubernetes.directory.is_some();
            let field = if directory { "directory" } else { "secrets" };
            let problem = "found beside `clusters`, expected one of the two";
            Err(wrong(format!("kubernetes.{field}"), problem))
        }
        _ => Ok(()),
    }
}

fn cluster_of_imports(import: &KubernetesConfig) -> Result<(), Error> {
    if import.cluster.is_some() {
        let problem =
            "found a name, expected it to be left out: endpoints are in the clusters that their slices name";
        return Err(wrong("import.cluster", problem));
    }
    domain_of_clusters("import", import)?;
    let cluster = Cluster::try_new(import.clone());
    cluster.map(drop).map_err(|source| of_cluster("import", source))
}

fn all_clusters(all: &KubernetesConfig) -> Result<(), Error> {
    if let Some(cluster) = &all.cluster {
        let problem = format!("found {cluster:?} for all clusters, expected `cluster` in each of `clusters`");
        return Err(wrong("kubernetes.cluster", problem));
    }
    domain_of_clusters("kubernetes", all)?;
    all.validate().map_err(|source| of_cluster("kubernetes", source))
}

/// What would be without any effect, as hostnames have the domain of the clusterset.
fn domain_of_clusters(field: &str, settings: &KubernetesConfig) -> Result<(), Error> {
    if settings.cluster_domain != KubernetesConfig::default().cluster_domain {
        let found = &settings.cluster_domain;
        let problem =
            format!("found {found:?}, expected it to be left out: `domain` is that of the clusterset");
        return Err(wrong(format!("{field}.cluster_domain"), problem));
    }
    Ok(())
}

fn one_cluster(config: &McsConfig, index: usize, cluster: &ClusterConfig) -> Result<(), Error> {
    let field = |name: &str| format!("clusters[{index}].{name}");
    let others = &config.clusters[..index];
    let Some(name) = registry_name(&cluster.name) else {
        let problem = format!(
            "found {:?}, expected 1 to 61 characters, as it becomes part of a registry's name",
            cluster.name
        );
        return Err(wrong(field("name"), problem));
    };
    let same_name = |other: &ClusterConfig| registry_name(&other.name).as_ref() == Some(&name);
    if let Some(before) = others.iter().position(same_name) {
        let problem = format!(
            "found {:?}, which is the registry name of clusters[{before}] ({:?}) too, expected another name",
            cluster.name, others[before].name
        );
        return Err(wrong(field("name"), problem));
    }
    let beside = |name: &str| {
        let problem = format!("found beside `kubernetes.{name}`, expected one of the two");
        wrong(field(name), problem)
    };
    let all = &config.kubernetes;
    for (name, here, for_all) in [
        (
            "kubeconfig",
            cluster.kubeconfig.is_some(),
            all.kubeconfig.is_some(),
        ),
        ("context", cluster.context.is_some(), all.context.is_some()),
        ("in_cluster", cluster.in_cluster, all.in_cluster),
    ] {
        if here && for_all {
            return Err(beside(name));
        }
    }
    if let Some(id) = &cluster.cluster {
        identity::checked(id).map_err(|problem| wrong(field("cluster"), problem))?;
        if let Some(before) = others.iter().position(|other| other.cluster.as_ref() == Some(id)) {
            let problem =
                format!("found {id:?}, which is the id of clusters[{before}] too, expected another id");
            return Err(wrong(field("cluster"), problem));
        }
    }
    let settings = config.of_cluster(cluster);
    let way = |settings: &KubernetesConfig| {
        let (kubeconfig, context) = (settings.kubeconfig.clone(), settings.context.clone());
        (kubeconfig, context, settings.in_cluster)
    };
    let same_way = |other: &ClusterConfig| way(&config.of_cluster(other)) == way(&settings);
    if let Some(before) = others.iter().position(same_way) {
        let problem =
            format!("found the kubeconfig and context of clusters[{before}], expected another cluster");
        return Err(wrong(format!("clusters[{index}]"), problem));
    }
    let cluster = Cluster::try_new(settings);
    cluster
        .map(drop)
        .map_err(|source| of_cluster(format!("clusters[{index}]"), source))
}

/// What a name becomes as that of a registry, after that of the entry.
fn registry_name(name: &str) -> Option<RegistryId> {
    let entry = "x".parse().ok()?;
    (!name.is_empty())
        .then(|| RegistryId::member(&entry, name).ok())
        .flatten()
}

/// Labels of lower-case letters, digits and dashes, as RFC 1123 has them, separated by dots.
fn is_dns_name(text: &str, longest: usize) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(fits)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= longest && text.split('.').all(label)
}
