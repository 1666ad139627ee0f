//! Settings that cannot be meant.

use super::XdsConfig;
use crate::error::Error;

impl XdsConfig {
    /// Looks for settings that cannot be meant.
    ///
    /// # Errors
    ///
    /// The first one: its name, what was found, what was expected.
    pub fn check(&self) -> Result<(), Error> {
        unimplemented!("daemon")
    }
}
