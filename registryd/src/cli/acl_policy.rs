//! `acl-policy`: the policies of Consul and Nomad that tokens of registries need.

use clap::{Args, Subcommand};

use super::output::print;
use super::{ConfigFile, chosen};
use crate::config::{self, RegistryConfig, Source};
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(super) enum AclPolicyCommand {
    /// Print what tokens of registries of kind consul need, for `consul acl policy create -name registryd -rules -`
    #[cfg(feature = "consul")]
    Consul(AclPolicyArgs),
    /// Print what tokens of registries of kind nomad need, for `nomad acl policy apply registryd -`
    #[cfg(feature = "nomad")]
    Nomad(AclPolicyArgs),
}

#[derive(Debug, Args)]
pub(super) struct AclPolicyArgs {
    /// The registries; all of the kind unless named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn show(command: &AclPolicyCommand) -> Result<(), Error> {
    match command {
        #[cfg(feature = "consul")]
        AclPolicyCommand::Consul(args) => args.show("consul", |registry| {
            let policy = |consul: &registry_consul::ConsulConfig| consul.acl_policy();
            match registry {
                Some(registry) => registry.consul.as_ref().map(policy),
                None => Some(policy(&registry_consul::ConsulConfig::default())),
            }
        }),
        #[cfg(feature = "nomad")]
        AclPolicyCommand::Nomad(args) => args.show("nomad", |registry| {
            let policy = |nomad: &registry_consul::NomadConfig| nomad.acl_policy();
            match registry {
                Some(registry) => registry.nomad.as_ref().map(policy),
                None => Some(policy(&registry_consul::NomadConfig::default())),
            }
        }),
    }
}

impl AclPolicyArgs {
    /// Prints the policies of the registries of that kind; where there is no configuration, that of a registry whose
    /// settings are all left out.
    fn show(
        &self,
        kind: &str,
        policy: impl Fn(Option<&RegistryConfig>) -> Option<String>,
    ) -> Result<(), Error> {
        let source = self.config.source()?;
        if matches!(source, Source::BuiltIn(_)) && self.names.is_empty() {
            return print(&policy(None).unwrap_or_default());
        }
        let config = config::load(&source)?;
        let policies = chosen(&config, &self.names, kind, |registry| policy(Some(registry)))?;
        let texts: Vec<String> = policies
            .iter()
            .map(|(id, policy)| format!("# registry {id}\n{policy}"))
            .collect();
        print(&texts.join("\n"))
    }
}
