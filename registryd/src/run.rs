//! The daemon: listeners, discovery, signals, reload, and an orderly end.

mod fleets;
mod leave;
mod logging;
mod policies;
mod reload;
mod state_dir;
mod watch;
#[cfg(feature = "xds")]
mod xds;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry_core::Discovery;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

pub use fleets::Fleets;
pub use reload::Reloader;
pub use watch::FileWatch;

use crate::config::{Config, Source};
use crate::error::Error;
use crate::{http, registries, token};

/// How long open requests and streams get to end by themselves.
const DRAIN: Duration = Duration::from_secs(3);

#[cfg(feature = "xds")]
const _: () = assert!(
    DRAIN.as_millis() > registry_xds::GRACE.as_millis(),
    "streams of xDS end by themselves"
);

/// How long discovery may take to end, which includes writing what it knows.
const SAVE: Duration = Duration::from_secs(10);

/// Files for those who need to know where the daemon listens.
#[derive(Debug, Default, clap::Args)]
pub struct PortFiles {
    /// Write the address of the HTTP API to this file once it listens
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Write the address of the xDS server to this file once it listens
    #[cfg(feature = "xds")]
    #[arg(long, value_name = "FILE")]
    xds_port_file: Option<PathBuf>,
}

/// Runs until a signal ends it.
///
/// # Errors
///
/// Where it cannot start, or a listener of it breaks.
pub async fn run(source: Source, config: Config, files: PortFiles) -> Result<(), Error> {
    logging::start(&config.log)?;
    let caught = |kind| signal(kind).map_err(Error::io("signals cannot be caught"));
    let mut terminate = caught(SignalKind::terminate())?;
    let mut interrupt = caught(SignalKind::interrupt())?;
    let mut hang_up = caught(SignalKind::hangup())?;

    // A port that is taken is found out before any registry is asked.
    let (listener, address) = listen("http.listen", *config.http.listen, files.port_file.as_deref()).await?;
    #[cfg(feature = "xds")]
    let xds = match &config.xds {
        Some(config) => Some(xds::listen(config, files.xds_port_file.as_deref()).await?),
        None => None,
    };
    #[allow(unused_mut, reason = "a build may have no other outputs")]
    let mut options = http_options(&config)?;
    let state = state_dir::find(&config.state_dir, &source)?;
    let (discovery, fleets) = start(&config, state.as_deref())?;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        configuration = source.label(),
        registries = config.registries.len(),
        state = state.as_deref().map(|state| state.display().to_string()),
        "registryd listens on http://{address}"
    );
    if let Source::BuiltIn(directory) = &source {
        tracing::info!(
            "nothing is configured, so a sample runs: edit {} and look at http://{address}/v1/services",
            directory.join("vms.yaml").display()
        );
    }

    let stop = CancellationToken::new();
    let mut servers = JoinSet::new();
    #[cfg(feature = "xds")]
    if let Some(xds) = xds {
        options.xds = Some(xds.serve(&discovery, &mut servers, &stop)?);
    }
    let mut reloader = Reloader::new(source.clone(), config, discovery.clone(), fleets);
    #[cfg(feature = "xds")]
    if let Some(xds) = &options.xds {
        reloader = reloader.with_xds(xds.clone());
    }
    let http = http::serve(listener, discovery.clone(), options, stop.clone());
    servers.spawn(async move {
        http.await
            .map_err(Error::io(format!("the listener on {address} broke")))
    });
    let mut file = source.file().map(FileWatch::new);
    announce_readiness(discovery.clone(), stop.clone());
    let ended = loop {
        tokio::select! {
            _ = terminate.recv() => break None,
            _ = interrupt.recv() => break None,
            _ = hang_up.recv() => {
                if let Some(file) = &mut file {
                    file.note();
                }
                reloader.reload().await;
            }
            () = changed(&mut file) => reloader.reload().await,
            ended = servers.join_next() => break ended,
        }
    };
    tracing::info!("registryd ends");
    stop.cancel();
    let drained = async {
        let mut served = ended.map_or(Ok(()), outcome);
        while let Some(ended) = servers.join_next().await {
            served = served.and(outcome(ended));
        }
        served
    };
    // Whoever still reads after that is cut off.
    let served = tokio::time::timeout(DRAIN, drained).await.unwrap_or(Ok(()));
    let _ = tokio::time::timeout(SAVE, discovery.shutdown()).await;
    served
}

/// How a server ended.
fn outcome(ended: Result<Result<(), Error>, JoinError>) -> Result<(), Error> {
    ended.unwrap_or_else(|panic| Err(Error::io("a server ended")(std::io::Error::other(panic))))
}

/// Opens a listener, and says in a file where it is.
async fn listen(
    setting: &'static str,
    listen: SocketAddr,
    port_file: Option<&Path>,
) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |source| Error::Listen {
        setting,
        listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    if let Some(path) = port_file {
        write_port_file(path, &format!("{address}\n"))?;
    }
    Ok((listener, address))
}

/// Starts discovery with the registries of a configuration, and follows the members of those that have any. What they
/// said last is kept in that directory, if there is one.
///
/// # Errors
///
/// Where a registry cannot be set up.
pub fn start(config: &Config, state_dir: Option<&Path>) -> Result<(Discovery, Fleets), Error> {
    let mut builder = Discovery::builder()
        .start_deadline(config.start_deadline)
        .publish_interval(config.publish_interval);
    if let Some(directory) = state_dir {
        builder = builder.state_dir(directory);
    }
    let mut awaiting = Vec::new();
    for (position, registry) in config.registries.iter().enumerate() {
        let built = registries::build(registry)?;
        let options = registry.options(position);
        let members;
        (builder, members) = fleets::add(builder, registry.id(), built, options, state_dir);
        awaiting.extend(members);
    }
    for (pattern, policy) in config.policies() {
        builder = builder.shared_policy(pattern, policy);
    }
    let discovery = builder.start().map_err(Error::Discovery)?;
    let fleets = Fleets::new(discovery.clone(), config.start_deadline, state_dir, awaiting);
    Ok((discovery, fleets))
}

fn http_options(config: &Config) -> Result<http::HttpOptions, Error> {
    let token = config.http.token_file.as_deref().map(token::read).transpose();
    Ok(http::HttpOptions {
        token: token.map_err(Error::Usage)?,
        allowed_hosts: config.http.allowed_hosts.clone(),
        ..http::HttpOptions::default()
    })
}

async fn changed(file: &mut Option<FileWatch>) {
    match file {
        Some(file) => file.changed().await,
        None => std::future::pending().await,
    }
}

/// Says in the log when consumers may rely on the snapshot.
fn announce_readiness(discovery: Discovery, stop: CancellationToken) {
    tokio::spawn(stop.run_until_cancelled_owned(async move {
        discovery.ready().await;
        let snapshot = discovery.snapshot();
        let awaited: Vec<String> = discovery
            .readiness()
            .awaited
            .iter()
            .map(ToString::to_string)
            .collect();
        tracing::info!(
            services = snapshot.len(),
            without = awaited.join(", "),
            "registryd is ready"
        );
    }));
}

/// Whoever waits for the file sees all of it or none.
fn write_port_file(path: &Path, text: &str) -> Result<(), Error> {
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    std::fs::write(&new, text)
        .and_then(|()| std::fs::rename(&new, path))
        .map_err(Error::io(format!("{} cannot be written", path.display())))
}
