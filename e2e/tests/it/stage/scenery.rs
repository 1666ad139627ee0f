//! What registries and the daemon are told, as texts.

use serde_json::{Value, json};

use crate::plan::{CONSUL, Change, Settings, VMS, WINDOW, by_hostname, extra_claims};
use crate::truth::{Attributes, Claim};

/// The daemon's configuration.
pub(super) fn config(head: &str, consul: &str, settings: &Settings) -> String {
    let window = WINDOW.as_secs();
    let catalog_interval = ["1s", "500ms", "2s"][settings.consul];
    let debounce = ["200ms", "100ms", "300ms"][settings.vms];
    let mut config = format!(
        "\
{head}start_deadline: 5s
log: {{ level: \"info,registry_consul=debug\" }}
registries:
  - name: {VMS}
    hostname: \"{{name}}.mesh.internal\"
    guard: {{ window: {window}s, hold: 10m }}
    file: {{ paths: [a.yaml, b.yaml], poll_interval: 2s, debounce: {debounce} }}
  - name: {CONSUL}
    hostname: \"{{name}}.mesh.internal\"
    guard: {{ window: {window}s, hold: 10m }}
    consul: {{ address: \"{consul}\", wait: 5s, catalog_interval: {catalog_interval} }}
"
    );
    for extra in &settings.extras {
        config.push_str(&format!(
            "  - {{ name: extra-{extra}, hostname: \"{{name}}.extra-{extra}\", file: {{ path: extra-{extra}.yaml }} }}\n"
        ));
    }
    if settings.exclusive {
        config.push_str("merge: [{ hosts: \"*.nobody\", policy: exclusive }]\n");
    }
    config
}

/// A file of services.
pub(super) fn document<'a>(claims: impl Iterator<Item = (&'a Claim, &'a Attributes)>) -> String {
    let services = by_hostname(claims);
    if services.is_empty() {
        return "services: []\n".to_owned();
    }
    let mut text = "services:\n".to_owned();
    for (hostname, endpoints) in services {
        text.push_str(&format!(
            "  - name: {}\n    ports: [{{ name: http, number: 80 }}]\n    endpoints:\n",
            name(hostname)
        ));
        for (claim, attributes) in endpoints {
            let Attributes {
                port,
                health,
                weight,
                version,
            } = attributes;
            let health = match *health {
                "unknown" => String::new(),
                health => format!(", health: {health}"),
            };
            text.push_str(&format!(
                "      - {{ address: {}, ports: {{ http: {port} }}, weight: {weight}{health}, labels: {{ version: \"{version}\" }} }}\n",
                claim.address
            ));
        }
    }
    text
}

pub(super) fn extra_document(extra: usize) -> String {
    let attributes = Attributes {
        port: 80,
        health: "unknown",
        weight: 1,
        version: 0,
    };
    let claims = extra_claims(extra);
    document(claims.iter().map(|claim| (claim, &attributes)))
}

fn name(hostname: &str) -> &str {
    hostname.split('.').next().unwrap_or_default()
}

/// Changes as Consul's transactions take them: in the catalogue, on nodes that have no agent.
pub(super) fn operations(changes: &[Change]) -> Vec<Value> {
    changes.iter().flat_map(operation).collect()
}

fn operation(change: &Change) -> Vec<Value> {
    let Claim {
        hostname, address, ..
    } = &change.claim;
    let (name, node) = (name(hostname), format!("on-{}", address.replace('.', "-")));
    let id = format!("{name}-{}", address.replace('.', "-"));
    let Some(attributes) = &change.to else {
        let service = json!({ "ID": id, "Service": name });
        return vec![json!({ "Service": { "Verb": "delete", "Node": node, "Service": service } })];
    };
    let status = match attributes.health {
        "healthy" => "passing",
        "degraded" => "warning",
        _ => "critical",
    };
    vec![
        json!({ "Node": { "Verb": "set", "Node": { "Node": node, "Address": "10.0.0.1" } } }),
        json!({ "Service": { "Verb": "set", "Node": node, "Service": {
            "ID": id, "Service": name, "Address": address, "Port": attributes.port,
            "Meta": { "version": attributes.version.to_string() },
            "Weights": { "Passing": attributes.weight, "Warning": attributes.weight },
        } } }),
        json!({ "Check": { "Verb": "set", "Check": {
            "Node": node, "CheckID": format!("check-{id}"), "Name": "check", "ServiceID": id, "Status": status,
        } } }),
    ]
}
