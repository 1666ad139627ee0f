//! The kinds of registry: what each needs to be configured, checked and built.
//!
//! A new kind is a field of [`RegistryConfig`], an implementation of `Kind` and a line in `kinds!`.

#[cfg(feature = "kubernetes")]
mod kubernetes;
#[cfg(feature = "mcs")]
mod mcs;
mod members;
pub(crate) mod names;
#[cfg(feature = "remote")]
mod remote;

use std::path::Path;

use schemars::Schema;

pub use members::{Built, Member, MemberSet, Members};

use crate::config::{Config, RegistryConfig, StateDir};
use crate::error::Error;

/// A setting of a kind that cannot be used.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// The field, from the registry's entry on.
    pub(crate) field: String,
    pub(crate) found: String,
    pub(crate) expected: String,
}

/// The configuration of one kind of registry.
#[allow(dead_code, reason = "a build may have no kinds")]
trait Kind {
    /// Makes its paths relative to that directory.
    fn resolve_paths(&mut self, base: &Path);

    /// What is wrong with it; fields are its own.
    fn validate(&self) -> Option<Wrong>;

    /// What is wrong with local files that it reads.
    fn check_files(&self) -> Vec<String> {
        Vec::new()
    }

    /// True where it leads to several registries, which are named after it.
    fn has_members(&self) -> bool {
        false
    }

    /// The registry.
    fn build(&self) -> Result<Built, String>;
}

macro_rules! kinds {
    ($($feature:literal => $field:ident),+ $(,)?) => {
        /// The names of all kinds.
        pub const KINDS: &[&str] = &[$(#[cfg(feature = $feature)] stringify!($field)),+];

        #[allow(unused_variables, unused_mut, clippy::vec_init_then_push, reason = "a build may have few kinds")]
        fn set(registry: &RegistryConfig) -> Vec<(&'static str, &dyn Kind)> {
            let mut set: Vec<(&'static str, &dyn Kind)> = Vec::new();
            $(#[cfg(feature = $feature)] if let Some(kind) = &registry.$field { set.push((stringify!($field), kind)); })+
            set
        }

        /// Makes the paths of all registries relative to that directory.
        pub(crate) fn resolve_paths(config: &mut Config, base: &Path) {
            if let Some(file) = &mut config.http.token_file {
                crate::config::resolve(file, base);
            }
            #[cfg(feature = "xds")]
            if let Some(tls) = config.xds.as_mut().and_then(|xds| xds.tls.as_mut()) {
                for file in [&mut tls.certificate, &mut tls.key].into_iter().chain(&mut tls.client_ca) {
                    // One that is not named is an error, and not this directory.
                    if !file.as_os_str().is_empty() {
                        crate::config::resolve(file, base);
                    }
                }
            }
            if let StateDir::At(path) = &mut config.state_dir {
                crate::config::resolve(path, base);
            }
            #[allow(unused_variables, reason = "a build may have no kinds")]
            for registry in &mut config.registries {
                $(#[cfg(feature = $feature)] if let Some(kind) = &mut registry.$field { kind.resolve_paths(base); })+
            }
        }

        /// True where both are the same registry, whatever their part in the merge.
        #[allow(unused_variables, reason = "a build may have no kinds")]
        pub fn same_backend(a: &RegistryConfig, b: &RegistryConfig) -> bool {
            true $(&& { #[cfg(feature = $feature)] { a.$field == b.$field } #[cfg(not(feature = $feature))] { true } })+
        }
    };
}

kinds! {
    "file" => file,
    "consul" => consul,
    "nomad" => nomad,
    "eureka" => eureka,
    "kubernetes" => kubernetes,
    "mcs" => mcs,
    "remote" => http_sd,
    "remote" => registryd,
}

/// The kinds that an entry sets; it should be one.
pub fn kinds(registry: &RegistryConfig) -> Vec<&'static str> {
    set(registry).into_iter().map(|(name, _)| name).collect()
}

/// What is wrong with the settings of its kind.
pub(crate) fn validate(registry: &RegistryConfig) -> Vec<Wrong> {
    let named = |(name, kind): (&str, &dyn Kind)| {
        let wrong = kind.validate()?;
        let field = format!("{name}.{}", wrong.field);
        Some(Wrong { field, ..wrong })
    };
    set(registry).into_iter().filter_map(named).collect()
}

/// What is wrong with local files that the registry reads, one message each.
pub fn check_files(registry: &RegistryConfig) -> Vec<String> {
    set(registry)
        .into_iter()
        .flat_map(|(_, kind)| kind.check_files())
        .collect()
}

/// True where an entry leads to several registries, whose names begin with its own.
pub(crate) fn has_members(registry: &RegistryConfig) -> bool {
    set(registry).into_iter().any(|(_, kind)| kind.has_members())
}

/// Builds the registry. It dials nothing yet.
///
/// # Errors
///
/// Where its settings cannot be used.
pub fn build(registry: &RegistryConfig) -> Result<Built, Error> {
    let wrong = |problem| Error::Registry {
        name: registry.id().to_string(),
        problem,
    };
    match set(registry).as_slice() {
        [(_, kind)] => kind.build().map_err(wrong),
        _ => Err(wrong(format!("expected exactly one of {}", KINDS.join(", ")))),
    }
}

/// Says in the schema that an entry has exactly one kind.
pub(crate) fn one_kind(schema: &mut Schema) {
    let required: Vec<_> = KINDS
        .iter()
        .map(|kind| serde_json::json!({ "required": [kind] }))
        .collect();
    schema.insert("oneOf".to_owned(), required.into());
}

#[cfg(feature = "file")]
impl Kind for registry_file::FileConfig {
    fn resolve_paths(&mut self, base: &Path) {
        for path in self.path.iter_mut().chain(&mut self.paths) {
            if !path.as_os_str().is_empty() {
                crate::config::resolve(path, base);
            }
        }
    }

    fn validate(&self) -> Option<Wrong> {
        match self.validate().err()? {
            registry_file::Error::Config {
                field,
                found,
                expected,
            } => Some(Wrong {
                field: field.to_owned(),
                found,
                expected: expected.to_owned(),
            }),
            other => Some(unnamed(&other.report())),
        }
    }

    fn check_files(&self) -> Vec<String> {
        let errors = registry_file::FileRegistry::new(self.clone()).check();
        errors.iter().map(registry_file::Error::report).collect()
    }

    fn build(&self) -> Result<Built, String> {
        Ok(Built::one(registry_file::FileRegistry::new(self.clone())))
    }
}

#[cfg(feature = "consul")]
impl Kind for registry_consul::ConsulConfig {
    fn resolve_paths(&mut self, base: &Path) {
        for file in certificates(&mut self.http).chain(&mut self.token_file) {
            crate::config::resolve(file, base);
        }
    }

    fn validate(&self) -> Option<Wrong> {
        Some(consul_family(
            &registry_consul::ConsulRegistry::try_new(self.clone()).err()?,
        ))
    }

    fn build(&self) -> Result<Built, String> {
        let registry = registry_consul::ConsulRegistry::try_new(self.clone());
        registry.map(Built::one).map_err(|error| error.to_string())
    }
}

#[cfg(feature = "nomad")]
impl Kind for registry_consul::NomadConfig {
    fn resolve_paths(&mut self, base: &Path) {
        for file in certificates(&mut self.http).chain(&mut self.token_file) {
            crate::config::resolve(file, base);
        }
    }

    fn validate(&self) -> Option<Wrong> {
        Some(consul_family(
            &registry_consul::NomadRegistry::try_new(self.clone()).err()?,
        ))
    }

    fn build(&self) -> Result<Built, String> {
        let registry = registry_consul::NomadRegistry::try_new(self.clone());
        registry.map(Built::one).map_err(|error| error.to_string())
    }
}

/// What is wrong with the settings of a Consul or a Nomad.
#[cfg(any(feature = "consul", feature = "nomad"))]
fn consul_family(error: &registry_consul::Error) -> Wrong {
    match error {
        registry_consul::Error::Config { field, problem } => named((*field).to_owned(), problem),
        registry_consul::Error::Http(registry_http::Error::Config { field, reason }) => {
            named(format!("http.{field}"), reason)
        }
        other => unnamed(&other.to_string()),
    }
}

#[cfg(feature = "eureka")]
impl Kind for registry_eureka::EurekaConfig {
    fn resolve_paths(&mut self, base: &Path) {
        for file in certificates(&mut self.http).chain(secrets(&mut self.credentials)) {
            crate::config::resolve(file, base);
        }
    }

    fn validate(&self) -> Option<Wrong> {
        Some(
            match registry_eureka::EurekaRegistry::try_new(self.clone()).err()? {
                registry_eureka::Error::Config { field, problem } => named(field.to_owned(), &problem),
                registry_eureka::Error::Http(registry_http::Error::Config { field, reason }) => {
                    with_credentials(&field, &reason)
                }
                other => unnamed(&other.to_string()),
            },
        )
    }

    fn build(&self) -> Result<Built, String> {
        let registry = registry_eureka::EurekaRegistry::try_new(self.clone());
        registry.map(Built::one).map_err(|error| error.to_string())
    }
}

/// What is wrong with settings of a client that has mappings for connections and for credentials: the same crate checks
/// both.
#[cfg(any(feature = "eureka", feature = "remote"))]
fn with_credentials(field: &str, reason: &str) -> Wrong {
    let is_of_credentials = field.starts_with("token_") || field.starts_with("basic");
    let mapping = if is_of_credentials { "credentials" } else { "http" };
    named(format!("{mapping}.{field}"), reason)
}

/// The files that credentials are read from.
#[cfg(any(feature = "eureka", feature = "remote"))]
fn secrets(
    credentials: &mut registry_http::CredentialConfig,
) -> impl Iterator<Item = &mut std::path::PathBuf> {
    let basic = credentials.basic.iter_mut();
    let password = basic.filter_map(|basic| basic.password_file.as_mut());
    credentials.token_file.iter_mut().chain(password)
}

/// The files of certificates and keys that a client uses.
#[cfg(any(feature = "consul", feature = "nomad", feature = "eureka", feature = "remote"))]
fn certificates(http: &mut registry_http::HttpConfig) -> impl Iterator<Item = &mut std::path::PathBuf> {
    let tls = &mut http.tls;
    let files = [
        &mut tls.ca_file,
        &mut tls.client_cert_file,
        &mut tls.client_key_file,
    ];
    files.into_iter().flatten()
}

#[cfg(any(
    feature = "file",
    feature = "consul",
    feature = "nomad",
    feature = "eureka",
    feature = "kubernetes",
    feature = "remote"
))]
fn unnamed(problem: &str) -> Wrong {
    named(String::new(), problem)
}

#[cfg(any(
    feature = "file",
    feature = "consul",
    feature = "nomad",
    feature = "eureka",
    feature = "kubernetes",
    feature = "remote"
))]
fn named(field: String, problem: &str) -> Wrong {
    let (found, expected) = crate::config::split_message(problem, None);
    Wrong {
        field,
        found,
        expected,
    }
}
