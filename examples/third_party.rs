//! A registry that no crate of this repository knows, in a discovery: hosts that each have a file in a directory.
//!
//! `cargo run -p examples --example third_party [DIRECTORY]`, then edit a file there. Ctrl-C ends it.
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use std::path::PathBuf;
use std::time::Duration;

use examples::HostFiles;
use registry_core::{Discovery, Phase};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sample = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/hosts"));
    let directory = std::env::args_os().nth(1).map_or_else(sample, PathBuf::from);
    println!("watching {}", directory.display());

    let hosts = HostFiles::new(directory).with_interval(Duration::from_secs(1));
    let discovery = Discovery::builder().registry("hosts", hosts)?.start()?;
    let mut changes = discovery.changes_from_empty();
    loop {
        let delta = tokio::select! {
            delta = changes.next() => delta,
            _ = tokio::signal::ctrl_c() => break,
        };
        let Some(delta) = delta else { break };
        for service in &delta.updated {
            let addresses: Vec<String> = service
                .routable_endpoints()
                .map(|endpoint| endpoint.address().to_string())
                .collect();
            println!("{}: {}", service.hostname(), addresses.join(" "));
        }
        for hostname in &delta.removed {
            println!("{hostname}: gone");
        }
        // What a registry said before stays, whatever its phase.
        for (id, phase) in &delta.phases {
            let phase = phase.map_or("gone", Phase::as_str);
            println!("registry {id} is {phase}");
        }
    }
    discovery.shutdown().await;
    Ok(())
}
