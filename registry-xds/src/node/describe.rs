//! From the descriptions that clients give of themselves to nodes, within bounds.

use std::collections::BTreeMap;

use envoy_types::pb::envoy::config::core::v3::Node as ProtoNode;
use envoy_types::pb::envoy::config::core::v3::node::UserAgentVersionType;
use envoy_types::pb::google::protobuf::value::Kind as ProtoKind;
use envoy_types::pb::google::protobuf::{Struct, Value as ProtoValue};
use registry_core::Locality;
use serde_json::{Map, Value};

use super::Node;
use crate::error::Error;

/// The longest id, name or key, in bytes.
const TEXT: usize = 256;
/// The longest value in metadata, in bytes.
const VALUE: usize = 16 * 1024;
const ENTRIES: usize = 128;
const FEATURES: usize = 64;
/// How deep metadata is looked into.
const DEPTH: usize = 8;

pub(super) fn from_proto(node: &ProtoNode) -> Node {
    let version = match &node.user_agent_version_type {
        Some(UserAgentVersionType::UserAgentVersion(version)) => version.clone(),
        Some(UserAgentVersionType::UserAgentBuildVersion(build)) => {
            let version = build.version.as_ref();
            version.map_or_else(String::new, |version| {
                format!(
                    "{}.{}.{}",
                    version.major_number, version.minor_number, version.patch
                )
            })
        }
        None => String::new(),
    };
    let locality = node.locality.as_ref().map(|locality| Locality {
        region: short(&locality.region, TEXT).into(),
        zone: short(&locality.zone, TEXT).into(),
        sub_zone: short(&locality.sub_zone, TEXT).into(),
    });
    Node {
        id: short(&node.id, TEXT).to_owned(),
        cluster: short(&node.cluster, TEXT).to_owned(),
        user_agent: user_agent(&node.user_agent_name, &version),
        locality: locality.unwrap_or_default(),
        metadata: node.metadata.as_ref().map(object).map(flat).unwrap_or_default(),
        features: features(node.client_features.iter().map(String::as_str)),
    }
}

pub(super) fn parse(text: &str) -> Result<Node, Error> {
    let text = text.trim();
    if !text.starts_with('{') {
        return match text {
            "" => Err(Error::Node(
                "found nothing, expected an id or a JSON object".to_owned(),
            )),
            id => Ok(Node {
                id: short(id, TEXT).to_owned(),
                ..Node::default()
            }),
        };
    }
    let said: Map<String, Value> =
        serde_json::from_str(text).map_err(|error| Error::Node(format!("no JSON: {error}")))?;
    let none = Map::new();
    let locality = inner(&said, "locality")?.unwrap_or(&none);
    let features = match either(&said, "client_features", "clientFeatures") {
        None => Vec::new(),
        Some(Value::Array(items)) => features(items.iter().filter_map(Value::as_str)),
        Some(other) => return Err(wrong("client_features", other, "a list")),
    };
    Ok(Node {
        id: word(&said, "id", "id")?.to_owned(),
        cluster: word(&said, "cluster", "cluster")?.to_owned(),
        user_agent: user_agent(
            word(&said, "user_agent_name", "userAgentName")?,
            word(&said, "user_agent_version", "userAgentVersion")?,
        ),
        locality: Locality {
            region: word(locality, "region", "region")?.into(),
            zone: word(locality, "zone", "zone")?.into(),
            sub_zone: word(locality, "sub_zone", "subZone")?.into(),
        },
        metadata: inner(&said, "metadata")?.cloned().map(flat).unwrap_or_default(),
        features,
    })
}

/// A field under its name in the `.proto` file, or as JSON of protobuf spells it.
fn either<'a>(object: &'a Map<String, Value>, name: &str, camel: &str) -> Option<&'a Value> {
    let field = object.get(name).or_else(|| object.get(camel));
    field.filter(|value| !value.is_null())
}

fn word<'a>(object: &'a Map<String, Value>, name: &str, camel: &str) -> Result<&'a str, Error> {
    match either(object, name, camel) {
        None => Ok(""),
        Some(Value::String(text)) => Ok(short(text, TEXT)),
        Some(other) => Err(wrong(name, other, "a text")),
    }
}

fn inner<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a Map<String, Value>>, Error> {
    match either(object, name, name) {
        None => Ok(None),
        Some(Value::Object(inner)) => Ok(Some(inner)),
        Some(other) => Err(wrong(name, other, "an object")),
    }
}

fn wrong(field: &str, found: &Value, expected: &str) -> Error {
    let found = registry_core::short(&found.to_string(), TEXT);
    Error::Node(format!("{field}: found {found}, expected {expected}"))
}

fn user_agent(name: &str, version: &str) -> String {
    let text = format!("{} {}", short(name, TEXT), short(version, TEXT));
    text.trim().to_owned()
}

fn features<'a>(said: impl Iterator<Item = &'a str>) -> Vec<String> {
    said.take(FEATURES)
        .map(|feature| short(feature, TEXT).to_owned())
        .collect()
}

/// As much of a text as fits.
fn short(text: &str, most: usize) -> &str {
    let mut ends = (0..=most.min(text.len())).rev();
    &text[..ends.find(|at| text.is_char_boundary(*at)).unwrap_or(0)]
}

fn object(from: &Struct) -> Map<String, Value> {
    let fields = from.fields.iter();
    fields.map(|(key, value)| (key.clone(), json(value))).collect()
}

fn json(value: &ProtoValue) -> Value {
    match &value.kind {
        None | Some(ProtoKind::NullValue(_)) => Value::Null,
        Some(ProtoKind::NumberValue(number)) => (*number).into(),
        Some(ProtoKind::StringValue(text)) => text.as_str().into(),
        Some(ProtoKind::BoolValue(value)) => (*value).into(),
        Some(ProtoKind::StructValue(inner)) => object(inner).into(),
        Some(ProtoKind::ListValue(list)) => list.values.iter().map(json).collect(),
    }
}

/// Nested keys joined by dots; of too many those that this server reads come first, then the alphabet.
fn flat(metadata: Map<String, Value>) -> BTreeMap<String, String> {
    let mut entries = BTreeMap::new();
    flatten("", &Value::Object(metadata), DEPTH, &mut entries);
    if entries.len() > ENTRIES {
        let (ours, others): (Vec<_>, Vec<_>) = entries
            .into_iter()
            .partition(|(key, _)| key.starts_with("registryd."));
        entries = ours.into_iter().chain(others).take(ENTRIES).collect();
    }
    entries
}

fn flatten(key: &str, value: &Value, depth: usize, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(inner) if depth > 0 => {
            for (name, value) in inner {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                if key.len() <= TEXT {
                    flatten(&key, value, depth - 1, into);
                }
            }
        }
        Value::Array(items) => {
            let mut list = String::new();
            for item in items.iter().filter_map(scalar) {
                // Whole items only: half a pattern is another pattern.
                if list.len() + 1 + item.len() > VALUE {
                    break;
                }
                if !list.is_empty() {
                    list.push(',');
                }
                list.push_str(&item);
            }
            into.insert(key.to_owned(), list);
        }
        scalar_value => {
            if let Some(text) = scalar(scalar_value) {
                into.insert(key.to_owned(), short(&text, VALUE).to_owned());
            }
        }
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        // All numbers of protobuf's structs are floating: 15001 is meant by 15001.0.
        Value::Number(number) => Some(match number.as_f64() {
            Some(float) => float.to_string(),
            None => number.to_string(),
        }),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}
