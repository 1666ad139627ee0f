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
use crate::session::{Session, offered};
use crate::transport::{Ask, Class, Form, Refusal, Transport, read_whole};
use crate::view::View;
use crate::watch::{self, Resource};
use crate::wire;

/// One cluster, for registries that are built on this crate. Cloning it shares the connection.
#[derive(Clone)]
pub struct Cluster {
    config: Arc<KubernetesConfig>,
    server: Arc<ApiServer>,
}

/// What a cluster says when it is asked for an object.
#[derive(Debug)]
pub enum Answer {
    /// The object, as JSON.
    Found(Bytes),
    /// There is no such thing (404).
    Absent,
    /// It may not be read (403), whether there is such a thing or not. The error names the URL.
    Forbidden(RegistryError),
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

    /// Watches what counts as services in this view. Endpoints are said to be in the cluster of that name, except those of
    /// imports, which are where their slices say; there it is the cluster in which the addresses of imports are valid, and
    /// empty where nobody has to tell that from others. It never ends.
    pub fn watch(&self, view: &View, cluster: &str, control: Control) -> EventStream {
        told(self.session(view, cluster, control))
    }

    /// As [`watch`](Self::watch), and ends with an error once another cluster is behind the address, or may be: for who has
    /// read in the cluster what it is called. To know it takes `get` of the namespace `kube-system`; without that right the
    /// watch never ends.
    pub fn watch_until_swapped(&self, view: &View, cluster: &str, control: Control) -> EventStream {
        told(self.session(view, cluster, control).until_swapped())
    }

    fn session(&self, view: &View, cluster: &str, control: Control) -> Session {
        let server = Arc::new(Lease::new(self.server.clone()));
        Session::new(&self.config, view, cluster, server, control)
    }

    /// Asks for one object.
    ///
    /// # Errors
    ///
    /// Where nobody answers, or not to these credentials (401), or with more than an object may have; the message names the
    /// URL.
    pub async fn get(&self, path: &str) -> Result<Answer, RegistryError> {
        let server = Lease::new(self.server.clone());
        match self.read(&server, path.to_owned(), Form::Object).await {
            Ok(body) => Ok(Answer::Found(body)),
            Err(Refusal { class, error }) => match class {
                Class::NotFound => Ok(Answer::Absent),
                Class::Forbidden => Ok(Answer::Forbidden(error)),
                _ => Err(error),
            },
        }
    }

    /// Whether all may be listed that a watch of this view needs.
    ///
    /// A cluster that serves none of the groups of the view passes: there is nothing to read yet, and a watch goes on to ask.
    /// [`lacks`](Self::lacks) tells of it.
    ///
    /// # Errors
    ///
    /// Where it may not, and then the message says which right is missing; or the server cannot be reached.
    pub async fn probe(&self, view: &View) -> Result<(), RegistryError> {
        let server = Lease::new(self.server.clone());
        let custom = match view.wanted(&self.config) {
            None => None,
            Some(wanted) => {
                let found = offered::find(&server, None, &wanted, None, self.config.request_timeout).await;
                let api = found.map_err(|refusal| refusal.error)?;
                api.map(|api| (api.path(), wanted.plural, None))
            }
        };
        let services = || ("/api/v1".to_owned(), "services", None);
        let slices = |selector| ("/apis/discovery.k8s.io/v1".to_owned(), "endpointslices", selector);
        let lists = match view {
            View::Services | View::Exports(_) => vec![services(), slices(None)],
            View::Imports(_) => vec![slices(Some(wire::IMPORTED_SERVICE_NAME.to_owned()))],
        };
        let mut fields: Vec<String> = self
            .config
            .namespaces
            .iter()
            .map(|name| format!("/namespaces/{name}"))
            .collect();
        if fields.is_empty() {
            fields.push(String::new());
        }
        // All of them: rights are granted for one namespace at a time.
        for field in fields {
            for (group, plural, selector) in lists.iter().chain(&custom) {
                let list = Resource {
                    path: format!("{group}{field}/{plural}"),
                    selector: selector.clone(),
                    form: Form::Metadata,
                };
                self.probe_list(&server, &list).await?;
            }
        }
        if let Some(selector) = &self.config.namespace_selector {
            let namespaces = Resource {
                path: "/api/v1/namespaces".to_owned(),
                selector: Some(selector.clone()),
                form: Form::Metadata,
            };
            self.probe_list(&server, &namespaces).await?;
        }
        Ok(())
    }

    /// What this view reads and the cluster does not serve, in a sentence; `None` where it serves everything.
    ///
    /// # Errors
    ///
    /// Where the cluster cannot be asked.
    pub async fn lacks(&self, view: &View) -> Result<Option<String>, RegistryError> {
        let Some(wanted) = view.wanted(&self.config) else {
            return Ok(None);
        };
        let server = Lease::new(self.server.clone());
        let found = offered::find(&server, None, &wanted, None, self.config.request_timeout).await;
        let found = found.map_err(|refusal| refusal.error)?;
        Ok(found.is_none().then(|| {
            let (plural, groups) = (wanted.plural, wanted.groups.join(", "));
            format!("the cluster serves no {plural} in {groups}: there are none until their definition is installed")
        }))
    }

    /// Reads one page: the head alone would say of a proxy in between that all is well.
    async fn probe_list(&self, server: &Lease, list: &Resource) -> Result<(), RegistryError> {
        let path = watch::first(list);
        let asked = format!("GET {}{path}", server.base());
        let Refusal { class, error } = match self.read(server, path, list.form).await {
            Ok(body) => return watch::is_list(&asked, &body),
            Err(refusal) => refusal,
        };
        Err(match class {
            Class::NotFound => {
                let text = format!("{asked}: 404, expected a list");
                RegistryError::new(ErrorKind::Configuration, text)
            }
            Class::Forbidden => {
                let text = format!("{} (needs {})", error.report(), watch::needed_role(list));
                RegistryError::new(error.kind(), text)
            }
            _ => error,
        })
    }

    /// The whole of a bounded answer.
    async fn read(&self, server: &Lease, path: String, form: Form) -> Result<Bytes, Refusal> {
        let ask = Ask {
            path,
            form,
            watch: false,
            patience: self.config.request_timeout,
        };
        read_whole(server, ask, self.config.max_page_bytes).await
    }
}

fn told(session: Session) -> EventStream {
    Box::pin(stream::try_unfold(session, |mut session| async move {
        Ok(Some((session.next_batch().await?, session)))
    }))
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
