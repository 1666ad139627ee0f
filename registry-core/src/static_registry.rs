//! A registry whose services are given by the program.

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use std::time::Duration;

use crate::error::RegistryError;
use crate::event::{Event, Scope};
use crate::model::ServiceRecord;
use crate::registry::{Control, EventStream, ServiceRegistry};

/// Services that the program itself states, and may state anew at any time through a [`StaticHandle`].
///
/// Its default hostname is `{name}.static`. It is never stale.
#[derive(Debug)]
pub struct StaticRegistry {
    records: watch::Sender<Vec<ServiceRecord>>,
}

/// Changes what a [`StaticRegistry`] says.
#[derive(Debug, Clone)]
pub struct StaticHandle {
    records: watch::Sender<Vec<ServiceRecord>>,
}

impl StaticHandle {
    /// These are all services now.
    pub fn set(&self, records: impl IntoIterator<Item = ServiceRecord>) {
        self.records.send_replace(records.into_iter().collect());
    }
}

impl StaticRegistry {
    /// A registry of these services.
    pub fn new(records: impl IntoIterator<Item = ServiceRecord>) -> Self {
        Self {
            records: watch::Sender::new(records.into_iter().collect()),
        }
    }

    /// Changes what it says while it runs.
    pub fn handle(&self) -> StaticHandle {
        StaticHandle {
            records: self.records.clone(),
        }
    }
}

#[async_trait]
impl ServiceRegistry for StaticRegistry {
    fn kind(&self) -> &'static str {
        "static"
    }

    fn freshness_bound(&self) -> Duration {
        Duration::MAX
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        let mut records = self.records.subscribe();
        records.mark_changed();
        let batches = stream::unfold((records, control), |(mut records, control)| async move {
            tokio::select! {
                changed = records.changed() => if changed.is_err() {
                    // Nobody can change it any more: the last word stays, and only a wish is answered.
                    let _ = control.resync_requested().await;
                },
                _ = control.resync_requested() => {}
            }
            let listing = Event::listing(Scope::Registry, records.borrow_and_update().clone());
            Some((Ok(listing), (records, control)))
        });
        Ok(batches.boxed())
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}
