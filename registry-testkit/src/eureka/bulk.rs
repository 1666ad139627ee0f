//! Many instances at once, by the way that peers use.

use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};

use super::api::now;
use super::{EurekaApi, Instance};
use crate::Error;

/// How many instances go into one request, and how many requests are on their way at a time.
const BATCH: usize = 250;
const CONCURRENT: usize = 4;

/// The server's count of what it took.
const TAKEN: u16 = 200;

/// How many zones the instances are spread over.
const ZONES: usize = 3;

/// The name of the `index`-th app of [`EurekaApi::register_all`].
#[must_use]
pub fn app_name(index: usize) -> String {
    format!("APP-{index:05}")
}

/// The id of an instance of [`EurekaApi::register_all`].
#[must_use]
pub fn instance_id(app: usize, instance: usize) -> String {
    format!("host-{app:05}-{instance}:{}:8080", app_name(app).to_lowercase())
}

/// An instance of [`EurekaApi::register_all`], to register it with a change: it has an address of its own, a zone and two
/// more entries in its metadata, and a lease of a day.
#[must_use]
pub fn bulk_instance(app: usize, instance: usize) -> Instance {
    let number = (app << 3) + instance;
    let ip = format!(
        "10.{}.{}.{}",
        number >> 16 & 0xff,
        number >> 8 & 0xff,
        number & 0xff
    );
    Instance::new(app_name(app), instance_id(app, instance))
        .host(format!("host-{app:05}-{instance}.example"))
        .ip(ip)
        .zone(format!("zone-{}", instance % ZONES))
        .metadata("version", "1.4.2")
        .metadata("management.port", "8081")
        .lease(30, 24 * 60 * 60)
}

// === impl EurekaApi ===

impl EurekaApi {
    /// Registers `apps` apps of `instances` instances each, all `UP`; [`app_name`], [`instance_id`] and
    /// [`bulk_instance`] tell what they are. Addresses are distinct with at most eight instances each.
    ///
    /// It is told as by a peer, so a server of a pair keeps it for itself. 50 000 take some 10 s, and a server with
    /// [`heap_megabytes(1024)`](super::EurekaBuilder::heap_megabytes).
    ///
    /// # Errors
    ///
    /// See [`EurekaApi`].
    pub async fn register_all(&self, apps: usize, instances: usize) -> Result<(), Error> {
        let mut running = JoinSet::new();
        let mut batch = Vec::with_capacity(BATCH);
        let total = apps * instances;
        for index in 0..total {
            batch.push(bulk_instance(index / instances, index % instances));
            if batch.len() == BATCH || index + 1 == total {
                if running.len() == CONCURRENT {
                    finished(running.join_next().await)?;
                }
                let (api, batch) = (self.clone(), std::mem::take(&mut batch));
                running.spawn(async move { api.take_all(&batch).await });
            }
        }
        while !running.is_empty() {
            finished(running.join_next().await)?;
        }
        Ok(())
    }

    async fn take_all(&self, batch: &[Instance]) -> Result<(), Error> {
        let now = now();
        let items: Vec<Value> = batch.iter().map(|instance| registration(instance, now)).collect();
        let answers = self.replicate(&items).await?;
        match answers.iter().find(|status| **status != TAKEN) {
            None if answers.len() == items.len() => Ok(()),
            refused => Err(Error::Status {
                method: "POST".to_owned(),
                url: "an instance among many".to_owned(),
                status: refused.copied().unwrap_or_default(),
                body: format!("{} answers for {} instances", answers.len(), items.len()),
            }),
        }
    }
}

fn finished(batch: Option<Result<Result<(), Error>, JoinError>>) -> Result<(), Error> {
    match batch {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Error::Io {
            what: "instances were not registered".to_owned(),
            source: error.into(),
        }),
    }
}

/// A registration as one peer tells it to another.
fn registration(instance: &Instance, now: u64) -> Value {
    let mut body = instance.json(now);
    json!({
        "action": "Register",
        "appName": instance.app.to_uppercase(),
        "id": instance.id(),
        "lastDirtyTimestamp": now,
        "status": instance.status,
        "instanceInfo": body["instance"].take(),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn fifty_thousand_instances_have_as_many_ids_and_addresses() {
        let all: Vec<Instance> = (0..50_000)
            .map(|index| bulk_instance(index / 5, index % 5))
            .collect();
        let ids: BTreeSet<&str> = all.iter().map(Instance::id).collect();
        let addresses: BTreeSet<&str> = all.iter().map(|instance| instance.ip.as_str()).collect();
        assert_eq!((ids.len(), addresses.len()), (50_000, 50_000));
    }
}
