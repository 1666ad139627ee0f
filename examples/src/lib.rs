//! Small programs that embed `registry-core`, and a registry of a kind of its own.
//!
//! | run | shows |
//! |---|---|
//! | `cargo run -p examples --example embed` | the smallest use: one registry, one snapshot |
//! | `cargo run -p examples --example follow_changes` | deltas instead of snapshots |
//! | `cargo run -p examples --example eureka_and_consul` | two registries under one name: a service that moves from one to the other |
//! | `cargo run -p examples --example third_party` | a backend that is not part of this repository's crates: [`HostFiles`] |

mod host_files;

pub use host_files::HostFiles;
