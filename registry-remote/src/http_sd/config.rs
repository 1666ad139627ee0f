//! What an operator may set.

use std::time::Duration;

use registry_core::duration;
use registry_http::{CredentialConfig, HttpConfig, bare_url};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Settings of one registry of targets, in the shape of Prometheus' HTTP SD and file SD.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpSdConfig {
    /// URL of the document.
    pub url: String,
    /// The time between two polls.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub interval: Duration,
    /// How to authenticate.
    pub credentials: CredentialConfig,
    /// The connection to the server: its time limits, TLS, the largest document taken.
    pub http: HttpConfig,
}

impl Default for HttpSdConfig {
    fn default() -> Self {
        Self {
            url: String::new(),
            interval: Duration::from_secs(30),
            credentials: CredentialConfig::default(),
            http: HttpConfig::default(),
        }
    }
}

impl HttpSdConfig {
    /// What is watched, without secrets.
    pub(crate) fn target(&self) -> String {
        bare_url(&self.url)
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.url.is_empty() {
            return Err(Error::Config {
                field: "url",
                problem: "found none, expected the URL of a document".to_owned(),
            });
        }
        self.http.validate()?;
        Ok(())
    }
}
