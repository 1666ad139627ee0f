//! Documents in the shape of Prometheus' HTTP service discovery, from a URL or from files.
//!
//! ```text
//!  source: a URL,    ──bytes──▶ document ──groups──▶ map: labels say what ──▶ table ──▶ session
//!  or files                     JSON, YAML           they are configured to   services   listings of what differs
//! ```

mod config;
mod document;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod map;
mod session;
mod source;
mod table;
mod target;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use registry_core::{Control, EventStream, Meter, PortDefaults, RegistryError, ServiceRegistry, async_trait};

pub use config::{HttpSdConfig, LabelNames};

use crate::error::Error;
use map::Reading;
use session::Session;
use source::{Closely, Source};

/// The targets of documents in the shape of Prometheus' HTTP SD and file SD.
///
/// A target is an endpoint of the service that a label of its group names; which label, and which others say something,
/// is [configured](HttpSdConfig). Health is unknown unless a label is configured to tell it:
///
/// | the label says | health |
/// |---|---|
/// | `healthy`, `degraded`, `draining`, `unhealthy`, `unknown`, in any case | that |
/// | any other word | the document is refused |
///
/// A document is taken as a whole or not at all: where anything in it cannot be read, all that it said before stays. Absence
/// is never explicit, as a document cannot say why something is not in it. One that has not changed costs a request, or
/// nothing but a look at the file.
#[derive(Debug)]
pub struct HttpSdRegistry {
    config: Arc<HttpSdConfig>,
}

impl HttpSdRegistry {
    /// A registry with that configuration. Nothing is dialled or read yet.
    ///
    /// # Errors
    ///
    /// Where a setting cannot be used; the message names the field.
    pub fn try_new(config: HttpSdConfig) -> Result<Self, Error> {
        config.validate()?;
        Ok(Self {
            config: Arc::new(config),
        })
    }
}

#[async_trait]
impl ServiceRegistry for HttpSdRegistry {
    fn kind(&self) -> &'static str {
        "http_sd"
    }

    fn default_hostname(&self) -> String {
        "{name}.http-sd".to_owned()
    }

    fn target(&self) -> String {
        self.config.target()
    }

    fn freshness_bound(&self) -> Duration {
        self.config.interval * 3 + self.config.http.request_timeout
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let session = Session::try_new(&self.config, control).map_err(RegistryError::from)?;
        Ok(Box::pin(stream::unfold(session, |mut session| async move {
            let batch = session.next_batch().await;
            Some((Ok(batch), session))
        })))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        let mut source = Source::try_new(&self.config)?;
        let mut reading = Reading::new((*self.config).clone(), PortDefaults::default());
        let look = source.look(Closely::Anew, &mut reading, &Meter::default()).await;
        match look.trouble {
            None => Ok(()),
            Some(error) => Err(RegistryError::new(error.kind(), error.to_string()).with_causes_of(error)),
        }
    }
}
