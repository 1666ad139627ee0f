//! An agent that gives out certificates by SDS at a Unix socket, as SPIRE's does: state of the world, each stream by name.
//!
//! ```text
//!  a test ── set ──▶ Agent ── the secrets that a stream names, and again when they change ──▶ Envoy
//!                      └ seen: what was asked for, and what was refused
//! ```

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use envoy_types::pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate, secret,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_types::pb::google::protobuf::Any;
use futures_util::{Stream, stream};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Name;
use tokio::net::UnixListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tonic::codegen::Service;
use tonic::{Request, Response, Status, Streaming};

use crate::Error;
use crate::upstream::Identity;

/// An agent. Dropping it ends its streams.
#[derive(Debug)]
pub struct Agent {
    shared: Arc<Shared>,
    _serving: DropGuard,
}

/// What an [`Agent`] was asked so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AgentSeen {
    /// The names of all secrets that were ever asked for.
    pub asked: BTreeSet<String>,
    /// Responses that were taken.
    pub taken: u64,
    /// What was said of those that were not.
    pub refused: Vec<String>,
}

#[derive(Debug, Default)]
struct Shared {
    secrets: watch::Sender<Vec<Secret>>,
    seen: Mutex<AgentSeen>,
}

/// The secret of that name with a certificate and its key.
#[must_use]
pub fn certificate(name: &str, identity: &Identity) -> Secret {
    let certificate = TlsCertificate {
        certificate_chain: Some(inline(&identity.certificate)),
        private_key: Some(inline(&identity.key)),
        ..TlsCertificate::default()
    };
    named(name, secret::Type::TlsCertificate(certificate))
}

/// The secret of that name with the certificates (PEM) of authorities.
#[must_use]
pub fn authorities(name: &str, certificates: &str) -> Secret {
    let context = CertificateValidationContext {
        trusted_ca: Some(inline(certificates)),
        ..CertificateValidationContext::default()
    };
    named(name, secret::Type::ValidationContext(context))
}

/// The same for one trust domain, in the form in which SPIRE has it for Envoy: checked by Envoy's validator of SPIFFE.
#[must_use]
pub fn trust_domain(name: &str, domain: &str, certificates: &str) -> Secret {
    let config = SpiffeCertValidatorConfig {
        trust_domains: vec![TrustDomain {
            name: domain.to_owned(),
            trust_bundle: Some(inline(certificates)),
            ..TrustDomain::default()
        }],
        ..SpiffeCertValidatorConfig::default()
    };
    let context = CertificateValidationContext {
        custom_validator_config: Some(TypedExtensionConfig {
            name: "envoy.tls.cert_validator.spiffe".to_owned(),
            typed_config: Some(any(&config)),
        }),
        ..CertificateValidationContext::default()
    };
    named(name, secret::Type::ValidationContext(context))
}

// === impl Agent ===

impl Agent {
    /// Starts one with these secrets at that socket, where one that is gone may have left its own.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when there cannot be a socket.
    pub fn start_at(socket: &Path, secrets: impl IntoIterator<Item = Secret>) -> Result<Self, Error> {
        match std::fs::remove_file(socket) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(Error::file("cannot remove", socket)(error));
            }
            _ => {}
        }
        let listener = UnixListener::bind(socket).map_err(Error::file("cannot listen at", socket))?;
        let shared = Arc::new(Shared::default());
        shared.secrets.send_replace(secrets.into_iter().collect());
        let serving = CancellationToken::new();
        let service = SecretDiscoveryServiceServer::new(Streams(shared.clone()));
        let accepting = accept(listener, service, serving.clone());
        tokio::spawn(serving.clone().run_until_cancelled_owned(accepting));
        Ok(Self {
            shared,
            _serving: serving.drop_guard(),
        })
    }

    /// These are all secrets now.
    pub fn set(&self, secrets: impl IntoIterator<Item = Secret>) {
        self.shared.secrets.send_replace(secrets.into_iter().collect());
    }

    /// What it was asked so far.
    #[must_use]
    pub fn seen(&self) -> AgentSeen {
        self.shared.seen().clone()
    }
}

impl Shared {
    fn seen(&self) -> MutexGuard<'_, AgentSeen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, request: &DiscoveryRequest) {
        let mut seen = self.seen();
        seen.asked.extend(request.resource_names.iter().cloned());
        match &request.error_detail {
            Some(error) => seen.refused.push(error.message.clone()),
            None => seen.taken += u64::from(!request.response_nonce.is_empty()),
        }
    }
}

/// Serves all who come, each until it is told to stop.
async fn accept(
    listener: UnixListener,
    service: SecretDiscoveryServiceServer<Streams>,
    serving: CancellationToken,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let service = service.clone();
        let answer = service_fn(move |request| service.clone().call(request));
        let connection =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), answer);
        tokio::spawn(serving.clone().run_until_cancelled_owned(connection));
    }
}

/// The service.
struct Streams(Arc<Shared>);

/// One stream.
struct Conversation {
    shared: Arc<Shared>,
    names: Vec<String>,
    sent: Vec<Secret>,
    responses: u64,
}

impl Conversation {
    /// Goes on until the client ends it, or nobody reads any more.
    async fn go_on(
        mut self,
        mut requests: Streaming<DiscoveryRequest>,
        answers: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    ) {
        let mut secrets = self.shared.secrets.subscribe();
        loop {
            tokio::select! {
                request = requests.message() => {
                    let Ok(Some(request)) = request else { return };
                    self.shared.note(&request);
                    self.names = request.resource_names;
                }
                changed = secrets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
            }
            let wanted = |secret: &&Secret| self.names.contains(&secret.name);
            let now: Vec<Secret> = secrets
                .borrow_and_update()
                .iter()
                .filter(wanted)
                .cloned()
                .collect();
            if now == self.sent {
                continue;
            }
            self.responses += 1;
            let response = DiscoveryResponse {
                version_info: self.responses.to_string(),
                nonce: self.responses.to_string(),
                type_url: Secret::type_url(),
                resources: now.iter().map(any).collect(),
                ..DiscoveryResponse::default()
            };
            self.sent = now;
            if answers.send(Ok(response)).await.is_err() {
                return;
            }
        }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl SecretDiscoveryService for Streams {
    type DeltaSecretsStream = Answers<DeltaDiscoveryResponse>;
    type StreamSecretsStream = Answers<DiscoveryResponse>;

    async fn delta_secrets(
        &self,
        _: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("SPIRE has no delta either"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (answers, said) = mpsc::channel(1);
        let conversation = Conversation {
            shared: self.0.clone(),
            names: Vec::new(),
            sent: Vec::new(),
            responses: 0,
        };
        tokio::spawn(conversation.go_on(request.into_inner(), answers));
        let said = stream::unfold(said, |mut said| async {
            let answer = said.recv().await?;
            Some((answer, said))
        });
        Ok(Response::new(Box::pin(said)))
    }

    async fn fetch_secrets(
        &self,
        _: Request<DiscoveryRequest>,
    ) -> Result<Response<DiscoveryResponse>, Status> {
        Err(Status::unimplemented("nobody asks in this way"))
    }
}

fn named(name: &str, content: secret::Type) -> Secret {
    Secret {
        name: name.to_owned(),
        r#type: Some(content),
    }
}

fn inline(text: &str) -> DataSource {
    DataSource {
        specifier: Some(data_source::Specifier::InlineString(text.to_owned())),
        ..DataSource::default()
    }
}

fn any<M: Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}
