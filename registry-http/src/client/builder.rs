//! Putting a client together, with everything checked that can be checked without a server.

use std::{fmt, sync::Arc};

use super::{HttpClient, Inner, Observer};
use crate::{
    base::BaseUrl,
    config::HttpConfig,
    credential::Credential,
    error::Error,
    fail_over::Choice,
    rate::RateLimit,
    server::{Server, build},
    tls::Files,
};

/// Builds an [`HttpClient`].
///
/// ```no_run
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use registry_http::HttpClient;
///
/// # fn main() -> Result<(), registry_http::Error> {
/// let requests = Arc::new(AtomicU64::new(0));
/// let counter = requests.clone();
/// let client = HttpClient::builder(&["https://a:8501", "https://b:8501"])
///     .with_observer(Arc::new(move |_| { counter.fetch_add(1, Ordering::Relaxed); }))
///     .build()?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct HttpClientBuilder {
    urls: Vec<String>,
    config: HttpConfig,
    credential: Credential,
    observer: Option<Observer>,
}

// === impl HttpClientBuilder ===

impl HttpClientBuilder {
    pub(super) fn new(urls: Vec<String>) -> Self {
        Self {
            urls,
            config: HttpConfig::default(),
            credential: Credential::none(),
            observer: None,
        }
    }

    /// Sets the configuration.
    pub fn with_config(mut self, config: HttpConfig) -> Self {
        self.config = config;
        self
    }

    /// Sets what is sent to show who we are.
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.credential = credential;
        self
    }

    /// Sets what is told of each attempt, for metrics.
    pub fn with_observer(mut self, observer: Observer) -> Self {
        self.observer = Some(observer);
        self
    }

    /// Checks everything and builds the client; nothing is dialled and no credential is read.
    pub fn build(self) -> Result<HttpClient, Error> {
        // Without one the layers below would panic, whatever the URLs' scheme.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(Error::NoCryptoProvider);
        }
        self.config.validate()?;
        let config = Arc::new(self.config);
        let bases = self
            .urls
            .iter()
            .map(|url| BaseUrl::parse(url))
            .collect::<Result<Vec<_>, _>>()?;
        if bases.is_empty() {
            return Err(Error::Config {
                field: "url".to_owned(),
                reason: "at least one is needed".to_owned(),
            });
        }
        if self.credential.uses_authorization()
            && let Some(base) = bases.iter().find(|base| base.basic().is_some())
        {
            return Err(Error::Config {
                field: format!("url {:?}", base.redacted()),
                reason: "has a user name, but the credential uses the Authorization header too".to_owned(),
            });
        }
        let tls = Files::try_new(config.tls.clone(), |material| {
            build(&config, material, None).map(drop)
        })?;
        let servers: Vec<_> = bases
            .into_iter()
            .map(|base| Server::new(base, config.clone()))
            .collect();
        Ok(HttpClient {
            inner: Arc::new(Inner {
                choice: Choice::new(servers.len()),
                servers,
                rate: config.max_requests_per_second.map(RateLimit::new),
                config,
                tls: Arc::new(tls),
                credential: self.credential,
                observer: self.observer,
            }),
        })
    }
}

impl fmt::Debug for HttpClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientBuilder")
            .field("urls", &self.urls.len())
            .field("config", &self.config)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // No other test of this binary may install one; those that need it are in `tests/it`.
    #[test]
    fn without_a_tls_provider_there_is_an_error_and_no_panic() {
        let error = HttpClient::builder(&["http://127.0.0.1:8500"])
            .build()
            .unwrap_err();
        assert!(matches!(error, Error::NoCryptoProvider), "{error}");
        assert_eq!((error.kind(), error.is_retryable()), ("config", false));
    }
}
