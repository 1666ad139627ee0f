//! What types cannot check: fields that have to agree with each other or with the world.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use registry_core::{RegistryId, duration};

use super::survival::GuardSwitch;
use super::tree::Step;
use super::{Config, RegistryConfig};

const SECOND: Duration = Duration::from_secs(1);
/// The longest name of an entry with members.
const LONGEST_ENTRY: usize = 40;
const HOUR: Duration = Duration::from_secs(3600);

/// Something that does not hold together.
#[derive(Debug)]
pub(crate) struct Finding {
    pub(crate) path: Vec<Step>,
    pub(crate) found: String,
    pub(crate) expected: String,
}

impl Finding {
    pub(crate) fn new(path: Vec<Step>, found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self {
            path,
            found: found.into(),
            expected: expected.into(),
        }
    }
}

/// What is wrong with a file that should hold a token, if anything is.
pub(crate) type Token<'a> = &'a dyn Fn(&Path) -> Result<(), String>;

/// All that does not hold together.
pub(crate) fn check(config: &Config, empty: bool, token: Token<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if config.registries.is_empty() {
        // Also protects a running daemon from a file that is just being written.
        let found = if empty { "an empty file" } else { "no registries" };
        findings.push(Finding::new(
            vec!["registries".into()],
            found,
            "at least one registry",
        ));
    }
    names(config, &mut findings);
    for (index, registry) in config.registries.iter().enumerate() {
        let path = |field: &str| -> Vec<Step> {
            ["registries".into(), index.into()]
                .into_iter()
                .chain(steps(field))
                .collect()
        };
        let kinds = crate::registries::kinds(registry);
        match kinds.as_slice() {
            [_] => {}
            [] => findings.push(Finding::new(
                path(""),
                "no kind of registry",
                format!("exactly one of {}", crate::registries::KINDS.join(", ")),
            )),
            [_, second, ..] => findings.push(Finding::new(
                path(second),
                format!("the kinds {}", kinds.join(" and ")),
                format!("exactly one of {}", crate::registries::KINDS.join(", ")),
            )),
        }
        times(registry, &path, &mut findings);
        for wrong in crate::registries::validate(registry) {
            findings.push(Finding::new(path(&wrong.field), wrong.found, wrong.expected));
        }
    }
    members(config, &mut findings);
    #[cfg(feature = "mcs")]
    clustersets(config, &mut findings);
    listener(config, token, &mut findings);
    #[cfg(feature = "xds")]
    xds(config, &mut findings);
    findings
}

/// The way to a field that is written as people do: `mcs.clusters[1].name`.
fn steps(field: &str) -> impl Iterator<Item = Step> {
    let steps = field.split(['.', '[']).filter(|step| !step.is_empty());
    steps.map(|step| {
        let index = step
            .strip_suffix(']')
            .and_then(|index| index.parse::<usize>().ok());
        index.map_or_else(|| step.into(), Step::Index)
    })
}

/// Services of clusters are one where they have one name: that of the service and of its namespace, and nothing that differs
/// from cluster to cluster. What comes after them is what the policy of the clusterset is for.
#[cfg(feature = "mcs")]
fn clustersets(config: &Config, findings: &mut Vec<Finding>) {
    let entries = config.registries.iter().enumerate();
    for (index, entry) in entries.filter(|(_, entry)| entry.has_exports()) {
        let aliases = entry.aliases.iter().enumerate();
        let hostname = entry
            .hostname
            .iter()
            .map(|template| (vec!["hostname".into()], template));
        let aliases = aliases.map(|(index, alias)| (vec!["aliases".into(), index.into()], alias));
        for (field, template) in hostname.chain(aliases) {
            if let Some((problem, expected)) = unfit_for_clusters(template) {
                let path = ["registries".into(), index.into()].into_iter().chain(field);
                let found = format!("{:?}, {problem}", template.as_str());
                findings.push(Finding::new(path.collect(), found, expected));
            }
        }
    }
}

/// Why services of a clusterset cannot be named so, and what is expected instead.
#[cfg(feature = "mcs")]
fn unfit_for_clusters(template: &registry_core::HostnameTemplate) -> Option<(String, &'static str)> {
    let variables = || template.variables();
    if let Some(other) = variables().find(|variable| !["name", "namespace"].contains(variable)) {
        let problem = match other {
            "cluster" => "by which each cluster has a service of its own".to_owned(),
            other => format!("in which {{{other}}} may differ from cluster to cluster"),
        };
        let expected = "a template without {cluster} and the like, as a service of a clusterset has the same name in all \
                        clusters";
        return Some((problem, expected));
    }
    let expected = "{name} and {namespace} in it, as a service is the same in all clusters where both are";
    for needed in ["name", "namespace"] {
        if !variables().any(|variable| variable == needed) {
            return Some((format!("which has no {{{needed}}}"), expected));
        }
    }
    // Names of services and namespaces have no dot, and may well have all else that a hostname may.
    let after = template.as_str().split('}').skip(1);
    let mut between = after.filter_map(|rest| rest.split_once('{'));
    if !between.all(|(literal, _)| literal.contains('.')) {
        let expected = "a dot there, as else service a-b of namespace c and service a of namespace b-c have one hostname";
        return Some(("between whose variables there is no dot".to_owned(), expected));
    }
    let suffix = template.as_str().rsplit('}').next().unwrap_or_default();
    suffix.trim_matches('.').is_empty().then(|| {
        (
            "after whose variables there is no domain".to_owned(),
            "one that ends in a domain such as svc.clusterset.local, as its hostnames have a policy of their own",
        )
    })
}

/// Members are named `entry/member`: there has to be room for that, and nobody else may be called so.
fn members(config: &Config, findings: &mut Vec<Finding>) {
    let path = |index: usize| vec!["registries".into(), index.into(), "name".into()];
    let entries = || config.registries.iter().enumerate();
    for (index, entry) in entries().filter(|(_, entry)| crate::registries::has_members(entry)) {
        let length = entry.id().as_str().len();
        if length > LONGEST_ENTRY {
            findings.push(Finding::new(
                path(index),
                format!("a name of {length} characters"),
                format!("at most {LONGEST_ENTRY}, as the names of its members come after it"),
            ));
        }
        let prefix = format!("{}/", entry.id());
        for (index, other) in entries().filter(|(_, other)| other.id().as_str().starts_with(&prefix)) {
            findings.push(Finding::new(
                path(index),
                format!(
                    "the name {:?}, as members of {:?} are called",
                    other.id(),
                    entry.id()
                ),
                "a name that does not begin like that",
            ));
        }
    }
}

/// Times that cannot be meant.
fn times(registry: &RegistryConfig, path: &dyn Fn(&str) -> Vec<Step>, findings: &mut Vec<Finding>) {
    let mut between = |field: &str, found: Duration, least: Duration, most: Duration| {
        if !(least..=most).contains(&found) {
            let (least, most) = (duration::format(least), duration::format(most));
            let expected = format!("{least} to {most}");
            findings.push(Finding::new(path(field), duration::format(found), expected));
        }
    };
    if let GuardSwitch::Set(guard) = &registry.guard {
        between("guard.window", guard.window, SECOND, HOUR);
        between("guard.hold", guard.hold, Duration::ZERO, 24 * HOUR);
    }
    if let Some(compare) = registry.compare.0 {
        between("compare", compare, SECOND, 7 * 24 * HOUR);
    }
}

fn names(config: &Config, findings: &mut Vec<Finding>) {
    let mut first = HashMap::<&RegistryId, usize>::new();
    for (index, registry) in config.registries.iter().enumerate() {
        let name = registry.id();
        if let Some(before) = first.get(name) {
            findings.push(Finding::new(
                vec!["registries".into(), index.into(), "name".into()],
                format!("the name {name:?}, which registry {} has already", before + 1),
                "a name that no other registry has",
            ));
        } else {
            first.insert(name, index);
        }
    }
}

#[cfg(feature = "xds")]
fn xds(config: &Config, findings: &mut Vec<Finding>) {
    use registry_xds::FaultStep;

    for fault in config.xds.iter().flat_map(registry_xds::XdsConfig::faults) {
        let steps = fault.path.into_iter().map(|step| match step {
            FaultStep::Key(key) => Step::Key(key),
            FaultStep::Index(index) => Step::Index(index),
        });
        let path = std::iter::once("xds".into()).chain(steps).collect();
        findings.push(Finding::new(path, fault.found, fault.expected));
    }
}

fn listener(config: &Config, token: Token<'_>, findings: &mut Vec<Finding>) {
    let http = &config.http;
    let path = |field: &str| vec!["http".into(), field.into()];
    if !http.listen.ip().is_loopback() && !http.insecure && http.token_file.is_none() {
        findings.push(Finding::new(
            path("listen"),
            format!(
                "{}, which other hosts can reach, without authentication",
                http.listen.as_str()
            ),
            "an address of this host such as 127.0.0.1:7380, or token_file, or insecure: true",
        ));
    }
    if http.insecure && http.token_file.is_some() {
        findings.push(Finding::new(
            path("insecure"),
            "true beside token_file",
            "either of the two",
        ));
    }
    if let Some(file) = &http.token_file
        && let Err(problem) = token(file)
    {
        findings.push(Finding::new(
            path("token_file"),
            problem,
            "a file that holds the token and can be read",
        ));
    }
    for (index, host) in http.allowed_hosts.iter().enumerate() {
        let fits = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'-' | b'_');
        if host.is_empty() || !host.bytes().all(fits) {
            findings.push(Finding::new(
                vec!["http".into(), "allowed_hosts".into(), index.into()],
                format!("{host:?}"),
                "a hostname without a port such as registryd.example.com",
            ));
        }
    }
}
