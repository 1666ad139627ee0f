//! Many clusters from one place: a directory of kubeconfigs, or Secrets that hold them. Clusters come and go while it runs.

mod changes;
mod directory;
mod kubeconfig;
mod members;
mod roll;
mod secrets;
mod session;
mod source;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream;
use registry_core::{Control, ErrorKind, EventStream, RegistryError, ServiceRegistry, async_trait};
use secrecy::ExposeSecret;
use xxhash_rust::xxh3::Xxh3;

use crate::access::{ApiServer, Lease, Origin};
use crate::cluster::Cluster;
use crate::config::{KubernetesConfig, SecretsConfig};
use crate::error::Error;
use crate::registry::KubernetesRegistry;
use crate::transport::{Ask, Form, Transport};

use self::directory::Directory;
use self::kubeconfig::{Candidate, Kubeconfig};
use self::members::Desk;
use self::roll::{Build, Roll};
use self::secrets::Secrets;
use self::session::Session;
use self::source::Source;

pub use self::members::{Member, MemberSet, Members};

/// The clusters of a [`directory`](KubernetesConfig::directory) of kubeconfigs, or of
/// [`secrets`](KubernetesConfig::secrets) that hold them, as multi-cluster control planes keep them.
///
/// The fleet itself is a registry without services: its phase says whether the list of clusters is known. The clusters
/// are registries of their own, which [`Members`] hands out while the watch of the fleet runs; it is synced when the
/// first set of them is [applied](MemberSet::done), so that no discovery is ready before its clusters take part.
///
/// # What makes and removes members
///
/// - Each regular file of the directory is one, also behind a symbolic link, named without its ending `.kubeconfig`,
///   `.yaml`, `.yml` or `.conf`. Left out are names that begin with a dot or end in `~`, `.tmp` or `.swp`.
///   Relative paths in a kubeconfig are taken from the directory.
/// - Each Secret is one where `key` says which of its values is the kubeconfig; without it, each value is one that is
///   named after its key. Where two have the same name the oldest Secret gets it, and the other is degraded. Secrets may
///   not run programs here or read files: such kubeconfigs are refused.
/// - A member goes when its file is gone at two looks in a row, its Secret was removed, or a complete listing lacks it.
///   Where a listing lacks all of them, or more than half and ten at least, they stay for half a minute in which that has
///   to be so: a file system that is not mounted looks the same.
/// - Nothing else removes a member: what cannot be read or understood is degraded (the group named like the member) and
///   keeps its last good kubeconfig; while the directory or the Secrets cannot be read, all members stay.
///
/// A kubeconfig has at most 1 MiB, all together 64 MiB, and there are 1 000 at most; with more, nothing changes any
/// more and the fleet is degraded.
///
/// # Embedding
///
/// ```no_run
/// use std::collections::BTreeMap;
///
/// use registry_core::{Discovery, RegistryId, RegistryOptions};
/// use registry_k8s::{Fleet, KubernetesConfig};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let config = KubernetesConfig { directory: Some("/etc/clusters".into()), ..KubernetesConfig::default() };
/// let (fleet, mut members) = Fleet::try_new(config)?;
/// let discovery = Discovery::builder().registry("clusters", fleet)?.start()?;
///
/// let mut running: BTreeMap<RegistryId, u128> = BTreeMap::new();
/// while let Some(set) = members.next().await {
///     let mut gone = running.clone();
///     for member in &set.members {
///         // A program that may meet other names than those of registries makes them fit here.
///         let id: RegistryId = format!("clusters/{}", member.name).parse()?;
///         gone.remove(&id);
///         let (registry, options) = (member.registry.clone(), RegistryOptions::default());
///         match running.insert(id.clone(), member.fingerprint) {
///             None => discovery.add(id, registry, options).await?,
///             Some(known) if known == member.fingerprint => {}
///             Some(_) => discovery.replace(id, Some(registry), options).await?,
///         }
///     }
///     for id in gone.into_keys() {
///         running.remove(&id);
///         discovery.remove(id).await?;
///     }
///     set.done();
/// }
/// # Ok(())
/// # }
/// ```
pub struct Fleet {
    shared: Arc<Shared>,
}

/// What outlives a single watch.
struct Shared {
    config: KubernetesConfig,
    kind: Kind,
    roll: Mutex<Roll>,
    desk: Desk,
}

/// What registries are made of the clusters.
struct Make {
    kind: String,
    registry: Box<dyn Fn(Cluster) -> Arc<dyn ServiceRegistry> + Send + Sync>,
}

enum Kind {
    Directory(PathBuf),
    Secrets {
        secrets: SecretsConfig,
        server: Arc<ApiServer>,
    },
}

impl Fleet {
    /// A fleet with that configuration, and its members as they become known. Nothing is read or dialled yet: that is
    /// what the watch does.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used, or none of `directory` and `secrets` is set; the message names the field.
    pub fn try_new(config: KubernetesConfig) -> Result<(Self, Members), Error> {
        let Make { kind, registry } = Make::services();
        Self::of_registries(config, &kind, registry)
    }

    /// As [`try_new`](Self::try_new), with members that are made of the clusters by a function. `kind` stands for all
    /// that these registries are besides the settings: members of another kind have other
    /// [fingerprints](Member::fingerprint).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn of_registries(
        config: KubernetesConfig,
        kind: &str,
        registry: impl Fn(Cluster) -> Arc<dyn ServiceRegistry> + Send + Sync + 'static,
    ) -> Result<(Self, Members), Error> {
        config.validate()?;
        let make = Make {
            kind: kind.to_owned(),
            registry: Box::new(registry),
        };
        let wrong = |field, problem: &str| Error::Config {
            field,
            problem: problem.to_owned(),
        };
        let kind = match (&config.directory, &config.secrets) {
            (Some(_), _) if config.context.is_some() => {
                let problem = "found beside `directory`, whose kubeconfigs name their contexts themselves";
                return Err(wrong("context", problem));
            }
            (Some(directory), _) => {
                // Only an empty path, or a working directory that is gone, has no absolute form; then reading says so.
                Kind::Directory(std::path::absolute(directory).unwrap_or_else(|_| directory.clone()))
            }
            (None, Some(secrets)) => Kind::Secrets {
                secrets: secrets.clone(),
                server: Arc::new(ApiServer::new(&config, Origin::Configured)),
            },
            (None, None) => {
                let problem = "found neither it nor `secrets`, expected one of the two";
                return Err(wrong("directory", problem));
            }
        };
        Ok(Self::of(config, kind, make))
    }

    fn of(config: KubernetesConfig, kind: Kind, make: Make) -> (Self, Members) {
        let base = match &kind {
            Kind::Directory(path) => Some(path.clone()),
            Kind::Secrets { .. } => None,
        };
        let grace = match &kind {
            Kind::Directory(_) => directory::GRACE,
            Kind::Secrets { .. } => Duration::ZERO,
        };
        let (desk, members) = Desk::new();
        let shared = Shared {
            roll: Mutex::new(Roll::new(grace, builder(&config, base, make))),
            config,
            kind,
            desk,
        };
        let shared = Arc::new(shared);
        (Self { shared }, members)
    }
}

impl Make {
    /// Registries of Services.
    fn services() -> Self {
        Self {
            kind: String::new(),
            registry: Box::new(|cluster| Arc::new(KubernetesRegistry::from(cluster))),
        }
    }
}

/// What makes members with the settings of a fleet. Relative paths in their kubeconfigs begin at `base`; without it they
/// are of foreign origin, and may lead nowhere on this machine.
fn builder(config: &KubernetesConfig, base: Option<PathBuf>, make: Make) -> Build {
    let config = KubernetesConfig {
        kubeconfig: None,
        context: None,
        in_cluster: false,
        directory: None,
        secrets: None,
        ..config.clone()
    };
    Box::new(move |candidate, kubeconfig| member(&config, &make, base.as_ref(), candidate, kubeconfig))
}

fn member(
    config: &KubernetesConfig,
    make: &Make,
    base: Option<&PathBuf>,
    candidate: &Candidate,
    kubeconfig: &Kubeconfig,
) -> Result<Member, Arc<RegistryError>> {
    let unusable = |message: String| Arc::new(RegistryError::new(ErrorKind::Configuration, message));
    let place = &candidate.place;
    let name = candidate.name.to_string();
    let config = KubernetesConfig {
        cluster: Some(name.clone()),
        ..config.clone()
    };
    let settings = serde_json::to_vec(&config).map_err(|error| unusable(format!("{place}: {error}")))?;
    let mut fingerprint = Xxh3::new();
    let base_path = base.map(|base| base.as_os_str().as_encoded_bytes());
    for part in [
        make.kind.as_bytes(),
        name.as_bytes(),
        &settings,
        base_path.unwrap_or_default(),
        kubeconfig.text().expose_secret().as_bytes(),
    ] {
        // With their lengths, so that no two lists of parts are the same bytes.
        fingerprint.update(&(part.len() as u64).to_le_bytes());
        fingerprint.update(part);
    }
    let origin = candidate.origin(kubeconfig, base.is_some());
    // The message names the place.
    let checked = origin.clone().check(&config);
    checked.map_err(|error| unusable(error.to_string()))?;
    let cluster = Cluster::with_kubeconfig(config, origin);
    let cluster = cluster.map_err(|error| unusable(format!("{place}: {error}")))?;
    Ok(Member {
        name,
        registry: (make.registry)(cluster),
        fingerprint: fingerprint.digest128(),
    })
}

#[async_trait]
impl ServiceRegistry for Fleet {
    fn kind(&self) -> &'static str {
        "kubernetes-fleet"
    }

    fn target(&self) -> String {
        match &self.shared.kind {
            Kind::Directory(path) => path.display().to_string(),
            Kind::Secrets { secrets, server } => {
                let (server, key) = (server.target(), secrets.key.as_deref().unwrap_or("*"));
                format!("{server} {}/{} {key}", secrets.namespace, secrets.selector)
            }
        }
    }

    fn freshness_bound(&self) -> Duration {
        match &self.shared.kind {
            Kind::Directory(_) => 3 * directory::POLL,
            Kind::Secrets { .. } => self.shared.config.freshness_bound(),
        }
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let source = match &self.shared.kind {
            Kind::Directory(path) => Source::Directory(Directory::new(path.clone(), control.clone())),
            Kind::Secrets { secrets, server } => {
                let server = Arc::new(Lease::new(server.clone()));
                let feed = secrets::feed(server, secrets, &self.shared.config, control.clone());
                Source::Secrets(Secrets::new(Box::new(feed), secrets.clone(), control.clone()))
            }
        };
        Ok(events(Session::new(self.shared.clone(), source, control)))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        match &self.shared.kind {
            Kind::Directory(path) => {
                let path = path.clone();
                let checked = tokio::task::spawn_blocking(move || check(&path)).await;
                checked.unwrap_or_else(|error| {
                    let message = "the check of kubeconfigs broke off";
                    Err(RegistryError::new(ErrorKind::Internal, message).with_source(error))
                })
            }
            Kind::Secrets { secrets, server } => {
                let ask = Ask {
                    path: format!("/api/v1/namespaces/{}/secrets?limit=1", secrets.namespace),
                    form: Form::Metadata,
                    watch: false,
                    patience: self.shared.config.request_timeout,
                };
                // The head of the answer says whether they may be read.
                let answer = server.get(ask).await.map(drop);
                answer.map_err(|refusal| match refusal.error.kind() {
                    ErrorKind::Denied => secrets::denied(secrets, refusal.error.retry_after(), refusal.error),
                    _ => refusal.error,
                })
            }
        }
    }
}

fn events(session: Session) -> EventStream {
    Box::pin(stream::unfold(session, |mut session| async move {
        Some((Ok(session.next_batch().await), session))
    }))
}

/// Whether all kubeconfigs of a directory can be used; the first problem otherwise. Blocks.
fn check(directory: &Path) -> Result<(), RegistryError> {
    for candidate in directory::find(directory)? {
        let problem = match (&candidate.found, &candidate.clash) {
            (Ok(kubeconfig), clash) => {
                let checked = candidate
                    .origin(kubeconfig, true)
                    .check(&KubernetesConfig::default());
                let clash = clash.as_ref().map(|clash| clash.report());
                checked.err().map(|error| error.to_string()).or(clash)
            }
            (Err(error), _) => Some(error.report()),
        };
        if let Some(problem) = problem {
            return Err(RegistryError::new(ErrorKind::Configuration, problem));
        }
    }
    Ok(())
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fleet")
            .field("target", &self.target())
            .finish_non_exhaustive()
    }
}
