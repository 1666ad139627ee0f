//! Multi-Cluster Services without a controller: exports of several clusters as one clusterset.
//!
//! `cargo run -p examples --example clusterset -- eu.kubeconfig us.kubeconfig`: each argument is a kubeconfig, or a context
//! of the kubeconfig that `kubectl` uses. It prints the services that the clusters export, and the conditions that a
//! controller would write to each ServiceExport, whenever any of that changes. Nothing is written to any cluster.
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use registry_core::{Discovery, Phase, RegistryOptions, Service, Snapshot};
use registry_k8s::{Cluster, KubernetesConfig};
use registry_mcs::{ClusterSet, McsRegistry, McsSettings, Truth};

const HOSTNAME: &str = "{name}.{namespace}.svc.clusterset.local";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clusters: Vec<String> = std::env::args().skip(1).collect();
    if clusters.is_empty() {
        return Err("expected kubeconfigs, or names of contexts".into());
    }
    // All TLS of the process goes through this provider.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another rustls provider is installed")?;

    let mut builder = Discovery::builder().policy("*.svc.clusterset.local", ClusterSet);
    for (position, cluster) in clusters.iter().enumerate() {
        let is_file = Path::new(cluster).is_file();
        let config = KubernetesConfig {
            kubeconfig: is_file.then(|| PathBuf::from(cluster)),
            context: (!is_file).then(|| cluster.clone()),
            ..KubernetesConfig::default()
        };
        // Without an id the cluster says which one it has.
        let registry = McsRegistry::exports(Cluster::try_new(config)?, None, McsSettings::default());
        // Registries merge their services where each of them sets a hostname.
        let options = RegistryOptions {
            hostname: Some(HOSTNAME.parse()?),
            ..RegistryOptions::default()
        };
        builder = builder.registry_with(&format!("cluster-{}", position + 1), registry, options)?;
    }
    let discovery = builder.start()?;
    // Before that, clusters may be missing that have not said anything yet.
    discovery.ready().await;
    let mut changes = discovery.changes_from_empty();
    // Exports that cannot be served are in no delta of services, and neither is trouble with a cluster.
    let mut look = tokio::time::interval(Duration::from_secs(1));
    let mut told = String::new();
    loop {
        tokio::select! {
            delta = changes.next() => if delta.is_none() { break },
            _ = look.tick() => {}
            _ = tokio::signal::ctrl_c() => break,
        }
        let picture = clusterset(&discovery.snapshot()) + &troubles(&discovery);
        if picture != told {
            println!("{picture}");
            told = picture;
        }
    }
    discovery.shutdown().await;
    Ok(())
}

/// Every service that is exported, with its endpoints and the conditions of its exports.
fn clusterset(snapshot: &Snapshot) -> String {
    let mut text = String::new();
    for hostname in registry_mcs::exported(snapshot) {
        match snapshot.get(hostname) {
            Some(service) => text.push_str(&describe(service)),
            None => text.push_str(&format!("{hostname}: none of its exports can be served\n")),
        }
        for export in registry_mcs::exports(snapshot, hostname) {
            let [valid, ready, conflict] = &export.conditions;
            // Writing to a String does not fail.
            let _ = write!(
                text,
                "  export of {}: {}, {}, {}",
                export.cluster, valid.reason, ready.reason, conflict.reason
            );
            if conflict.status == Truth::True {
                let _ = write!(text, " ({})", conflict.message);
            }
            text.push('\n');
        }
    }
    text
}

/// Such as `db.shop.svc.clusterset.local: headless, http:80`, and a line for each endpoint.
fn describe(service: &Service) -> String {
    let ports = service.ports().iter().map(|port| {
        let number = port.number.map_or(String::new(), |number| format!(":{number}"));
        format!("{}{number}", port.name)
    });
    let ports: Vec<String> = ports.collect();
    let mut text = format!(
        "{}: {}, {}\n",
        service.hostname(),
        service.resolution().as_str(),
        ports.join(" ")
    );
    for endpoint in service.endpoints().iter() {
        let name = service.endpoint_dns_name(endpoint);
        let name = name.map_or(String::new(), |name| format!(" {name}"));
        let _ = writeln!(
            text,
            "  {} of {}, {}{name}",
            endpoint.address(),
            endpoint.cluster(),
            endpoint.health()
        );
    }
    text
}

/// Which clusters cannot be read. What is known of them stays, and is served.
fn troubles(discovery: &Discovery) -> String {
    let mut text = String::new();
    for status in discovery.status() {
        if let (Phase::Stale, Some(error)) = (status.phase, status.last_error) {
            let _ = writeln!(text, "{} is stale: {}", status.id, error.message);
        }
    }
    text
}
