//! A service that moves from Eureka to Consul: both registries in one discovery, under one name.
//!
//! `cargo run -p examples --example eureka_and_consul [EUREKA-URL [CONSUL-URL]]`, by default
//! `http://127.0.0.1:8761/eureka` and `http://127.0.0.1:8500`. Ctrl-C ends it.
//!
//! Register an instance in either, or in both with the same address and port: it is one endpoint, and the line says
//! who knows it.
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use registry_consul::{ConsulConfig, ConsulRegistry};
use registry_core::{Delta, Discovery, Endpoint, Phase, PortDefaults, RegistryOptions, Service};
use registry_eureka::{EurekaConfig, EurekaRegistry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let eureka = EurekaConfig {
        // Without one of its own it is the default.
        urls: arguments.next().into_iter().collect(),
        ..EurekaConfig::default()
    };
    let consul = ConsulConfig {
        address: arguments.next(),
        ..ConsulConfig::default()
    };
    // All TLS of the process goes through this provider, and clients are built with it for `http://`, too.
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| "another rustls provider is installed")?;

    // Both set the same template, so their services merge: `ORDERS` of Eureka and `orders` of Consul are one.
    let named_alike = || -> Result<RegistryOptions, Box<dyn std::error::Error>> {
        Ok(RegistryOptions {
            hostname: Some("{name}.mesh.internal".parse()?),
            // Consul names no ports: its one is called as Eureka calls it, also when Eureka has forgotten the service.
            ports: PortDefaults {
                name: Some("http".into()),
                ..PortDefaults::default()
            },
            ..RegistryOptions::default()
        })
    };
    let discovery = Discovery::builder()
        .registry_with("eureka", EurekaRegistry::try_new(eureka)?, named_alike()?)?
        .registry_with("consul", ConsulRegistry::try_new(consul)?, named_alike()?)?
        .start()?;

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
    for service in &delta.updated {
        println!("{}", service.hostname());
        for endpoint in service.endpoints().iter() {
            let ports: Vec<String> = endpoint
                .ports()
                .iter()
                .map(|port| format!("{}:{}", port.name, port.number))
                .collect();
            println!(
                "  {} {} {}, {}",
                endpoint.address(),
                ports.join(" "),
                endpoint.health(),
                known_by(service, endpoint)
            );
        }
    }
    for hostname in &delta.removed {
        println!("{hostname} is gone");
    }
    // What a registry said before stays, whatever its phase.
    for (id, phase) in &delta.phases {
        println!("registry {id} is {}", phase.map_or("gone", Phase::as_str));
    }
}

/// Such as `eureka (UP) and consul (passing)`: the registries, with their own words for its health.
fn known_by(service: &Service, endpoint: &Endpoint) -> String {
    let claims = endpoint.claims().map(|claim| {
        let registry = service.registry_of(&claim).map_or("?", |id| id.as_str());
        format!("{registry} ({})", claim.status)
    });
    claims.collect::<Vec<String>>().join(" and ")
}
