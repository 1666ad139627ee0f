//! Follows deltas: what a control plane does that keeps data planes up to date.
//!
//! `cargo run -p examples --example follow_changes`. The program states its services itself and changes them twice, so
//! it needs nothing else.
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use registry_core::{
    Address, Delta, Discovery, Endpoint, ServiceId, ServiceMeta, ServiceRecord, StaticRegistry,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let registry = StaticRegistry::new([payments(["10.0.0.7"])?]);
    let handle = registry.handle();
    let discovery = Discovery::builder().registry("vms", registry)?.start()?;
    discovery.ready().await;

    // Everything first, then what changes. However slow this loop is, it never gets more than one delta to catch up.
    let mut changes = discovery.changes_from_empty();
    print(changes.next().await);

    handle.set([payments(["10.0.0.7", "10.0.0.8"])?]);
    print(changes.next().await);

    handle.set([]);
    print(changes.next().await);

    discovery.shutdown().await;
    assert!(changes.next().await.is_none(), "a stream ends with its discovery");
    Ok(())
}

fn payments<const N: usize>(addresses: [&str; N]) -> Result<ServiceRecord, String> {
    let meta = ServiceMeta::builder(ServiceId::named("payments")).build();
    let endpoints: Result<Vec<Endpoint>, String> = addresses
        .iter()
        .map(|address| {
            let address: Address = address.parse()?;
            Ok(Endpoint::builder(address).port("http", 8080).build())
        })
        .collect();
    Ok(ServiceRecord::new(meta, endpoints?))
}

fn print(delta: Option<Delta>) {
    let Some(delta) = delta else { return };
    println!("revision {} -> {}", delta.from, delta.to);
    for service in &delta.updated {
        println!(
            "  {} has {} endpoints",
            service.hostname(),
            service.endpoints().len()
        );
    }
    for hostname in &delta.removed {
        println!("  {hostname} is gone");
    }
}
