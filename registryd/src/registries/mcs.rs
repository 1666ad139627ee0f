//! Multi-Cluster Services: the exports of clusters that are listed or found, or the imports of one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use registry_core::{Control, Event, EventStream, RegistryError, Scope, ServiceRegistry, async_trait};
use registry_mcs::{Error, McsConfig, Mode, Registries};
use tokio::sync::watch;

use super::kubernetes::{Clusters, member};
use super::members::{Built, Member, MemberSet, Members};
use super::{Kind, Wrong, kubernetes, named};

/// The kind of registries of exports and of imports.
const KIND: &str = "mcs";

impl Kind for McsConfig {
    fn resolve_paths(&mut self, base: &Path) {
        self.kubernetes.resolve_paths(base);
        if let Some(import) = &mut self.import {
            import.resolve_paths(base);
        }
        for cluster in &mut self.clusters {
            if let Some(path) = &mut cluster.kubeconfig {
                crate::config::resolve(path, base);
            }
        }
    }

    fn validate(&self) -> Option<Wrong> {
        Some(match self.validate().err()? {
            Error::Config { field, problem } => named(field, &problem),
            Error::Cluster {
                field,
                source:
                    registry_k8s::Error::Config {
                        field: inner,
                        problem,
                    },
            } => named(format!("{field}.{inner}"), &problem),
            Error::Cluster { field, source } => named(field, &source.to_string()),
            other => named(String::new(), &other.to_string()),
        })
    }

    fn check_files(&self) -> Vec<String> {
        let clusters = self
            .clusters
            .iter()
            .filter_map(|cluster| cluster.kubeconfig.as_ref());
        let own = clusters.filter_map(|path| kubernetes::unreadable_file(path));
        let import = self.import.iter().flat_map(Kind::check_files);
        self.kubernetes
            .check_files()
            .into_iter()
            .chain(import)
            .chain(own)
            .collect()
    }

    fn has_members(&self) -> bool {
        self.mode() != Mode::Import
    }

    fn build(&self) -> Result<Built, String> {
        Ok(match self.build().map_err(|error| error.to_string())? {
            Registries::Import(registry) => Built::one(registry),
            Registries::Fleet(fleet, members) => Built {
                registry: Arc::new(fleet),
                members: Some(Box::new(Clusters::new(KIND, members))),
            },
            Registries::Clusters(clusters) => {
                let (list, members) = listed(clusters.into_iter().map(member).collect());
                Built {
                    registry: Arc::new(list),
                    members: Some(Box::new(members)),
                }
            }
        })
    }
}

/// Stands for clusters that the configuration lists. It has no services, and is known as soon as they take part: before
/// that nobody should think that all is there.
struct List {
    in_force: watch::Sender<bool>,
}

/// The clusters that the configuration lists, as the one set that there ever is.
struct Listed {
    members: Option<Vec<Member>>,
    in_force: watch::Sender<bool>,
}

fn listed(members: Vec<Member>) -> (List, Listed) {
    let in_force = watch::Sender::new(false);
    let list = List {
        in_force: in_force.clone(),
    };
    let members = Some(members);
    (list, Listed { members, in_force })
}

#[async_trait]
impl ServiceRegistry for List {
    fn kind(&self) -> &'static str {
        "mcs-clusters"
    }

    /// The same whatever is on it: of members that are remembered, those stay that are still listed.
    fn target(&self) -> String {
        "clusters".to_owned()
    }

    fn freshness_bound(&self) -> Duration {
        Duration::MAX
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let in_force = self.in_force.subscribe();
        let listings = stream::unfold((control, true), move |(control, first)| {
            let mut in_force = in_force.clone();
            async move {
                if first {
                    in_force.wait_for(|in_force| *in_force).await.ok()?;
                } else {
                    let _ = control.resync_requested().await;
                }
                Some((Ok(Event::listing(Scope::Registry, [])), (control, false)))
            }
        });
        Ok(listings.boxed())
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

#[async_trait]
impl Members for Listed {
    fn kind(&self) -> &'static str {
        KIND
    }

    async fn next(&mut self) -> Option<MemberSet> {
        let members = self.members.take()?;
        let in_force = self.in_force.clone();
        Some(MemberSet {
            members,
            certain: true,
            done: Box::new(move || {
                in_force.send_replace(true);
            }),
        })
    }
}
