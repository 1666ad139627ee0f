//! The daemon that the tests start: `registryd` by its library, as a program of this package.

use std::process::ExitCode;

use clap::Parser;
use registryd::cli::Cli;

fn main() -> ExitCode {
    // An error means that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {}", error.report());
            ExitCode::from(error.exit_code())
        }
    }
}
