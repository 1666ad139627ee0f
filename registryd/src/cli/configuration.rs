//! `config`: the configuration, its defaults and its schema.

use std::path::PathBuf;

use super::output::{print_json, print_yaml};
use super::{ConfigCommand, Output};
use crate::config::{self, Config, Shown, Source};
use crate::error::Error;

pub(super) fn show(command: &ConfigCommand) -> Result<(), Error> {
    match command {
        ConfigCommand::Defaults => {
            // Paths stay as they are written, relative to wherever somebody puts this.
            let source = Source::BuiltIn(PathBuf::new());
            print_yaml(&Shown::new(&config::load(&source)?))
        }
        ConfigCommand::Schema => {
            let schema = schemars::schema_for!(Config);
            print_json(&schema)
        }
        ConfigCommand::Show { config, output } => {
            let shown = Shown::new(&config::load(&config.source()?)?);
            match output {
                Output::Json => print_json(&shown),
                Output::Table | Output::Yaml => print_yaml(&shown),
            }
        }
    }
}
