//! One view at one moment, and how it follows its services.

use std::collections::HashSet;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use registry_core::{Delta, Lookup, Pattern, Service, Snapshot, Str};

use super::listeners::Listeners;
use super::own::Own;
use super::pool::Pool;
use super::routes::Routes;
use super::warnings::{Listed, Origin, Table as Warnings};
use crate::config::XdsConfig;
use crate::names;
use crate::node::{Kind, View};
use crate::resource::{Doubt, Resource, ResourceSet, ResourceType};
use crate::translate::Translation;

/// What one service gives to a view.
pub(super) type Translate = dyn Fn(&Service, &View, &XdsConfig) -> Translation + Send + Sync;

/// What all services give to one view together: a pure function of the services, whichever way it came to them.
pub(super) struct State {
    view: View,
    config: Arc<XdsConfig>,
    translate: Arc<Translate>,
    pool: Arc<Pool>,
    exports: Exports,
    own: Own,
    routes: Routes,
    listeners: Listeners,
    warnings: Warnings,
    set: ResourceSet,
    /// Services that went while a registry which may own them had not said anything yet.
    lost: HashSet<Str>,
    /// Whether the set is another one than when it was last asked for.
    changed: bool,
}

impl State {
    /// A view of all services of a snapshot.
    pub(super) fn new(
        view: View,
        config: Arc<XdsConfig>,
        translate: Arc<Translate>,
        pool: Arc<Pool>,
        snapshot: &Snapshot,
    ) -> Self {
        let mut state = Self {
            exports: Exports::default(),
            config: config.clone(),
            view,
            translate,
            pool,
            own: Own::default(),
            routes: Routes::default(),
            listeners: Listeners::default(),
            warnings: Warnings::default(),
            set: ResourceSet::default(),
            lost: HashSet::new(),
            changed: false,
        };
        state.reconfigure(config, snapshot);
        state
    }

    /// Puts other settings in force, for the services of the snapshot that it was last brought to.
    pub(super) fn reconfigure(&mut self, config: Arc<XdsConfig>, snapshot: &Snapshot) {
        self.exports = Exports::new(&config, &self.view);
        self.listeners.share((self.view.kind == Kind::Envoy).then(|| {
            let address = self.view.outbound.unwrap_or(config.outbound.listen);
            (address, names::shared_routes(address.port()).into())
        }));
        self.config = config;
        for service in snapshot.services() {
            self.put(service);
        }
        self.settle();
    }

    /// Brings it to the next snapshot.
    pub(super) fn apply(&mut self, delta: &Delta) {
        for hostname in &delta.removed {
            self.remove(hostname);
            self.lost.insert(hostname.clone());
        }
        for service in &delta.updated {
            self.put(service);
            self.lost.remove(service.hostname());
        }
        self.settle();
    }

    /// What it serves, and whether that is something else than at the last call.
    pub(super) fn set(&mut self, snapshot: &Arc<Snapshot>, doubt: Doubt) -> (Arc<ResourceSet>, bool) {
        let in_doubt = |hostname: &Str| matches!(snapshot.lookup(hostname), Lookup::Undecided(_));
        self.lost
            .retain(|hostname| doubt == Doubt::OfAbsences && in_doubt(hostname));
        self.set.made_from(snapshot, doubt, !self.lost.is_empty());
        (Arc::new(self.set.clone()), std::mem::take(&mut self.changed))
    }

    /// What it cannot serve, where that is something else than at the last call.
    pub(super) fn warnings(&mut self) -> Option<Arc<Listed>> {
        self.warnings.take_changed()
    }

    fn put(&mut self, service: &Service) {
        let hostname = service.hostname();
        if !self.exports.has(hostname) {
            return self.remove(hostname);
        }
        let translated = catch_unwind(AssertUnwindSafe(|| {
            (self.translate)(service, &self.view, &self.config)
        }));
        let Ok(translation) = translated else {
            // A mistake of ours, met in one service of thousands, is no reason to leave the others unserved.
            tracing::error!(service = %hostname, "a translation broke; what the service had before is kept");
            let problem = "its translation broke, and what it had before is kept".to_owned();
            return self.warnings.set(hostname, Origin::Service, vec![problem]);
        };
        let Translation {
            resources,
            virtual_hosts,
            listeners,
            warnings,
        } = translation;
        self.changed |= self.own.put(hostname, resources, &self.pool, &mut self.set);
        self.routes.put(service, virtual_hosts);
        self.listeners.put(service, listeners);
        self.warnings.set(hostname, Origin::Service, warnings);
    }

    fn remove(&mut self, hostname: &Str) {
        self.changed |= self.own.put(hostname, Vec::new(), &self.pool, &mut self.set);
        self.routes.remove(hostname);
        self.listeners.remove(hostname);
        self.warnings.set(hostname, Origin::Service, Vec::new());
    }

    fn settle(&mut self) {
        for (address, listener) in self.listeners.settle(&mut self.routes, &mut self.warnings) {
            let name = names::listener(address);
            let resource =
                listener.map(|listener| Resource::new(ResourceType::Listener, name.as_str(), &listener));
            self.change(ResourceType::Listener, &name, resource);
        }
        for (name, body) in self.routes.settle(&mut self.warnings) {
            let resource = body.map(|body| Resource::from_body(ResourceType::Route, name.clone(), &body));
            self.change(ResourceType::Route, &name, resource);
        }
    }

    fn change(&mut self, type_: ResourceType, name: &str, resource: Option<Resource>) {
        self.changed |= match resource {
            Some(resource) => self.set.insert(self.pool.share(resource)),
            None => self.set.remove(type_, name),
        };
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("view", &self.view)
            .field("set", &self.set)
            .finish_non_exhaustive()
    }
}

/// Which services a view has.
#[derive(Debug, Default)]
struct Exports {
    /// Empty for all of them.
    services: Vec<Pattern>,
    excluded: Vec<Pattern>,
    /// Those that the nodes want; empty for all.
    wanted: Vec<Pattern>,
}

impl Exports {
    fn new(config: &XdsConfig, view: &View) -> Self {
        let patterns = |texts: &[String]| texts.iter().map(Pattern::new).collect();
        Self {
            services: patterns(&config.services),
            excluded: patterns(&config.exclude_services),
            wanted: view.services.iter().cloned().map(Pattern::new).collect(),
        }
    }

    fn has(&self, hostname: &str) -> bool {
        let any = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(hostname));
        let all = |patterns: &[Pattern]| patterns.is_empty() || any(patterns);
        all(&self.services) && !any(&self.excluded) && all(&self.wanted)
    }
}
