//! One service: its Service object (or what takes its place), its export where there has to be one, its slices, and the
//! set of endpoints that they come to, changed place by place.
//!
//! A change begins with the addresses that it touches. The ids at those, before and after, are all that can change; what
//! these come to is worked out before and after, and the difference goes into the set.

mod set;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use registry_core::{
    Address, Endpoint, EndpointSet, Interner, PortDefaults, ServiceMeta, ServicePort, ServiceRecord, Str,
};
use tokio::time::Instant;

use super::shelf::{Shelf, takes_place};
use super::unread::Unread;
use super::{Join, Kind, Version};
use crate::map;
use crate::map::endpoints::SaidPlace;
use crate::map::ports::SlicePort;
use crate::map::service::Terms;

/// One service, as far as it is known: by its Service, by its slices, or both.
#[derive(Debug)]
pub(super) struct Service {
    join: Join,
    pub(super) object: Option<Object>,
    /// It is known that there is no such object: its removal was told, or a listing lacks it.
    is_gone: bool,
    /// Where exports are joined; few other services have one.
    pub(super) export: Option<Box<Export>>,
    /// In the order of their names.
    slices: Vec<Slice>,
    /// What no slice says any more, and stays for a while.
    leaving: Vec<Leaving>,
    /// Addresses of which several things are said.
    contested: BTreeSet<Address>,
    endpoints: EndpointSet,
    /// The endpoints are what stands for them as long as there is no slice.
    stands_in: bool,
    /// What was last told of it.
    pub(super) taken: Option<ServiceRecord>,
    /// It lost something that nobody announced since that.
    pub(super) absent: bool,
    pub(super) dirty: bool,
}

/// A Service, or a ServiceImport.
#[derive(Debug)]
pub(super) struct Object {
    pub(super) version: Version,
    /// The listing in which it was last seen.
    pub(super) seen: u64,
    /// With the ports of its slices, unless it takes an export to make it a service.
    pub(super) meta: Arc<ServiceMeta>,
    pub(super) ports: Box<[ServicePort]>,
    pub(super) terms: Terms,
}

/// A ServiceExport.
#[derive(Debug)]
pub(super) struct Export {
    pub(super) version: Version,
    /// The listing in which it was last seen.
    pub(super) seen: u64,
    /// What it says itself.
    pub(super) said: Arc<ServiceMeta>,
    /// What it and the Service come to, with the ports of its slices; none before that is worked out.
    pub(super) joined: Option<Arc<ServiceMeta>>,
}

/// A slice.
#[derive(Debug)]
pub(super) struct Slice {
    pub(super) name: Str,
    pub(super) version: Version,
    /// The listing in which it was last seen.
    pub(super) seen: u64,
    /// When what it tells of happened, in nanoseconds; zero where it does not say.
    pub(super) trigger: u64,
    pub(super) ports: Box<[SlicePort]>,
    pub(super) shelf: Shelf,
    /// What it says of where endpoints are, by their places on the shelf, where that is not plain to see from them: there
    /// it is their zone, and no region.
    pub(super) said: Vec<(usize, SaidPlace)>,
}

/// Endpoints that go at some time, unless some slice says them again.
#[derive(Debug)]
struct Leaving {
    until: Until,
    shelf: Shelf,
    ports: Vec<SlicePort>,
}

/// How long what a slice does not say any more stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Until {
    /// No time.
    Now,
    Due(Instant),
    /// Until all slices are listed.
    Listed,
}

impl Until {
    /// True where the two need not be told apart.
    fn is_close_to(self, later: Self, grain: Duration) -> bool {
        match (self, later) {
            (Self::Due(due), Self::Due(later)) => due <= later && later <= due + grain,
            _ => self == later,
        }
    }
}

/// What a change is made with.
pub(super) struct Tools<'a> {
    pub(super) interner: &'a mut Interner,
    pub(super) ports: &'a PortDefaults,
    /// Removals that are due within such a time of each other are made together.
    pub(super) grain: Duration,
}

/// What can change with an address: everything of one id, or of an id without a uid what is at that address.
#[derive(Debug, PartialEq, Eq, Hash, Clone)]
struct Key {
    id: Box<str>,
    address: Option<Address>,
}

impl Key {
    fn of(endpoint: &Endpoint) -> Self {
        let unique = map::endpoints::is_unique(endpoint.id());
        Self {
            id: endpoint.id().into(),
            address: (!unique).then(|| endpoint.address().clone()),
        }
    }
}

/// Pods that were said just now, by cluster and name: of two pods of one name only one lives at a time.
struct Successors<'a>(HashMap<(&'a str, &'a str), &'a str>);

impl<'a> Successors<'a> {
    fn of(new: &'a [Arc<Endpoint>]) -> Self {
        Self(
            new.iter()
                .filter_map(|endpoint| Some((pod(endpoint)?, endpoint.id())))
                .collect(),
        )
    }

    /// True where another pod has the name of this one.
    fn replace(&self, held: &Endpoint) -> bool {
        pod(held)
            .and_then(|pod| self.0.get(&pod))
            .is_some_and(|id| *id != held.id())
    }
}

/// The pod that an endpoint is: its cluster and its name.
fn pod(endpoint: &Endpoint) -> Option<(&str, &str)> {
    Some((endpoint.cluster(), map::endpoints::pod_of(endpoint.id())?))
}

impl Service {
    // === what is known ===

    pub(super) fn new(join: Join) -> Self {
        Self {
            join,
            object: None,
            is_gone: false,
            export: None,
            slices: Vec::new(),
            leaving: Vec::new(),
            contested: BTreeSet::new(),
            endpoints: EndpointSet::default(),
            stands_in: false,
            taken: None,
            absent: false,
            dirty: false,
        }
    }

    /// The full state; none where there is no Service object, or no export of it.
    pub(super) fn record(&self) -> Option<ServiceRecord> {
        let meta = match self.join {
            Join::Services | Join::Imports => &self.object.as_ref()?.meta,
            Join::Exports => self.export.as_ref()?.joined.as_ref()?,
        };
        Some(ServiceRecord::new(meta.clone(), self.endpoints.clone()))
    }

    /// Whether nobody knows what its export exports: its Service cannot be read. That there is none is said only where that
    /// is known.
    pub(super) fn is_in_doubt(&self, unread: &Unread, namespace: &Str, name: &Str) -> bool {
        self.export.is_some()
            && self.object.is_none()
            && (unread.has(Kind::Service, namespace, name)
                || (!self.is_gone && unread.is_blind(Kind::Service, namespace)))
    }

    pub(super) fn slice(&self, name: &str) -> Option<&Slice> {
        self.find(name).ok().map(|at| &self.slices[at])
    }

    pub(super) fn slice_mut(&mut self, name: &str) -> Option<&mut Slice> {
        self.find(name).ok().map(|at| &mut self.slices[at])
    }

    pub(super) fn slices(&self) -> &[Slice] {
        &self.slices
    }

    fn is_headless(&self) -> bool {
        matches!(self.terms(), Some(Terms::Slices { headless: true, .. }))
    }

    /// Every endpoint has a name of its own. Those of exports always do: that the service is headless may be the word of
    /// another cluster, and where nobody says so the names are not shown.
    pub(super) fn names_all(&self) -> bool {
        match self.join {
            Join::Exports => true,
            Join::Services | Join::Imports => self.is_headless(),
        }
    }

    /// There is what makes it a service.
    pub(super) fn is_there(&self) -> bool {
        match self.join {
            Join::Services | Join::Imports => self.object.is_some(),
            Join::Exports => self.export.is_some(),
        }
    }

    /// True where nothing is known or owed to anybody.
    pub(super) fn is_void(&self) -> bool {
        self.object.is_none() && self.export.is_none() && self.slices.is_empty() && self.taken.is_none()
    }

    /// When something goes.
    pub(super) fn dues(&self) -> impl Iterator<Item = Instant> {
        self.leaving.iter().filter_map(|leaving| match leaving.until {
            Until::Due(due) => Some(due),
            Until::Now | Until::Listed => None,
        })
    }

    /// Something goes at the end of a listing.
    pub(super) fn waits_for_listing(&self) -> bool {
        self.leaving.iter().any(|leaving| leaving.until == Until::Listed)
    }

    fn find(&self, name: &str) -> Result<usize, usize> {
        self.slices
            .binary_search_by(|slice| slice.name.as_str().cmp(name))
    }

    /// On what terms it has endpoints; none where it has none at all.
    fn terms(&self) -> Option<&Terms> {
        let terms = &self.object.as_ref()?.terms;
        match (self.join, &self.export, terms) {
            (Join::Exports, None, _) | (Join::Exports, _, Terms::External(_)) => None,
            _ => Some(terms),
        }
    }

    /// Slices count.
    fn counts_slices(&self) -> bool {
        matches!(self.terms(), Some(Terms::Slices { .. }))
    }

    /// What its endpoints depend on beside its slices, where these count. What would stand for them makes no difference as
    /// long as there are any.
    fn basis(&self) -> Option<(bool, bool, Option<Arc<Endpoint>>)> {
        match self.terms()? {
            Terms::Slices { v6_first, .. } => {
                Some((*v6_first, self.names_all(), self.stand_in_now().cloned()))
            }
            Terms::External(_) => None,
        }
    }

    fn v6_first(&self) -> bool {
        matches!(self.terms(), Some(Terms::Slices { v6_first: true, .. }))
    }

    /// What was told is the same as what is: it goes on with those allocations.
    pub(super) fn settle(&mut self, record: &ServiceRecord) {
        match (self.join, &mut self.object, &mut self.export) {
            (Join::Services | Join::Imports, Some(object), _) => object.meta = record.meta().clone(),
            (Join::Exports, _, Some(export)) => export.joined = Some(record.meta().clone()),
            _ => {}
        }
        self.endpoints = record.endpoints().clone();
    }

    // === changes; true where endpoints were lost, or the service ===

    /// The Service is like this now, or is no more.
    pub(super) fn set_object(&mut self, object: Option<Object>, tools: &mut Tools<'_>) -> bool {
        self.renew(tools, |service| {
            service.is_gone = object.is_none();
            service.object = object;
            if let Some(export) = &mut service.export {
                export.joined = None;
            }
        })
    }

    /// The export is like this now, or is no more.
    pub(super) fn set_export(&mut self, export: Option<Export>, tools: &mut Tools<'_>) -> bool {
        self.renew(tools, |service| service.export = export.map(Box::new))
    }

    fn renew(&mut self, tools: &mut Tools<'_>, set: impl FnOnce(&mut Self)) -> bool {
        let named_all = self.names_all();
        let basis = self.basis();
        let was_there = self.is_there();
        set(self);
        if self.names_all() != named_all {
            self.name_endpoints(tools);
        }
        if !self.counts_slices() {
            self.leaving.clear();
        }
        self.complete_ports(tools);
        // What is outside may have other ports even where its terms are the same.
        let slices_as_before = basis.is_some() && basis == self.basis();
        let lost = !slices_as_before && self.rebuild(tools);
        lost || (was_there && !self.is_there())
    }

    /// A slice is like this now, or is no more.
    pub(super) fn set_slice(
        &mut self,
        name: &Str,
        slice: Option<Slice>,
        until: Until,
        tools: &mut Tools<'_>,
    ) -> bool {
        let nothing = Shelf::default();
        let old = self.slice(name);
        let (old_shelf, old_trigger) = old.map_or((&nothing, 0), |old| (&old.shelf, old.trigger));
        let new_shelf = slice.as_ref().map_or(&nothing, |slice| &slice.shelf);
        let ports_change = old.map(|old| &old.ports) != slice.as_ref().map(|slice| &slice.ports);
        let mut touched = HashSet::new();
        old_shelf.differing(new_shelf, &mut touched);
        if slice.as_ref().is_some_and(|slice| slice.trigger != old_trigger) {
            // Who of several is right may depend on that.
            let said = |address: &&Address| !new_shelf.at(address).is_empty();
            touched.extend(self.contested.iter().filter(said).cloned());
        }
        let new: Vec<Arc<Endpoint>> = touched
            .iter()
            .flat_map(|address| new_shelf.at(address).iter().cloned())
            .collect();
        let successors = Successors::of(&new);
        for leaving in &self.leaving {
            let replaced = leaving.shelf.all().iter().filter(|held| successors.replace(held));
            touched.extend(replaced.map(|held| held.address().clone()));
        }
        let had_leaving = !self.leaving.is_empty();
        let (name, endpoints) = (name.clone(), new.clone());
        let grain = tools.grain;
        let lost = self.change(&touched, &endpoints, tools, |service| {
            let old = service.put(&name, slice);
            if !service.counts_slices() {
                return;
            }
            for leaving in &mut service.leaving {
                let in_place = new.iter().flat_map(|new| {
                    let held = leaving.shelf.at(new.address()).iter();
                    held.filter(move |held| takes_place(new, held))
                });
                let all = leaving.shelf.all().iter();
                let replaced = all.filter(|held| successors.replace(held));
                let displaced: Vec<_> = in_place.chain(replaced).cloned().collect();
                if !displaced.is_empty() {
                    let stays = |held: &Arc<Endpoint>| !displaced.iter().any(|gone| Arc::ptr_eq(gone, held));
                    leaving.shelf.retain(stays);
                }
            }
            service.leaving.retain(|leaving| !leaving.shelf.all().is_empty());
            if let (Some(old), true) = (old, until != Until::Now) {
                service.linger(&old, &touched, &successors, until, grain);
            }
        });
        if ports_change || had_leaving || !self.leaving.is_empty() {
            self.complete_ports(tools);
        }
        self.stand_in(tools) || lost
    }

    /// What was to go by now, or by the end of the listing, goes.
    pub(super) fn let_go(&mut self, goes: impl Fn(Until) -> bool, tools: &mut Tools<'_>) -> bool {
        let going = self.leaving.iter().filter(|leaving| goes(leaving.until));
        let ids: HashSet<Box<str>> = going
            .flat_map(|leaving| leaving.shelf.all())
            .filter(|endpoint| map::endpoints::is_unique(endpoint.id()))
            .map(|endpoint| endpoint.id().into())
            .collect();
        // Both addresses of a pod go together, also where the first went an instant before the second.
        let gone = |until: Until, endpoint: &Endpoint| goes(until) || ids.contains(endpoint.id());
        let mut touched = HashSet::new();
        for leaving in &self.leaving {
            let all = leaving.shelf.all().iter();
            let going = all.filter(|endpoint| gone(leaving.until, endpoint));
            touched.extend(going.map(|endpoint| endpoint.address().clone()));
        }
        if touched.is_empty() {
            return false;
        }
        let lost = self.change(&touched, &[], tools, |service| {
            for leaving in &mut service.leaving {
                let until = leaving.until;
                leaving.shelf.retain(|endpoint| !gone(until, endpoint));
            }
            service.leaving.retain(|leaving| !leaving.shelf.all().is_empty());
        });
        self.complete_ports(tools);
        self.stand_in(tools) || lost
    }

    /// What stands for endpoints comes with the last slice that goes, and goes with the first one that comes.
    fn stand_in(&mut self, tools: &mut Tools<'_>) -> bool {
        self.stands_in != self.stand_in_now().is_some() && self.rebuild(tools)
    }

    fn stand_in_now(&self) -> Option<&Arc<Endpoint>> {
        match self.terms() {
            Some(Terms::Slices { stand_in, .. }) if self.slices.is_empty() && self.leaving.is_empty() => {
                stand_in.as_ref()
            }
            _ => None,
        }
    }

    /// Endpoints are elsewhere than was thought: their slice, their place in it, the endpoint and what the slice says.
    pub(super) fn relocate(
        &mut self,
        moved: Vec<(usize, usize, Arc<Endpoint>, Option<SaidPlace>)>,
        tools: &mut Tools<'_>,
    ) {
        let touched = moved.iter().map(|(_, _, endpoint, _)| endpoint.address().clone());
        let touched: HashSet<Address> = touched.collect();
        self.change(&touched, &[], tools, |service| {
            for (slice, at, endpoint, said) in moved {
                let Some(slice) = service.slices.get_mut(slice) else {
                    continue;
                };
                slice.shelf.replace(at, endpoint);
                slice.said.retain(|(held, _)| *held != at);
                if let Some(said) = said {
                    let place = slice.said.partition_point(|(held, _)| *held < at);
                    slice.said.insert(place, (at, said));
                }
            }
        });
    }

    fn put(&mut self, name: &str, slice: Option<Slice>) -> Option<Slice> {
        match (self.find(name), slice) {
            (Ok(at), Some(slice)) => Some(std::mem::replace(&mut self.slices[at], slice)),
            (Ok(at), None) => Some(self.slices.remove(at)),
            (Err(at), Some(slice)) => {
                self.slices.insert(at, slice);
                None
            }
            (Err(_), None) => None,
        }
    }

    /// What a slice said at these addresses and no slice says now stays for a while, unless something is in its place.
    fn linger(
        &mut self,
        old: &Slice,
        touched: &HashSet<Address>,
        successors: &Successors<'_>,
        until: Until,
        grain: Duration,
    ) {
        let mut stays: Vec<Arc<Endpoint>> = Vec::new();
        for address in touched {
            for endpoint in old.shelf.at(address) {
                let mut now = self.slices.iter().flat_map(|slice| slice.shelf.at(address));
                let mut before = self.leaving.iter().flat_map(|leaving| leaving.shelf.at(address));
                if !now.any(|other| takes_place(other, endpoint))
                    && !successors.replace(endpoint)
                    && !before.any(|held| held.id() == endpoint.id())
                {
                    stays.push(endpoint.clone());
                }
            }
        }
        if stays.is_empty() {
            return;
        }
        let ports = old.ports.iter().cloned();
        match self
            .leaving
            .iter_mut()
            .find(|leaving| leaving.until.is_close_to(until, grain))
        {
            Some(leaving) => {
                leaving.shelf.extend(stays);
                for port in ports {
                    if !leaving.ports.contains(&port) {
                        leaving.ports.push(port);
                    }
                }
            }
            None => self.leaving.push(Leaving {
                until,
                shelf: Shelf::new(stays),
                ports: ports.collect(),
            }),
        }
    }

    /// Endpoints of headless services have names of their own.
    fn name_endpoints(&mut self, tools: &mut Tools<'_>) {
        let (named_all, join) = (self.names_all(), self.join);
        let shelves = self.slices.iter_mut().map(|slice| &mut slice.shelf);
        for shelf in shelves.chain(self.leaving.iter_mut().map(|leaving| &mut leaving.shelf)) {
            for at in 0..shelf.all().len() {
                let endpoint = &shelf.all()[at];
                let hostname = map::endpoints::hostname_in(endpoint, named_all, join);
                if *hostname != *endpoint.hostname() {
                    let named = map::endpoints::rebuilt(endpoint).hostname(hostname);
                    shelf.replace(at, Arc::new(named.build_in(tools.interner)));
                }
            }
        }
    }

    fn complete_ports(&mut self, tools: &mut Tools<'_>) {
        let counts = self.counts_slices();
        let slices = self.slices.iter().flat_map(|slice| slice.ports.iter());
        let leaving = self.leaving.iter().flat_map(|leaving| leaving.ports.iter());
        let said = slices.chain(leaving).filter(|_| counts);
        match (self.join, &mut self.object, &mut self.export) {
            (Join::Services | Join::Imports, Some(object), _) => {
                let ports = map::ports::complete(&object.ports, said, tools.ports);
                if ports != object.meta.ports() {
                    object.meta = object.meta.to_builder().ports(ports).build();
                }
            }
            (Join::Exports, object, Some(export)) => {
                let ports = match object {
                    Some(object) if counts => map::ports::complete(&object.ports, said, tools.ports),
                    _ => Vec::new(),
                };
                if export
                    .joined
                    .as_ref()
                    .is_none_or(|joined| ports != joined.ports())
                {
                    let object = object.as_ref().map(|object| (&*object.meta, &object.terms));
                    export.joined = Some(map::export::joined(&export.said, object, ports));
                }
            }
            _ => {}
        }
    }
}
