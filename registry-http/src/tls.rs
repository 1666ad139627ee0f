//! Certificates and keys, read again when their files change.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, ClientBuilder, Identity};
use tokio::time::Instant;

use crate::{
    config::TlsConfig,
    error::{Error, Source},
    stamp::FileStamp,
};

/// How often the files are looked at while requests are made.
const CHECK_EVERY: Duration = Duration::from_secs(2);

type Stamps = Vec<Option<FileStamp>>;

/// What the files held at one time; a client is built from it.
#[derive(Clone)]
pub(crate) struct Material {
    /// Grows with each change, so that a client can tell that it is outdated.
    pub(crate) generation: u64,
    authorities: Option<Vec<Certificate>>,
    identity: Option<Identity>,
    insecure: bool,
}

/// The files of one client.
pub(crate) struct Files {
    config: TlsConfig,
    held: Mutex<Held>,
    reading: tokio::sync::Mutex<()>,
}

struct Held {
    material: Arc<Material>,
    stamps: Stamps,
    checked: Instant,
}

// === impl Material ===

impl Material {
    fn read(config: &TlsConfig, generation: u64) -> Result<Self, Error> {
        let authorities = match &config.ca_file {
            None => None,
            Some(path) => {
                let pem = read("tls.ca_file", path)?;
                let unusable = |source: Source| setup("tls.ca_file", path, source);
                let authorities = Certificate::from_pem_bundle(&pem).map_err(|e| unusable(e.into()))?;
                if authorities.is_empty() {
                    return Err(unusable("it holds no PEM certificate".into()));
                }
                Some(authorities)
            }
        };
        let identity = match (&config.client_cert_file, &config.client_key_file) {
            (Some(certificate), Some(key)) => {
                let mut pem = read("tls.client_cert_file", certificate)?;
                pem.push(b'\n');
                pem.extend(read("tls.client_key_file", key)?);
                let unusable = |e: reqwest::Error| setup("tls.client_cert_file", certificate, e.into());
                Some(Identity::from_pem(&pem).map_err(unusable)?)
            }
            _ => None,
        };
        Ok(Self {
            generation,
            authorities,
            identity,
            insecure: config.insecure_skip_verify,
        })
    }

    pub(crate) fn apply(&self, mut builder: ClientBuilder) -> ClientBuilder {
        if let Some(authorities) = &self.authorities {
            builder = builder.tls_certs_only(authorities.iter().cloned());
        }
        if let Some(identity) = &self.identity {
            builder = builder.identity(identity.clone());
        }
        builder.tls_danger_accept_invalid_certs(self.insecure)
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Material")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

// === impl Files ===

impl Files {
    /// Reads all files; here a broken one is an error. `usable` tries what they hold.
    pub(crate) fn try_new(
        config: TlsConfig,
        usable: impl FnOnce(&Material) -> Result<(), Error>,
    ) -> Result<Self, Error> {
        if config.insecure_skip_verify {
            tracing::warn!("tls.insecure_skip_verify is set: any server certificate is accepted");
        }
        let stamps = stamps(&config);
        let material = Material::read(&config, 0)?;
        usable(&material)?;
        let held = Held {
            material: Arc::new(material),
            stamps,
            checked: Instant::now(),
        };
        Ok(Self {
            config,
            held: Mutex::new(held),
            reading: tokio::sync::Mutex::default(),
        })
    }

    /// What to build clients from; looks at the files now and then. A broken file keeps what was held.
    pub(crate) async fn material(
        self: &Arc<Self>,
        usable: impl FnOnce(&Material) -> Result<(), Error> + Send + 'static,
    ) -> Arc<Material> {
        if self.has_files()
            && self.held().checked.elapsed() >= CHECK_EVERY
            && let Ok(_reading) = self.reading.try_lock()
        {
            let files = self.clone();
            if let Err(error) = tokio::task::spawn_blocking(move || files.refresh(usable)).await {
                tracing::warn!(%error, "the TLS files could not be looked at");
            }
        }
        self.held().material.clone()
    }

    fn has_files(&self) -> bool {
        self.config.ca_file.is_some() || self.config.client_cert_file.is_some()
    }

    fn refresh(&self, usable: impl FnOnce(&Material) -> Result<(), Error>) {
        let stamps = stamps(&self.config);
        let generation = {
            let mut held = self.held();
            held.checked = Instant::now();
            if held.stamps == stamps {
                return;
            }
            held.material.generation + 1
        };
        let read = Material::read(&self.config, generation).and_then(|material| {
            usable(&material)?;
            Ok(material)
        });
        let mut held = self.held();
        // Kept also for what is broken: it is said once, and tried again when a file changes once more.
        held.stamps = stamps;
        match read {
            Ok(material) => {
                tracing::info!(generation, "TLS files changed, new connections use them");
                held.material = Arc::new(material);
            }
            Err(error) => {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                tracing::warn!(%error, cause, "keeping the last good TLS files");
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

fn stamps(config: &TlsConfig) -> Stamps {
    [&config.ca_file, &config.client_cert_file, &config.client_key_file]
        .into_iter()
        .map(|path| path.as_ref().and_then(|path| FileStamp::of(path).ok()))
        .collect()
}

fn read(field: &'static str, path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::File {
        field,
        path: path.to_owned(),
        source,
    })
}

pub(crate) fn setup(field: &str, path: &Path, source: Source) -> Error {
    Error::TlsSetup {
        field: format!("{field} {}", path.display()),
        source,
    }
}
