//! The log, which goes to standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::{LogConfig, LogFormat};
use crate::error::Error;

/// The variable that goes before the configured level.
const VARIABLE: &str = "REGISTRYD_LOG";

/// Starts to log.
pub(super) fn start(config: &LogConfig) -> Result<(), Error> {
    let level = std::env::var(VARIABLE).ok().filter(|level| !level.is_empty());
    let filter = match &level {
        Some(level) => EnvFilter::try_new(level).map_err(|error| {
            Error::Usage(format!("{VARIABLE}: found {level:?}, expected a level ({error})"))
        })?,
        None => EnvFilter::new(&config.level.0),
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
