//! Credentials: from a file, the environment, or the embedding program; sent, and shown nowhere.
//!
//! A value from a file is read again when the file changed (looked at every two seconds at most, and only while requests
//! are made), and any value at once when a server answers 401 or 403. A file that breaks after it was good leaves the
//! last good value in use, with one warning.

mod config;

pub use self::config::{BasicConfig, CredentialConfig};

use std::{
    fmt,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use base64::Engine;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::{error::Error, stamp::FileStamp};

/// How often a file is looked at while requests are made.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Far more than any header takes; protects against a path that points at something else.
const MAX_FILE: u64 = 64 * 1024;

/// Where a token goes in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Placement {
    /// `Authorization: Bearer <token>`.
    Bearer,
    /// The bare token in a header of its own, such as `X-Consul-Token`.
    Header(HeaderName),
}

/// What a client sends to show who it is. Cheap to clone; clones share what was read.
///
/// ```
/// use registry_http::{Credential, Placement};
///
/// let consul = http::HeaderName::from_static("x-consul-token");
/// let credential = Credential::from_file("/etc/registryd/consul.token", Placement::Header(consul));
/// assert!(!format!("{credential:?}").contains("Bearer"));
/// ```
#[derive(Clone, Default)]
pub struct Credential {
    inner: Option<Arc<Inner>>,
}

struct Inner {
    source: Source,
    shape: Shape,
    held: Mutex<Held>,
    /// Only one reader at a time; the others go on with what is held.
    reading: tokio::sync::Mutex<()>,
}

enum Source {
    Literal(SecretString),
    File(PathBuf),
    Env(String),
}

enum Shape {
    Token(Placement),
    Basic { username: String },
}

#[derive(Default)]
struct Held {
    value: Option<HeaderValue>,
    stamp: Option<FileStamp>,
    read: Option<Instant>,
    checked: Option<Instant>,
    warned: bool,
}

// === impl Credential ===

impl Credential {
    /// Nothing is sent.
    pub fn none() -> Self {
        Self::default()
    }

    /// A token that the embedding program holds.
    pub fn from_token(token: SecretString, placement: Placement) -> Self {
        Self::of(Source::Literal(token), Shape::Token(placement))
    }

    /// A token in a file; line ends at its end are not part of it.
    pub fn from_file(path: impl Into<PathBuf>, placement: Placement) -> Self {
        Self::of(Source::File(path.into()), Shape::Token(placement))
    }

    /// A token in an environment variable.
    pub fn from_env(name: impl Into<String>, placement: Placement) -> Self {
        Self::of(Source::Env(name.into()), Shape::Token(placement))
    }

    /// Basic authentication with a password that the embedding program holds.
    pub fn basic(username: impl Into<String>, password: SecretString) -> Self {
        Self::of(
            Source::Literal(password),
            Shape::Basic {
                username: username.into(),
            },
        )
    }

    /// Basic authentication with a password in a file.
    pub fn basic_from_file(username: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::of(
            Source::File(path.into()),
            Shape::Basic {
                username: username.into(),
            },
        )
    }

    /// Basic authentication with a password in an environment variable.
    pub fn basic_from_env(username: impl Into<String>, name: impl Into<String>) -> Self {
        Self::of(
            Source::Env(name.into()),
            Shape::Basic {
                username: username.into(),
            },
        )
    }

    /// Whether nothing is sent.
    pub fn is_none(&self) -> bool {
        self.inner.is_none()
    }

    /// Reads the value once, so that a configuration check can name a missing file or variable.
    pub async fn check(&self) -> Result<(), Error> {
        self.header().await.map(drop)
    }

    fn of(source: Source, shape: Shape) -> Self {
        let inner = Inner {
            source,
            shape,
            held: Mutex::default(),
            reading: tokio::sync::Mutex::default(),
        };
        Self {
            inner: Some(Arc::new(inner)),
        }
    }

    /// Whether the `Authorization` header is taken.
    pub(crate) fn uses_authorization(&self) -> bool {
        self.inner
            .as_ref()
            .is_some_and(|inner| inner.header_name() == AUTHORIZATION)
    }

    /// The header to send, from what is held unless it is time to look.
    pub(crate) async fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, Error> {
        let Some(inner) = &self.inner else { return Ok(None) };
        let held = inner.held().value.clone();
        let value = match held {
            Some(value) if !inner.is_check_due() => value,
            Some(value) => match inner.reading.try_lock() {
                Ok(_reading) => inner.clone().refresh(false).await?,
                Err(_) => value,
            },
            None => {
                let _reading = inner.reading.lock().await;
                // Many first requests wait here: the first of them reads for all.
                let held = inner.held().value.clone();
                match held {
                    Some(value) => value,
                    None => inner.clone().refresh(true).await?,
                }
            }
        };
        Ok(Some((inner.header_name(), value)))
    }

    /// After a 401 or 403 to a request of `sent`: reads again, and says whether another value would be sent now.
    pub(crate) async fn renewed(&self, refused: Option<&HeaderValue>, sent: Instant) -> bool {
        let Some(inner) = &self.inner else { return false };
        let _reading = inner.reading.lock().await;
        let already = inner.held().read.is_some_and(|read| read > sent);
        let value = if already {
            inner.held().value.clone()
        } else {
            inner.clone().refresh(true).await.ok()
        };
        value.is_some() && value.as_ref() != refused
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.inner {
            None => f.write_str("Credential(none)"),
            Some(inner) => write!(f, "Credential({} in {})", inner.origin(), inner.header_name()),
        }
    }
}

// === impl Inner ===

impl Inner {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn header_name(&self) -> HeaderName {
        match &self.shape {
            Shape::Token(Placement::Header(name)) => name.clone(),
            Shape::Token(Placement::Bearer) | Shape::Basic { .. } => AUTHORIZATION,
        }
    }

    fn origin(&self) -> String {
        match &self.source {
            Source::Literal(_) => "given value".to_owned(),
            Source::File(path) => format!("file {}", path.display()),
            Source::Env(name) => format!("environment variable {name}"),
        }
    }

    fn is_check_due(&self) -> bool {
        matches!(self.source, Source::File(_))
            && self
                .held()
                .checked
                .is_none_or(|checked| checked.elapsed() >= CHECK_EVERY)
    }

    /// Looks at the source off the runtime's threads; `force` reads even where nothing seems changed.
    ///
    /// What fails now but was good before keeps the held value.
    async fn refresh(self: Arc<Self>, force: bool) -> Result<HeaderValue, Error> {
        let at = Instant::now();
        let inner = self.clone();
        let outcome = tokio::task::spawn_blocking(move || inner.read(force))
            .await
            .unwrap_or_else(|_| {
                Err(Error::Credential {
                    origin: self.origin(),
                    reason: "could not be read",
                    source: None,
                })
            });
        let mut held = self.held();
        held.checked = Some(at);
        match outcome {
            Ok(Some((value, stamp))) => {
                held.value = Some(value);
                held.stamp = stamp;
                held.read = Some(at);
                held.warned = false;
            }
            Ok(None) => held.warned = false,
            Err(error) => {
                if held.value.is_none() {
                    return Err(error);
                }
                if !held.warned {
                    held.warned = true;
                    tracing::warn!(%error, "keeping the last good credential");
                }
            }
        }
        held.value
            .clone()
            .ok_or_else(|| self.wrong("could not be read", None))
    }

    /// The value and its stamp, or `None` where the file did not change.
    fn read(&self, force: bool) -> Result<Option<(HeaderValue, Option<FileStamp>)>, Error> {
        let (secret, stamp) = match &self.source {
            Source::Literal(secret) => (secret.clone(), None),
            Source::Env(name) => match std::env::var(name) {
                Ok(value) => (SecretString::from(value), None),
                Err(std::env::VarError::NotPresent) => return Err(self.wrong("is not set", None)),
                Err(std::env::VarError::NotUnicode(_)) => return Err(self.wrong("is not text", None)),
            },
            Source::File(path) => {
                // Stat before reading: a write in between gives an old stamp, and so another look.
                let stamp = FileStamp::of(path).map_err(|e| self.wrong("cannot be read", Some(e)))?;
                if !force && self.held().stamp.as_ref() == Some(&stamp) {
                    return Ok(None);
                }
                (self.read_file(path)?, Some(stamp))
            }
        };
        let secret = secret.expose_secret().trim_end_matches(['\r', '\n']);
        if secret.trim().is_empty() {
            return Err(self.wrong("is empty", None));
        }
        let value = match &self.shape {
            Shape::Token(placement) => token_header(secret, placement),
            Shape::Basic { username } => basic_header(username, &SecretString::from(secret)),
        };
        Ok(Some((value.map_err(|reason| self.wrong(reason, None))?, stamp)))
    }

    fn read_file(&self, path: &Path) -> Result<SecretString, Error> {
        let mut text = String::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text));
        match read {
            Ok(_) => Ok(SecretString::from(text)),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => Err(self.wrong("is not text", None)),
            Err(e) => Err(self.wrong("cannot be read", Some(e))),
        }
    }

    fn wrong(&self, reason: &'static str, source: Option<std::io::Error>) -> Error {
        Error::Credential {
            origin: self.origin(),
            reason,
            source,
        }
    }
}

fn token_header(token: &str, placement: &Placement) -> Result<HeaderValue, &'static str> {
    let value = match placement {
        Placement::Bearer => HeaderValue::try_from(format!("Bearer {token}")),
        Placement::Header(_) => HeaderValue::try_from(token),
    };
    let mut value = value.map_err(|_| "holds characters that a header must not have")?;
    value.set_sensitive(true);
    Ok(value)
}

/// `Basic …` of a user and password (RFC 7617: the name ends at the first colon).
pub(crate) fn basic_header(username: &str, password: &SecretString) -> Result<HeaderValue, &'static str> {
    if username.contains(':') {
        return Err("must not have a colon in the user name");
    }
    let pair = format!("{username}:{}", password.expose_secret());
    let text = format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair));
    let mut value = HeaderValue::try_from(text).map_err(|_| "cannot be sent in a header")?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests;
