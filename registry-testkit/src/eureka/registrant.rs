//! Clients that others have written, which register themselves.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::instance::Port;
use super::{EurekaApi, Instance as Registration};
use crate::daemon::Daemon;
use crate::{Error, files, servers};

/// How long a client may take to register itself, or to be gone.
const DEADLINE: Duration = Duration::from_secs(60);

const PAUSE: Duration = Duration::from_millis(50);

/// Whose client it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Client {
    /// `py-eureka-client` 0.13.3, in Python.
    Python,
    /// `eureka-js-client` 4.5.0, in JavaScript.
    JavaScript,
}

/// A client that keeps one instance registered, as a child of this process.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::eureka::{Client, Eureka, Instance, Registrant};
///
/// let eureka = Eureka::war().start().await?;
/// let instance = Instance::new("orders", "orders-1").ip("10.0.0.7").port(9000).zone("a");
/// let mut registrant = Registrant::start(Client::Python, eureka.base_url(), &instance).await?;
/// registrant.cancel().await?;
/// assert!(eureka.api().statuses().await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Registrant {
    // Before the folder: the client has to be gone when its files go.
    daemon: Daemon,
    api: EurekaApi,
    app: String,
    id: String,
    _folder: TempDir,
}

// === impl Client ===

impl Client {
    fn name(self) -> &'static str {
        match self {
            Self::Python => "py-eureka-client",
            Self::JavaScript => "eureka-js-client",
        }
    }

    fn interpreter(self) -> &'static str {
        match self {
            Self::Python => "python3",
            Self::JavaScript => "node",
        }
    }

    /// The program that uses the client: its name and text.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Python => ("registrant.py", include_str!("registrant/registrant.py")),
            Self::JavaScript => ("registrant.js", include_str!("registrant/registrant.js")),
        }
    }

    /// Where it is installed.
    fn packages(self) -> Result<PathBuf, Error> {
        let file = match self {
            Self::Python => "py-eureka-client/py_eureka_client/eureka_client.py",
            Self::JavaScript => "eureka-js-client/node_modules/eureka-js-client/package.json",
        };
        let found = servers::find(file)?;
        let depth = Path::new(file).components().count() - 1;
        Ok(found.ancestors().nth(depth).unwrap_or(&found).to_path_buf())
    }
}

// === impl Registrant ===

impl Registrant {
    /// Starts the client and waits until the server has its instance: with the address, the ports, the virtual host
    /// names, the lease and the metadata of `instance`. The rest is the client's own, such as what it says of its data
    /// centre. Its status is `UP`.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when the client is not installed, [`Error::Ended`] or [`Error::NotReady`] with what it
    /// said when it does not register itself within a minute.
    pub async fn start(client: Client, base_url: &str, instance: &Registration) -> Result<Self, Error> {
        let interpreter = servers::in_path(client.interpreter())?;
        let config = config(&client.packages()?, base_url, instance);
        let folder = files::temporary("registrant-")?;
        let (name, text) = client.program();
        let program = folder.path().join(name);
        files::write(&program, text)?;
        let mut registrant = Self {
            daemon: Daemon::stopped(client.name(), folder.path().join("registrant.log")),
            api: EurekaApi::new(base_url)?,
            app: instance.app.clone(),
            id: instance.id().to_owned(),
            _folder: folder,
        };
        let arguments = [program.display().to_string(), config.to_string()];
        registrant.daemon.start(&interpreter, &arguments)?;
        let (api, app, id) = (&registrant.api, &registrant.app, &registrant.id);
        let probe = || async move {
            let found = api.instance(app, id).await?;
            let registered = found.is_some_and(|instance| instance["status"] == "UP");
            Ok((!registered).then_some("its instance is not registered"))
        };
        registrant.daemon.ready(DEADLINE, probe).await?;
        Ok(registrant)
    }

    /// The id that the server knows it by.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The last lines that the client wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Asks the client to end (`SIGTERM`), upon which it cancels its registration; waits until the server has forgotten
    /// the instance.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it has ended already, [`Error::Deadline`] when it does not do so within a minute.
    pub async fn cancel(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::TERM).await?;
        let start = Instant::now();
        loop {
            let found = self.api.instance(&self.app, &self.id).await;
            if matches!(found, Ok(None)) {
                return Ok(());
            }
            if start.elapsed() >= DEADLINE {
                return Err(Error::Deadline {
                    what: format!("the end of {}'s registration; it said: {}", self.id, self.log()),
                    after: DEADLINE,
                });
            }
            sleep(PAUSE).await;
        }
    }

    /// Kills the client (`SIGKILL`): its lease runs out.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it has ended already, [`Error::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::KILL).await
    }
}

/// What both programs read.
fn config(packages: &Path, base_url: &str, instance: &Registration) -> Value {
    let port = |port: Port| port.enabled.then_some(port.number);
    let metadata = instance.metadata.iter();
    let metadata: Map<String, Value> = metadata.map(|(key, value)| (key.clone(), json!(value))).collect();
    json!({
        "packages": packages,
        "server": base_url,
        "app": instance.app,
        "id": instance.id(),
        "host": instance.host,
        "ip": instance.ip,
        "port": port(instance.port),
        "securePort": port(instance.secure_port),
        "vip": instance.vip,
        "secureVip": instance.secure_vip,
        "renewal": instance.renewal,
        "duration": instance.duration,
        "metadata": metadata,
    })
}
