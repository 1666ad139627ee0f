//! The smallest use: a file of services in, one snapshot out.
//!
//! `cargo run -p examples --example embed`
#![allow(clippy::print_stdout, reason = "it speaks to the person who runs it")]

use registry_core::Discovery;
use registry_file::{FileConfig, FileRegistry};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let vms = FileRegistry::try_new(FileConfig::new(concat!(env!("CARGO_MANIFEST_DIR"), "/vms.yaml")))?;
    let discovery = Discovery::builder().registry("vms", vms)?.start()?;
    discovery.ready().await;

    for service in discovery.snapshot().services() {
        for endpoint in service.routable_endpoints() {
            println!(
                "{} {} {:?}",
                service.hostname(),
                endpoint.address(),
                endpoint.ports()
            );
        }
    }
    discovery.shutdown().await;
    Ok(())
}
