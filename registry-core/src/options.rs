//! Settings of one registry that are not its backend's: names, filters, precedence, limits.

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
    let names = meta.aliases().iter().map(|alias| alias.len());
    pairs
        .chain(names)
        .chain([meta.id().name().len(), meta.id().namespace().len()])
        .max()
        .unwrap_or(0)
}
