//! The rights that a token needs, as policies in HCL: what the configuration asks for, and no more.

use std::fmt::Write as _;

use crate::consul::ConsulConfig;
use crate::nomad::NomadConfig;

impl ConsulConfig {
    /// The policy of Consul's ACLs that the registry's token needs, for `consul acl policy create -rules -`.
    ///
    /// ```
    /// use registry_consul::ConsulConfig;
    ///
    /// let config = ConsulConfig { services: vec!["web-*".to_owned()], ..ConsulConfig::default() };
    /// assert!(config.acl_policy().contains("service_prefix \"web-\" {"));
    /// ```
    pub fn acl_policy(&self) -> String {
        let mut rules = services(&self.services);
        rules.push(Rule {
            why: "The addresses and checks of nodes: instances whose node may not be read are left out.",
            head: "node_prefix \"\"".to_owned(),
            right: READ,
        });
        let mut text = written(&rules);
        for scope in [("ns", "namespace"), ("partition", "partition")] {
            if let Some(value) = self.query.get(scope.0) {
                text = within(scope.1, value, &text);
            }
        }
        if self.needs_version() {
            let agent = Rule {
                why: "The agent's version: an older one ignores parameters that lead elsewhere.",
                head: "agent_prefix \"\"".to_owned(),
                right: READ,
            };
            text.push_str(&written(&[agent]));
        }
        text
    }
}

impl NomadConfig {
    /// The policy of Nomad's ACLs that the registry's token needs, for `nomad acl policy apply registryd -`.
    ///
    /// ```
    /// use registry_consul::NomadConfig;
    ///
    /// let config = NomadConfig { namespaces: vec!["shop".to_owned()], ..NomadConfig::default() };
    /// assert!(config.acl_policy().contains("namespace \"shop\" {"));
    /// ```
    pub fn acl_policy(&self) -> String {
        let rules: Vec<Rule> = self
            .namespaces
            .iter()
            .enumerate()
            .map(|(index, namespace)| Rule {
                why: if index == 0 {
                    "Services, their events, allocations and results of checks. Nomad has no narrower right for any of \
                     them: it also shows jobs, and so keep secrets out of these."
                } else {
                    ""
                },
                head: format!("namespace {}", quoted(namespace)),
                right: "capabilities = [\"read-job\"]",
            })
            .collect();
        written(&rules)
    }
}

const READ: &str = "policy = \"read\"";

/// One block.
struct Rule {
    why: &'static str,
    head: String,
    right: &'static str,
}

/// The rules for the services that match any of the patterns; for all where there is none.
fn services(patterns: &[String]) -> Vec<Rule> {
    let mut heads: Vec<String> = patterns
        .iter()
        .map(|pattern| match pattern.split_once('*') {
            None => format!("service {}", quoted(pattern)),
            Some((prefix, _)) => format!("service_prefix {}", quoted(prefix)),
        })
        .collect();
    if heads.is_empty() || heads.iter().any(|head| head == "service_prefix \"\"") {
        return vec![Rule {
            why: "Which services there are, with their instances and checks.",
            head: "service_prefix \"\"".to_owned(),
            right: READ,
        }];
    }
    heads.sort_unstable();
    heads.dedup();
    let services = heads.into_iter().enumerate().map(|(index, head)| Rule {
        why: if index == 0 {
            "The services that are asked for, with their instances and checks."
        } else {
            ""
        },
        head,
        right: READ,
    });
    let servers = Rule {
        why: "The servers themselves, which are always there: a catalogue without them is one of lost rights.",
        head: "service \"consul\"".to_owned(),
        right: READ,
    };
    services.chain([servers]).collect()
}

fn written(rules: &[Rule]) -> String {
    let mut text = String::new();
    for rule in rules {
        if !rule.why.is_empty() {
            // It cannot fail: it is memory.
            let _ = writeln!(text, "# {}", rule.why);
        }
        let _ = writeln!(text, "{} {{\n  {}\n}}", rule.head, rule.right);
    }
    text
}

/// The rules as those of one namespace or partition.
fn within(kind: &str, name: &str, rules: &str) -> String {
    let inner: String = rules.lines().map(|line| format!("  {line}\n")).collect();
    format!("{kind} {} {{\n{inner}}}\n", quoted(name))
}

/// A text in quotes.
fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_granted_and_no_more() {
        let all = ConsulConfig::default().acl_policy();
        assert!(
            all.contains("service_prefix \"\" {\n  policy = \"read\"\n}\n"),
            "{all}"
        );
        assert!(
            all.contains("node_prefix \"\" {\n  policy = \"read\"\n}\n"),
            "{all}"
        );
        assert!(!all.contains("agent"), "{all}");

        let some = ConsulConfig {
            services: ["web-*-blue", "api", "a\"b"].map(str::to_owned).to_vec(),
            query: [("ns", "shop"), ("peer", "west")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            ..ConsulConfig::default()
        };
        let some = some.acl_policy();
        for block in [
            "namespace \"shop\" {\n",
            "  service \"a\\\"b\" {\n    policy = \"read\"\n  }\n",
            "  service \"api\" {\n",
            "  service_prefix \"web-\" {\n",
            "  service \"consul\" {\n",
            "  node_prefix \"\" {\n",
            "\nagent_prefix \"\" {\n",
        ] {
            assert!(some.contains(block), "{block} is not in\n{some}");
        }
        assert!(!some.contains("service_prefix \"\""), "{some}");
    }

    #[test]
    fn namespaces_of_nomad_are_granted_one_by_one() {
        let all = NomadConfig::default().acl_policy();
        assert!(
            all.ends_with("namespace \"*\" {\n  capabilities = [\"read-job\"]\n}\n"),
            "{all}"
        );
        let two = NomadConfig {
            namespaces: ["shop", "billing"].map(str::to_owned).to_vec(),
            ..NomadConfig::default()
        };
        let two = two.acl_policy();
        assert!(two.contains("namespace \"shop\" {\n") && two.contains("namespace \"billing\" {\n"));
        assert!(!two.contains('*'), "{two}");
    }
}
