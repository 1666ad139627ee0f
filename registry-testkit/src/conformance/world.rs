//! What the author of a backend provides: a server with the backend in front of it, and hands to move it.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use registry_core::{ServiceId, ServiceRegistry, async_trait};

use crate::Error;

/// One instance of a service, as the suite wants it to be registered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Instance {
    /// A name that is unique among all instances, made of lower-case letters, digits and `-`.
    pub id: String,
    /// Its address, never that of another instance.
    pub address: Ipv4Addr,
    /// Its port.
    pub port: u16,
    /// Whether it is to get traffic. A world that cannot register an unhealthy instance is
    /// [unable](WorldError::Unsupported) to.
    pub healthy: bool,
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let health = if self.healthy { "" } else { ", unhealthy" };
        write!(f, "{} at {}:{}{health}", self.id, self.address, self.port)
    }
}

/// What may go wrong between a backend and its server.
///
/// A world that cannot do one of these says [`WorldError::Unsupported`]; the rules are then judged by the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// Nothing is answered any more. Connections stay open, new ones are accepted: a black hole.
    Silence,
    /// Connections break, and new ones are refused; a file is gone.
    Refusal,
    /// Every answer says that the server is not able to, such as 500; a file cannot be read.
    ServerError,
    /// Every answer says that the credentials are no good, such as 403.
    Denial,
    /// Answers break off in the middle; a file was written half.
    CutAnswer,
    /// Answers are complete, and make no sense.
    Garbage,
    /// Everything can be read but what concerns the service of this name.
    OneService(&'static str),
}

impl Trouble {
    /// All shapes of it that the suite tries.
    pub const ALL: &[Self] = &[
        Self::Silence,
        Self::Refusal,
        Self::ServerError,
        Self::Denial,
        Self::CutAnswer,
        Self::Garbage,
        Self::OneService("beta"),
    ];

    /// A word for reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::Refusal => "refusal",
            Self::ServerError => "server error",
            Self::Denial => "denial",
            Self::CutAnswer => "cut answer",
            Self::Garbage => "garbage",
            Self::OneService(_) => "one service",
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a world did not do as it was told.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WorldError {
    /// It is not made for it. What needs it is skipped.
    #[error("this world cannot do that")]
    Unsupported,
    /// It should have been able to. What needs it fails.
    #[error("the world failed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl WorldError {
    /// A failure, for `map_err`.
    pub fn failed(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Failed(error.into())
    }
}

impl From<Error> for WorldError {
    fn from(error: Error) -> Self {
        Self::failed(error)
    }
}

impl From<std::io::Error> for WorldError {
    fn from(error: std::io::Error) -> Self {
        Self::failed(error)
    }
}

/// A backend and all it needs, to be put to the test.
///
/// ```
/// use registry_testkit::conformance::{Subject, World, WorldError};
///
/// struct MyBackend;
///
/// #[registry_core::async_trait]
/// impl Subject for MyBackend {
///     async fn start(&self) -> Result<Box<dyn World>, WorldError> {
///         // Start a server, and make a registry that reads it with short intervals.
///         # Err(WorldError::Unsupported)
///     }
/// }
/// ```
#[async_trait]
pub trait Subject: Send + Sync {
    /// Starts a world that has no services of the suite's and no trouble, and nothing of the worlds before it.
    ///
    /// They are never used at the same time, so all may share one server that is cleaned up here. Intervals and time
    /// limits should be as short as the backend permits: the suite waits for freshness bounds to pass.
    ///
    /// # Errors
    ///
    /// Where it cannot: all that is to be judged in this world fails.
    async fn start(&self) -> Result<Box<dyn World>, WorldError>;

    /// True where the registry gives that id to the service of the suite.
    fn is(&self, id: &ServiceId, service: &str) -> bool {
        id.name().as_str() == service
    }
}

/// A server, and a registry that reads it.
///
/// The calls concern the server alone, past the backend under test, and work while there is trouble between the two.
/// When one returns, the server has done it; the backend may need time to notice.
#[async_trait]
pub trait World: Send + Sync {
    /// The registry under test: the same one at every call, made by [`Subject::start`] as it would be in earnest.
    fn registry(&self) -> Arc<dyn ServiceRegistry>;

    /// Registers a service with exactly these instances, at least one.
    ///
    /// # Errors
    ///
    /// [`WorldError::Unsupported`] for instances that cannot be expressed, such as unhealthy ones.
    async fn set(&mut self, service: &str, instances: &[Instance]) -> Result<(), WorldError>;

    /// Takes a service away.
    ///
    /// # Errors
    ///
    /// Where the server refuses.
    async fn remove(&mut self, service: &str) -> Result<(), WorldError>;

    /// Begins trouble between server and backend, on connections that are open as well as on new ones.
    ///
    /// # Errors
    ///
    /// [`WorldError::Unsupported`] for trouble that cannot be made.
    async fn inflict(&mut self, trouble: Trouble) -> Result<(), WorldError> {
        let _ = trouble;
        Err(WorldError::Unsupported)
    }

    /// Ends all trouble.
    ///
    /// # Errors
    ///
    /// Where that is not possible.
    async fn heal(&mut self) -> Result<(), WorldError> {
        Ok(())
    }

    /// Restarts the server, which forgets all services, and returns when it can be told new ones.
    ///
    /// # Errors
    ///
    /// [`WorldError::Unsupported`] where nothing can be restarted.
    async fn restart_empty(&mut self) -> Result<(), WorldError> {
        Err(WorldError::Unsupported)
    }

    /// How many connections (or subscriptions, or open files) the server sees of the backend; `None` where nobody can
    /// tell.
    fn connections(&self) -> Option<usize> {
        None
    }

    /// Texts that must never be shown, such as the token.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// A text that tells where the server is, such as its address or a path: every error has to mention it.
    fn location(&self) -> Option<String> {
        None
    }
}
