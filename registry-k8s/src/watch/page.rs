//! One page of a list: its outside is read here, its objects are handed on as they were sent.

use std::borrow::Cow;

use bytes::Bytes;
use registry_core::{ErrorKind, RegistryError, short};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::event::fault;
use crate::transport::Refusal;
use crate::wire::read;

/// What a page holds. The objects are parts of the page, which stays in memory as long as any of them.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) objects: Vec<Bytes>,
    pub(super) version: String,
    /// For the next page, unless this is the last.
    pub(super) token: Option<String>,
}

#[derive(Deserialize)]
struct Outside<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    metadata: Option<ListMetadata<'a>>,
    // `null` is an empty list, as Go writes one. A body without the field is no list.
    #[serde(borrow, default, deserialize_with = "present")]
    items: Option<Option<Vec<&'a RawValue>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata<'a> {
    #[serde(borrow, default)]
    resource_version: Option<Cow<'a, str>>,
    #[serde(borrow, default, rename = "continue")]
    token: Option<Cow<'a, str>>,
}

fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads a page. What is no list is a failure, however it looks: an empty answer would take everything away.
pub(super) fn parse(asked: &str, body: &Bytes) -> Result<Page, Refusal> {
    let malformed = |found: String| {
        let message = format!("{asked}: found {found}, expected a list");
        Refusal::trouble(RegistryError::new(ErrorKind::Malformed, message))
    };
    let outside: Outside<'_> =
        read(body).map_err(|error| malformed(format!("{} in {} bytes", fault(&error), body.len())))?;
    if outside.kind == "Status" {
        return Err(Refusal::answered(asked, None, None, body));
    }
    if !outside.kind.is_empty() && !outside.kind.ends_with("List") {
        return Err(malformed(format!("a {:?}", short(&outside.kind, 60))));
    }
    let Some(items) = outside.items else {
        return Err(malformed("no field `items`".to_owned()));
    };
    let text = |field: Option<Cow<'_, str>>| field.map(Cow::into_owned).filter(|text| !text.is_empty());
    let (version, token) = match outside.metadata {
        Some(metadata) => (text(metadata.resource_version), text(metadata.token)),
        None => (None, None),
    };
    let Some(version) = version else {
        return Err(malformed("no `metadata.resourceVersion`".to_owned()));
    };
    let items = items.unwrap_or_default();
    let objects = items
        .into_iter()
        .map(|item| body.slice_ref(item.get().as_bytes()));
    Ok(Page {
        objects: objects.collect(),
        version,
        token,
    })
}

/// Whether a version is older than another, as far as both are plain numbers; resource versions mean nothing else that
/// could be compared.
pub(super) fn is_older(version: &str, than: &str) -> bool {
    let number = |text: &str| {
        let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u64>().ok()).flatten()
    };
    matches!((number(version), number(than)), (Some(a), Some(b)) if a < b)
}
