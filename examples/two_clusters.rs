//! A control plane outside Kubernetes that watches two clusters and prints what changes.
//!
//! `cargo run -p examples --example two_clusters -- CONTEXT-A CONTEXT-B`, with both contexts in the kubeconfig
//! (`$KUBECONFIG`, else `~/.kube/config`). Services that have the same name and namespace in both clusters are one, and
//! the second cluster serves where the first cannot.
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use registry_core::{Delta, Discovery, Fallback, RegistryOptions, Service};
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
    loop {
        tokio::select! {
            delta = changes.next() => match delta {
                Some(delta) => print(&delta),
                None => break,
            },
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    discovery.shutdown().await;
    Ok(())
}

fn print(delta: &Delta) {
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
    format!("{count} endpoints: {}", endpoints.join(", "))
}
