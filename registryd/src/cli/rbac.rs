//! `rbac`: the rights that registries need, to be granted where they are kept.

mod manifest;

use clap::{Args, Subcommand, ValueEnum};

use self::manifest::Account;
use super::output::print;
use super::{ConfigFile, chosen};
use crate::config;
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub(super) enum RbacCommand {
    /// Print the roles that registries of kind kubernetes need, for `kubectl apply -f -`
    Kubernetes(KubernetesArgs),
}

#[derive(Debug, Args)]
pub(super) struct KubernetesArgs {
    /// The registries; all of kind kubernetes unless named
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
    let RbacCommand::Kubernetes(args) = command;
    let account =
        Account::new(&args.namespace, &args.service_account, args.token_secret).map_err(Error::Usage)?;
    let config = config::load(&args.config.source()?)?;
    let chosen = chosen(&config, &args.names, "kubernetes", |registry| {
        registry.kubernetes.as_ref()
    })?;
    print(&manifest::of(
        &chosen,
        &account,
        args.part != Part::Members,
        args.part != Part::Secrets,
    ))
}
