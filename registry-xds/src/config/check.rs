//! Settings that cannot be meant.

mod rules;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use registry_core::duration;

use super::{UpstreamTls, UpstreamTlsSource, XdsConfig};
use crate::error::Error;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A setting that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where it stands, below `xds`.
    pub path: Vec<FaultStep>,
    /// What stands there.
    pub found: String,
    /// What should stand there.
    pub expected: String,
}

/// A step on the way to a setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultStep {
    /// A key of a mapping, which may hold dots.
    Key(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

impl From<&str> for FaultStep {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for FaultStep {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl fmt::Display for FaultStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => write!(f, ".{key}"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

impl XdsConfig {
    /// Looks for settings that cannot be meant.
    ///
    /// # Errors
    ///
    /// The first one: its name, what was found, what was expected.
    pub fn check(&self) -> Result<(), Error> {
        match self.faults().into_iter().next() {
            None => Ok(()),
            Some(fault) => {
                let field: String = fault.path.iter().map(ToString::to_string).collect();
                Err(Error::Config {
                    field: field.trim_start_matches('.').to_owned(),
                    found: fault.found,
                    expected: fault.expected,
                })
            }
        }
    }

    /// All settings that cannot be meant.
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Faults::default();
        self.listener(&mut faults);
        self.numbers(&mut faults);
        for (key, patterns) in [
            ("services", &self.services),
            ("exclude_services", &self.exclude_services),
        ] {
            for (index, pattern) in patterns.iter().enumerate() {
                faults.host_pattern(&[key.into(), index.into()], pattern);
            }
        }
        self.local_ports(&mut faults);
        self.networks(&mut faults);
        rules::protocols(&self.protocols, &mut faults);
        rules::subsets(&self.subsets, &mut faults);
        rules::routes(&self.routes, &self.subsets, &mut faults);
        for (index, tls) in self.upstream_tls.iter().enumerate() {
            upstream_tls(&["upstream_tls".into(), index.into()], tls, &mut faults);
        }
        faults.0
    }

    fn listener(&self, faults: &mut Faults) {
        let client_ca = self.tls.as_ref().and_then(|tls| tls.client_ca.as_ref());
        if !self.listen.ip().to_canonical().is_loopback() && !self.insecure && client_ca.is_none() {
            faults.add(
                &["listen".into()],
                format!(
                    "{}, which other hosts can reach, without authentication",
                    self.listen
                ),
                "an address of this host such as 127.0.0.1:7381, or tls with client_ca, or insecure: true",
            );
        }
        if self.insecure && client_ca.is_some() {
            faults.add(
                &["insecure".into()],
                "true beside tls.client_ca",
                "either of the two",
            );
        }
        let Some(tls) = &self.tls else { return };
        let files = [("certificate", Some(&tls.certificate)), ("key", Some(&tls.key))];
        for (key, file) in files.into_iter().chain([("client_ca", tls.client_ca.as_ref())]) {
            if file.is_some_and(|file| file.as_os_str().is_empty()) {
                faults.add(
                    &["tls".into(), key.into()],
                    "nothing",
                    "the path of a file in PEM",
                );
            }
        }
        if !tls.clients.is_empty() && tls.client_ca.is_none() {
            faults.add(
                &["tls".into(), "clients".into()],
                "names of clients without client_ca",
                "client_ca as well, as nothing else proves a name",
            );
        }
        for (index, name) in tls.clients.iter().enumerate() {
            faults.word(
                &["tls".into(), "clients".into(), index.into()],
                name,
                "a pattern for names such as \"spiffe://mesh.internal/*\"",
            );
        }
    }

    fn numbers(&self, faults: &mut Faults) {
        faults.between(
            &["max_connection_age".into()],
            self.max_connection_age,
            SECOND,
            30 * DAY,
        );
        faults.between(
            &["connect_timeout".into()],
            self.connect_timeout,
            Duration::from_millis(1),
            Duration::from_secs(3600),
        );
        faults.port(&["outbound".into(), "listen".into()], self.outbound.listen);
        if let Some(outlier) = &self.outlier_detection {
            let path = |key: &str| ["outlier_detection".into(), key.into()];
            faults.at_least_1(&path("consecutive_5xx"), outlier.consecutive_5xx);
            let least = Duration::from_millis(1);
            faults.between(&path("interval"), outlier.interval, least, DAY);
            faults.between(
                &path("base_ejection_time"),
                outlier.base_ejection_time,
                least,
                DAY,
            );
            if outlier.max_ejection_percent > 100 {
                let found = outlier.max_ejection_percent.to_string();
                faults.add(&path("max_ejection_percent"), found, "a percentage from 0 to 100");
            }
        }
        let breakers = &self.circuit_breakers;
        for (key, number) in [
            ("connections", breakers.connections),
            ("pending_requests", breakers.pending_requests),
            ("requests", breakers.requests),
        ] {
            faults.at_least_1(&["circuit_breakers".into(), key.into()], number);
        }
    }

    fn local_ports(&self, faults: &mut Faults) {
        let mut taken = BTreeMap::from([(self.outbound.listen, "outbound.listen")]);
        for (key, place) in &self.local_ports {
            let path = ["local_ports".into(), FaultStep::Key(key.clone())];
            let (host, port) = key.split_once(':').unwrap_or((key, "80"));
            if !is_hostname(host) || !is_port(port) {
                let expected = "a hostname in lower case, or one with the number or name of a port such as \
                     cache.mesh.internal:6379";
                faults.add(&path, format!("the key {key:?}"), expected);
            }
            let address = place.address();
            faults.port(&path, address);
            if let Some(other) = taken.insert(address, key) {
                faults.add(
                    &path,
                    format!("{address}, which {other} has already"),
                    "an address and port that nothing else has",
                );
            }
        }
    }

    fn networks(&self, faults: &mut Faults) {
        for (name, network) in &self.networks {
            let path = |key: &str| vec!["networks".into(), FaultStep::Key(name.clone()), key.into()];
            if name.is_empty() {
                faults.add(&["networks".into()], "a network without a name", "a name");
            }
            if network.gateways.is_empty() {
                faults.add(
                    &path("gateways"),
                    "no gateway",
                    "at least one IP address and port",
                );
            }
            for (index, gateway) in network.gateways.iter().enumerate() {
                let mut path = path("gateways");
                path.push(index.into());
                faults.port(&path, *gateway);
                if gateway.ip().is_unspecified() {
                    faults.add(&path, gateway.to_string(), "an address that others can reach");
                }
                if network.gateways[..index].contains(gateway) {
                    faults.add(
                        &path,
                        format!("{gateway} for the second time"),
                        "each gateway once",
                    );
                }
            }
        }
    }
}

fn upstream_tls(at: &[FaultStep], tls: &UpstreamTls, faults: &mut Faults) {
    let path = |keys: &[&str]| -> Vec<FaultStep> {
        at.iter()
            .cloned()
            .chain(keys.iter().map(|key| FaultStep::from(*key)))
            .collect()
    };
    faults.host_pattern(&path(&["hosts"]), &tls.hosts);
    for (index, identity) in tls.identities.iter().enumerate() {
        let mut path = path(&["identities"]);
        path.push(index.into());
        let expected = "a pattern for identities such as \"spiffe://mesh.internal/web\"";
        faults.word(&path, identity, expected);
    }
    if let Some(name) = &tls.server_name
        && !is_hostname(&name.to_ascii_lowercase())
    {
        faults.add(&path(&["server_name"]), format!("{name:?}"), "a hostname");
    }
    match &tls.source {
        UpstreamTlsSource::Sds {
            cluster,
            certificate,
            validation,
        } => {
            for (key, value, expected) in [
                ("cluster", cluster, "the name of a cluster in Envoy's bootstrap"),
                ("certificate", certificate, "the name of a secret"),
                ("validation", validation, "the name of a secret"),
            ] {
                faults.word(&path(&["source", "sds", key]), value, expected);
            }
        }
        UpstreamTlsSource::Files { certificate, key, ca } => {
            for (name, file) in [("certificate", certificate), ("key", key), ("ca", ca)] {
                if !Path::new(file).is_absolute() {
                    faults.add(
                        &path(&["source", "files", name]),
                        format!("{:?}", file.display().to_string()),
                        "an absolute path, as it is read on the machines of the nodes",
                    );
                }
            }
        }
        UpstreamTlsSource::Provider { instance } => faults.word(
            &path(&["source", "provider", "instance"]),
            instance,
            "the name of a certificate provider in gRPC's bootstrap",
        ),
    }
}

/// What was found so far.
#[derive(Debug, Default)]
struct Faults(Vec<Fault>);

impl Faults {
    fn add(&mut self, path: &[FaultStep], found: impl Into<String>, expected: impl Into<String>) {
        self.0.push(Fault {
            path: path.to_vec(),
            found: found.into(),
            expected: expected.into(),
        });
    }

    fn host_pattern(&mut self, path: &[FaultStep], pattern: &str) {
        if !is_hostname(&pattern.replace('*', "x")) {
            self.add(
                path,
                format!("{pattern:?}"),
                "a hostname in lower case in which * stands for any run of characters, such as \"*.mesh.internal\"",
            );
        }
    }

    /// A name of something elsewhere.
    fn word(&mut self, path: &[FaultStep], word: &str, expected: &str) {
        if word.is_empty() || word.contains(|c: char| c.is_control() || c.is_whitespace()) {
            self.add(path, format!("{word:?}"), expected);
        }
    }

    fn port(&mut self, path: &[FaultStep], address: SocketAddr) {
        if address.port() == 0 {
            self.add(path, "port 0", "a port from 1 to 65535");
        }
    }

    fn at_least_1(&mut self, path: &[FaultStep], number: u32) {
        if number == 0 {
            self.add(path, "0", "a whole number from 1");
        }
    }

    fn between(&mut self, path: &[FaultStep], found: Duration, least: Duration, most: Duration) {
        if !(least..=most).contains(&found) {
            let expected = format!("{} to {}", duration::format(least), duration::format(most));
            self.add(path, duration::format(found), expected);
        }
    }
}

fn is_hostname(text: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'.' | b'-' | b'_');
    !text.is_empty() && text.bytes().all(fits)
}

/// The number of a port, or its name.
fn is_port(text: &str) -> bool {
    match text.parse::<u32>() {
        Ok(number) => (1..=65535).contains(&number),
        Err(_) => {
            !text.is_empty() && !text.contains(|c: char| c.is_control() || c.is_whitespace() || c == '|')
        }
    }
}

#[cfg(test)]
mod tests;
