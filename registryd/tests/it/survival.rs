//! What a daemon does when a registry fails, empties or lies, and when the daemon itself is killed.

mod held;
mod outage;
mod reload;
mod restart;
mod state_dir;
mod warnings;

use serde_json::Value;

use crate::daemon::Daemon;

/// A file with one service, `payments`, that has so many endpoints.
fn services(endpoints: usize) -> String {
    named("payments", endpoints)
}

/// A file with one service of that name.
fn named(name: &str, endpoints: usize) -> String {
    let mut text =
        format!("services:\n  - name: {name}\n    ports: [{{ name: http, number: 80 }}]\n    endpoints:\n");
    for n in 1..=endpoints {
        text.push_str(&format!(
            "      - {{ address: 10.0.0.{n}, ports: {{ http: 8080 }}, health: healthy }}\n"
        ));
    }
    text
}

/// A configuration with one registry `vms` that reads `vms.yaml`; `more` are further keys of its entry.
fn config(more: &str) -> String {
    format!(
        "http: {{ listen: \"127.0.0.1:0\" }}\nregistries:\n{}",
        entry("vms", more)
    )
}

/// One registry that reads the file of its name.
fn entry(name: &str, more: &str) -> String {
    format!(
        "  - name: {name}\n    hostname: \"{{name}}.{name}\"\n    file: {{ path: {name}.yaml, debounce: 10ms }}\n{more}"
    )
}

/// The addresses of a service's endpoints, those that are held back with a mark.
fn endpoints(service: &Value) -> Vec<String> {
    let endpoints = service["endpoints"].as_array().into_iter().flatten();
    endpoints
        .map(|endpoint| {
            let address = endpoint["address"].as_str().unwrap_or_default();
            match endpoint.get("held") {
                None => address.to_owned(),
                Some(held) => format!("{address} {held}"),
            }
        })
        .collect()
}

/// Waits until a service has so many endpoints, of which so many are held back, and returns it.
async fn shows(daemon: &Daemon, name: &str, all: usize, held: usize) -> Value {
    daemon
        .wait(&format!("{all} endpoints, {held} held"), async || {
            let (status, service) = daemon.get(&format!("/v1/services/{name}")).await;
            let shown = endpoints(&service);
            let marked = shown.iter().filter(|shown| shown.ends_with(" true")).count();
            (status == 200 && (shown.len(), marked) == (all, held)).then_some(service)
        })
        .await
}

/// Waits until what is known of a registry is on disk.
async fn saved(daemon: &Daemon, registry: &str) {
    daemon
        .registry_that(registry, "its state on disk", |registry| {
            registry["saved"].is_string()
        })
        .await;
}
