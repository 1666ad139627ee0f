//! The `registryd` binary.

use std::process::ExitCode;

use anyhow::anyhow;
use clap::Parser;
use registryd::cli::Cli;

fn main() -> ExitCode {
    match start() {
        Ok(code) => code,
        Err(error) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn start() -> anyhow::Result<ExitCode> {
    // Before anything can ask for TLS.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow!("another TLS provider is installed already"))?;
    Ok(match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for line in error.report().lines() {
                complain(line);
            }
            ExitCode::from(error.exit_code())
        }
    })
}

fn complain(line: &str) {
    eprintln!("error: {line}");
}
