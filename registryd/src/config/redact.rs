//! The effective configuration, as it may be shown.

use serde::ser::{SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};

use super::tree::{Node, Value};
use super::{Config, Place};

/// A configuration as it may be shown: with all defaults, in the order of its fields, and without secrets, which are
/// passwords in URLs and what has the name of a secret.
#[derive(Debug)]
pub struct Shown(Node);

impl Shown {
    /// What may be shown of a configuration.
    pub fn new(config: &Config) -> Self {
        // What was read from YAML can be written as YAML.
        let yaml = serde_saphyr::to_string(config).unwrap_or_default();
        let mut tree = Node::parse(&yaml).unwrap_or(Node {
            place: Place::default(),
            value: Value::Null,
        });
        redact(&mut tree, false);
        Self(tree)
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match &self.value {
            Value::Null | Value::Gone => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Signed(value) => serializer.serialize_i64(*value),
            Value::Unsigned(value) => serializer.serialize_u64(*value),
            Value::Float(value) => serializer.serialize_f64(*value),
            Value::Text(text) | Value::Expanded(text) => serializer.serialize_str(text),
            Value::List(elements) => {
                let mut list = serializer.serialize_seq(Some(elements.len()))?;
                for element in elements {
                    list.serialize_element(element)?;
                }
                list.end()
            }
            Value::Map(pairs) => {
                let mut map = serializer.serialize_map(Some(pairs.len()))?;
                for pair in pairs {
                    map.serialize_entry(&pair.key, &pair.value)?;
                }
                map.end()
            }
        }
    }
}

fn redact(node: &mut Node, secret: bool) {
    match &mut node.value {
        Value::Text(text) if secret => *text = "***".to_owned(),
        Value::Text(text) => {
            if let Some(without) = without_password(text) {
                *text = without;
            }
        }
        Value::List(elements) => elements.iter_mut().for_each(|element| redact(element, secret)),
        Value::Map(pairs) => {
            for pair in pairs {
                redact(&mut pair.value, secret || is_secret(&pair.key));
            }
        }
        _ => {}
    }
}

/// Names of files and of variables are no secrets, nor is where Secrets of Kubernetes are found.
fn is_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    key != "secrets"
        && !key.ends_with("_file")
        && !key.ends_with("_env")
        && ["token", "password", "secret", "authorization"]
            .iter()
            .any(|word| key.contains(word))
}

fn without_password(text: &str) -> Option<String> {
    let (scheme, rest) = text.split_once("://")?;
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (_, host) = authority.rsplit_once('@')?;
    Some(format!("{scheme}://***@{host}{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let text = "\
address: http://me:secret@10.0.0.1:8500/x@y
plain: http://10.0.0.1/a@b
urls: [https://me:sec@ret@h:8761/eureka, http://h/eureka]
headers: { X-Consul-Token: secret }
token_file: /etc/token
token_env: TOKEN
secrets: { namespace: clusters, token: secret }
";
        let mut tree = Node::parse(text).unwrap();
        redact(&mut tree, false);
        assert_eq!(
            serde_json::to_string(&Shown(tree)).unwrap(),
            "{\"address\":\"http://***@10.0.0.1:8500/x@y\",\"plain\":\"http://10.0.0.1/a@b\",\
             \"urls\":[\"https://***@h:8761/eureka\",\"http://h/eureka\"],\
             \"headers\":{\"X-Consul-Token\":\"***\"},\"token_file\":\"/etc/token\",\"token_env\":\"TOKEN\",\
             \"secrets\":{\"namespace\":\"clusters\",\"token\":\"***\"}}"
        );
    }
}
