//! What others publish: documents of HTTP service discovery, and other daemons.

use std::path::Path;

use registry_remote::{DaemonConfig, DaemonRegistry, Error, HttpSdConfig, HttpSdRegistry};

use super::{Built, Kind, Wrong, certificates, named, secrets, unnamed, with_credentials};

impl Kind for HttpSdConfig {
    fn resolve_paths(&mut self, base: &Path) {
        let secrets = secrets(&mut self.credentials);
        for file in certificates(&mut self.http).chain(secrets).chain(&mut self.files) {
            crate::config::resolve(file, base);
        }
    }

    fn validate(&self) -> Option<Wrong> {
        Some(wrong(&HttpSdRegistry::try_new(self.clone()).err()?))
    }

    fn build(&self) -> Result<Built, String> {
        let registry = HttpSdRegistry::try_new(self.clone());
        registry.map(Built::one).map_err(|error| error.to_string())
    }
}

impl Kind for DaemonConfig {
    fn resolve_paths(&mut self, base: &Path) {
        for file in certificates(&mut self.http).chain(secrets(&mut self.credentials)) {
            crate::config::resolve(file, base);
        }
    }

    fn validate(&self) -> Option<Wrong> {
        Some(wrong(&DaemonRegistry::try_new(self.clone()).err()?))
    }

    fn build(&self) -> Result<Built, String> {
        let registry = DaemonRegistry::try_new(self.clone());
        registry.map(Built::one).map_err(|error| error.to_string())
    }
}

fn wrong(error: &Error) -> Wrong {
    match error {
        Error::Config { field, problem } => named((*field).to_owned(), problem),
        Error::Http(registry_http::Error::Config { field, reason }) => with_credentials(field, reason),
        other => unnamed(&other.to_string()),
    }
}
