//! Settings of one registry that are not its backend's: names, filters, precedence, limits, and how it survives.

use std::time::Duration;

use crate::filter::Filter;
use crate::hostname::{HostnameTemplate, Pattern};
use crate::model::{ServiceMeta, ServiceRecord};
use crate::registry::PortDefaults;

/// How a registry takes part in the merge. What is left out has the default of [`Default`].
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryOptions {
    /// Whether readiness waits for it without a deadline.
    pub required: bool,
    /// Its place in the order of precedence, lowest first; by default the place in which it was added.
    pub precedence: Option<u32>,
    /// The hostname of its services. Only registries that set one merge their services with others'.
    pub hostname: Option<HostnameTemplate>,
    /// Further names of its services. They merge as the hostname does.
    pub aliases: Vec<HostnameTemplate>,
    /// Which of its services and endpoints take part.
    pub filter: Filter,
    /// Patterns of hostnames that it may claim; empty for any.
    pub domains: Vec<Pattern>,
    /// Settings for ports that it does not name.
    pub ports: PortDefaults,
    /// Limits on what it may send.
    pub limits: Limits,
    /// When a loss is too large to be believed at once; `None` believes any.
    pub guard: Option<Guard>,
    /// What becomes of its endpoints while it is stale.
    pub outage: Outage,
    /// How often it is asked for complete knowledge to compare with what is held, give or take a quarter; `None` never.
    pub compare: Option<Duration>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            required: true,
            precedence: None,
            hostname: None,
            aliases: Vec::new(),
            filter: Filter::default(),
            domains: Vec::new(),
            ports: PortDefaults::default(),
            limits: Limits::default(),
            guard: Some(Guard::default()),
            outage: Outage::default(),
            compare: Some(Duration::from_secs(600)),
        }
    }
}

/// When a loss of endpoints is too large to be believed at once, and how long it is held back.
///
/// Counted is what a registry lost within the window, whichever events took it, net of what the same services gained;
/// removals that the registry announced in so many words are not. Where that is more than the share of what it had at
/// the window's start, and either as many endpoints as given here or all of them, what the batch took stays, marked as
/// [held](crate::Endpoint::held). After the hold time the registry is asked for complete knowledge with the strongest
/// consistency that it offers; what that lacks as well is let go. What comes back in the meantime is held no more, and
/// says nothing of the rest. All is let go as soon as so many others came that the net loss is no more than the share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Guard {
    /// The share of endpoints that may go: a loss of more is suspicious. Between 0 and 1.
    pub share: f64,
    /// Losses of fewer endpoints than this are believed, unless they take all there are.
    pub endpoints: usize,
    /// How far back losses are added up.
    pub window: Duration,
    /// How long a suspicious loss is held back before the registry is asked again.
    pub hold: Duration,
    /// Whether the same is asked of each service as well.
    pub per_service: bool,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            share: 0.5,
            endpoints: 10,
            window: Duration::from_secs(30),
            hold: Duration::from_secs(60),
            per_service: false,
        }
    }
}

/// What becomes of endpoints of which nothing was heard for longer than the freshness bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Outage {
    /// They stay as they are.
    #[default]
    Keep,
    /// They stay for this long after they became stale, and are then taken out until the registry is heard again.
    KeepFor(Duration),
    /// They stay, and healthy ones count as degraded.
    Degrade,
    /// They are taken out until the registry is heard again.
    Drop,
}

impl Outage {
    /// The word in configurations and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::KeepFor(_) => "keep_for",
            Self::Degrade => "degrade",
            Self::Drop => "drop",
        }
    }
}

/// Limits on what a registry may send. What goes beyond is refused, and the old state stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Services of the registry.
    pub services: usize,
    /// Endpoints of one service.
    pub endpoints_per_service: usize,
    /// Bytes of any one text, such as a label's value.
    pub text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            services: 500_000,
            endpoints_per_service: 200_000,
            text_bytes: 64 * 1024,
        }
    }
}

impl Limits {
    /// What is wrong with the size of a record, if anything.
    pub(crate) fn check_count(&self, record: &ServiceRecord) -> Result<(), String> {
        let id = record.id();
        let count = record.endpoints().len();
        if count > self.endpoints_per_service {
            return Err(format!(
                "service {id}: {count} endpoints, expected at most {}",
                self.endpoints_per_service
            ));
        }
        Ok(())
    }

    /// What is wrong with a service apart from its endpoints, if anything.
    pub(crate) fn check_meta(&self, meta: &ServiceMeta) -> Result<(), String> {
        let longest = longest_text(meta);
        if longest > self.text_bytes {
            return Err(format!(
                "service {}: a text of {longest} bytes, expected at most {}",
                meta.id(),
                self.text_bytes
            ));
        }
        Ok(())
    }

    /// What is wrong with an endpoint, if anything.
    pub(crate) fn check_endpoint(&self, endpoint: &crate::Endpoint) -> Result<(), String> {
        let longest = endpoint.longest_text();
        if longest > self.text_bytes {
            let address = endpoint.address();
            return Err(format!(
                "endpoint {address}: a text of {longest} bytes, expected at most {}",
                self.text_bytes
            ));
        }
        Ok(())
    }
}

fn longest_text(meta: &ServiceMeta) -> usize {
    let pairs = [meta.labels(), meta.metadata(), meta.variables()];
    let pairs = pairs
        .into_iter()
        .flat_map(|labels| labels.iter())
        .flat_map(|(key, value)| [key.len(), value.len()]);
    let names = meta.aliases().iter().chain(meta.origins()).map(|name| name.len());
    pairs
        .chain(names)
        .chain([meta.id().name().len(), meta.id().namespace().len()])
        .max()
        .unwrap_or(0)
}
