//! What an operator may set on a registry's HTTP client.

use std::{path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use registry_core::duration;

use crate::error::Error;

/// Settings of one [`HttpClient`](crate::HttpClient), strict and with every default visible in its schema.
///
/// Credentials are not part of it: backends name their headers themselves, see
/// [`CredentialConfig`](crate::CredentialConfig).
///
/// ```
/// let config: registry_http::HttpConfig = serde_json::from_str(
///     r#"{ "request_timeout": "5s", "tls": { "ca_file": "/etc/registryd/ca.pem" } }"#,
/// ).unwrap();
/// assert_eq!(config.request_timeout.as_secs(), 5);
/// assert_eq!(config.max_connections, 80);
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// TLS of `https` URLs.
    pub tls: TlsConfig,
    /// Longest time for one dial: name look-up, TCP and TLS handshake together.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub connect_timeout: Duration,
    /// Hard deadline of an ordinary request, body included; long polls bring their own.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub request_timeout: Duration,
    /// Largest answer body taken, in bytes after decompression.
    pub max_body_bytes: u64,
    /// Most TCP connections to one server over HTTP/1.1, idle ones included. Requests at once are a twentieth fewer:
    /// a dial may cross a connection that comes free.
    pub max_connections: usize,
    /// How many of them long polls leave to short reads.
    pub reserved_for_reads: usize,
    /// Most requests a second; absent: no limit.
    pub max_requests_per_second: Option<u32>,
    /// Most HTTP/2 connections to one server.
    pub max_http2_connections: usize,
    /// Most requests at once on one HTTP/2 connection; servers written in Go stop at 250 and let the rest wait.
    pub streams_per_connection: usize,
    /// The `User-Agent` header.
    pub user_agent: String,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            tls: TlsConfig::default(),
            connect_timeout: Duration::from_secs(2),
            request_timeout: Duration::from_secs(10),
            max_body_bytes: 64 * 1024 * 1024,
            max_connections: 80,
            reserved_for_reads: 4,
            max_requests_per_second: None,
            max_http2_connections: 64,
            streams_per_connection: 200,
            user_agent: concat!("registryd/", env!("CARGO_PKG_VERSION")).to_owned(),
        }
    }
}

/// Certificates of one client; the files are read again when they change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// PEM file of the authorities to trust, instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to the server, with `client_key_file`.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of that certificate's private key.
    pub client_key_file: Option<PathBuf>,
    /// Accept any server certificate. For tests only: the connection can then be read and changed on its way.
    pub insecure_skip_verify: bool,
}

// === impl HttpConfig ===

impl HttpConfig {
    /// Checks what types cannot: zeros and pairs that belong together.
    ///
    /// [`HttpClient::try_new`](crate::HttpClient::try_new) does so by itself; a configuration check may want it without
    /// a client.
    pub fn validate(&self) -> Result<(), Error> {
        let zero = [
            ("max_connections", self.max_connections == 0),
            ("max_body_bytes", self.max_body_bytes == 0),
            ("max_http2_connections", self.max_http2_connections == 0),
            ("streams_per_connection", self.streams_per_connection == 0),
            ("max_requests_per_second", self.max_requests_per_second == Some(0)),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("request_timeout", self.request_timeout.is_zero()),
        ];
        if let Some((field, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(config(field, "must be more than zero"));
        }
        if http::HeaderValue::from_str(&self.user_agent).is_err() {
            return Err(config(
                "user_agent",
                "holds characters that a header must not have",
            ));
        }
        match (&self.tls.client_cert_file, &self.tls.client_key_file) {
            (Some(_), None) => Err(config(
                "tls.client_key_file",
                "is needed beside tls.client_cert_file",
            )),
            (None, Some(_)) => Err(config(
                "tls.client_cert_file",
                "is needed beside tls.client_key_file",
            )),
            _ => Ok(()),
        }
    }
}

fn config(field: &str, reason: &str) -> Error {
    Error::Config {
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_are_refused() {
        let error = serde_json::from_str::<HttpConfig>(r#"{ "max_conections": 3 }"#).unwrap_err();
        assert!(error.to_string().contains("max_conections"), "{error}");
        assert!(serde_json::from_str::<HttpConfig>(r#"{ "tls": { "ca": "x" } }"#).is_err());
    }

    #[test]
    fn defaults_survive_a_round_trip_and_show_in_the_schema() {
        let text = serde_json::to_string(&HttpConfig::default()).unwrap();
        assert_eq!(
            serde_json::from_str::<HttpConfig>(&text).unwrap(),
            HttpConfig::default()
        );
        let schema = serde_json::to_value(schemars::schema_for!(HttpConfig)).unwrap();
        assert_eq!(schema["properties"]["connect_timeout"]["default"], "2s");
        assert_eq!(schema["properties"]["connect_timeout"]["type"], "string");
        assert_eq!(schema["properties"]["max_connections"]["default"], 80);
        assert_eq!(schema["additionalProperties"], false);
    }

    #[test]
    fn zeros_and_half_pairs_are_named() {
        let zero = HttpConfig {
            max_connections: 0,
            ..HttpConfig::default()
        };
        assert!(
            zero.validate()
                .unwrap_err()
                .to_string()
                .starts_with("max_connections:")
        );
        let half = HttpConfig {
            tls: TlsConfig {
                client_cert_file: Some("a.pem".into()),
                ..TlsConfig::default()
            },
            ..HttpConfig::default()
        };
        assert!(
            half.validate()
                .unwrap_err()
                .to_string()
                .starts_with("tls.client_key_file:")
        );
    }
}
