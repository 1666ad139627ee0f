//! What Consul sends, as far as we use it. Everything that some version leaves out or sends as `null` is optional.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use crate::json::null_is_default;

/// One instance of `/v1/health/service/NAME`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance<'a> {
    #[serde(borrow)]
    pub(super) node: Node<'a>,
    #[serde(borrow)]
    pub(super) service: Service<'a>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) checks: Vec<Check<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Node<'a> {
    #[serde(borrow)]
    pub(super) node: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) address: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) datacenter: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) tagged_addresses: HashMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) meta: HashMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) locality: Option<Locality<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Service<'a> {
    #[serde(rename = "ID", borrow)]
    pub(super) id: Cow<'a, str>,
    /// The name of the service.
    #[serde(rename = "Service", borrow, default, deserialize_with = "null_is_default")]
    pub(super) name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) kind: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) tags: Vec<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) address: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) tagged_addresses: HashMap<Cow<'a, str>, TaggedAddress<'a>>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) meta: HashMap<Cow<'a, str>, Cow<'a, str>>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) port: i64,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) ports: Vec<Port<'a>>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) weights: Weights,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) proxy: Proxy<'a>,
    #[serde(borrow, default)]
    pub(super) locality: Option<Locality<'a>>,
    /// When it was registered first: within one history of the servers no other instance has the same.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) create_index: u64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TaggedAddress<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) address: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) port: i64,
}

/// One of several ports of an instance, in versions that know them.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Port<'a> {
    #[serde(borrow)]
    pub(super) name: Cow<'a, str>,
    pub(super) port: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Weights {
    pub(super) passing: i64,
    pub(super) warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            passing: 1,
            warning: 1,
        }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Proxy<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) destination_service_name: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Locality<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) region: Cow<'a, str>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(super) zone: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Check<'a> {
    #[serde(rename = "CheckID", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) status: Cow<'a, str>,
}

/// One check of `/v1/health/state/any`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct CheckState<'a> {
    #[serde(borrow)]
    pub(super) node: Cow<'a, str>,
    #[serde(rename = "CheckID", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) service_name: Cow<'a, str>,
    #[serde(default)]
    pub(super) modify_index: u64,
}

/// `/v1/agent/self`, of which only the version matters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AgentSelf<'a> {
    #[serde(borrow)]
    pub(super) config: AgentConfig<'a>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct AgentConfig<'a> {
    #[serde(borrow)]
    pub(super) version: Cow<'a, str>,
}
