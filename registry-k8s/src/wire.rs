//! What an API server sends of Services, EndpointSlices, Nodes, and the exports and imports of Multi-Cluster Services, as
//! far as we use it. Everything else, managed fields first of all, is skipped where it stands; texts are borrowed from what
//! was received.
//!
//! Whatever the API allows to be left out may be `null` as well: servers written in Go send both.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use registry_core::short;
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, de};

/// A text; `null` is the empty one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(Cow<'a, str>);

/// Metadata of any object: which one it is, and in which version.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Identity<'a> {
    #[serde(borrow)]
    pub(crate) namespace: Text<'a>,
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) uid: Text<'a>,
    #[serde(borrow)]
    pub(crate) resource_version: Text<'a>,
}

/// Metadata of any object, and the labels that say to which service a slice belongs. Wrong labels are none, so that more
/// can be told of an object that is wrong in other places.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Lenient<'a> {
    #[serde(borrow)]
    pub(crate) namespace: Text<'a>,
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    labels: Option<&'a serde_json::value::RawValue>,
}

/// An object of which only the metadata counts.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Head<M> {
    pub(crate) metadata: M,
}

/// Metadata of an object that is read whole. Owners are skipped unless they are asked for: every slice has one.
#[derive(Debug, Default, Deserialize)]
#[serde(
    default,
    rename_all = "camelCase",
    bound(deserialize = "O: Default + Deserialize<'de>")
)]
pub(crate) struct Metadata<'a, O = IgnoredAny> {
    #[serde(borrow)]
    pub(crate) namespace: Text<'a>,
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) uid: Text<'a>,
    #[serde(borrow)]
    pub(crate) resource_version: Text<'a>,
    #[serde(borrow)]
    pub(crate) creation_timestamp: Text<'a>,
    #[serde(borrow)]
    pub(crate) labels: Pairs<'a>,
    #[serde(borrow)]
    pub(crate) annotations: Annotations<'a>,
    pub(crate) owner_references: O,
}

/// Whether an object is owned by a ServiceImport of any group: then an implementation of Multi-Cluster Services derived it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Derived(pub(crate) bool);

/// Keys and texts in the order in which they came; `null` is none.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(Vec<(Text<'a>, Text<'a>)>);

/// The annotations that mean something to us. The others may be large, and full of escapes.
#[derive(Debug, Default)]
pub(crate) struct Annotations<'a> {
    /// `endpoints.kubernetes.io/last-change-trigger-time`, of slices.
    pub(crate) last_change_trigger_time: Text<'a>,
    /// `service.kubernetes.io/topology-mode`, of Services.
    pub(crate) topology_mode: Text<'a>,
}

/// A Service, or a ServiceImport, which says the same things by the same names where it says them at all.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Service<'a> {
    #[serde(borrow)]
    pub(crate) metadata: Metadata<'a, Derived>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) spec: ServiceSpec<'a>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) status: ServiceStatus<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceSpec<'a> {
    #[serde(borrow, rename = "type")]
    pub(crate) kind: Text<'a>,
    #[serde(borrow, rename = "clusterIP")]
    pub(crate) cluster_ip: Text<'a>,
    /// Called `ips` in ServiceImports.
    #[serde(
        borrow,
        rename = "clusterIPs",
        alias = "ips",
        deserialize_with = "null_is_default"
    )]
    pub(crate) cluster_ips: Vec<Text<'a>>,
    #[serde(borrow, rename = "externalIPs", deserialize_with = "null_is_default")]
    pub(crate) external_ips: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(crate) external_name: Text<'a>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) ports: Vec<ServicePort<'a>>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) ip_families: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(crate) ip_family_policy: Text<'a>,
    #[serde(borrow)]
    pub(crate) internal_traffic_policy: Text<'a>,
    #[serde(borrow)]
    pub(crate) external_traffic_policy: Text<'a>,
    #[serde(borrow)]
    pub(crate) traffic_distribution: Text<'a>,
    #[serde(borrow)]
    pub(crate) session_affinity: Text<'a>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) session_affinity_config: SessionAffinityConfig,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) publish_not_ready_addresses: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SessionAffinityConfig {
    #[serde(rename = "clientIP", deserialize_with = "null_is_default")]
    pub(crate) client_ip: ClientIp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ClientIp {
    pub(crate) timeout_seconds: Option<i64>,
}

/// A port of a Service. Zero is no number.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServicePort<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) protocol: Protocol,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) port: u16,
    #[serde(borrow)]
    pub(crate) app_protocol: Text<'a>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ServiceStatus<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) load_balancer: LoadBalancer<'a>,
    /// Of ServiceImports: the clusters that export it.
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) clusters: Vec<SourceCluster<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SourceCluster<'a> {
    #[serde(borrow)]
    pub(crate) cluster: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadBalancer<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) ingress: Vec<Ingress<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Ingress<'a> {
    #[serde(borrow)]
    pub(crate) ip: Text<'a>,
    #[serde(borrow)]
    pub(crate) hostname: Text<'a>,
    #[serde(borrow)]
    pub(crate) ip_mode: Text<'a>,
}

/// A ServiceExport.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Export<'a> {
    #[serde(borrow)]
    pub(crate) metadata: Metadata<'a>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) spec: ExportSpec<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct ExportSpec<'a> {
    #[serde(borrow)]
    pub(crate) exported_labels: Pairs<'a>,
    #[serde(borrow)]
    pub(crate) exported_annotations: Pairs<'a>,
}

/// An EndpointSlice.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Slice<'a> {
    #[serde(borrow, default)]
    pub(crate) metadata: Metadata<'a>,
    pub(crate) address_type: AddressType,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) endpoints: Vec<Endpoint<'a>>,
    #[serde(borrow, default, deserialize_with = "null_is_default")]
    pub(crate) ports: Vec<SlicePort<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressType {
    IPv4,
    IPv6,
    Fqdn,
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = [("TCP", Self::Tcp), ("UDP", Self::Udp), ("SCTP", Self::Sctp)];
        word(deserializer, "protocol", &words)
    }
}

impl<'de> Deserialize<'de> for AddressType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let words = [("IPv4", Self::IPv4), ("IPv6", Self::IPv6), ("FQDN", Self::Fqdn)];
        word(deserializer, "addressType", &words)
    }
}

/// One of a few words. As an enum of serde's, what is no text at all would only be told to be no value.
fn word<'de, D: Deserializer<'de>, T: Copy>(
    deserializer: D,
    field: &str,
    words: &[(&str, T)],
) -> Result<T, D::Error> {
    let text = Text::deserialize(deserializer)
        .map_err(|error| D::Error::custom(format_args!("field `{field}`: {error}")))?;
    let known = words.iter().find(|(word, _)| *word == &*text);
    known.map(|(_, value)| *value).ok_or_else(|| {
        let expected: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let (found, expected) = (short(&text, 40), expected.join(", "));
        D::Error::custom(format_args!(
            "field `{field}`: found {found:?}, expected one of {expected}"
        ))
    })
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Endpoint<'a> {
    /// Only the first one means anything; controllers write exactly one.
    #[serde(borrow, rename = "addresses")]
    pub(crate) address: First<'a>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) conditions: Conditions,
    #[serde(borrow)]
    pub(crate) hostname: Text<'a>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) target_ref: TargetRef<'a>,
    #[serde(borrow)]
    pub(crate) node_name: Text<'a>,
    #[serde(borrow)]
    pub(crate) zone: Text<'a>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) hints: Hints<'a>,
    #[serde(borrow)]
    pub(crate) deprecated_topology: Pairs<'a>,
}

/// What is said of an endpoint's state. Unset is not false: see [`crate::map::health`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Conditions {
    pub(crate) ready: Option<bool>,
    pub(crate) serving: Option<bool>,
    pub(crate) terminating: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TargetRef<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(borrow)]
    pub(crate) uid: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Hints<'a> {
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) for_zones: Vec<Named<'a>>,
    #[serde(borrow, deserialize_with = "null_is_default")]
    pub(crate) for_nodes: Vec<Named<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Named<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
}

/// A port of a slice: the number is the one on the endpoint, and `null` (or zero) means all of them.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct SlicePort<'a> {
    #[serde(borrow)]
    pub(crate) name: Text<'a>,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) protocol: Protocol,
    #[serde(deserialize_with = "null_is_default")]
    pub(crate) port: u16,
    #[serde(borrow)]
    pub(crate) app_protocol: Text<'a>,
}

/// The first of a list of texts; empty where there is none.
#[derive(Debug, Default)]
pub(crate) struct First<'a>(pub(crate) Text<'a>);

/// The label by which a slice belongs to a service.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// The label by which a slice belongs to the import of a service from other clusters. It may have the other label as well.
pub(crate) const IMPORTED_SERVICE_NAME: &str = "multicluster.kubernetes.io/service-name";

/// The label that names the cluster that the endpoints of an imported slice are in.
pub(crate) const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";

fn null_is_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

// === impl Text ===

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    // `Cow` alone would be copied wherever it stands in a list or an option.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Borrow<'a> {
            type Value = Text<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Text::default())
            }
        }

        deserializer.deserialize_any(Borrow(PhantomData))
    }
}

// === impl Lenient ===

impl Lenient<'_> {
    /// The labels; none where they cannot be read.
    pub(crate) fn labels(&self) -> Pairs<'_> {
        let labels = self.labels.map(|labels| labels.get());
        labels
            .and_then(|labels| serde_json::from_str(labels).ok())
            .unwrap_or_default()
    }
}

// === impl Pairs ===

impl<'a> Pairs<'a> {
    /// The text of a key; empty where there is none.
    pub(crate) fn get(&self, key: &str) -> &str {
        let found = self.0.iter().find(|(held, _)| **held == *key);
        found.map_or("", |(_, value)| value)
    }

    /// Whether there is such a key, whatever its text.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(held, _)| **held == *key)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(Text<'a>, Text<'a>)> {
        self.0.iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Collect<'a> {
            type Value = Pairs<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Pairs::default())
            }
        }

        deserializer.deserialize_any(Collect(PhantomData))
    }
}

// === impl Annotations ===

impl<'de: 'a, 'a> Deserialize<'de> for Annotations<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Used<'a> {
            #[serde(borrow, default, rename = "endpoints.kubernetes.io/last-change-trigger-time")]
            last_change_trigger_time: Text<'a>,
            #[serde(borrow, default, rename = "service.kubernetes.io/topology-mode")]
            topology_mode: Text<'a>,
        }
        let used: Option<Used<'a>> = Option::deserialize(deserializer)?;
        Ok(used.map_or_else(Self::default, |used| Self {
            last_change_trigger_time: used.last_change_trigger_time,
            topology_mode: used.topology_mode,
        }))
    }
}

// === impl Derived ===

impl<'de> Deserialize<'de> for Derived {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Owner<'a> {
            #[serde(borrow)]
            kind: Text<'a>,
        }

        struct Look;

        impl<'de> Visitor<'de> for Look {
            type Value = Derived;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of owners")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Derived, A::Error> {
                let mut derived = false;
                while let Some(owner) = list.next_element::<Owner<'de>>()? {
                    derived |= &*owner.kind == "ServiceImport";
                }
                Ok(Derived(derived))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Derived, E> {
                Ok(Derived::default())
            }
        }

        deserializer.deserialize_any(Look)
    }
}

// === impl First ===

impl<'de: 'a, 'a> Deserialize<'de> for First<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Take<'a>(PhantomData<&'a ()>);

        impl<'de: 'a, 'a> Visitor<'de> for Take<'a> {
            type Value = First<'a>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of strings")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
                let first = list.next_element()?.unwrap_or_default();
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(First(first))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(First::default())
            }
        }

        deserializer.deserialize_any(Take(PhantomData))
    }
}

/// Reads JSON. Where all of it is text, as it should be, that is found out at once, instead of at each string in it.
pub(crate) fn read<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, serde_json::Error> {
    match std::str::from_utf8(json) {
        Ok(text) => serde_json::from_str(text),
        Err(_) => serde_json::from_slice(json),
    }
}

/// Reads an object that is nothing without a name.
pub(crate) fn named<'a, T: Deserialize<'a>>(
    object: &'a [u8],
    name: impl FnOnce(&T) -> &str,
) -> Result<T, serde_json::Error> {
    let read: T = read(object)?;
    if name(&read).is_empty() {
        return Err(serde_json::Error::custom(
            "metadata.name: found nothing, expected a name",
        ));
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_is_none_names_its_field_and_what_was_expected() {
        let problem = |text: &str| serde_json::from_str::<Slice<'_>>(text).unwrap_err().to_string();
        assert_eq!(
            problem(r#"{"addressType":7}"#),
            "field `addressType`: invalid type: integer `7`, expected a string at line 1 column 16"
        );
        assert_eq!(
            problem(r#"{"addressType":"IPv5"}"#),
            r#"field `addressType`: found "IPv5", expected one of IPv4, IPv6, FQDN at line 1 column 22"#
        );
        assert!(
            problem(r#"{"addressType":"IPv4","ports":[{"protocol":{}}]}"#)
                .contains("`protocol`: invalid type: map")
        );
    }
}
