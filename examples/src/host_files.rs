//! A registry of another kind, written against the documentation of `registry-core` alone: a directory with one small
//! file for each host, read at intervals.
//!
//! ```text
//!  hosts/web-1.host ─┐                       every interval, and when a resync is wished
//!  hosts/web-2.host ─┴─▶ read ─▶ parse ─▶ listing        all of it could be read
//!                                      └▶ Degraded       some of it could not: everything stays
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::{StreamExt, stream};
use registry_core::{
    Address, Control, Endpoint, ErrorKind, Event, EventStream, RegistryError, Scope, ServiceId, ServiceMeta,
    ServicePort, ServiceRecord, ServiceRegistry, async_trait,
};

/// Services of hosts that each have a file `NAME.host` in one directory:
///
/// ```text
/// # a comment
/// address 10.0.0.7
/// payments http 8080
/// inventory grpc 9000
/// ```
///
/// The first word of a line is a service, the second the name of its port, the third the number on this host.
#[derive(Debug, Clone)]
pub struct HostFiles {
    directory: PathBuf,
    interval: Duration,
}

impl HostFiles {
    /// The hosts of that directory, read every five seconds.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            interval: Duration::from_secs(5),
        }
    }

    /// Reads the directory that often.
    #[must_use]
    pub fn with_interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// Everything the directory says, or why it cannot be known.
    async fn read(&self) -> Result<Vec<ServiceRecord>, RegistryError> {
        let directory = self.directory.clone();
        // Files may be on a network: the threads of the runtime are not for waiting.
        tokio::task::spawn_blocking(move || read(&directory))
            .await
            .map_err(|panic| RegistryError::new(ErrorKind::Internal, "reading panicked").with_source(panic))?
    }

    /// What is said after each look.
    async fn look(&self) -> Vec<Event> {
        match self.read().await {
            // Complete each time: records equal to the held ones are dropped on arrival.
            Ok(records) => Event::listing(Scope::Registry, records),
            // Never an empty listing: what could not be read is not gone.
            Err(error) => vec![Event::degraded(Scope::Registry, error)],
        }
    }
}

#[async_trait]
impl ServiceRegistry for HostFiles {
    fn kind(&self) -> &'static str {
        "hosts"
    }

    fn freshness_bound(&self) -> Duration {
        // One look may be slow before the last one counts as old.
        self.interval * 2 + Duration::from_secs(5)
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let first = (self.clone(), control, Duration::ZERO);
        let looks = stream::unfold(first, |(registry, control, rest)| async move {
            tokio::select! {
                // Whatever scope is wished: a listing of the whole registry covers it.
                _ = control.resync_requested() => {}
                () = tokio::time::sleep(rest) => {}
            }
            let batch = registry.look().await;
            let interval = registry.interval;
            Some((Ok(batch), (registry, control, interval)))
        });
        Ok(looks.boxed())
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.read().await.map(|_| ())
    }
}

/// One line of a host's file: the endpoints of a service by its name, and the names of its ports.
#[derive(Default)]
struct Found {
    ports: Vec<ServicePort>,
    endpoints: Vec<Endpoint>,
}

fn read(directory: &Path) -> Result<Vec<ServiceRecord>, RegistryError> {
    let cannot = |path: &Path, error| {
        RegistryError::new(
            ErrorKind::Configuration,
            format!("{}: cannot be read", path.display()),
        )
        .with_source(error)
    };
    let mut services: BTreeMap<String, Found> = BTreeMap::new();
    for entry in fs::read_dir(directory).map_err(|error| cannot(directory, error))? {
        // An entry that cannot be read makes the whole incomplete.
        let path = entry.map_err(|error| cannot(directory, error))?.path();
        if path.extension().is_none_or(|extension| extension != "host") {
            continue;
        }
        let host = path.file_stem().unwrap_or_default().to_string_lossy();
        let text = fs::read_to_string(&path).map_err(|error| cannot(&path, error))?;
        parse(&host, &text, &mut services).map_err(|problem| {
            RegistryError::new(ErrorKind::Malformed, format!("{}:{problem}", path.display()))
        })?;
    }
    let record = |(name, found): (String, Found)| {
        let meta = ServiceMeta::builder(ServiceId::named(name))
            .ports(found.ports)
            .build();
        ServiceRecord::new(meta, found.endpoints)
    };
    Ok(services.into_iter().map(record).collect())
}

/// Adds what one host runs. An error begins with the line.
fn parse(host: &str, text: &str, services: &mut BTreeMap<String, Found>) -> Result<(), String> {
    let mut address: Option<Address> = None;
    // A host that serves several ports of one service is one endpoint with several ports.
    let mut runs: BTreeMap<&str, Vec<(&str, u16)>> = BTreeMap::new();
    for (line, text) in (1..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or_default();
        match text.split_whitespace().collect::<Vec<_>>().as_slice() {
            [] => {}
            ["address", found] => {
                let found = found.parse().map_err(|problem| format!("{line}: {problem}"))?;
                address = Some(found);
            }
            [service, port, number] => {
                let number = number.parse().ok().filter(|number| *number > 0);
                let number =
                    number.ok_or_else(|| format!("{line}: found no port number, expected 1 to 65535"))?;
                runs.entry(service).or_default().push((port, number));
            }
            _ => {
                let expected = "`address ADDRESS` or `SERVICE PORT NUMBER`";
                return Err(format!("{line}: found {:?}, expected {expected}", text.trim()));
            }
        }
    }
    let address = address.ok_or_else(|| "1: found no line `address ADDRESS`, expected one".to_owned())?;
    for (service, ports) in runs {
        let mut endpoint = Endpoint::builder(address.clone())
            .id(format!("{host}/{service}"))
            .node(host);
        let found = services.entry(service.to_owned()).or_default();
        for (port, number) in ports {
            endpoint = endpoint.port(port, number);
            found.ports.push(ServicePort::new(port));
        }
        found.endpoints.push(endpoint.build());
    }
    Ok(())
}
