//! Clusters of Kubernetes: one, or those of a directory or of Secrets.

use std::path::Path;
use std::sync::Arc;

use registry_core::async_trait;
use registry_k8s::{Error, Fleet, KubernetesConfig, KubernetesRegistry};

use super::members::{Built, Member, MemberSet, Members};
use super::{Kind, Wrong, unnamed};

impl Kind for KubernetesConfig {
    fn resolve_paths(&mut self, base: &Path) {
        for path in self.kubeconfig.iter_mut().chain(&mut self.directory) {
            crate::config::resolve(path, base);
        }
    }

    fn validate(&self) -> Option<Wrong> {
        // Nothing is read or dialled by that.
        let built = if self.is_fleet() {
            Fleet::try_new(self.clone()).map(drop)
        } else {
            KubernetesRegistry::try_new(self.clone()).map(drop)
        };
        match built.err()? {
            Error::Config { field, problem } => {
                let (found, expected) = crate::config::split_message(&problem, None);
                Some(Wrong {
                    field: field.to_owned(),
                    found,
                    expected,
                })
            }
            other => Some(unnamed(&other.to_string())),
        }
    }

    fn check_files(&self) -> Vec<String> {
        let file = self.kubeconfig.iter().filter_map(|path| unreadable_file(path));
        let directory = self.directory.iter().filter_map(|path| {
            let error = std::fs::read_dir(path).err()?;
            Some(unreadable(path, &error))
        });
        file.chain(directory).collect()
    }

    fn has_members(&self) -> bool {
        self.is_fleet()
    }

    fn build(&self) -> Result<Built, String> {
        let failed = |error: Error| error.to_string();
        if self.is_fleet() {
            let (fleet, members) = Fleet::try_new(self.clone()).map_err(failed)?;
            return Ok(Built {
                registry: Arc::new(fleet),
                members: Some(Box::new(Clusters::new("kubernetes", members))),
            });
        }
        KubernetesRegistry::try_new(self.clone())
            .map(Built::one)
            .map_err(failed)
    }
}

/// What is wrong with a file that cannot be read.
pub(super) fn unreadable_file(path: &Path) -> Option<String> {
    let error = std::fs::File::open(path).err()?;
    Some(unreadable(path, &error))
}

fn unreadable(path: &Path, error: &std::io::Error) -> String {
    format!("{}: cannot be read: {error}", path.display())
}

/// The clusters of a directory or of Secrets, as registries of that kind.
pub(super) struct Clusters {
    kind: &'static str,
    members: registry_k8s::Members,
}

impl Clusters {
    pub(super) fn new(kind: &'static str, members: registry_k8s::Members) -> Self {
        Self { kind, members }
    }
}

/// A cluster as the member of an entry.
pub(super) fn member(member: registry_k8s::Member) -> Member {
    Member {
        name: member.name,
        registry: member.registry,
        fingerprint: member.fingerprint,
    }
}

#[async_trait]
impl Members for Clusters {
    fn kind(&self) -> &'static str {
        self.kind
    }

    async fn next(&mut self) -> Option<MemberSet> {
        let mut set = self.members.next().await?;
        let members = std::mem::take(&mut set.members).into_iter().map(member);
        Some(MemberSet {
            members: members.collect(),
            certain: false,
            done: Box::new(move || set.done()),
        })
    }
}
