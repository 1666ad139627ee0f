//! Settings that both registries have.

use std::path::Path;
use std::time::Duration;

use http::HeaderName;
use registry_core::Pattern;
use registry_http::{Credential, Placement};

use crate::error::Error;

/// The URLs to ask, the preferred one first.
pub(crate) fn urls(address: Option<&str>, addresses: &[String], default: &str) -> Vec<String> {
    match (address, addresses.is_empty()) {
        (Some(address), _) => vec![address.to_owned()],
        (None, false) => addresses.to_vec(),
        (None, true) => vec![default.to_owned()],
    }
}

/// The token, in the header where this API wants it.
pub(crate) fn credential(file: Option<&Path>, variable: Option<&str>, header: HeaderName) -> Credential {
    let placement = Placement::Header(header);
    match (file, variable) {
        (Some(path), _) => Credential::from_file(path, placement),
        (None, Some(name)) => Credential::from_env(name, placement),
        (None, None) => Credential::none(),
    }
}

/// True where a service of that name is to be watched.
pub(crate) fn matches(name: &str, wanted: &[String], excluded: &[String]) -> bool {
    let any = |patterns: &[String]| {
        patterns
            .iter()
            .any(|pattern| Pattern::new(pattern.as_str()).matches(name))
    };
    (wanted.is_empty() || any(wanted)) && !any(excluded)
}

pub(crate) fn check_addresses(
    address: Option<&str>,
    addresses: &[String],
    default: &str,
) -> Result<(), Error> {
    let wrong = |field, problem: String| Err(Error::Config { field, problem });
    if address.is_some() && !addresses.is_empty() {
        return wrong(
            "addresses",
            "found beside `address`, expected one of the two".to_owned(),
        );
    }
    let known = |url: &String| {
        ["http://", "https://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
    };
    if urls(address, addresses, default).iter().all(known) {
        return Ok(());
    }
    // The URL itself is not shown: it may hold a password.
    wrong(
        if address.is_some() { "address" } else { "addresses" },
        format!("found a URL without http:// or https://, expected {default}"),
    )
}

pub(crate) fn check_token(file: Option<&Path>, variable: Option<&str>) -> Result<(), Error> {
    if file.is_some() && variable.is_some() {
        return Err(Error::Config {
            field: "token_env",
            problem: "found beside `token_file`, expected one of the two".to_owned(),
        });
    }
    Ok(())
}

/// How long it may take until a parked query was answered: servers add up to a sixteenth of the wait to it, at random.
pub(crate) fn freshness_bound(wait: Duration) -> Duration {
    wait + wait / 16 + Duration::from_secs(10)
}

#[cfg(test)]
mod tests {
    use registry_core::ServiceRegistry;

    use super::*;
    use crate::{ConsulConfig, ConsulRegistry, NomadConfig, NomadRegistry};

    #[test]
    fn a_poll_that_the_server_parks_for_a_sixteenth_longer_is_within_its_bound() {
        registry_testkit::init_tls();
        let wait = Duration::from_secs(320);
        let consul = ConsulRegistry::try_new(ConsulConfig {
            wait,
            ..ConsulConfig::default()
        });
        let nomad = NomadRegistry::try_new(NomadConfig {
            wait,
            ..NomadConfig::default()
        });
        let bounds = [
            consul.unwrap().freshness_bound(),
            nomad.unwrap().freshness_bound(),
        ];
        assert_eq!(bounds, [Duration::from_secs(350); 2]);
    }
}
