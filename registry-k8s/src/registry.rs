//! The registry: how a cluster is watched as a whole.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use futures_util::{StreamExt, stream};
use registry_core::{Control, ErrorKind, EventStream, RegistryError, ServiceRegistry, async_trait, duration};
use tokio::time::timeout;

use crate::access::{ApiServer, Lease, Origin};
use crate::config::KubernetesConfig;
use crate::error::Error;
use crate::session::Session;
use crate::transport::{Ask, Form, Transport};
use crate::watch::{self, Resource};

/// The services of one Kubernetes cluster.
///
/// | ready, not terminating | serving | health |
/// |---|---|---|
/// | yes | yes | healthy |
/// | yes (published although not ready) | no | degraded |
/// | no | | unhealthy |
///
/// | terminating | health |
/// |---|---|
/// | and serving | draining |
/// | not serving, but ready (published although not ready) | draining |
/// | neither | unhealthy |
///
/// What is not said of an endpoint counts as `ready`, `serving` and not `terminating`, as the API has it. The raw status
/// keeps all three words: `ready=true serving=unset terminating=false`.
///
/// The default hostname is `{name}.{namespace}.svc.cluster.local`, with the domain of the configuration; templates may use
/// `{cluster}`. A service's group is its namespace.
///
/// It is fresh within the time that a server keeps a watch open and 15 seconds more.
pub struct KubernetesRegistry {
    config: Arc<KubernetesConfig>,
    server: Arc<ApiServer>,
}

impl KubernetesRegistry {
    /// A registry with that configuration. Nothing is read or dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: KubernetesConfig) -> Result<Self, Error> {
        if config.is_fleet() {
            return Err(Error::Config {
                field: if config.directory.is_some() {
                    "directory"
                } else {
                    "secrets"
                },
                problem: "found where one cluster is expected: each member of a `Fleet` is a registry"
                    .to_owned(),
            });
        }
        Self::with_kubeconfig(config, Origin::Configured)
    }

    /// A registry whose cluster is reached as told.
    pub(crate) fn with_kubeconfig(config: KubernetesConfig, origin: Origin) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            server: Arc::new(ApiServer::new(&config, origin)),
            config: Arc::new(config),
        })
    }

    async fn cluster(&self) -> Result<String, RegistryError> {
        match &self.config.cluster {
            Some(cluster) => Ok(cluster.clone()),
            None => self.server.cluster_name().await.map_err(unusable),
        }
    }
}

impl KubernetesRegistry {
    /// Reads one page: the head alone would say of a proxy in between that all is well.
    async fn probe_list(&self, server: &Lease, path: String) -> Result<(), RegistryError> {
        let patience = self.config.request_timeout;
        let ask = Ask {
            path: path.clone(),
            form: Form::Metadata,
            watch: false,
            patience,
        };
        let mut pieces = server.get(ask).await.map_err(|refusal| refusal.error)?;
        let asked = format!("GET {}{path}", server.base());
        let mut body = BytesMut::new();
        let read = async {
            while let Some(piece) = pieces.next().await {
                body.extend_from_slice(&piece?);
                if body.len() > self.config.max_page_bytes {
                    let most = self.config.max_page_bytes;
                    let text = format!("{asked}: found more than {most} bytes, expected one object");
                    return Err(RegistryError::new(ErrorKind::Limit, text));
                }
            }
            Ok(())
        };
        match timeout(patience, read).await {
            Ok(read) => read?,
            Err(_) => {
                let text = format!(
                    "{asked}: the answer did not end within {}",
                    duration::format(patience)
                );
                return Err(RegistryError::new(ErrorKind::Unreachable, text));
            }
        }
        watch::is_list(&asked, &body.freeze())
    }
}

/// What is wrong with local settings, as an error of the registry.
fn unusable(error: Error) -> RegistryError {
    RegistryError::new(ErrorKind::Configuration, error.to_string()).with_source(error)
}

#[async_trait]
impl ServiceRegistry for KubernetesRegistry {
    fn kind(&self) -> &'static str {
        "kubernetes"
    }

    fn default_hostname(&self) -> String {
        format!("{{name}}.{{namespace}}.svc.{}", self.config.cluster_domain)
    }

    fn target(&self) -> String {
        self.server.target()
    }

    fn freshness_bound(&self) -> Duration {
        self.config.freshness_bound()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let cluster = self.cluster().await?;
        let server = Arc::new(Lease::new(self.server.clone()));
        let session = Session::new(&self.config, &cluster, server, control);
        Ok(Box::pin(stream::unfold(session, |mut session| async move {
            Some((Ok(session.next_batch().await), session))
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let server = Lease::new(self.server.clone());
        let namespaces = &self.config.namespaces;
        let mut fields: Vec<String> = namespaces
            .iter()
            .map(|name| format!("/namespaces/{name}"))
            .collect();
        if fields.is_empty() {
            fields.push(String::new());
        }
        // All of them: rights are granted for one namespace at a time.
        for field in fields {
            for (group, plural) in [
                ("/api/v1", "services"),
                ("/apis/discovery.k8s.io/v1", "endpointslices"),
            ] {
                self.probe_list(&server, format!("{group}{field}/{plural}?limit=1"))
                    .await?;
            }
        }
        if let Some(selector) = &self.config.namespace_selector {
            let namespaces = Resource {
                path: "/api/v1/namespaces".to_owned(),
                selector: Some(selector.clone()),
                form: Form::Metadata,
            };
            self.probe_list(&server, watch::first(&namespaces)).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for KubernetesRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesRegistry")
            .field("target", &self.target())
            .finish_non_exhaustive()
    }
}
