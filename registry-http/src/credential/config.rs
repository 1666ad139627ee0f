//! The configuration keys of credentials.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Credential, Placement};
use crate::error::Error;

/// Where a credential comes from, as a configuration says it: at most one of the three.
///
/// Backends that know only tokens may have these keys in their own configuration and use [`Credential`]'s constructors.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CredentialConfig {
    /// File that holds the token.
    pub token_file: Option<PathBuf>,
    /// Environment variable that holds the token.
    pub token_env: Option<String>,
    /// User name and password instead of a token.
    pub basic: Option<BasicConfig>,
}

/// User name and password; the password never stands in the configuration itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BasicConfig {
    /// The user's name.
    pub username: String,
    /// File that holds the password.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
    /// Environment variable that holds the password.
    #[serde(default)]
    pub password_env: Option<String>,
}

// === impl CredentialConfig ===

impl CredentialConfig {
    /// The credential it describes; `placement` is where this backend's servers look for tokens.
    pub fn credential(&self, placement: Placement) -> Result<Credential, Error> {
        match (&self.token_file, &self.token_env, &self.basic) {
            (None, None, None) => Ok(Credential::none()),
            (Some(path), None, None) => Ok(Credential::from_file(path, placement)),
            (None, Some(name), None) => Ok(Credential::from_env(name, placement)),
            (None, None, Some(basic)) => basic.credential(),
            _ => Err(wrong(
                "token_file",
                "only one of token_file, token_env and basic may be set",
            )),
        }
    }
}

impl BasicConfig {
    fn credential(&self) -> Result<Credential, Error> {
        if self.username.contains(':') {
            return Err(wrong("basic.username", "must not have a colon"));
        }
        match (&self.password_file, &self.password_env) {
            (Some(path), None) => Ok(Credential::basic_from_file(&self.username, path)),
            (None, Some(name)) => Ok(Credential::basic_from_env(&self.username, name)),
            _ => Err(wrong("basic", "needs either password_file or password_env")),
        }
    }
}

fn wrong(field: &str, reason: &str) -> Error {
    Error::Config {
        field: field.to_owned(),
        reason: reason.to_owned(),
    }
}
