//! What another daemon sends, borrowed from the line it came on. Fields that are not known here are passed over.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Text that is borrowed where no letter of it is escaped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

/// An object whose members are not known beforehand, in their order.
#[derive(Debug)]
pub(super) struct Members<K, V>(pub(super) Vec<(K, V)>);

impl<K, V> Default for Members<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Deserialize<'de> for Members<K, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader<K, V>(PhantomData<(K, V)>);

        impl<'de, K: Deserialize<'de>, V: Deserialize<'de>> Visitor<'de> for Reader<K, V> {
            type Value = Members<K, V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Reader(PhantomData))
    }
}

/// Labels and the like.
pub(super) type Pairs<'a> = Members<Text<'a>, Text<'a>>;

/// Registries by their names.
pub(super) type Registries<'a> = Members<Text<'a>, Registry<'a>>;

/// How far a registry can be trusted.
#[derive(Debug, Deserialize)]
pub(super) struct Registry<'a> {
    #[serde(borrow, default)]
    pub(super) kind: Text<'a>,
    #[serde(borrow)]
    pub(super) phase: Text<'a>,
    /// Stale for some of its services alone.
    #[serde(default)]
    pub(super) partly: bool,
    #[serde(default)]
    pub(super) age_s: Option<f64>,
    #[serde(borrow, default)]
    pub(super) error: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) instance: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) behind: Registries<'a>,
}

/// `/v1/registries`, as far as it takes to tell a daemon from whatever else answers.
#[derive(Debug, Deserialize)]
pub(super) struct Daemon<'a> {
    #[serde(borrow)]
    pub(super) instance: Text<'a>,
}

/// `ages`
#[derive(Debug, Deserialize)]
pub(super) struct Ages<'a> {
    pub(super) ready: bool,
    pub(super) revision: Option<u64>,
    #[serde(borrow)]
    pub(super) registries: Registries<'a>,
}

/// `begin`
#[derive(Debug, Deserialize)]
pub(super) struct Begin<'a> {
    /// What follows is what changed since; everything where there is none.
    pub(super) from: Option<u64>,
    pub(super) revision: u64,
    #[serde(borrow)]
    pub(super) registries: Registries<'a>,
    #[serde(borrow)]
    pub(super) removed: Vec<Text<'a>>,
}

/// `end`
#[derive(Debug, Deserialize)]
pub(super) struct End {
    pub(super) services: usize,
}

/// A service, as far as it takes to say which one cannot be read.
#[derive(Debug, Deserialize)]
pub(super) struct Named<'a> {
    #[serde(borrow)]
    pub(super) hostname: Text<'a>,
}

/// `service`
#[derive(Debug, Deserialize)]
pub(super) struct Service<'a> {
    #[serde(borrow)]
    pub(super) hostname: Text<'a>,
    #[serde(borrow, default)]
    pub(super) namespace: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) aliases: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) ports: Vec<Port<'a>>,
    #[serde(borrow)]
    pub(super) resolution: Text<'a>,
    #[serde(borrow, default)]
    pub(super) addresses: Vec<Vip<'a>>,
    #[serde(borrow, default)]
    pub(super) labels: Pairs<'a>,
    #[serde(borrow, default)]
    pub(super) traffic: Option<Traffic<'a>>,
    #[serde(borrow, default)]
    pub(super) created: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) endpoints: Vec<Endpoint<'a>>,
    #[serde(borrow)]
    pub(super) sources: Vec<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) origins: Members<Text<'a>, Vec<Text<'a>>>,
    #[serde(borrow, default)]
    pub(super) metadata: Members<Text<'a>, Pairs<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Port<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(default)]
    pub(super) number: Option<u16>,
    #[serde(borrow, default)]
    pub(super) transport: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) protocol: Text<'a>,
    #[serde(default)]
    pub(super) implicit: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Vip<'a> {
    #[serde(borrow, default)]
    pub(super) cluster: Text<'a>,
    #[serde(borrow)]
    pub(super) addresses: Vec<Text<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Traffic<'a> {
    #[serde(borrow, default)]
    pub(super) session_affinity: Text<'a>,
    #[serde(borrow, default)]
    pub(super) distribution: Text<'a>,
    #[serde(borrow, default)]
    pub(super) internal_policy: Text<'a>,
}

#[derive(Debug, Default, Deserialize)]
pub(super) struct Locality<'a> {
    #[serde(borrow, default)]
    pub(super) region: Text<'a>,
    #[serde(borrow, default)]
    pub(super) zone: Text<'a>,
    #[serde(borrow, default)]
    pub(super) sub_zone: Text<'a>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Endpoint<'a> {
    #[serde(borrow)]
    pub(super) address: Text<'a>,
    #[serde(borrow, default)]
    pub(super) addresses: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) ports: Members<Text<'a>, u16>,
    #[serde(borrow)]
    pub(super) health: Text<'a>,
    #[serde(default)]
    pub(super) administrative: bool,
    #[serde(default)]
    pub(super) held: bool,
    pub(super) weight: u32,
    #[serde(default)]
    pub(super) priority: u8,
    #[serde(borrow, default)]
    pub(super) locality: Locality<'a>,
    #[serde(borrow, default)]
    pub(super) labels: Pairs<'a>,
    #[serde(borrow, default)]
    pub(super) node: Text<'a>,
    #[serde(borrow, default)]
    pub(super) cluster: Text<'a>,
    #[serde(borrow, default)]
    pub(super) network: Text<'a>,
    #[serde(borrow, default)]
    pub(super) hostname: Text<'a>,
    #[serde(borrow, default)]
    pub(super) identity: Text<'a>,
    #[serde(borrow, default)]
    pub(super) hints: Vec<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) node_hints: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) sources: Vec<Source<'a>>,
}

/// One registry's word that an endpoint exists, passed on or not.
#[derive(Debug, Deserialize)]
pub(super) struct Source<'a> {
    #[serde(borrow)]
    pub(super) registry: Text<'a>,
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) status: Text<'a>,
    #[serde(borrow)]
    pub(super) first_seen: Text<'a>,
    #[serde(borrow)]
    pub(super) last_changed: Text<'a>,
    #[serde(borrow, default)]
    pub(super) origins: Vec<Source<'a>>,
}
