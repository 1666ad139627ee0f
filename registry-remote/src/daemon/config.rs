//! What an operator may set.

use std::time::Duration;

use registry_core::duration;
use registry_http::{CredentialConfig, HttpConfig, bare_url};
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
    /// The connection to the daemons: time limits, TLS, the largest state taken.
    pub http: HttpConfig,
}

impl Default for DaemonConfig {
    fn default() -> Self {
        Self {
            urls: Vec::new(),
            credentials: CredentialConfig::default(),
            silence: Duration::from_secs(40),
            http: HttpConfig::default(),
        }
    }
}

impl DaemonConfig {
    /// What is watched, without secrets: the same text for the same daemons in any order.
    pub(crate) fn target(&self) -> String {
        let mut urls: Vec<String> = self.urls.iter().map(|url| bare_url(url)).collect();
        urls.sort_unstable();
        urls.dedup();
        urls.join(" ")
    }

    pub(crate) fn validate(&self) -> Result<(), Error> {
        if self.urls.is_empty() {
            return Err(Error::Config {
                field: "urls",
                problem: "found none, expected the URL of a daemon's API".to_owned(),
            });
        }
        self.http.validate()?;
        Ok(())
    }
}
