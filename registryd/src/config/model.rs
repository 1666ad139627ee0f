//! The configuration as a struct. Every field's doc comment is its description in the JSON schema.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use registry_core::duration;
use registry_core::{
    Cidr, Exclusive, Fallback, Filter, Guard, HostnameTemplate, Limits, MergePolicy, Pattern, PortDefaults,
    RegistryId, RegistryOptions, Selector, Union,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::survival::{CompareSwitch, GuardSwitch, OutageConfig, StateDir};
use super::text::{HostPattern, LogLevel, Text};

/// The configuration of registryd. What is left out has the default that `registryd config defaults` shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The registries, in order of precedence.
    pub registries: Vec<RegistryConfig>,
    /// How services of one hostname are merged; the first rule that matches counts, without one it is `union`.
    pub merge: Vec<MergeRule>,
    /// The HTTP API.
    pub http: HttpListener,
    /// The xDS server, for fleets of Envoy and for gRPC clients; none without this section. `{}` is one with all defaults.
    #[cfg(feature = "xds")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub xds: Option<registry_xds::XdsConfig>,
    /// How long readiness waits for registries that are not required, and a reload with removing registries for those
    /// that it adds.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub start_deadline: Duration,
    /// The shortest time between two publications while changes keep coming.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub publish_interval: Duration,
    /// The directory in which the last known state of all registries is kept, for starts while they are down. `auto`
    /// takes the first that can be used of $STATE_DIRECTORY, /var/lib/registryd and the user's state directory; a
    /// directory that is named here has to be usable; `off` keeps nothing.
    pub state_dir: StateDir,
    /// The log, which goes to standard error.
    pub log: LogConfig,
}

/// One registry: how it takes part in the merge, and under the name of its kind how it is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = crate::registries::one_kind)]
pub struct RegistryConfig {
    /// Its name, unique.
    pub name: Text<RegistryId>,
    /// Whether readiness waits for it without a deadline.
    #[serde(default = "yes")]
    pub required: bool,
    /// Its place in the order of precedence, lowest first; its position in this file unless set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precedence: Option<u32>,
    /// The hostname of its services. Only registries that set one merge their services with others', and exports of `mcs`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<Text<HostnameTemplate>>,
    /// Further names of its services. They merge as the hostname does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Text<HostnameTemplate>>,
    /// Patterns of the hostnames that it may claim; any unless set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<Text<HostPattern>>,
    /// The name of ports that it does not name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_name: Option<Text<Pattern>>,
    /// The number of the port of services that have none of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_number: Option<NonZeroU16>,
    /// What is spoken on ports of which it does not say so, such as `http`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port_protocol: Option<String>,
    /// What takes part; everything unless set.
    #[serde(default, skip_serializing_if = "SelectorConfig::is_empty")]
    pub include: SelectorConfig,
    /// What does not take part.
    #[serde(default, skip_serializing_if = "SelectorConfig::is_empty")]
    pub exclude: SelectorConfig,
    /// When a loss of endpoints is too large to be believed at once and is held back; `auto`: as is usual for the kind;
    /// `off` believes any.
    #[serde(default)]
    pub guard: GuardSwitch,
    /// What becomes of its endpoints while it is stale: `keep`, `degrade` (healthy ones count as degraded), `drop`, or
    /// `{ keep_for: 10m }` and then drop.
    #[serde(default)]
    pub outage: OutageConfig,
    /// How often it is asked for complete knowledge to compare with what is held, give or take a quarter; `off` never.
    #[serde(default)]
    pub compare: CompareSwitch,
    /// Limits on what it may send.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Services of virtual and physical machines, in watched files.
    #[cfg(feature = "file")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<registry_file::FileConfig>,
    /// A Consul datacenter.
    #[cfg(feature = "consul")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consul: Option<registry_consul::ConsulConfig>,
    /// The native services of one Nomad region.
    #[cfg(feature = "nomad")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nomad: Option<registry_consul::NomadConfig>,
    /// The Eureka servers of one region, of Netflix, Spring Cloud or another that speaks the protocol.
    #[cfg(feature = "eureka")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub eureka: Option<registry_eureka::EurekaConfig>,
    /// A Kubernetes cluster; several with `directory` or `secrets`, each then a registry of its own.
    #[cfg(feature = "kubernetes")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<registry_k8s::KubernetesConfig>,
    /// Multi-Cluster Services (KEP-1645): what clusters of Kubernetes export to each other, each then a registry of its
    /// own, or what one of them imports.
    #[cfg(feature = "mcs")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcs: Option<registry_mcs::McsConfig>,
    /// Targets in the shape of Prometheus' HTTP SD and file SD.
    #[cfg(feature = "remote")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http_sd: Option<registry_remote::HttpSdConfig>,
    /// Another daemon, or several that have the same registries.
    #[cfg(feature = "remote")]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registryd: Option<registry_remote::DaemonConfig>,
}

/// What a service or endpoint has to be like: every field that is set has to match, by one of its values.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SelectorConfig {
    /// Patterns for the name.
    pub names: Vec<Text<Pattern>>,
    /// Patterns for the namespace.
    pub namespaces: Vec<Text<Pattern>>,
    /// Labels of the service or the endpoint, all of which have to match: key and pattern for the value.
    pub labels: BTreeMap<String, Text<Pattern>>,
    /// Ranges of which one has to contain the endpoint's first address.
    pub cidrs: Vec<Text<Cidr>>,
}

/// Limits on what a registry may send. What goes beyond is refused, and the old state stays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Services of the registry.
    pub services: NonZeroUsize,
    /// Endpoints of one service.
    pub endpoints_per_service: NonZeroUsize,
    /// Bytes of any one text, such as a label's value.
    pub text_bytes: NonZeroUsize,
}

/// Which policy hostnames have.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeRule {
    /// The hostnames.
    pub hosts: Text<HostPattern>,
    /// The policy.
    pub policy: PolicyName,
}

/// How services of one hostname are merged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyName {
    /// All take part with equal rights.
    Union,
    /// Later registries serve only when earlier ones cannot.
    Fallback,
    /// The first that has the service owns it.
    Exclusive,
    /// The rules of Multi-Cluster Services (KEP-1645): of exports of several clusters the oldest wins field by field, and
    /// ports are united. Hostnames of `mcs` have it without a rule.
    #[cfg(feature = "mcs")]
    ClusterSet,
}

/// The listener of the HTTP API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpListener {
    /// Where it listens. Beyond this host it needs `token_file` or `insecure`.
    pub listen: Text<SocketAddr>,
    /// Whether anybody who can reach the listener may read everything, and acknowledge losses.
    pub insecure: bool,
    /// A file with the token that clients have to show.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Names that requests may have in their `Host` header, besides IP addresses and `localhost`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_hosts: Vec<String>,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// How a line looks.
    pub format: LogFormat,
    /// What is logged, also by module; the variable REGISTRYD_LOG goes before it.
    pub level: Text<LogLevel>,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

fn yes() -> bool {
    true
}

/// The text of a constant in this file, which [`Text::parse`] takes.
#[allow(clippy::expect_used, reason = "constants that a test reads")]
fn constant<T: super::text::FromText>(text: &str) -> Text<T> {
    Text::parse(text).expect("a constant")
}

// === impl Config ===

impl Default for Config {
    fn default() -> Self {
        Self {
            registries: Vec::new(),
            merge: Vec::new(),
            http: HttpListener::default(),
            #[cfg(feature = "xds")]
            xds: None,
            start_deadline: Duration::from_secs(30),
            publish_interval: Duration::from_millis(10),
            state_dir: StateDir::default(),
            log: LogConfig::default(),
        }
    }
}

impl Config {
    /// Which policies hostnames have; the first that matches counts. Those of clustersets come last, so that rules of the
    /// configuration go before them.
    pub fn merge_rules(&self) -> Vec<(Pattern, PolicyName)> {
        let rules = self.merge.iter().map(|rule| (rule.hosts.0.clone(), rule.policy));
        let of_registries = self.registries.iter().filter_map(RegistryConfig::merge_rule);
        rules.chain(of_registries).collect()
    }

    /// The policies of the merge.
    pub fn policies(&self) -> Vec<(Pattern, Arc<dyn MergePolicy>)> {
        let rules = self.merge_rules().into_iter();
        rules.map(|(hosts, name)| (hosts, name.policy())).collect()
    }
}

// === impl PolicyName ===

impl PolicyName {
    /// The policy of that name.
    pub(crate) fn policy(self) -> Arc<dyn MergePolicy> {
        match self {
            Self::Union => Arc::new(Union),
            Self::Fallback => Arc::new(Fallback),
            Self::Exclusive => Arc::new(Exclusive),
            #[cfg(feature = "mcs")]
            Self::ClusterSet => Arc::new(registry_mcs::ClusterSet),
        }
    }
}

/// The hostnames that a template renders.
#[cfg(feature = "mcs")]
fn hosts_of(template: &HostnameTemplate) -> Pattern {
    let text = template.as_str().to_ascii_lowercase();
    let mut parts = text.split('{');
    let mut pattern = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        pattern.push('*');
        pattern.push_str(part.split_once('}').map_or("", |(_, literal)| literal));
    }
    Pattern::new(pattern)
}

// === impl RegistryConfig ===

impl RegistryConfig {
    /// Its name.
    pub fn id(&self) -> &RegistryId {
        &self.name
    }

    /// True where it is made of exports of clusters, which are one service where they have one name.
    #[cfg(feature = "mcs")]
    pub(crate) fn has_exports(&self) -> bool {
        let mode = self.mcs.as_ref().map(registry_mcs::McsConfig::mode);
        mode.is_some_and(|mode| mode != registry_mcs::Mode::Import)
    }

    /// The policy that its hostnames have without a rule of the configuration.
    pub(crate) fn merge_rule(&self) -> Option<(Pattern, PolicyName)> {
        #[cfg(feature = "mcs")]
        if self.has_exports() {
            return Some((hosts_of(&self.template()?), PolicyName::ClusterSet));
        }
        None
    }

    /// The hostname that it sets for its services, by which they merge with those of others. Exports of clusters have
    /// one also where nobody says so: to be one service is what they are exported for.
    pub(crate) fn template(&self) -> Option<HostnameTemplate> {
        let template = self.hostname.as_deref().cloned();
        #[cfg(feature = "mcs")]
        let template = template.or_else(|| {
            let exports = self.mcs.as_ref().filter(|_| self.has_exports())?;
            // Its domain was checked.
            exports.hostname().parse().ok()
        });
        template
    }

    fn guard(&self) -> Option<Guard> {
        match &self.guard {
            #[cfg(feature = "eureka")]
            GuardSwitch::Auto if self.eureka.is_some() => {
                self.eureka.as_ref().map(registry_eureka::EurekaConfig::guard)
            }
            GuardSwitch::Auto => Some(Guard::default()),
            GuardSwitch::Off => None,
            GuardSwitch::Set(guard) => Some(guard.guard()),
        }
    }

    /// How it takes part in the merge, at that position of the file.
    pub fn options(&self, position: usize) -> RegistryOptions {
        RegistryOptions {
            required: self.required,
            precedence: self.precedence.or_else(|| u32::try_from(position).ok()),
            hostname: self.template(),
            aliases: self.aliases.iter().map(|alias| (**alias).clone()).collect(),
            filter: Filter {
                include: self.include.selector(),
                exclude: self.exclude.selector(),
            },
            domains: self.domains.iter().map(|domain| domain.0.clone()).collect(),
            ports: PortDefaults {
                name: self.port_name.as_ref().map(|name| name.as_str().into()),
                number: self.port_number.map(NonZeroU16::get),
                app_protocol: self.port_protocol.as_deref().map(Into::into),
            },
            limits: Limits {
                services: self.limits.services.get(),
                endpoints_per_service: self.limits.endpoints_per_service.get(),
                text_bytes: self.limits.text_bytes.get(),
            },
            guard: self.guard(),
            outage: self.outage.0,
            compare: self.compare.0,
        }
    }
}

// === impl SelectorConfig ===

impl SelectorConfig {
    /// True where it selects everything.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn selector(&self) -> Selector {
        let patterns = |texts: &[Text<Pattern>]| texts.iter().map(|text| (**text).clone()).collect();
        Selector {
            names: patterns(&self.names),
            namespaces: patterns(&self.namespaces),
            labels: self
                .labels
                .iter()
                .map(|(key, pattern)| (key.clone(), (**pattern).clone()))
                .collect(),
            cidrs: self.cidrs.iter().map(|cidr| **cidr).collect(),
        }
    }
}

// === impl LimitsConfig ===

impl Default for LimitsConfig {
    fn default() -> Self {
        let limits = Limits::default();
        let positive = |limit| NonZeroUsize::new(limit).unwrap_or(NonZeroUsize::MAX);
        Self {
            services: positive(limits.services),
            endpoints_per_service: positive(limits.endpoints_per_service),
            text_bytes: positive(limits.text_bytes),
        }
    }
}

// === impl HttpListener ===

impl Default for HttpListener {
    fn default() -> Self {
        Self {
            listen: constant("127.0.0.1:7380"),
            insecure: false,
            token_file: None,
            allowed_hosts: Vec::new(),
        }
    }
}

// === impl LogConfig ===

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            format: LogFormat::default(),
            level: constant("info"),
        }
    }
}
