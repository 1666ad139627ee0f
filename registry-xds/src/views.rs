//! One [`ResourceSet`] for each kind of node, kept up to date: a change to one service costs each view that service.

mod listeners;
mod routes;
mod state;

use std::sync::Arc;

use registry_core::{Discovery, Str};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::config::XdsConfig;
use crate::node::{Node, View};
use crate::resource::ResourceSet;

/// Something about a service that could not be served as its registry has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Warning {
    /// The service.
    pub hostname: Str,
    /// What is wrong, in words.
    pub problem: String,
}

/// The views of one discovery. Cloning it shares them. A view exists while somebody looks at it.
#[derive(Debug, Clone)]
pub struct Views {}

impl Views {
    /// Follows a discovery until `stop`.
    pub fn start(_discovery: Discovery, _config: XdsConfig, _stop: CancellationToken) -> Self {
        unimplemented!("views")
    }

    /// The settings in force.
    pub fn config(&self) -> Arc<XdsConfig> {
        unimplemented!("views")
    }

    /// Puts other settings in force: each view is made anew, and streams get what differs. Views of connected nodes stay
    /// the ones they were computed as.
    pub fn reconfigure(&self, _config: XdsConfig) {
        unimplemented!("views")
    }

    /// The newest set of a view: `None` until discovery is ready. The slot holds one set, so that a slow reader misses
    /// what is between two looks, and delays nobody.
    pub fn watch(&self, _view: View) -> watch::Receiver<Option<Arc<ResourceSet>>> {
        unimplemented!("views")
    }

    /// The set that a node would get now, and what could not be served of it. `None` until discovery is ready.
    pub async fn look(&self, _node: &Node) -> Option<(Arc<ResourceSet>, Vec<Warning>)> {
        unimplemented!("views")
    }

    /// What cannot be served as it is, in any view that somebody looks at; sorted.
    pub fn warnings(&self) -> Vec<Warning> {
        unimplemented!("views")
    }
}
