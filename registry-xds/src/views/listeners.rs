//! Listeners, put together from the wishes of many services by address.
//!
//! Envoy refuses a second listener at an address. HTTP by one route configuration shares it, TLS by server names shares
//! it, everything else is alone. Where wishes do not go together the shared listener of the view comes first, then the
//! oldest service, then the first in the alphabet.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;

use bytes::Bytes;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use registry_core::{Service, Str};

use super::rank::Rank;
use super::routes::Routes;
use super::warnings::{Origin, Table as Warnings};
use crate::translate::listener::{http_listener, sni_listener, tcp_listener};
use crate::translate::{ListenerPart, ListenerTarget};

/// All listeners of one view.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    /// The shared listener for HTTP, and its route configuration.
    shared: Option<(SocketAddr, Str)>,
    /// What each service wants.
    wishes: HashMap<Str, Vec<ListenerPart>>,
    at: HashMap<SocketAddr, Place>,
    doubtful: BTreeSet<SocketAddr>,
}

/// One address.
#[derive(Debug, Default)]
struct Place {
    parts: BTreeMap<Rank, ListenerTarget>,
    /// The route configuration that its listener goes by.
    routes: Option<Str>,
    /// Services that were told that they cannot have all that they want there.
    warned: BTreeSet<Str>,
}

/// What becomes of an address.
#[derive(Debug, PartialEq)]
enum Use<'a> {
    Http(&'a Str),
    Tcp(&'a [Bytes]),
    Sni(Vec<(Vec<Str>, &'a [Bytes])>),
}

// === impl Listeners ===

impl Listeners {
    /// Where the shared listener is, and the name of its route configuration; nowhere for gRPC.
    pub(super) fn share(&mut self, shared: Option<(SocketAddr, Str)>) {
        let places = self.shared.iter().chain(&shared).map(|(address, _)| *address);
        self.doubtful.extend(places);
        self.shared = shared;
    }

    /// This is all that a service wants.
    pub(super) fn put(&mut self, service: &Service, parts: Vec<ListenerPart>) {
        self.replace(service.hostname(), parts);
    }

    /// The service is gone.
    pub(super) fn remove(&mut self, hostname: &Str) {
        self.replace(hostname, Vec::new());
    }

    fn replace(&mut self, hostname: &Str, parts: Vec<ListenerPart>) {
        if self.wishes.get(hostname).map_or(&[][..], Vec::as_slice) == parts {
            return;
        }
        let rank = |index: usize, part: &ListenerPart| Rank::new(0, part.created, hostname, index);
        for (index, part) in self.wishes.remove(hostname).iter().flatten().enumerate() {
            if let Some(place) = self.at.get_mut(&part.address) {
                place.parts.remove(&rank(index, part));
            }
            self.doubtful.insert(part.address);
        }
        for (index, part) in parts.iter().enumerate() {
            let place = self.at.entry(part.address).or_default();
            place.parts.insert(rank(index, part), part.target.clone());
            self.doubtful.insert(part.address);
        }
        if !parts.is_empty() {
            self.wishes.insert(hostname.clone(), parts);
        }
    }

    /// Settles who has which address, and keeps the route configurations that listeners go by. Returns the listeners that
    /// may be different now; `None` for those that are gone.
    pub(super) fn settle(
        &mut self,
        routes: &mut Routes,
        warnings: &mut Warnings,
    ) -> Vec<(SocketAddr, Option<Listener>)> {
        let mut settled = Vec::new();
        for address in std::mem::take(&mut self.doubtful) {
            let place = self.at.entry(address).or_default();
            let shared = self.shared.as_ref().filter(|(at, _)| *at == address);
            let (usage, lost) = settle(address, shared.map(|(_, routes)| routes), &place.parts);
            let goes_by = match usage {
                Some(Use::Http(routes)) => Some(routes.clone()),
                _ => None,
            };
            settled.push((address, usage.map(|usage| listener(address, &usage))));
            if place.routes != goes_by {
                if let Some(old) = &place.routes {
                    routes.release(old);
                }
                if let Some(new) = &goes_by {
                    routes.hold(new);
                }
                place.routes = goes_by;
            }
            let before = std::mem::replace(&mut place.warned, lost.keys().cloned().collect());
            for hostname in before.iter().filter(|hostname| !lost.contains_key(*hostname)) {
                warnings.set(hostname, Origin::Listener(address), Vec::new());
            }
            for (hostname, problems) in lost {
                warnings.set(&hostname, Origin::Listener(address), problems);
            }
            if place.parts.is_empty() && place.routes.is_none() {
                self.at.remove(&address);
            }
        }
        settled
    }
}

/// What becomes of an address where these wishes meet, the strongest first; and which services do not get theirs.
fn settle<'a>(
    address: SocketAddr,
    shared: Option<&'a Str>,
    parts: &'a BTreeMap<Rank, ListenerTarget>,
) -> (Option<Use<'a>>, BTreeMap<Str, Vec<String>>) {
    let mut lost: BTreeMap<Str, Vec<String>> = BTreeMap::new();
    let mut usage = shared.map(Use::Http);
    let mut first = None;
    // Which service has a server name.
    let mut taken: BTreeMap<Str, &Str> = BTreeMap::new();
    for (rank, target) in parts {
        let mut problem = |text| lost.entry(rank.hostname.clone()).or_default().push(text);
        match (&mut usage, target) {
            (None, ListenerTarget::Http { routes }) => usage = Some(Use::Http(routes)),
            (Some(Use::Http(held)), ListenerTarget::Http { routes }) if *held == routes => {}
            (None, ListenerTarget::Tcp { filters }) => usage = Some(Use::Tcp(filters)),
            (None | Some(Use::Sni(_)), ListenerTarget::Sni { names, filters }) => {
                let mut won = Vec::with_capacity(names.len());
                for name in names {
                    let name = Str::from(name.to_ascii_lowercase());
                    match taken.get(&name) {
                        Some(winner) if **winner != rank.hostname => {
                            problem(format!("server name {name} at {address} leads to {winner}"));
                        }
                        Some(_) => {}
                        None => {
                            taken.insert(name.clone(), &rank.hostname);
                            won.push(name);
                        }
                    }
                }
                if !won.is_empty() {
                    let chain = (won, filters.as_slice());
                    match &mut usage {
                        Some(Use::Sni(chains)) => chains.push(chain),
                        _ => usage = Some(Use::Sni(vec![chain])),
                    }
                }
            }
            _ => {
                let holder = first.map_or_else(|| "the shared HTTP listener".to_owned(), Str::to_string);
                problem(format!("cannot listen at {address}, where {holder} is"));
            }
        }
        // Of a view's shared listener no service is the first.
        if first.is_none() && shared.is_none() && usage.is_some() {
            first = Some(&rank.hostname);
        }
    }
    if let Some(Use::Sni(chains)) = &mut usage {
        chains.sort();
    }
    (usage, lost)
}

fn listener(address: SocketAddr, usage: &Use<'_>) -> Listener {
    match usage {
        Use::Http(routes) => http_listener(address, routes),
        Use::Tcp(filters) => tcp_listener(address, filters),
        Use::Sni(chains) => {
            let chains: Vec<(&[Str], &[Bytes])> = chains
                .iter()
                .map(|(names, filters)| (names.as_slice(), *filters))
                .collect();
            sni_listener(address, &chains)
        }
    }
}
