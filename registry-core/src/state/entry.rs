//! One service of a shard: what the registry says of it, what is held back, and what of both takes part in the merge.

use std::sync::Arc;

use tokio::time::Instant;

use crate::endpoint_set::EndpointSet;
use crate::filter::Passed;
use crate::hostname::HostnameTemplate;
use crate::model::{Endpoint, ServiceMeta, ServiceRecord};
use crate::options::RegistryOptions;
use crate::text::Str;

/// One service, and what of it takes part in the merge.
#[derive(Debug)]
pub(super) struct Entry {
    /// As delivered, before filters and templates, with what is held back.
    record: ServiceRecord,
    part: Part,
    names: Names,
    back: Option<Box<Back>>,
}

/// What of a service is held back.
#[derive(Debug, Clone)]
pub(super) struct Back {
    /// What the registry says now; `None` where it does not list the service any more.
    delivered: Option<ServiceRecord>,
    /// What it no longer lists, each with the time since when; never empty.
    endpoints: Vec<(Instant, Arc<Endpoint>)>,
    /// The earliest of these times.
    since: Instant,
}

impl Back {
    /// `None` where nothing is held back.
    pub(super) fn new(
        delivered: Option<ServiceRecord>,
        endpoints: Vec<(Instant, Arc<Endpoint>)>,
    ) -> Option<Box<Self>> {
        let since = endpoints.iter().map(|(since, _)| *since).min()?;
        Some(Box::new(Self {
            delivered,
            endpoints,
            since,
        }))
    }

    pub(super) fn since(&self) -> Instant {
        self.since
    }

    pub(super) fn endpoints(&self) -> &[(Instant, Arc<Endpoint>)] {
        &self.endpoints
    }

    /// The endpoints of which nothing is said any more, beside those that are listed.
    pub(super) fn beside(&self, listed: &EndpointSet) -> EndpointSet {
        let mut all = listed.clone();
        self.endpoints
            .iter()
            .for_each(|(_, endpoint)| all.insert(endpoint.clone()));
        all
    }
}

#[derive(Debug)]
enum Part {
    Nothing,
    Everything,
    Some(Box<ServiceRecord>),
}

/// The hostnames that a record claims: its own, and those of the configured aliases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) hostname: Str,
    pub(crate) aliases: Option<Box<[Str]>>,
}

impl Names {
    pub(crate) fn aliases(&self) -> &[Str] {
        self.aliases.as_deref().unwrap_or_default()
    }

    /// The hostname, and then the aliases.
    pub(crate) fn all(&self) -> impl Iterator<Item = Str> {
        std::iter::once(&self.hostname).chain(self.aliases()).cloned()
    }
}

impl Entry {
    /// The service as the options let it take part. `last` is what was held of it before.
    pub(super) fn new(
        record: ServiceRecord,
        back: Option<Box<Back>>,
        last: Option<&Self>,
        options: &RegistryOptions,
        template: &HostnameTemplate,
    ) -> Self {
        Self {
            back,
            ..hold(record, last, options, template)
        }
    }

    /// All that is known of it, what is held back included.
    pub(super) fn record(&self) -> &ServiceRecord {
        &self.record
    }

    /// What the registry says of it now, if anything.
    pub(super) fn delivered(&self) -> Option<&ServiceRecord> {
        match &self.back {
            Some(back) => back.delivered.as_ref(),
            None => Some(&self.record),
        }
    }

    pub(super) fn back(&self) -> Option<&Back> {
        self.back.as_deref()
    }

    /// What of it takes part in the merge.
    pub(super) fn part(&self) -> Option<&ServiceRecord> {
        match &self.part {
            Part::Nothing => None,
            Part::Everything => Some(&self.record),
            Part::Some(record) => Some(record),
        }
    }

    pub(super) fn takes_part(&self) -> bool {
        !matches!(self.part, Part::Nothing)
    }

    /// The names it claims where it takes part.
    pub(super) fn names(&self) -> Option<&Names> {
        self.takes_part().then_some(&self.names)
    }

    /// The names it claims.
    pub(super) fn claimed(&self) -> Option<Names> {
        self.takes_part().then(|| self.names.clone())
    }

    /// How many endpoints take part.
    pub(super) fn endpoints(&self) -> usize {
        match &self.part {
            Part::Nothing => 0,
            Part::Everything => self.record.endpoints().len(),
            Part::Some(record) => record.endpoints().len(),
        }
    }
}

fn hold(
    record: ServiceRecord,
    last: Option<&Entry>,
    options: &RegistryOptions,
    template: &HostnameTemplate,
) -> Entry {
    let names = match last {
        Some(last) if Arc::ptr_eq(last.record.meta(), record.meta()) => last.names.clone(),
        _ => names(record.meta(), options, template),
    };
    let allowed = options.domains.is_empty()
        || options
            .domains
            .iter()
            .any(|domain| domain.matches(&names.hostname));
    let passed = if !allowed || names.hostname.is_empty() {
        Passed::Nothing
    } else if options.filter.is_empty() {
        Passed::Everything
    } else {
        options.filter.pass(&record)
    };
    let before = match last.map(|last| &last.part) {
        Some(Part::Some(before)) => Some(before),
        _ => None,
    };
    let endpoints = match passed {
        Passed::Nothing => {
            return Entry {
                record,
                part: Part::Nothing,
                names,
                back: None,
            };
        }
        Passed::Everything => record.endpoints().clone(),
        Passed::Part(part) => match before {
            Some(before) => part.endpoints().clone().rebased_on(before.endpoints()),
            None => part.endpoints().clone(),
        },
    };
    let meta = if names.aliases().is_empty() {
        record.meta().clone()
    } else {
        match (last, before) {
            (Some(last), Some(before)) if Arc::ptr_eq(last.record.meta(), record.meta()) => {
                before.meta().clone()
            }
            _ => {
                let aliases = record.meta().aliases().iter().chain(names.aliases()).cloned();
                record.meta().to_builder().aliases(aliases).build()
            }
        }
    };
    let part = if Arc::ptr_eq(&meta, record.meta()) && endpoints.ptr_eq(record.endpoints()) {
        Part::Everything
    } else {
        Part::Some(Box::new(ServiceRecord::new(meta, endpoints)))
    };
    Entry {
        record,
        part,
        names,
        back: None,
    }
}

fn names(meta: &ServiceMeta, options: &RegistryOptions, template: &HostnameTemplate) -> Names {
    let hostname: Str = options.hostname.as_ref().unwrap_or(template).render(meta).into();
    let mut aliases: Vec<Str> = options
        .aliases
        .iter()
        .map(|template| Str::from(template.render(meta)))
        .filter(|alias| *alias != hostname && !alias.is_empty())
        .collect();
    aliases.sort();
    aliases.dedup();
    Names {
        hostname,
        aliases: (!aliases.is_empty()).then(|| aliases.into()),
    }
}
