//! Services of VMs and physical machines from watched YAML or JSON files: a registry for what has no registry.
//!
//! ```text
//!  vms.yaml   services.d/*.yaml, *.yml, *.json
//!    │  ▲
//!    │  └── directories are watched (and polled, since watches miss things): renames, link swaps, removals
//!    ▼  a file that rests for a moment is read whole, on a thread that may block
//!  wire     what stands there, with lines and columns, lenient
//!    ▼
//!  map      what is right becomes services; all that is wrong is named
//!    ▼
//!  events   one group per file: changed ──▶ Init(group) … InitDone(group)      broken ──▶ Degraded(group), all stays
//!    ▼
//!  registry_core::Discovery
//! ```
//!
//! # Example
//!
//! ```
//! use registry_core::Discovery;
//! use registry_file::{FileConfig, FileRegistry};
//!
//! #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let dir = tempfile::tempdir()?;
//!     std::fs::write(dir.path().join("vms.yaml"), "
//! services:
//!   - name: payments
//!     ports: [{ name: http, number: 80 }]
//!     endpoints:
//!       - { address: 10.0.0.7, port: 8080 }
//!       - { address: 10.0.0.8, port: 8080, health: draining }
//! ")?;
//!
//!     let vms = FileRegistry::try_new(FileConfig::new("vms.yaml"))?.relative_to(dir.path());
//!     let discovery = Discovery::builder().registry("vms", vms)?.start()?;
//!     discovery.ready().await;
//!
//!     let snapshot = discovery.snapshot();
//!     let payments = snapshot.get("payments.default.file").ok_or("no payments")?;
//!     let routable: Vec<String> = payments.routable_endpoints().map(|e| e.address().to_string()).collect();
//!     assert_eq!(routable, ["10.0.0.7"]);
//!     discovery.shutdown().await;
//!     Ok(())
//! }
//! ```
//!
//! # The shape of a file
//!
//! YAML, or JSON, which is read by the same rules. A field that is not listed here is an error; so is a service, a
//! port, an id, or an address and port within a service that comes twice. Numbers and booleans where a text is wanted
//! are taken as they are written (`version: 1.10` is `1.10`).
//!
//! ```yaml
//! services:                                  # required; `services: []` where there are none
//!   - name: payments                         # required
//!     namespace: default                     # default: default
//!     aliases: [pay.internal]                # further names that look up the same service
//!     ports:
//!       - name: http                         # required
//!         number: 80                         # the service's own port
//!         protocol: http                     # what is spoken on it
//!         transport: tcp                     # tcp (default), udp or sctp
//!     labels: { team: money }
//!     metadata: { owner: ada }               # kept as it is, no part of the content
//!     resolution: static                     # static (default), headless or dns
//!     addresses: [10.96.0.7]                 # virtual IP addresses
//!     endpoints:
//!       - address: 10.0.0.7                  # required: an IP address, a host name or unix:/path; or `addresses`
//!         ports: { http: 8080 }              # or `port: 8080` where the service has one port
//!         weight: 1                          # 0 to 65535, default 1; 0 takes no traffic
//!         health: healthy                    # healthy, degraded, draining, unhealthy or unknown; see `FileRegistry`
//!         locality: { region: eu, zone: eu-1a, sub_zone: rack-7 }
//!         labels: { version: v2 }
//!         hostname: payments-0               # its own DNS record in a headless service
//!         node: vm-17                        # the machine
//!         network: blue                      # where its address is valid
//!         cluster: dc1
//!         identity: spiffe://corp/payments   # what it proves in mutual TLS
//!         id: payments-0                     # default: address and port
//!         priority: 0                        # 0 (default, first) to 127
//! ```
//!
//! An endpoint without `port` and `ports` serves on the numbers of the service's ports. A service without `ports` whose
//! endpoints have a `port` gets one port, named as the registry's options say (else `default`).
//!
//! Mistakes are told with file, line, column and field, all of them at once ([`FileRegistry::check`]):
//!
//! ```text
//! vms.yaml:12:9: services[0].endpoints[1].port: found 70000, expected 1 to 65535
//! ```
//!
//! What a running registry makes of mistakes, and what removes a service, is told at [`FileRegistry`].

mod config;
mod error;
mod files;
#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;
mod map;
mod registry;
mod watch;
mod wire;

pub use config::FileConfig;
pub use error::Error;
pub use registry::FileRegistry;
