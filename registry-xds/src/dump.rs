//! Encoded resources as JSON, as `/config_dump` of Envoy shows them, read by the fields that this crate writes.

use serde_json::Value;

use crate::resource::{Resource, ResourceSet};

impl Resource {
    /// Its message as JSON: names as in the `.proto` files, an `Any` with its `@type`. A field that this crate never
    /// writes is shown as `"#<number>"`.
    pub fn to_json(&self) -> Value {
        unimplemented!("dump")
    }
}

impl ResourceSet {
    /// All resources as JSON: by type (`cds`, `eds`, `lds`, `rds`) a list, sorted by name, of `{ name, version, resource }`.
    pub fn to_json(&self) -> Value {
        unimplemented!("dump")
    }
}
