//! The command line.

#[cfg(any(feature = "consul", feature = "nomad"))]
mod acl_policy;
#[cfg(feature = "xds")]
mod bootstrap;
mod check;
mod client;
mod configuration;
#[cfg(feature = "mcs")]
mod exports;
mod orders;
mod output;
#[cfg(feature = "kubernetes")]
mod rbac;
mod show;
mod watch;
#[cfg(feature = "xds")]
mod xds;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use watch::fuzzing;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::config::{self, Source};
use crate::error::Error;
use crate::{run, sample};

/// Merges service registries into one picture of every service, and serves it.
#[derive(Debug, Parser)]
#[command(name = "registryd", version, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 fine, 1 failed, 2 wrong input.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon
    Run {
        #[command(flatten)]
        config: ConfigFile,
        #[command(flatten)]
        files: run::PortFiles,
    },
    /// Check the configuration and the files it names, then ask every registry whether it can be reached
    Check {
        #[command(flatten)]
        config: ConfigFile,
        /// Ask no registry
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Show services or endpoints of a running daemon
    #[command(subcommand)]
    Get(Get),
    /// Show what clusters export to their clustersets, and what became of it
    #[cfg(feature = "mcs")]
    Exports(exports::ExportsArgs),
    /// Show the registries of a running daemon, and whether it is ready
    Status(ServerArgs),
    /// Let go of the endpoints of a registry that are held back, because they are gone indeed
    Ack(OrderArgs),
    /// Ask a registry for everything, to compare with what is held
    Resync(OrderArgs),
    /// Follow the changes of a running daemon
    Watch(ServerArgs),
    /// Show the configuration
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Show which rights registries need
    #[cfg(feature = "kubernetes")]
    #[command(subcommand)]
    Rbac(rbac::RbacCommand),
    /// Print the policies that tokens of registries need
    #[cfg(any(feature = "consul", feature = "nomad"))]
    #[command(subcommand)]
    AclPolicy(acl_policy::AclPolicyCommand),
    /// Print all that a client of xDS needs to find this daemon
    #[cfg(feature = "xds")]
    #[command(subcommand)]
    Bootstrap(Box<bootstrap::BootstrapCommand>),
    /// Show what the xDS server of a running daemon serves, and to whom
    #[cfg(feature = "xds")]
    #[command(subcommand)]
    Xds(xds::XdsCommand),
    /// Show the version
    Version,
}

#[derive(Debug, Subcommand)]
enum Get {
    /// Show all services
    #[command(visible_alias = "svc")]
    Services {
        /// Only those whose hostname fits the pattern, such as "*.mesh.internal"
        #[arg(long, value_name = "PATTERN")]
        host: Option<String>,
        /// Only those that this registry has
        #[arg(long, value_name = "NAME")]
        registry: Option<String>,
        /// Only those of this namespace
        #[arg(long, short, value_name = "NAMESPACE")]
        namespace: Option<String>,
        /// Only those with this label; may be repeated
        #[arg(long, short, value_name = "KEY=VALUE")]
        label: Vec<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show one service
    Service {
        /// Its hostname, or `<hostname>@<registry>` for what one registry says of it
        host: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the endpoints of a service
    #[command(visible_alias = "ep")]
    Endpoints {
        /// Its hostname, or `<hostname>@<registry>` for what one registry says of it
        host: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the configuration that runs where there is none, with all defaults
    Defaults,
    /// Print the JSON schema of the configuration, for editors
    Schema,
    /// Print the configuration in force, with all defaults and without secrets
    Show {
        #[command(flatten)]
        config: ConfigFile,
        /// How to print it
        #[arg(long, short, value_enum, default_value_t = Output::Yaml)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct ConfigFile {
    /// The configuration; without it that of the user (~/.config/registryd/registryd.yaml), of the system
    /// (/etc/registryd/registryd.yaml), or a sample that is built in
    #[arg(long, short, value_name = "FILE", env = "REGISTRYD_CONFIG")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct OutputArgs {
    /// How to print
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Debug, Args)]
struct ServerArgs {
    /// The daemon to ask
    #[arg(
        long,
        short,
        value_name = "URL",
        env = "REGISTRYD_SERVER",
        default_value = "http://127.0.0.1:7380"
    )]
    server: String,
    /// File with the token that the daemon wants
    #[arg(long, value_name = "FILE", env = "REGISTRYD_TOKEN_FILE")]
    token_file: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, Args)]
struct OrderArgs {
    /// The name of the registry
    registry: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people
    Table,
    /// As the API speaks
    Json,
    /// The same as YAML
    Yaml,
}

/// Of so many names all are shown.
const MOST_NAMES: usize = 3;

/// Threads of the daemon: a merge needs one, and each more costs memory.
const MOST_THREADS: usize = 4;

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    ///
    /// Why it could not be done; see [`Error::exit_code`].
    pub fn execute(self) -> Result<(), Error> {
        let runtime = self.runtime().map_err(Error::io("the runtime cannot start"))?;
        let done = runtime.block_on(self.dispatch());
        // Blocking work, such as a name look-up without end, does not hold the process up.
        runtime.shutdown_background();
        done
    }

    fn runtime(&self) -> std::io::Result<tokio::runtime::Runtime> {
        let mut builder = match self.command {
            Command::Run { .. } => {
                let cores = std::thread::available_parallelism().map_or(1, usize::from);
                let mut builder = tokio::runtime::Builder::new_multi_thread();
                builder.worker_threads(cores.min(MOST_THREADS));
                builder
            }
            _ => tokio::runtime::Builder::new_current_thread(),
        };
        builder.enable_all().thread_name("registryd").build()
    }

    async fn dispatch(self) -> Result<(), Error> {
        match self.command {
            Command::Run { config, files } => {
                let source = config.source()?.absolute();
                let config = config::load(&source)?;
                run::run(source, config, files).await
            }
            Command::Check {
                config,
                offline,
                output,
            } => check::check(&config.source()?, offline, output.output).await,
            Command::Get(get) => show::get(get).await,
            #[cfg(feature = "mcs")]
            Command::Exports(args) => exports::show(&args).await,
            Command::Status(server) => show::status(&server).await,
            Command::Ack(order) => orders::acknowledge(&order).await,
            Command::Resync(order) => orders::resync(&order).await,
            Command::Watch(server) => watch::watch(&server).await,
            Command::Config(command) => configuration::show(&command),
            #[cfg(feature = "kubernetes")]
            Command::Rbac(command) => rbac::show(&command),
            #[cfg(any(feature = "consul", feature = "nomad"))]
            Command::AclPolicy(command) => acl_policy::show(&command),
            #[cfg(feature = "xds")]
            Command::Bootstrap(command) => bootstrap::print(*command),
            #[cfg(feature = "xds")]
            Command::Xds(command) => xds::show(command).await,
            Command::Version => output::print(concat!("registryd ", env!("CARGO_PKG_VERSION"), "\n")),
        }
    }
}

/// The registries of a kind, or those of these names in their order, each with what `of` finds of that kind in its entry.
#[cfg(any(feature = "consul", feature = "nomad", feature = "kubernetes"))]
fn chosen<'a, T: Clone>(
    config: &'a config::Config,
    names: &[String],
    kind: &str,
    of: impl Fn(&'a config::RegistryConfig) -> Option<T>,
) -> Result<Vec<(&'a str, T)>, Error> {
    let all = config.registries.iter();
    let all: Vec<(&str, T)> = all
        .filter_map(|registry| Some((registry.id().as_str(), of(registry)?)))
        .collect();
    if all.is_empty() {
        let problem = format!("no registry of the configuration is of kind {kind}");
        return Err(Error::Usage(problem));
    }
    if names.is_empty() {
        return Ok(all);
    }
    let find = |name: &String| {
        all.iter().find(|(id, _)| id == name).cloned().ok_or_else(|| {
            let known: Vec<&str> = all.iter().map(|(id, _)| *id).collect();
            Error::Usage(format!(
                "registry {name:?}: expected one of kind {kind}: {}",
                known.join(", ")
            ))
        })
    };
    names.iter().map(find).collect()
}

/// The first of these names in parentheses, and how many more there are.
fn names(list: &Value, all: u64) -> String {
    let list: Vec<&str> = list
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let shown = &list[..list.len().min(MOST_NAMES)];
    let text = match all.saturating_sub(shown.len() as u64) {
        _ if shown.is_empty() => return String::new(),
        0 => format!(" ({})", shown.join(", ")),
        more => format!(" ({} and {more} more)", shown.join(", ")),
    };
    text.replace(char::is_control, " ")
}

/// `1 endpoint`, `2 endpoints`.
fn count(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl ConfigFile {
    fn source(&self) -> Result<Source, Error> {
        match self.config.clone().or_else(config::default_source) {
            Some(path) => Ok(Source::File(path)),
            None => {
                let directory = sample::unpack().map_err(Error::io("the sample cannot be written"))?;
                Ok(Source::BuiltIn(directory))
            }
        }
    }
}
