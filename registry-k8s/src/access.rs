//! How a cluster is reached: kubeconfigs, service accounts, tokens, proxies.
//!
//! ```text
//!  source ──▶ kubeconfig ─┐ stamp: has a file changed?
//!  (which file, Secret,   ├─▶ session: a client with the credentials of one moment
//!   service account)      │
//!         plugin, proxy ──┘          ▲ renewal: one at a time, built anew on 401, expiry, change
//!                                    │
//!  Transport::get ── ApiServer ──────┘──▶ body, cause
//!                      └─ lease: for as long as there is one, the client stays
//! ```
//!
//! TLS takes the process-wide cryptography provider of rustls. Where a program compiles one of them alone (this crate
//! brings `ring`), that is it; where several, the program has to install one at its start.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use http::{HeaderValue, Request, header};
use registry_core::{ErrorKind, RegistryError, async_trait, short};
use tokio::time::{Instant, timeout_at};

use self::body::Pieces;
use self::cause::Cause;
use self::environment::Environment;
pub(crate) use self::lease::Lease;
use self::renewal::{Missing, Pace, Renewal};
use self::session::{Session, Settings};
use self::source::Source;
use self::stamp::Stamps;
use crate::config::KubernetesConfig;
use crate::error::Error;
use crate::transport::{Ask, Body, Class, Form, Refusal, Transport};

mod body;
mod cause;
mod date;
mod environment;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod kubeconfig;
mod lease;
mod plugin;
mod proxy;
mod renewal;
mod session;
mod source;
mod stamp;
#[cfg(test)]
mod tests;

const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("registryd/", env!("CARGO_PKG_VERSION")));

const OBJECTS: HeaderValue = HeaderValue::from_static("application/json");

const METADATA: HeaderValue =
    HeaderValue::from_static("application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json");

const METADATA_LIST: HeaderValue = HeaderValue::from_static(
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
);

/// Bytes of an answer with an error that are read.
const ERROR_BODY: usize = 64 << 10;

/// How long the body of an error may take, within the patience of the request.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);

/// Where the address and the credentials of a cluster come from.
#[derive(Debug, Clone)]
pub(crate) enum Origin {
    /// As the fields `kubeconfig`, `context` and `in_cluster` say.
    Configured,
    /// The text of a kubeconfig, and where it is from, for messages. Its current context counts.
    Text {
        kubeconfig: Arc<secrecy::SecretString>,
        /// Where it is trusted, the path of a file: paths in the kubeconfig count from its directory.
        place: String,
        /// Whether it may name programs to run and files to read here.
        trusted: bool,
    },
}

impl Origin {
    /// Whether it leads to a server, in ways that it may use; nobody is asked. May read files, and block.
    pub(crate) fn check(self, config: &KubernetesConfig) -> Result<(), Error> {
        let source = Source::new(config, self, Environment::of_process());
        source.find(&mut Stamps::default()).map(drop)
    }
}

/// One cluster's API server, with credentials that are read again when they change, expire or are refused.
#[derive(Debug)]
pub(crate) struct ApiServer {
    renewal: Arc<Renewal>,
    /// Held once more by each body that is being read.
    live: Arc<()>,
    /// The URL that was asked last.
    base: Mutex<Arc<str>>,
}

impl ApiServer {
    /// Reads nothing yet.
    pub(crate) fn new(config: &KubernetesConfig, origin: Origin) -> Self {
        let pace = Pace {
            pause: Duration::from_secs(1),
            pause_after_failure: Duration::from_secs(5),
            look_every: Duration::from_secs(5),
        };
        let deadline = Duration::from_secs(30);
        Self::with(config, origin, Environment::of_process(), pace, deadline)
    }

    fn with(
        config: &KubernetesConfig,
        origin: Origin,
        environment: Environment,
        pace: Pace,
        deadline: Duration,
    ) -> Self {
        let settings = Settings {
            connect_timeout: config.connect_timeout,
            compression: config.compression,
            deadline,
        };
        let source = Source::new(config, origin, environment);
        Self {
            renewal: Arc::new(Renewal::new(source, settings, pace)),
            live: Arc::default(),
            base: Mutex::default(),
        }
    }

    /// The name of the cluster where the configuration gives none: that of the context, or `kubernetes` for the cluster
    /// that a Pod runs in.
    pub(crate) async fn cluster_name(&self) -> Result<String, Error> {
        let source = self.renewal.source().clone();
        let finding = tokio::task::spawn_blocking(move || source.find(&mut Stamps::default()));
        match finding.await {
            Ok(found) => Ok(found?.chosen.context),
            Err(_) => Err(kubeconfig::wrong("kubeconfig", "reading it was stopped")),
        }
    }

    /// What tells this cluster from another, without anything secret: the URL of its server, or, as long as that cannot
    /// be read, where it would be read from. Reads the kubeconfig, and nothing else.
    pub(crate) fn target(&self) -> String {
        self.renewal.source().target()
    }

    async fn attempt(&self, session: &Session, ask: &Ask, deadline: Instant) -> Result<Body, Refused> {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = session.base().into();
        let asked = format!("GET {}{}", session.base(), short(&ask.path, 300));
        let unreachable = |text: String| Refusal::trouble(RegistryError::new(ErrorKind::Unreachable, text));
        let request = request(ask).map_err(|error| {
            let text = format!("{asked}: no request can be made of it: {error}");
            Refusal::trouble(RegistryError::new(ErrorKind::Internal, text))
        })?;
        let response = match timeout_at(deadline, session.client().send(request)).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => {
                session.retire();
                let cause = Cause::of(&error);
                return Err(Refused {
                    refusal: unreachable(format!("{asked}: {}", cause.text)),
                    is_refused_certificate: cause.is_refused_certificate,
                });
            }
            Err(_) => {
                session.retire();
                let patience = registry_core::duration::format(ask.patience);
                return Err(unreachable(format!("{asked}: no answer within {patience}")).into());
            }
        };
        let (head, body) = response.into_parts();
        let pieces = Pieces::new(body, asked.clone(), self.live.clone());
        if head.status.is_success() {
            return Ok(Box::pin(pieces));
        }
        let retry_after = date::retry_after(&head.headers, SystemTime::now());
        let soon = deadline.min(Instant::now() + ERROR_BODY_TIME);
        let beginning = pieces.beginning(ERROR_BODY, soon).await;
        Err(Refusal::answered(&asked, Some(head.status.as_u16()), retry_after, &beginning).into())
    }

    /// A refusal of credentials, with where they are from, or the reason why there are no newer ones.
    fn explained(&self, refused: Refused, session: &Session) -> Refusal {
        let is_about_credentials =
            refused.is_refused_certificate || refused.refusal.class == Class::Unauthenticated;
        let Refusal { class, error } = refused.refusal;
        let error = match self.renewal.failed() {
            Some(failed) if is_about_credentials => {
                let text = format!("{error}; newer credentials cannot be read: {failed}");
                RegistryError::new(error.kind(), text).with_retry_after(error.retry_after())
            }
            None if is_about_credentials => {
                let text = format!("{error} (with the credentials of {})", session.place());
                RegistryError::new(error.kind(), text).with_retry_after(error.retry_after())
            }
            _ => error,
        };
        Refusal { class, error }
    }
}

#[async_trait]
impl Transport for ApiServer {
    async fn get(&self, ask: Ask) -> Result<Body, Refusal> {
        let deadline = Instant::now() + ask.patience;
        let session = self.renewal.session(deadline).await.map_err(|missing| {
            Refusal::trouble(match missing {
                Missing::Failed(error) => RegistryError::new(ErrorKind::Configuration, error.to_string()),
                Missing::Late => {
                    let patience = registry_core::duration::format(ask.patience);
                    let text = format!(
                        "GET {}: no credentials within {patience}, they are still awaited",
                        short(&ask.path, 300)
                    );
                    RegistryError::new(ErrorKind::Unreachable, text)
                }
            })
        })?;
        let refused = match self.attempt(&session, &ask, deadline).await {
            Ok(body) => return Ok(body),
            Err(refused) => refused,
        };
        let renewed = match refused.refusal.class {
            Class::Unauthenticated => self.renewal.renewed(&session, deadline).await,
            _ if refused.is_refused_certificate => self.renewal.renewed(&session, deadline).await,
            // Rights are granted and withdrawn while credentials stay the same: only files that changed are read again.
            Class::Forbidden => {
                let pause = self.renewal.pause();
                self.renewal.renewed_if_changed(&session, pause, deadline).await
            }
            _ => None,
        };
        match renewed {
            Some(session) => {
                let again = self.attempt(&session, &ask, deadline).await;
                again.map_err(|refused| self.explained(refused, &session))
            }
            None => Err(self.explained(refused, &session)),
        }
    }

    fn base(&self) -> Arc<str> {
        self.base.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Answers that are being read: each has a connection of its own.
    fn connections(&self) -> u64 {
        Arc::strong_count(&self.live) as u64 - 1
    }
}

/// A refusal, and whether it is about our certificate.
struct Refused {
    refusal: Refusal,
    is_refused_certificate: bool,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self {
            refusal,
            is_refused_certificate: false,
        }
    }
}

fn request(ask: &Ask) -> Result<Request<kube::client::Body>, http::Error> {
    let accept = match (ask.form, ask.watch) {
        (Form::Object, _) => OBJECTS,
        (Form::Metadata, true) => METADATA,
        (Form::Metadata, false) => METADATA_LIST,
    };
    let mut request = Request::get(&ask.path)
        .header(header::ACCEPT, accept)
        .header(header::USER_AGENT, USER_AGENT);
    if ask.watch {
        request = request.header(header::ACCEPT_ENCODING, "identity");
    }
    request.body(kube::client::Body::empty())
}
