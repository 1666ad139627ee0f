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
        let file = self
            .kubeconfig
            .iter()
            .map(|path| (path, std::fs::File::open(path).err()));
        let directory = self
            .directory
            .iter()
            .map(|path| (path, std::fs::read_dir(path).err()));
        file.chain(directory)
            .filter_map(|(path, error)| Some(format!("{}: cannot be read: {}", path.display(), error?)))
            .collect()
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
                members: Some(Box::new(Clusters(members))),
            });
        }
        KubernetesRegistry::try_new(self.clone())
            .map(Built::one)
            .map_err(failed)
    }
}

/// The clusters of a directory or of Secrets.
struct Clusters(registry_k8s::Members);

#[async_trait]
impl Members for Clusters {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    async fn next(&mut self) -> Option<MemberSet> {
        let mut set = self.0.next().await?;
        let members = std::mem::take(&mut set.members).into_iter().map(|member| Member {
            name: member.name,
            registry: member.registry,
            fingerprint: member.fingerprint,
        });
        Some(MemberSet {
            members: members.collect(),
            done: Box::new(move || set.done()),
        })
    }
}
