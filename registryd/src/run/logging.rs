//! The log, which goes to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::error::Error;

/// The variable that goes before the configured level.
const VARIABLE: &str = "REGISTRYD_LOG";

/// What libraries log where the same is in the status of a registry, and in the log once for a row of failures:
/// `kube` logs each request that failed.
const SILENCED: &[(&str, &str)] = &[("kube_client", "kube_client::client::builder=off")];

/// The levels as set, and those of [`SILENCED`] libraries that are not mentioned.
fn with_silenced(levels: &str) -> String {
    let unmentioned = SILENCED.iter().filter(|(library, _)| !levels.contains(library));
    let silenced = unmentioned.map(|(_, directive)| *directive);
    silenced.chain([levels]).collect::<Vec<_>>().join(",")
}

/// Starts to log.
pub(super) fn start(config: &LogConfig) -> Result<(), Error> {
    let level = std::env::var(VARIABLE).ok().filter(|level| !level.is_empty());
    let filter = match &level {
        Some(level) => EnvFilter::try_new(with_silenced(level)).map_err(|error| {
            Error::Usage(format!("{VARIABLE}: found {level:?}, expected a level ({error})"))
        })?,
        None => EnvFilter::new(with_silenced(&config.level.0)),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal());
    // Somebody who embeds this may log already.
    let _ = match config.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_silenced_can_be_asked_for() {
        assert_eq!(with_silenced("info"), "kube_client::client::builder=off,info");
        assert_eq!(
            with_silenced("debug,kube_client=debug"),
            "debug,kube_client=debug"
        );
    }
}
