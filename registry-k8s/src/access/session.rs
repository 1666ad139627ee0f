//! A client with the credentials of one moment.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use kube::config::{AuthInfo, Cluster, ExecAuthCluster};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::Instant;

use super::kubeconfig::{Chosen, read_file, wrong};
use super::plugin;
use super::proxy;
use super::source::{Found, Source};
use super::stamp::Stamps;
use crate::error::Error;

/// Credentials are renewed so long before they expire, or after three quarters of their life.
const MARGIN: Duration = Duration::from_secs(60);

/// Settings of clients.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) connect_timeout: Duration,
    pub(super) compression: bool,
    /// How long files may take to be read, and a credential plug-in to answer.
    pub(super) deadline: Duration,
}

/// A client, and what has to be known to replace it in time.
pub(super) struct Session {
    client: Client,
    config: Config,
    place: String,
    base: String,
    built: Instant,
    renew_at: Option<Instant>,
    stamps: Stamps,
    is_retired: AtomicBool,
}

/// What files say.
struct Read {
    found: Found,
    stamps: Stamps,
    authorities: Option<Vec<Vec<u8>>>,
    token: Option<SecretString>,
}

impl Session {
    /// Reads everything, and runs the plug-in where there is one.
    pub(super) async fn build(source: &Source, settings: &Settings) -> Result<Self, Error> {
        let source = source.clone();
        let environment = source.environment().clone();
        let reading = tokio::time::timeout(settings.deadline, spawn_blocking(move || read(&source)));
        let read = match reading.await {
            Ok(read) => read.map_err(|error| stopped("kubeconfig", &error))??,
            Err(_) => return Err(wrong("kubeconfig", "its files cannot be read in time")),
        };
        let Found {
            place,
            chosen,
            server,
        } = read.found;
        let context = chosen.shown();
        let wrong = |problem: String| wrong(&place, format!("context {context:?}: {problem}"));
        let (auth, expires) = credentials(&chosen, read.token, settings.deadline)
            .await
            .map_err(wrong)?;

        let mut config = Config::new(server);
        config.proxy_url = proxy::choose(
            &config.cluster_url,
            chosen.cluster.proxy_url.as_deref(),
            &environment,
        )
        .map_err(wrong)?;
        config.auth_info = auth;
        config.root_cert = read.authorities;
        let has_tls = [Some(&config.cluster_url), config.proxy_url.as_ref()]
            .into_iter()
            .flatten()
            .any(|url| url.scheme_str() == Some("https"));
        if !has_tls {
            // Spares reading the authorities of the system, which nobody will ask for.
            config.root_cert.get_or_insert_default();
        }
        config.accept_invalid_certs = chosen.cluster.insecure_skip_tls_verify == Some(true);
        config.tls_server_name = chosen.cluster.tls_server_name.clone();
        config.connect_timeout = Some(settings.connect_timeout);
        // Watches are silent for as long as nothing happens; whoever reads them has a deadline of their own.
        config.read_timeout = None;
        config.disable_compression =
            !settings.compression || chosen.cluster.disable_compression == Some(true);
        // Attempts that are repeated in there would hide what the server says of its own state from who has to know.
        config.default_retry = false;
        Self::connect(config, place, expires.and_then(renewal), read.stamps).await
    }

    /// The same with connections of its own.
    pub(super) async fn again(&self) -> Result<Self, Error> {
        Self::connect(
            self.config.clone(),
            self.place.clone(),
            self.renew_at,
            self.stamps.clone(),
        )
        .await
    }

    async fn connect(
        config: Config,
        place: String,
        renew_at: Option<Instant>,
        stamps: Stamps,
    ) -> Result<Self, Error> {
        let base = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let given = config.clone();
        // Reads the authorities of the system where no other is given.
        let client = spawn_blocking(move || Client::try_from(given)).await;
        let client = client.map_err(|error| stopped(&place, &error))?;
        let client = client.map_err(|error| wrong(&place, setup_problem(&error)))?;
        Ok(Self {
            client,
            config,
            place,
            base,
            built: Instant::now(),
            renew_at,
            stamps,
            is_retired: AtomicBool::new(false),
        })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Where the credentials are from, for messages.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// The URL of the server, without a slash at its end.
    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn built(&self) -> Instant {
        self.built
    }

    /// The credentials are about to expire.
    pub(super) fn is_expiring(&self, now: Instant) -> bool {
        self.renew_at.is_some_and(|at| at <= now)
    }

    /// Its idle connections may be dead without knowing: none of them is used for another request.
    pub(super) fn retire(&self) {
        self.is_retired.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.is_retired.load(Ordering::Relaxed)
    }

    /// Whether a file that it comes from is another one by now. Blocks.
    pub(super) fn is_outdated(&self) -> bool {
        self.stamps.are_outdated()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("base", &self.base)
            .finish_non_exhaustive()
    }
}

/// Reads the kubeconfig and the files that it names. Blocks.
fn read(source: &Source) -> Result<Read, Error> {
    let mut stamps = Stamps::default();
    let found = source.find(&mut stamps)?;
    let (cluster, user) = (&found.chosen.cluster, &found.chosen.user);
    let named = [
        &cluster.certificate_authority,
        &user.token_file,
        &user.client_certificate,
        &user.client_key,
    ];
    for path in named.into_iter().flatten() {
        stamps.add(path.as_ref());
    }
    let context = found.chosen.shown();
    let wrong = |problem: String| wrong(&found.place, format!("context {context:?}: {problem}"));
    let authorities = authorities(cluster).map_err(wrong)?;
    let token = token(user).map_err(wrong)?;
    Ok(Read {
        found,
        stamps,
        authorities,
        token,
    })
}

/// The certificates that the kubeconfig trusts; `None` where it says nothing of it, which leaves those of the system.
fn authorities(cluster: &Cluster) -> Result<Option<Vec<Vec<u8>>>, String> {
    let (field, pem) = match (
        &cluster.certificate_authority_data,
        &cluster.certificate_authority,
    ) {
        (Some(_), _) => {
            let field = "certificate-authority-data";
            // Decodes that field.
            let read = ExecAuthCluster::try_from(cluster)
                .map_err(|_| format!("{field}: found no base64, expected certificates in PEM, in base64"))?;
            (
                field.to_owned(),
                read.certificate_authority_data.unwrap_or_default(),
            )
        }
        (None, Some(path)) => {
            let field = format!("certificate-authority {path}");
            let read = read_file(path.as_ref()).map_err(|problem| format!("{field}: {problem}"))?;
            (field, read)
        }
        (None, None) => return Ok(None),
    };
    let certificates: Result<Vec<Vec<u8>>, _> = CertificateDer::pem_slice_iter(&pem)
        .map(|certificate| certificate.map(|certificate| certificate.to_vec()))
        .collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(Some(certificates)),
        _ => Err(format!(
            "{field}: found no certificate, expected one or several in PEM"
        )),
    }
}

/// The token that is sent; one in a file comes before one in the kubeconfig, which may be from before the file's first.
fn token(user: &AuthInfo) -> Result<Option<SecretString>, String> {
    let (field, token) = match (&user.token_file, &user.token) {
        (Some(path), token) => {
            let field = format!("tokenFile {path}");
            let read =
                read_file(path.as_ref()).map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned());
            match (read, token) {
                (Ok(read), _) if !read.is_empty() => (field, SecretString::from(read)),
                (_, Some(token)) => ("token".to_owned(), token.clone()),
                (Ok(_), None) => return Err(format!("{field}: found nothing, expected a token")),
                (Err(problem), None) => return Err(format!("{field}: {problem}")),
            }
        }
        (None, Some(token)) => ("token".to_owned(), token.clone()),
        (None, None) => return Ok(None),
    };
    checked(token)
        .map(Some)
        .map_err(|problem| format!("{field}: {problem}"))
}

/// A token that can be sent in a header: the client library takes that for granted.
fn checked(token: SecretString) -> Result<SecretString, String> {
    if token.expose_secret().bytes().all(|c| c.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err("found blanks or other characters that no token has".to_owned())
    }
}

/// What proves who we are, without anything that would be read or run later, and when it expires.
async fn credentials(
    chosen: &Chosen,
    token: Option<SecretString>,
    deadline: Duration,
) -> Result<(AuthInfo, Option<SystemTime>), String> {
    let mut auth = chosen.user.clone();
    if auth.auth_provider.take().is_some() {
        return Err(
            "user.auth-provider: found one, expected `exec`: Kubernetes 1.26 has ended these providers"
                .to_owned(),
        );
    }
    if token.is_some() && auth.username.is_some() {
        return Err("user.username: found beside a token, expected one of the two".to_owned());
    }
    auth.token = token;
    auth.token_file = None;
    let exec = auth
        .exec
        .take()
        .filter(|_| auth.token.is_none() && auth.username.is_none());
    let Some(exec) = exec else {
        return Ok((auth, None));
    };
    let issued = plugin::run(&exec, &chosen.cluster, deadline)
        .await
        .map_err(|problem| format!("user.{problem}"))?;
    let token = issued.token.map(checked).transpose();
    auth.token = token.map_err(|problem| format!("user.exec: the token that it gave: {problem}"))?;
    if let Some(identity) = &issued.identity {
        let (certificate, key) = identity.encoded();
        auth.client_certificate_data = Some(certificate);
        auth.client_key_data = Some(key);
    }
    Ok((auth, issued.expires))
}

/// When to renew what expires then.
fn renewal(expires: SystemTime) -> Option<Instant> {
    let life = expires.duration_since(SystemTime::now()).unwrap_or_default();
    Instant::now().checked_add(life - MARGIN.min(life / 4))
}

/// Of the errors of the client library only those are shown whose text cannot hold anything secret.
fn setup_problem(error: &kube::Error) -> String {
    match error {
        kube::Error::RustlsTls(error) => format!("certificates: {error}"),
        kube::Error::InferKubeconfig(error) => format!("client certificate: {error}"),
        kube::Error::HttpError(_) => "user.as: found what cannot be sent in a header".to_owned(),
        _ => "the client cannot be set up".to_owned(),
    }
}

fn stopped(place: &str, error: &JoinError) -> Error {
    let why = if error.is_panic() {
        "the client cannot be set up: is a cryptography provider of rustls installed?"
    } else {
        "reading it was stopped"
    };
    wrong(place, why)
}
