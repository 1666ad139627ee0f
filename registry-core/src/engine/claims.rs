//! Which services claim a hostname.

use crate::merge::Basis;
use crate::model::ServiceId;
use crate::text::Str;

/// Who claims a hostname.
#[derive(Debug, Default)]
pub(super) struct NameEntry {
    pub(super) claims: Claims,
    /// Only where several registries claim it, or the one that does is not served.
    pub(super) several: Option<Box<Several>>,
}

/// Nearly every name has exactly one claim, which needs no allocation.
#[derive(Debug, Default)]
pub(super) enum Claims {
    #[default]
    None,
    One(NameClaim),
    Many(Vec<NameClaim>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameClaim {
    pub(super) id: ServiceId,
    pub(super) slot: u32,
    /// By a configured alias, not by the service's own hostname.
    pub(super) alias: bool,
}

#[derive(Debug, Default)]
pub(super) struct Several {
    pub(super) basis: Option<Basis>,
    pub(super) qualified: Vec<Str>,
}

impl Claims {
    pub(super) fn as_slice(&self) -> &[NameClaim] {
        match self {
            Self::None => &[],
            Self::One(claim) => std::slice::from_ref(claim),
            Self::Many(claims) => claims,
        }
    }

    pub(super) fn add(&mut self, claim: NameClaim) {
        *self = match std::mem::take(self) {
            Self::None => Self::One(claim),
            Self::One(held) if held == claim => Self::One(held),
            Self::One(held) => Self::Many(vec![held, claim]),
            Self::Many(mut claims) => {
                if !claims.contains(&claim) {
                    claims.push(claim);
                }
                Self::Many(claims)
            }
        };
    }

    pub(super) fn remove(&mut self, claim: &NameClaim) {
        *self = match std::mem::take(self) {
            Self::One(held) if held == *claim => Self::None,
            Self::Many(mut claims) => {
                claims.retain(|held| held != claim);
                match claims.len() {
                    1 => claims.pop().map_or(Self::None, Self::One),
                    _ => Self::Many(claims),
                }
            }
            other => other,
        };
    }
}
