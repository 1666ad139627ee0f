//! A real Eureka for tests: Netflix' own server or that of Spring Cloud, alone or as a [pair](EurekaBuilder::start_pair)
//! of peers; and real clients that [register](Registrant) themselves.
//!
//! ```text
//!  EurekaBuilder ──start──▶ Eureka ── process: kill, stop, pause, restart …
//!                             │ api()
//!                             ▼
//!  Registrant ──registers──▶ EurekaApi ── register, heartbeat, cancel, set_status, register_all …
//! ```
//!
//! Both servers speak the same protocol with differences that matter to a client: their base paths, what they answer
//! before they have seen anybody, and that Netflix' compresses the whole registry whether it is asked to or not. Most
//! tests use [`Eureka::war`], which is up in two seconds; Spring's takes ten.
//!
//! As they are, servers show what is written at once: without the cache that makes Eureka slow in production, whose
//! options are those of [`EurekaBuilder`]. They expire what is not renewed, also where they would otherwise preserve it.
//!
//! With a [`FaultProxy`](crate::FaultProxy) in front of Netflix' server, take
//! [`start_compressed`](crate::FaultProxy::start_compressed): otherwise lists come as XML, whatever is asked for.
//!
//! Two virtual machines that start together take many times as long as one after the other. So only one starts at a
//! time, of all test processes of a user on this machine.

mod api;
mod builder;
mod bulk;
mod instance;
mod lock;
mod registrant;
mod settings;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

pub use self::api::{Answer, EurekaApi};
pub use self::builder::EurekaBuilder;
pub use self::bulk::{app_name, bulk_instance, instance_id};
pub use self::instance::Instance;
use self::lock::StartLock;
pub use self::registrant::{Client, Registrant};
use crate::daemon::Daemon;
use crate::{Error, servers};

/// How long a server may take to become ready. It needs 2 to 10 s; a loaded machine is given plenty.
const READY_DEADLINE: Duration = Duration::from_secs(120);

/// Whose server it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Flavor {
    /// Netflix' own web application 1.10.1; its base path is `/eureka/v2`.
    War,
    /// Spring Cloud's 4.3 on eureka-core 2.0; its base path is `/eureka`.
    Spring,
}

/// An Eureka server that runs as a child of this process.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::eureka::{Eureka, Instance};
///
/// let mut eureka = Eureka::war().start().await?;
/// eureka.api().register(&Instance::new("orders", "orders-1").port(8080)).await?;
/// assert_eq!(eureka.api().statuses().await?["ORDERS/orders-1"], "UP");
/// // It keeps nothing.
/// eureka.restart().await?;
/// assert!(eureka.api().statuses().await?.is_empty());
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Eureka {
    // Before the folder: the server has to be gone when its files go.
    daemon: Daemon,
    api: EurekaApi,
    options: EurekaBuilder,
    port: u16,
    base_url: String,
    folder: TempDir,
}

// === impl Eureka ===

impl Eureka {
    /// The options of Netflix' server.
    #[must_use]
    pub fn war() -> EurekaBuilder {
        EurekaBuilder::new(Flavor::War)
    }

    /// The options of Spring Cloud's server.
    #[must_use]
    pub fn spring() -> EurekaBuilder {
        EurekaBuilder::new(Flavor::Spring)
    }

    /// Whose server it is.
    #[must_use]
    pub fn flavor(&self) -> Flavor {
        self.options.flavor
    }

    /// What clients are configured with, such as `http://127.0.0.1:15000/eureka/v2`, without a final slash.
    #[must_use]
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// The path of [`base_url`](Self::base_url), for a server behind a proxy.
    #[must_use]
    pub fn base_path(&self) -> String {
        self.options.base_path()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)
    }

    /// Its options, to [restart](Self::restart_with) it with others.
    #[must_use]
    pub fn options(&self) -> EurekaBuilder {
        self.options.clone()
    }

    /// Calls to this server.
    #[must_use]
    pub fn api(&self) -> &EurekaApi {
        &self.api
    }

    /// The number of the process; `None` while it is stopped.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.daemon.pid()
    }

    /// The last lines that the server wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Kills the server (`SIGKILL`): connections are closed without an answer.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn kill(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::KILL).await
    }

    /// Asks the server to end (`SIGTERM`) and waits for it.
    ///
    /// # Errors
    ///
    /// As for [`kill`](Self::kill), and [`Error::Deadline`] when it does not end within 30 s.
    pub async fn stop(&mut self) -> Result<(), Error> {
        self.daemon.end(Signal::TERM).await
    }

    /// Freezes the server (`SIGSTOP`): the kernel still accepts connections, nothing answers.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub async fn pause(&self) -> Result<(), Error> {
        self.daemon.pause().await
    }

    /// Lets a frozen server go on (`SIGCONT`). Its clocks went on meanwhile: leases that ran out are evicted.
    ///
    /// # Errors
    ///
    /// [`Error::State`] when it does not run, [`Error::Signal`] when the system refuses.
    pub fn resume(&self) -> Result<(), Error> {
        self.daemon.resume()
    }

    /// Starts the server again at the same address, ending it first where it runs, and waits until it answers. It has
    /// forgotten everything, unless a peer tells it ([`EurekaBuilder::startup_sync`]).
    ///
    /// # Errors
    ///
    /// As for [`EurekaBuilder::start`].
    pub async fn restart(&mut self) -> Result<(), Error> {
        if self.daemon.is_running() {
            self.stop().await?;
        }
        let lock = StartLock::acquire().await?;
        self.launch()?;
        self.ready(&lock).await
    }

    /// As [`restart`](Self::restart), with other options. Whose server it is and its path stay what they are.
    ///
    /// # Errors
    ///
    /// As for [`EurekaBuilder::start`].
    pub async fn restart_with(&mut self, options: EurekaBuilder) -> Result<(), Error> {
        self.options = EurekaBuilder {
            flavor: self.options.flavor,
            context_path: self.options.context_path.clone(),
            ..options
        };
        self.restart().await
    }

    fn launch(&mut self) -> Result<(), Error> {
        self.daemon.must_be_stopped("launch")?;
        let java = java()?;
        let arguments = self.options.arguments(self.port, self.folder.path())?;
        self.daemon.start(&java, &arguments)
    }

    /// Waits until the server answers as it is configured to. Whoever starts it has the lock.
    async fn ready(&mut self, _lock: &StartLock) -> Result<(), Error> {
        let (api, options) = (&self.api, &self.options);
        let probe = || async move {
            let path = if options.disable_delta {
                "/apps"
            } else {
                "/apps/delta"
            };
            let answer = api.answer(path, "application/json").await?;
            Ok(match answer.status {
                200 => None,
                // That it has not seen anybody yet is what was asked for.
                403 if options.answers_403_at_first() => None,
                _ => Some("it does not serve yet"),
            })
        };
        self.daemon.ready(READY_DEADLINE, probe).await
    }
}

/// The virtual machine, from `PATH`.
fn java() -> Result<PathBuf, Error> {
    servers::in_path("java")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tests_with_several_threads_can_await_everything() {
        fn is_sendable<T: Send>(_: T) {}
        let life = async || -> Result<(), Error> {
            let [mut one, other] = Eureka::war().start_pair().await?;
            one.restart_with(other.options()).await?;
            let instance = Instance::new("web", "web-1");
            let mut client = Registrant::start(Client::Python, one.base_url(), &instance).await?;
            client.cancel().await?;
            one.api().register_all(1, 1).await?;
            one.pause().await?;
            one.kill().await
        };
        is_sendable(life());
    }
}
