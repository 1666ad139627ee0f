//! The server's certificates, read again when their files change, and who may connect.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use registry_core::{Pattern, short};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConfig};
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::config::TlsConfig;
use crate::error::Error;

/// How often the files are looked at, at most: when somebody connects.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How much is told of the names in a certificate.
const LONGEST_NAMES: usize = 500;

/// The certificates in force.
#[derive(Debug, Default)]
pub(super) struct Certificates {
    held: Mutex<Option<Held>>,
}

struct Held {
    config: TlsConfig,
    stamps: Stamps,
    checked: Instant,
    server: Arc<ServerConfig>,
}

/// What tells one state of the files from another.
type Stamps = Vec<Option<(Option<SystemTime>, u64, u64)>>;

impl Certificates {
    /// What to shake hands with now. Files that cannot be used any more leave what they held before, and are logged.
    ///
    /// # Errors
    ///
    /// Where they could not be used from the start on.
    pub(super) async fn acceptor(&self, config: &TlsConfig) -> Result<TlsAcceptor, Error> {
        let mut held = self.held.lock().await;
        if let Some(held) = &*held
            && held.config == *config
            && held.checked.elapsed() < CHECK_EVERY
        {
            return Ok(held.server.clone().into());
        }
        let wanted = config.clone();
        let known = held
            .as_ref()
            .filter(|held| held.config == *config)
            .map(|held| held.stamps.clone());
        let looked = tokio::task::spawn_blocking(move || look(&wanted, known.as_ref()));
        let (stamps, read) = looked.await.map_err(io::Error::other)?;
        let server = match (read, &*held) {
            (Some(Ok(server)), before) => {
                if before.is_some() {
                    tracing::info!("the certificates of the xDS server changed: new connections get them");
                }
                server
            }
            (None, Some(before)) => before.server.clone(),
            (Some(Err(error)), Some(before)) => {
                tracing::warn!(%error, "the xDS server keeps the certificates that it has");
                before.server.clone()
            }
            (Some(Err(error)), None) => return Err(error),
            (None, None) => return Err(io::Error::other("no certificates were read").into()),
        };
        *held = Some(Held {
            config: config.clone(),
            // Kept of what is broken too: it is said once, and tried again when it changes.
            stamps,
            checked: Instant::now(),
            server: server.clone(),
        });
        Ok(server.into())
    }
}

/// The stamps of the files, and what is in them where they are others than the known ones.
#[allow(clippy::type_complexity, reason = "a pair")]
fn look(config: &TlsConfig, known: Option<&Stamps>) -> (Stamps, Option<Result<Arc<ServerConfig>, Error>>) {
    let files = [
        Some(&config.certificate),
        Some(&config.key),
        config.client_ca.as_ref(),
    ];
    // Before they are read: what changes in between is read again next time.
    let stamps: Stamps = files
        .into_iter()
        .flatten()
        .map(|path| {
            let metadata = fs::metadata(path).ok()?;
            Some((metadata.modified().ok(), metadata.len(), metadata.ino()))
        })
        .collect();
    if known == Some(&stamps) {
        return (stamps, None);
    }
    (stamps, Some(read(config).map(Arc::new)))
}

fn read(config: &TlsConfig) -> Result<ServerConfig, Error> {
    let chain = certificates(&config.certificate)?;
    let key = fs::read(&config.key).map_err(|error| unusable(&config.key, error))?;
    // What a parser says of a key is not repeated: it might be part of it.
    let key =
        PrivateKeyDer::from_pem_slice(&key).map_err(|_| unusable(&config.key, "no private key in PEM"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&config.certificate, error))?;
    let builder = match &config.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut authorities = RootCertStore::empty();
            for certificate in certificates(path)? {
                authorities
                    .add(certificate)
                    .map_err(|error| unusable(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), provider)
                .build()
                .map_err(|error| unusable(path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder
        .with_single_cert(chain, key)
        .map_err(|error| unusable(&config.certificate, error))?;
    server.alpn_protocols = vec![b"h2".to_vec()];
    // Connections last. A session that is resumed would not be checked against authorities that changed.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.send_tls13_tickets = 0;
    Ok(server)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let pem = fs::read(path).map_err(|error| unusable(path, error))?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| unusable(path, error))?;
    if chain.is_empty() {
        return Err(unusable(path, "no certificate in PEM"));
    }
    Ok(chain)
}

#[allow(clippy::needless_pass_by_value, reason = "errors are mapped with it")]
fn unusable(path: &Path, problem: impl ToString) -> Error {
    Error::Tls {
        path: path.to_owned(),
        problem: problem.to_string(),
    }
}

/// The name that lets a client in: the first that a pattern fits, or just the first where there are no patterns; `None`
/// where neither a name nor a pattern is there.
///
/// # Errors
///
/// Why it may not have anything, with the names that were found.
pub(super) fn identify(
    certificate: Option<&CertificateDer<'_>>,
    patterns: &[String],
) -> Result<Option<String>, String> {
    let Some(certificate) = certificate else {
        return match patterns {
            [] => Ok(None),
            _ => Err("a client certificate is needed".to_owned()),
        };
    };
    let parsed = webpki::EndEntityCert::try_from(certificate)
        .map_err(|_| "the client certificate cannot be read".to_owned())?;
    let mut names = parsed.valid_uri_names().chain(parsed.valid_dns_names());
    if patterns.is_empty() {
        return Ok(names.next().map(|name| short(name, LONGEST_NAMES)));
    }
    let patterns: Vec<Pattern> = patterns
        .iter()
        .map(|pattern| Pattern::new(pattern.as_str()))
        .collect();
    let names: Vec<&str> = names.collect();
    match names
        .iter()
        .find(|name| patterns.iter().any(|pattern| pattern.matches(name)))
    {
        Some(name) => Ok(Some(short(name, LONGEST_NAMES))),
        None if names.is_empty() => Err("the client certificate has no URI and no DNS name".to_owned()),
        None => Err(format!(
            "no name of the client certificate is permitted: {}",
            short(&names.join(", "), LONGEST_NAMES)
        )),
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Held")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
