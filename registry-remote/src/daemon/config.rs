//! What an operator may set.

use std::time::Duration;

use registry_core::duration;
use registry_http::{CredentialConfig, HttpConfig, bare_urls};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Settings of one registry that is another daemon, or several which have the same registries.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DaemonConfig {
    /// Base URLs of the API of daemons that have the same registries, the preferred one first.
    pub urls: Vec<String>,
    /// How to authenticate.
    pub credentials: CredentialConfig,
    /// How long nothing at all may come before the connection counts as dead. A daemon says something each 15 s.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub silence: Duration,
    /// The largest state taken, in bytes of JSON: about 600 for each endpoint. What `http.max_body_bytes` limits is one
    /// service.
    pub max_state_bytes: u64,
    /// The connection to the daemons: time limits, TLS, the largest service taken.
    pub http: HttpConfig,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            credentials: CredentialConfig::default(),
            silence: Duration::from_secs(40),
            max_state_bytes: 1 << 30,
            http: HttpConfig::default(),
        }
    }
}

impl DaemonConfig {
    /// What is watched, without secrets: the same text for the same daemons in any order.
    pub(crate) fn target(&self) -> String {
        bare_urls(self.urls.iter().map(String::as_str))
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.urls.is_empty() {
            return Err(Error::Config {
                field: "urls",
                problem: "found none, expected the URL of a daemon's API".to_owned(),
            });
        }
        if self.silence < Duration::from_secs(1) {
            return Err(Error::Config {
                field: "silence",
                problem: format!(
                    "found {}, expected at least 1s, and more than the 15s after which a daemon says something",
                    duration::format(self.silence)
                ),
            });
        }
        if self.max_state_bytes == 0 {
            return Err(Error::Config {
                field: "max_state_bytes",
                problem: "found 0, expected more".to_owned(),
            });
        }
        self.http.validate()?;
        Ok(())
    }
}
