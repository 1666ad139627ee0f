//! Route configurations, put together from the virtual hosts of many services.
//!
//! A domain stands once in a route configuration: Envoy refuses all of it otherwise. The service whose hostname it is gets
//! it, then one whose alias it is, then the oldest, then the first in the alphabet. Each virtual host is encoded once for
//! as long as it stays, so that one more costs a copy of the others' bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use registry_core::{Service, Str, Timestamp};

use super::rank::{Rank, distance};
use super::warnings::{Origin, Table as Warnings};
use crate::resource::{field_length, put_field, put_head};
use crate::translate::VirtualHost;

/// All route configurations of one view.
#[derive(Debug, Default)]
pub(super) struct Routes {
    /// What each service wants.
    wishes: HashMap<Str, Wishes>,
    tables: HashMap<Str, Table>,
    /// Services whose virtual hosts may have won or lost a domain.
    doubtful: BTreeSet<Str>,
    changed: BTreeSet<Str>,
}

#[derive(Debug, Default, PartialEq)]
struct Wishes {
    created: Option<Timestamp>,
    hosts: Vec<VirtualHost>,
    /// The distance of each domain of each host from the service.
    distances: Vec<Vec<u8>>,
}

/// One route configuration.
#[derive(Debug, Default)]
struct Table {
    /// Who wants each domain, the winner first.
    domains: HashMap<Str, Vec<Rank>>,
    /// Those that have a domain, as fields of the message, in the order in which they stand there: by their names.
    hosts: BTreeMap<(Str, Str, usize), Bytes>,
    /// How many listeners go by it. It exists for them even without a host: nothing to find is a 404, no answer is a wait.
    listeners: usize,
}

// === impl Routes ===

impl Routes {
    /// These are all virtual hosts of a service.
    pub(super) fn put(&mut self, service: &Service, mut hosts: Vec<VirtualHost>) {
        for host in &mut hosts {
            let mut seen = HashSet::with_capacity(host.domains.len());
            host.domains.retain_mut(|domain| {
                // Envoy compares them without case.
                if domain.bytes().any(|c| c.is_ascii_uppercase()) {
                    *domain = domain.to_ascii_lowercase().into();
                }
                seen.insert(domain.clone())
            });
        }
        let distances =
            |host: &VirtualHost| host.domains.iter().map(|name| distance(name, service)).collect();
        let wishes = Wishes {
            created: service.created(),
            distances: hosts.iter().map(distances).collect(),
            hosts,
        };
        self.replace(service.hostname(), wishes);
    }

    /// The service is gone.
    pub(super) fn remove(&mut self, hostname: &Str) {
        self.replace(hostname, Wishes::default());
    }

    /// A listener goes by that route configuration.
    pub(super) fn hold(&mut self, routes: &Str) {
        self.tables.entry(routes.clone()).or_default().listeners += 1;
        self.changed.insert(routes.clone());
    }

    /// A listener does not go by it any more.
    pub(super) fn release(&mut self, routes: &Str) {
        if let Some(table) = self.tables.get_mut(routes) {
            table.listeners = table.listeners.saturating_sub(1);
            self.changed.insert(routes.clone());
        }
    }

    fn replace(&mut self, hostname: &Str, wishes: Wishes) {
        if self
            .wishes
            .get(hostname)
            .map_or(wishes.hosts.is_empty(), |held| *held == wishes)
        {
            return;
        }
        let old = self.wishes.remove(hostname).unwrap_or_default();
        for (index, host) in old.hosts.iter().enumerate() {
            let Some(table) = self.tables.get_mut(&host.routes) else {
                continue;
            };
            let key = (host.name.clone(), hostname.clone(), index);
            if table.hosts.remove(&key).is_some() {
                self.changed.insert(host.routes.clone());
            }
            for domain in &host.domains {
                let Some(ranks) = table.domains.get_mut(domain) else {
                    continue;
                };
                let won = ranks.first().is_some_and(|rank| rank.hostname == *hostname);
                ranks.retain(|rank| rank.hostname != *hostname || rank.index != index);
                if won {
                    // The next one has it now, and all others have lost it to somebody else.
                    self.doubtful
                        .extend(ranks.iter().map(|rank| rank.hostname.clone()));
                }
                if ranks.is_empty() {
                    table.domains.remove(domain);
                }
            }
        }
        for (index, (host, distances)) in wishes.hosts.iter().zip(&wishes.distances).enumerate() {
            let table = self.tables.entry(host.routes.clone()).or_default();
            for (domain, distance) in host.domains.iter().zip(distances) {
                let rank = Rank::new(*distance, wishes.created, hostname, index);
                let ranks = table.domains.entry(domain.clone()).or_default();
                let Err(at) = ranks.binary_search(&rank) else {
                    continue;
                };
                if at == 0 {
                    self.doubtful
                        .extend(ranks.iter().map(|rank| rank.hostname.clone()));
                }
                ranks.insert(at, rank);
            }
        }
        self.doubtful.insert(hostname.clone());
        if !wishes.hosts.is_empty() {
            self.wishes.insert(hostname.clone(), wishes);
        }
    }

    /// Settles who has which domain. Returns the route configurations that may be different now: the message, or `None`
    /// for those that are gone.
    pub(super) fn settle(&mut self, warnings: &mut Warnings) -> Vec<(Str, Option<Vec<u8>>)> {
        for hostname in std::mem::take(&mut self.doubtful) {
            let mut lost = Vec::new();
            let hosts = self.wishes.get(&hostname).map_or(&[][..], |wishes| &wishes.hosts);
            for (index, host) in hosts.iter().enumerate() {
                let Some(table) = self.tables.get_mut(&host.routes) else {
                    continue;
                };
                let mut domains: Vec<&Str> = Vec::with_capacity(host.domains.len());
                for domain in &host.domains {
                    let ranks = table.domains.get(domain);
                    let Some(winner) = ranks.and_then(|ranks| ranks.first()) else {
                        continue;
                    };
                    if winner.hostname != hostname {
                        lost.push(format!(
                            "domain {domain} of {} leads to {}",
                            host.routes, winner.hostname
                        ));
                    } else if winner.index == index {
                        domains.push(domain);
                    }
                }
                let key = (host.name.clone(), hostname.clone(), index);
                let changed = if domains.is_empty() {
                    table.hosts.remove(&key).is_some()
                } else {
                    let host = encode_host(host, &domains);
                    let old = table.hosts.insert(key, host.clone());
                    old != Some(host)
                };
                if changed {
                    self.changed.insert(host.routes.clone());
                }
            }
            warnings.set(&hostname, Origin::Domain, lost);
        }
        let changed = std::mem::take(&mut self.changed);
        changed
            .into_iter()
            .map(|name| (name.clone(), self.encode(&name)))
            .collect()
    }

    fn encode(&mut self, name: &Str) -> Option<Vec<u8>> {
        let table = self.tables.get(name)?;
        if table.listeners == 0 && table.hosts.is_empty() {
            // A domain that somebody wants somebody has, who is among the hosts then.
            self.tables.remove(name);
            return None;
        }
        let length: usize = table.hosts.values().map(Bytes::len).sum();
        let mut body = Vec::with_capacity(field_length(name.len()) + length);
        put_field(&mut body, 1, name.as_bytes());
        for host in table.hosts.values() {
            body.extend_from_slice(host);
        }
        Some(body)
    }
}

/// A `virtual_hosts` field of a `RouteConfiguration`.
fn encode_host(host: &VirtualHost, domains: &[&Str]) -> Bytes {
    let names: usize = domains.iter().map(|domain| field_length(domain.len())).sum();
    let length = field_length(host.name.len()) + names + host.body.len();
    let mut field = Vec::with_capacity(field_length(length));
    put_head(&mut field, 2, length);
    put_field(&mut field, 1, host.name.as_bytes());
    for domain in domains {
        put_field(&mut field, 2, domain.as_bytes());
    }
    field.extend_from_slice(&host.body);
    field.into()
}
