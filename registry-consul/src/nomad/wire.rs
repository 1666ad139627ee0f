//! What Nomad sends, as far as we use it. Everything that some version leaves out or sends as `null` is optional.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use crate::json::null_is_default;

/// The services of one namespace in `/v1/services`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Namespace<'a> {
    #[serde(borrow)]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) services: Vec<Listed<'a>>,
}

/// A name in that list, with the tags of all of its instances.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Listed<'a> {
    #[serde(borrow)]
    pub(super) service_name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) tags: Vec<Cow<'a, str>>,
}

/// One instance of `/v1/service/NAME`, and in an event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Instance<'a> {
    #[serde(rename = "ID", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) service_name: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) namespace: Cow<'a, str>,
    #[serde(rename = "NodeID", borrow, default, deserialize_with = "null_is_default")]
    pub(super) node: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) datacenter: Cow<'a, str>,
    #[serde(rename = "JobID", borrow, default, deserialize_with = "null_is_default")]
    pub(super) job: Cow<'a, str>,
    #[serde(rename = "AllocID", borrow, default, deserialize_with = "null_is_default")]
    pub(super) allocation: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) tags: Vec<Cow<'a, str>>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) address: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) port: i64,
    /// The index at which it was registered.
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) create_index: u64,
}

/// One allocation of `/v1/allocations`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Allocation<'a> {
    #[serde(rename = "ID", borrow)]
    pub(super) id: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) namespace: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) client_status: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) desired_status: Cow<'a, str>,
}

/// `/v1/allocation/ID/checks`: the checks of one allocation by their ids.
pub(super) type Checks<'a> = HashMap<Cow<'a, str>, Check<'a>>;

/// The last result of one check.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Check<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) service: Cow<'a, str>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) status: Cow<'a, str>,
}

/// One line of `/v1/event/stream`: what happened at one index. A heartbeat has nothing in it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Frame<'a> {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) index: u64,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) events: Vec<Event<'a>>,
}

/// One event.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Event<'a> {
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) topic: Cow<'a, str>,
    #[serde(rename = "Type", borrow, default, deserialize_with = "null_is_default")]
    pub(super) kind: Cow<'a, str>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(super) index: u64,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(super) payload: Payload<'a>,
}

/// What an event is about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Payload<'a> {
    #[serde(borrow, default)]
    pub(super) service: Option<Instance<'a>>,
}
