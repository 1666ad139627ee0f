//! Many services at once, in the catalogue of nodes that run no agent.

use serde_json::{Value, json};
use tokio::task::{JoinError, JoinSet};

use super::ConsulApi;
use super::api::{TRANSACTION, check_operation};
use crate::Error;

/// How many transactions are on their way at a time: the server handles one while others are decoded.
const CONCURRENT: usize = 4;

/// The port of every instance.
const PORT: u16 = 8080;

/// The name of the `index`-th node of [`ConsulApi::register_services`].
#[must_use]
pub fn node_name(index: usize) -> String {
    format!("ext-{index:04}")
}

/// The name of the `index`-th service of [`ConsulApi::register_services`].
#[must_use]
pub fn service_name(index: usize) -> String {
    format!("svc-{index:05}")
}

/// The id of an instance of [`ConsulApi::register_services`].
#[must_use]
pub fn instance_id(service: usize, instance: usize) -> String {
    format!("{}-{instance}", service_name(service))
}

/// The id of that instance's check.
#[must_use]
pub fn service_check_id(service: usize, instance: usize) -> String {
    format!("service:{}", instance_id(service, instance))
}

// === impl ConsulApi ===

impl ConsulApi {
    /// Registers `services` services of `instances` instances each, spread over `nodes` external nodes, every
    /// instance with an address of its own and one passing check.
    ///
    /// [`service_name`], [`instance_id`], [`service_check_id`] and [`node_name`] tell what they are called;
    /// instance `j` of service `i` is on node [`instance_node`](Self::instance_node). 50 000 instances
    /// take about 15 s, nearly all of it the server's CPU time.
    ///
    /// # Errors
    ///
    /// See [`ConsulApi`].
    pub async fn register_services(
        &self,
        services: usize,
        instances: usize,
        nodes: usize,
    ) -> Result<(), Error> {
        let nodes = nodes.max(1);
        let operations: Vec<Value> = (0..nodes).map(node_operation).collect();
        self.txn(&operations).await?;
        let mut running = JoinSet::new();
        let mut operations = Vec::with_capacity(TRANSACTION);
        for index in 0..services * instances {
            operations.extend(instance_operations(
                index / instances,
                index % instances,
                instances,
                nodes,
            ));
            if operations.len() == TRANSACTION || index + 1 == services * instances {
                if running.len() == CONCURRENT {
                    finished(running.join_next().await)?;
                }
                let (api, operations) = (self.clone(), std::mem::take(&mut operations));
                running.spawn(async move { api.txn(&operations).await });
            }
        }
        while !running.is_empty() {
            finished(running.join_next().await)?;
        }
        Ok(())
    }

    /// The node on which [`register_services`](Self::register_services) puts an instance, given how many there
    /// are of each.
    #[must_use]
    pub fn instance_node(service: usize, instance: usize, instances: usize, nodes: usize) -> String {
        node_name((service * instances + instance) % nodes.max(1))
    }
}

fn finished(transaction: Option<Result<Result<(), Error>, JoinError>>) -> Result<(), Error> {
    match transaction {
        None => Ok(()),
        Some(Ok(outcome)) => outcome,
        Some(Err(error)) => Err(Error::Io {
            what: "a transaction was not finished".to_owned(),
            source: error.into(),
        }),
    }
}

fn node_operation(index: usize) -> Value {
    json!({ "Node": { "Verb": "set", "Node": {
        "Node": node_name(index),
        "Address": address(0, index),
        "Meta": { "external-node": "true" },
    } } })
}

fn instance_operations(service: usize, instance: usize, instances: usize, nodes: usize) -> [Value; 2] {
    let node = ConsulApi::instance_node(service, instance, instances, nodes);
    let id = instance_id(service, instance);
    let check = check_operation(&node, &service_check_id(service, instance), Some(&id), "passing");
    let service = json!({ "Service": { "Verb": "set", "Node": node, "Service": {
        "ID": id,
        "Service": service_name(service),
        "Address": address(1, service * instances + instance),
        "Port": PORT,
        "Tags": ["v1"],
        "Meta": { "version": "v1" },
    } } });
    [service, check]
}

/// A private address; instances begin at 10.1.0.0, so there is room for 16 million.
fn address(block: usize, index: usize) -> String {
    let number = (block << 16) + index;
    format!(
        "10.{}.{}.{}",
        (number >> 16) & 0xff,
        (number >> 8) & 0xff,
        number & 0xff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_count_on_across_octets() {
        assert_eq!(address(0, 7), "10.0.0.7");
        assert_eq!(address(1, 0), "10.1.0.0");
        assert_eq!(address(1, 65_536 + 257), "10.2.1.1");
    }

    #[test]
    fn instances_of_a_service_are_on_different_nodes() {
        let nodes: std::collections::BTreeSet<_> = (0..5)
            .map(|instance| ConsulApi::instance_node(3, instance, 5, 100))
            .collect();
        assert_eq!(nodes.len(), 5);
    }
}
