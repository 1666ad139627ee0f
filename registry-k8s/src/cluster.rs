//! One cluster, as registries use it: its API server with credentials, and what is joined of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use registry_core::{Control, ErrorKind, EventStream, RegistryError};

use crate::access::{ApiServer, Lease, Origin};
use crate::config::KubernetesConfig;
use crate::error::Error;
use crate::session::Session;
use crate::transport::{Ask, Class, Form, Transport, read_whole};
use crate::view::View;
use crate::watch::{self, Resource};

/// One cluster, for registries that are built on this crate. Cloning it shares the connection.
#[derive(Clone)]
pub struct Cluster {
    config: Arc<KubernetesConfig>,
    server: Arc<ApiServer>,
}

impl Cluster {
    /// A cluster with that configuration. Nothing is read or dialled yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used, or the settings lead to several clusters; the message names the field.
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

    /// A cluster that is reached as told.
    pub(crate) fn with_kubeconfig(config: KubernetesConfig, origin: Origin) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            server: Arc::new(ApiServer::new(&config, origin)),
            config: Arc::new(config),
        })
    }

    /// Its settings.
    pub fn config(&self) -> &KubernetesConfig {
        &self.config
    }

    /// What it is called: as configured, else the name of the context. May read the kubeconfig.
    ///
    /// # Errors
    ///
    /// Where the kubeconfig cannot be used.
    pub async fn name(&self) -> Result<String, RegistryError> {
        match &self.config.cluster {
            Some(cluster) => Ok(cluster.clone()),
            None => self.server.cluster_name().await.map_err(unusable),
        }
    }

    /// Which cluster exactly it is, as far as settings tell.
    pub fn target(&self) -> String {
        self.server.target()
    }

    /// How old the last word on all of it may be.
    pub fn freshness_bound(&self) -> Duration {
        self.config.freshness_bound()
    }

    /// Watches what counts as services in this view. Endpoints are said to be in the cluster of that name. It never ends.
    pub fn watch(&self, view: &View, cluster: &str, control: Control) -> EventStream {
        let server = Arc::new(Lease::new(self.server.clone()));
        let session = Session::new(&self.config, view, cluster, server, control);
        Box::pin(stream::unfold(session, |mut session| async move {
            Some((Ok(session.next_batch().await), session))
        }))
    }

    /// Asks for one object; `None` where there is no such thing (404).
    ///
    /// # Errors
    ///
    /// Where it cannot be had, or is larger than an object may be; the message names the URL.
    pub async fn get(&self, path: &str) -> Result<Option<Bytes>, RegistryError> {
        let server = Lease::new(self.server.clone());
        self.read(&server, path.to_owned(), Form::Object).await
    }

    /// Whether all may be listed that a watch of this view needs.
    ///
    /// # Errors
    ///
    /// Where it may not, or the server cannot be reached.
    pub async fn probe(&self, _view: &View) -> Result<(), RegistryError> {
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

    /// Reads one page: the head alone would say of a proxy in between that all is well.
    async fn probe_list(&self, server: &Lease, path: String) -> Result<(), RegistryError> {
        let asked = format!("GET {}{path}", server.base());
        match self.read(server, path, Form::Metadata).await? {
            Some(body) => watch::is_list(&asked, &body),
            None => {
                let text = format!("{asked}: 404, expected a list");
                Err(RegistryError::new(ErrorKind::Configuration, text))
            }
        }
    }

    /// The whole of a bounded answer.
    async fn read(&self, server: &Lease, path: String, form: Form) -> Result<Option<Bytes>, RegistryError> {
        let ask = Ask {
            path,
            form,
            watch: false,
            patience: self.config.request_timeout,
        };
        match read_whole(server, ask, self.config.max_page_bytes).await {
            Ok(body) => Ok(Some(body)),
            Err(refusal) if refusal.class == Class::NotFound => Ok(None),
            Err(refusal) => Err(refusal.error),
        }
    }
}

/// What is wrong with local settings, as an error of the registry.
fn unusable(error: Error) -> RegistryError {
    RegistryError::new(ErrorKind::Configuration, error.to_string()).with_source(error)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("target", &self.target())
            .finish_non_exhaustive()
    }
}
