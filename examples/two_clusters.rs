//! A control plane outside Kubernetes that watches two clusters and prints what changes.
//!
//! `cargo run -p examples --example two_clusters -- CONTEXT-A CONTEXT-B`, with both contexts in the kubeconfig
//! (`$KUBECONFIG`, else `~/.kube/config`). Services that have the same name and namespace in both clusters are one, and
//! the second cluster serves where the first cannot.
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use std::collections::BTreeMap;
use std::time::Duration;

use registry_core::{Delta, Discovery, Fallback, Phase, RegistryId, RegistryOptions, Service};
use registry_k8s::{KubernetesConfig, KubernetesRegistry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let contexts: Vec<String> = std::env::args().skip(1).collect();
    if contexts.is_empty() {
        return Err("expected the names of contexts of the kubeconfig".into());
    }
    // All TLS of the process goes through this provider.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another rustls provider is installed")?;

    // Both set the same template, so their services merge; with the default names the first would own each name.
    let mut builder = Discovery::builder().policy("*.mesh.internal", Fallback);
    for context in &contexts {
        let config = KubernetesConfig {
            context: Some(context.clone()),
            cluster: Some(context.clone()),
            ..KubernetesConfig::default()
        };
        let options = RegistryOptions {
            hostname: Some("{name}.{namespace}.mesh.internal".parse()?),
            ..RegistryOptions::default()
        };
        builder = builder.registry_with(
            &context.to_lowercase(),
            KubernetesRegistry::try_new(config)?,
            options,
        )?;
    }
    let discovery = builder.start()?;
    let mut changes = discovery.changes_from_empty();
    // Trouble that changes no service is no delta.
    let mut look = tokio::time::interval(Duration::from_secs(2));
    let mut phases = BTreeMap::new();
    loop {
        tokio::select! {
            delta = changes.next() => match delta {
                Some(delta) => print(&delta),
                None => break,
            },
            _ = look.tick() => print_phases(&discovery, &mut phases),
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    discovery.shutdown().await;
    Ok(())
}

/// Says which cluster cannot be read, and which can be again. What is known of one that is stale stays, and is served.
fn print_phases(discovery: &Discovery, told: &mut BTreeMap<RegistryId, Phase>) {
    for status in discovery.status() {
        let why = match (status.phase, status.last_error) {
            (Phase::Synced, _) => String::new(),
            (_, Some(error)) => format!(": {}", error.message),
            // It has only begun.
            (_, None) => continue,
        };
        if told.insert(status.id.clone(), status.phase) != Some(status.phase) {
            println!("{} is {}{why}", status.id, status.phase.as_str());
        }
    }
}

fn print(delta: &Delta) {
    // Where only the phase of a registry changed, no service did.
    if delta.updated.is_empty() && delta.removed.is_empty() {
        return;
    }
    println!("revision {} -> {}", delta.from, delta.to);
    for service in &delta.updated {
        println!("  {} {}", service.hostname(), describe(service));
    }
    for hostname in &delta.removed {
        println!("  {hostname} is gone");
    }
}

/// Such as `3 endpoints: 10.1.0.7 (a/eu-1a, healthy), …`.
fn describe(service: &Service) -> String {
    let endpoints = service.endpoints().iter().take(3).map(|endpoint| {
        let (cluster, zone) = (endpoint.cluster(), &endpoint.locality().zone);
        format!("{} ({cluster}/{zone}, {})", endpoint.address(), endpoint.health())
    });
    let mut endpoints: Vec<String> = endpoints.collect();
    let count = service.endpoints().len();
    if count > endpoints.len() {
        endpoints.push("…".to_owned());
    }
    match count {
        0 => "no endpoints".to_owned(),
        1 => format!("1 endpoint: {}", endpoints.join(", ")),
        _ => format!("{count} endpoints: {}", endpoints.join(", ")),
    }
}
