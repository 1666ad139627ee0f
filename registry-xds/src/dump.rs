//! Encoded resources as JSON, as `/config_dump` of Envoy shows them, read by the fields that this crate writes.

mod message;
mod read;
mod table;

use serde_json::{Map, Value, json};

use crate::resource::{Resource, ResourceSet, ResourceType};

impl Resource {
    /// Its message as JSON: names as in the `.proto` files, an `Any` with its `@type`. A field that this crate never
    /// writes is shown as `"#<number>"`.
    pub fn to_json(&self) -> Value {
        match table::message(self.type_().url()) {
            Some(message) => read::message(message, self.body()),
            None => Value::Null,
        }
    }

    /// As lists show it: `{ name, version, resource }`.
    pub fn entry(&self) -> Value {
        json!({ "name": self.name().as_str(), "version": self.version(), "resource": self.to_json() })
    }
}

impl ResourceSet {
    /// All resources as JSON: by type (`cds`, `eds`, `lds`, `rds`) a list, sorted by name, of `{ name, version, resource }`.
    pub fn to_json(&self) -> Value {
        let by_type = ResourceType::ALL.into_iter().map(|type_| {
            let mut resources: Vec<_> = self.iter(type_).collect();
            resources.sort_unstable_by(|a, b| a.name().cmp(b.name()));
            let entries: Vec<Value> = resources.into_iter().map(|resource| resource.entry()).collect();
            (type_.as_str().to_owned(), entries.into())
        });
        Value::Object(by_type.collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests;
