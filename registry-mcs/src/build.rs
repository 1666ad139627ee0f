//! Registries as a configuration asks for them.

use std::fmt;
use std::sync::Arc;

use registry_k8s::{Cluster, Fleet, Member, Members};
use xxhash_rust::xxh3::Xxh3;

use crate::config::{McsConfig, Mode};
use crate::error::Error;
use crate::registry::{McsRegistry, McsSettings};

/// What a configuration leads to.
pub enum Registries {
    /// The exports of these clusters.
    Clusters(Vec<Member>),
    /// The exports of clusters that are found at run time: a registry without services, and its members as they become
    /// known.
    Fleet(Fleet, Members),
    /// The imports of one cluster.
    Import(McsRegistry),
}

impl McsConfig {
    /// The registries that it asks for. Nothing is read or dialled yet.
    ///
    /// # Errors
    ///
    /// As [`validate`](Self::validate).
    pub fn build(&self) -> Result<Registries, Error> {
        self.validate()?;
        let settings = self.settings();
        let of_cluster = |field: String| move |source| Error::Cluster { field, source };
        match (self.mode(), &self.import) {
            (Mode::Import, Some(import)) => {
                let cluster = Cluster::try_new(Self::of_imports(import));
                let cluster = cluster.map_err(of_cluster("import".to_owned()))?;
                Ok(Registries::Import(McsRegistry::imports(cluster, settings)))
            }
            (Mode::Fleet, _) => {
                let kind = kind(&settings);
                // Each cluster tells its id: names of files and Secrets are local affairs.
                let exports =
                    move |cluster| Arc::new(McsRegistry::exports(cluster, None, settings.clone())) as _;
                let (fleet, members) = Fleet::of_registries(self.kubernetes.clone(), &kind, exports)
                    .map_err(of_cluster("kubernetes".to_owned()))?;
                Ok(Registries::Fleet(fleet, members))
            }
            _ => {
                let clusters = 0..self.clusters.len();
                let members = clusters
                    .map(|index| self.member(index))
                    .collect::<Result<_, _>>()?;
                Ok(Registries::Clusters(members))
            }
        }
    }

    fn member(&self, index: usize) -> Result<Member, Error> {
        let cluster = &self.clusters[index];
        let config = self.of_cluster(cluster);
        let unusable = |problem: String| Error::Config {
            field: format!("clusters[{index}]"),
            problem,
        };
        let text = serde_json::to_vec(&config).map_err(|error| unusable(error.to_string()))?;
        let id = cluster.cluster.clone();
        let mut fingerprint = Xxh3::new();
        for part in [
            kind(&self.settings()).as_bytes(),
            cluster.name.as_bytes(),
            id.as_deref().unwrap_or_default().as_bytes(),
            &text,
        ] {
            // With their lengths, so that no two lists of parts are the same bytes.
            fingerprint.update(&(part.len() as u64).to_le_bytes());
            fingerprint.update(part);
        }
        let source = Cluster::try_new(config).map_err(|source| Error::Cluster {
            field: format!("clusters[{index}]"),
            source,
        })?;
        Ok(Member {
            name: cluster.name.clone(),
            registry: Arc::new(McsRegistry::exports(source, id, self.settings())),
            fingerprint: fingerprint.digest128(),
        })
    }
}

/// What stands for a registry of exports besides its cluster.
fn kind(McsSettings { groups, domain }: &McsSettings) -> String {
    format!("mcs {} {domain}", groups.join(","))
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clusters(members) => f.debug_tuple("Clusters").field(members).finish(),
            Self::Fleet(fleet, _) => f.debug_tuple("Fleet").field(fleet).finish(),
            Self::Import(registry) => f.debug_tuple("Import").field(registry).finish(),
        }
    }
}
