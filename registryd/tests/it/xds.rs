//! The xDS output as operators see it: its settings, what the API and the commands say of it, and bootstraps.

mod api;
mod bootstrap;

/// A daemon with xDS on a port of its own.
const CONFIG: &str = "\
registries:
  - { name: vms, hostname: \"{name}.mesh.internal\", file: { path: vms.yaml } }
http: { listen: \"127.0.0.1:0\" }
xds: { listen: \"127.0.0.1:0\" }
";
