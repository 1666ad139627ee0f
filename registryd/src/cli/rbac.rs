//! `rbac`: the rights that registries need, to be granted where they are kept.

mod manifest;

use clap::{Args, Subcommand, ValueEnum};

use self::manifest::{Account, Reading, What};
use super::output::print;
use super::{ConfigFile, chosen};
use crate::config::{self, RegistryConfig};
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(super) enum RbacCommand {
    /// Print the roles that registries of kind kubernetes need, for `kubectl apply -f -`
    Kubernetes(RolesArgs),
    /// Print the roles that registries of kind mcs need, for `kubectl apply -f -` in each of their clusters
    #[cfg(feature = "mcs")]
    Mcs(RolesArgs),
}

#[derive(Debug, Args)]
pub(super) struct RolesArgs {
    /// The registries; all of the kind unless named
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    config: ConfigFile,
    /// The service account that gets the rights
    #[arg(long, value_name = "NAME", default_value = "registryd")]
    service_account: String,
    /// The namespace of the service account
    #[arg(long, value_name = "NAMESPACE", default_value = "registryd")]
    namespace: String,
    /// Also a Secret with a token that does not expire, for a registryd outside of the cluster
    #[arg(long)]
    token_secret: bool,
    /// Of registries with `secrets`: the rights in the cluster that has the Secrets, or those in the clusters that they
    /// lead to
    #[arg(long, value_enum, default_value_t = Part::All)]
    part: Part,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Both
    All,
    /// Where the Secrets are
    Secrets,
    /// Where they lead to
    Members,
}

pub(super) fn show(command: &RbacCommand) -> Result<(), Error> {
    match command {
        RbacCommand::Kubernetes(args) => roles(args, "kubernetes", |registry| {
            let settings = registry.kubernetes.as_ref()?;
            Some(Reading {
                settings,
                what: What::Services,
                groups: &[],
                several: settings.is_fleet(),
            })
        }),
        #[cfg(feature = "mcs")]
        RbacCommand::Mcs(args) => roles(args, "mcs", |registry| registry.mcs.as_ref().map(clusterset)),
    }
}

fn roles(
    args: &RolesArgs,
    kind: &str,
    of: impl Fn(&RegistryConfig) -> Option<Reading<'_>>,
) -> Result<(), Error> {
    let account =
        Account::new(&args.namespace, &args.service_account, args.token_secret).map_err(Error::Usage)?;
    let config = config::load(&args.config.source()?)?;
    let chosen = chosen(&config, &args.names, kind, of)?;
    print(&manifest::of(
        &chosen,
        &account,
        args.part != Part::Members,
        args.part != Part::Secrets,
    ))
}

#[cfg(feature = "mcs")]
fn clusterset(config: &registry_mcs::McsConfig) -> Reading<'_> {
    let groups = &config.groups;
    match &config.import {
        Some(settings) => Reading {
            settings,
            what: What::Imports,
            groups,
            several: false,
        },
        None => {
            let clusters = &config.clusters;
            let identified = !clusters.is_empty() && clusters.iter().all(|cluster| cluster.cluster.is_some());
            Reading {
                settings: &config.kubernetes,
                what: What::Exports { identified },
                groups,
                several: true,
            }
        }
    }
}
