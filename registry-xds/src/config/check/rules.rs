//! Rules for services: protocols, subsets, routes.

use std::collections::HashSet;

use registry_core::Pattern;

use super::{DAY, FaultStep, Faults, is_port};
use crate::config::{PathMatch, ProtocolRule, RouteConfig, RouteRule, SubsetRule};

/// What a rule for a protocol may name.
const PROTOCOLS: [&str; 8] = ["http", "http2", "grpc", "tcp", "tls", "mongo", "redis", "udp"];

pub(super) fn protocols(rules: &[ProtocolRule], faults: &mut Faults) {
    for (index, rule) in rules.iter().enumerate() {
        let path = |key: &str| ["protocols".into(), index.into(), key.into()];
        faults.host_pattern(&path("hosts"), &rule.hosts);
        if let Some(port) = &rule.port
            && !is_port(port)
        {
            faults.add(
                &path("port"),
                format!("{port:?}"),
                "the number or the name of a port",
            );
        }
        if !PROTOCOLS.contains(&rule.protocol.as_str()) {
            let expected = format!("one of {}", PROTOCOLS.join(", "));
            faults.add(&path("protocol"), format!("{:?}", rule.protocol), expected);
        }
    }
}

pub(super) fn subsets(rules: &[SubsetRule], faults: &mut Faults) {
    for (index, rule) in rules.iter().enumerate() {
        let path = |key: &str| vec!["subsets".into(), index.into(), key.into()];
        faults.host_pattern(&path("hosts"), &rule.hosts);
        if rule.subsets.is_empty() {
            faults.add(&path("subsets"), "no subset", "at least one");
        }
        let mut names = HashSet::new();
        for (number, subset) in rule.subsets.iter().enumerate() {
            let path = |key: &str| {
                let mut path = path("subsets");
                path.extend([number.into(), key.into()]);
                path
            };
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
            if subset.name.is_empty() || !subset.name.chars().all(fits) {
                faults.add(
                    &path("name"),
                    format!("{:?}", subset.name),
                    "a name of letters, digits, \"-\", \"_\" and \".\", such as v2",
                );
            } else if !names.insert(&subset.name) {
                faults.add(
                    &path("name"),
                    format!("the name {:?} for the second time", subset.name),
                    "a name that no other subset of the rule has",
                );
            }
            if subset.labels.is_empty() {
                faults.add(
                    &path("labels"),
                    "no label",
                    "at least one, as all endpoints have all of none",
                );
            }
        }
    }
}

pub(super) fn routes(rules: &[RouteRule], subsets: &[SubsetRule], faults: &mut Faults) {
    for (index, rule) in rules.iter().enumerate() {
        let at = ["routes".into(), index.into()];
        faults.host_pattern(&below(&at, &["hosts"]), &rule.hosts);
        let known = known_subsets(&rule.hosts, subsets);
        for (number, config) in rule.routes.iter().enumerate() {
            let mut at = below(&at, &["routes"]);
            at.push(number.into());
            route(&at, config, faults);
            destinations(&at, config, &known, faults);
        }
    }
}

fn route(at: &[FaultStep], route: &RouteConfig, faults: &mut Faults) {
    let path = route.path.as_ref().map(|path| match path {
        PathMatch::Prefix(text) => ("prefix", text),
        PathMatch::Exact(text) => ("exact", text),
    });
    if let Some((key, text)) = path
        && (!text.starts_with('/') || text.contains(char::is_control))
    {
        faults.add(
            &below(at, &["path", key]),
            format!("{text:?}"),
            "a path that begins with /",
        );
    }
    for (name, value) in &route.headers {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&c);
        let token = name.strip_prefix(':').unwrap_or(name);
        if token.is_empty() || !token.bytes().all(fits) {
            faults.add(
                &below(at, &["headers", name]),
                format!("the header {name:?}"),
                "the name of a header in lower case such as x-version",
            );
        }
        if value.contains(char::is_control) {
            faults.add(
                &below(at, &["headers", name]),
                format!("{value:?}"),
                "a value without control characters",
            );
        }
    }
    if let Some(timeout) = route.timeout {
        faults.between(
            &below(at, &["timeout"]),
            timeout,
            std::time::Duration::ZERO,
            30 * DAY,
        );
    }
}

fn destinations(at: &[FaultStep], route: &RouteConfig, known: &[&str], faults: &mut Faults) {
    let mut sum = 0u64;
    for (index, destination) in route.to.iter().enumerate() {
        sum += u64::from(destination.weight);
        let mut path = below(at, &["to"]);
        path.push(index.into());
        let path = below(&path, &["subset"]);
        let subset = destination.subset.as_str();
        if !subset.is_empty() && !known.contains(&subset) {
            let expected = match known {
                [] => "nothing, as these hosts have no subsets".to_owned(),
                known => format!("one of {}", known.join(", ")),
            };
            faults.add(&path, format!("{subset:?}"), expected);
        }
        let before = &route.to[..index];
        if before.iter().any(|before| before.subset == destination.subset) {
            faults.add(
                &path,
                format!("{subset:?} for the second time"),
                "each subset once",
            );
        }
    }
    if !route.to.is_empty() && sum == 0 {
        let found = "weights that are all 0";
        faults.add(&below(at, &["to"]), found, "at least one weight from 1");
    }
    if sum > u64::from(u32::MAX) {
        let expected = format!("at most {}", u32::MAX);
        faults.add(
            &below(at, &["to"]),
            format!("weights of {sum} together"),
            expected,
        );
    }
}

/// The subsets that hosts of that pattern may have. Of one host it is known which rule counts.
fn known_subsets<'a>(hosts: &str, rules: &'a [SubsetRule]) -> Vec<&'a str> {
    let names = |rule: &'a SubsetRule| rule.subsets.iter().map(|subset| subset.name.as_str());
    let mut known: Vec<&str> = if hosts.contains('*') {
        rules.iter().flat_map(names).collect()
    } else {
        let mut matching = rules
            .iter()
            .filter(|rule| Pattern::new(rule.hosts.as_str()).matches(hosts));
        matching.next().into_iter().flat_map(names).collect()
    };
    known.sort_unstable();
    known.dedup();
    known
}

fn below(path: &[FaultStep], keys: &[&str]) -> Vec<FaultStep> {
    path.iter()
        .cloned()
        .chain(keys.iter().map(|key| FaultStep::from(*key)))
        .collect()
}
