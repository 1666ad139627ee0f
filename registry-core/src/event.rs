//! What a backend tells of its registry: complete, partial, or no knowledge, each of a named scope.

use std::fmt;
use std::sync::Arc;

use crate::behind::{Behind, InstanceId};
use crate::error::RegistryError;
use crate::model::{ServiceId, ServiceRecord};
use crate::text::Str;

/// The part of a registry that an event speaks of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All of it.
    Registry,
    /// All services of one group, such as a namespace or a file.
    Group(Str),
    /// One service.
    Service(ServiceId),
}

impl Scope {
    /// True where the service belongs to this scope.
    pub fn contains(&self, id: &ServiceId) -> bool {
        match self {
            Self::Registry => true,
            Self::Group(group) => id.group() == group,
            Self::Service(service) => service == id,
        }
    }

    /// True where everything of the other scope belongs to this one.
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Registry, _) => true,
            (Self::Group(a), Self::Group(b)) => a == b,
            (Self::Service(a), Self::Service(b)) => a == b,
            (Self::Group(group), Self::Service(id)) => id.group() == group,
            (Self::Group(_) | Self::Service(_), _) => false,
        }
    }

    /// How narrow it is: of several scopes that contain a service the narrowest speaks for it.
    pub(crate) fn narrowness(&self) -> u8 {
        match self {
            Self::Registry => 0,
            Self::Group(_) => 1,
            Self::Service(_) => 2,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Registry => f.write_str("registry"),
            Self::Group(group) => write!(f, "group {group}"),
            Self::Service(id) => write!(f, "service {id}"),
        }
    }
}

/// One thing that a backend says.
///
/// Three outcomes which are easily mixed up are different things here:
///
/// - *complete* knowledge of a scope: `Init`, any number of `Apply` in any number of batches, `InitDone`. What was not
///   applied again is gone. Nothing of the scope is applied or published in between, and a listing that breaks off
///   (another `Init`, an error, the end of the stream) changes nothing;
/// - *partial* knowledge: `Apply` and `Delete` of single services, `Announced` and `Confirmed`;
/// - *no* knowledge: `Degraded`. Everything stays, and ages.
///
/// An error is never an empty answer: a backend that could not read says `Degraded`, never `InitDone`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Event {
    /// A complete listing of the scope begins.
    Init(Scope),
    /// The full state of one service. Idempotent: a record equal to the held one is dropped on arrival.
    Apply {
        /// The state.
        record: ServiceRecord,
        /// True where the registry announced in so many words that the endpoints which are gone were removed.
        explicit: bool,
    },
    /// The listing is complete: what was not applied since `Init` is gone.
    InitDone {
        /// The scope, as in `Init`.
        scope: Scope,
        /// Scopes within it, or the whole of it again, that could not be read: they keep what they had, and are degraded.
        /// A service that is named here and was applied all the same was read in part: what it had at addresses that were
        /// not applied stays.
        unread: Vec<(Scope, Arc<RegistryError>)>,
    },
    /// One service is gone.
    Delete {
        /// Which one.
        id: ServiceId,
        /// True where the registry announced the removal in so many words, false for a mere absence.
        explicit: bool,
    },
    /// The registry announced in so many words that endpoints of a service were removed, which it may have ceased to list
    /// long before: what of them was held back goes. It says nothing of endpoints that are listed, and nothing of others.
    ///
    /// For a registry that announces, but whose complete knowledge may come first and merely lack what was removed. To be
    /// said after that; said of endpoints that nobody knows, or again and again, it changes nothing.
    Announced {
        /// The service.
        id: ServiceId,
        /// The endpoints, by their ids there.
        gone: Vec<Str>,
    },
    /// "I looked, nothing changed": renews the freshness of the scope. It does not speak for narrower scopes that
    /// were degraded since; those need a word of their own.
    Confirmed(Scope),
    /// The registry says where it knows from itself: how the registries behind it are. It takes the place of what it
    /// said of that before, and is a word on nothing else.
    ///
    /// A service is stale where all of its [origins](crate::ServiceMeta::origins) are, and the registry as soon as any
    /// registry behind it is, at once: who says so has waited for a bound already.
    Behind {
        /// The discovery that the registry is, where it is one.
        instance: Option<InstanceId>,
        /// The registries that it watches.
        registries: Vec<Behind>,
    },
    /// The scope could not be read.
    Degraded {
        /// The scope.
        scope: Scope,
        /// Why.
        error: Arc<RegistryError>,
    },
}

impl Event {
    /// The full state of one service, without any announcement of what is gone.
    pub fn apply(record: ServiceRecord) -> Self {
        Self::Apply {
            record,
            explicit: false,
        }
    }

    /// The end of a listing in which everything could be read.
    pub fn init_done(scope: Scope) -> Self {
        Self::InitDone {
            scope,
            unread: Vec::new(),
        }
    }

    /// A scope that could not be read.
    pub fn degraded(scope: Scope, error: impl Into<Arc<RegistryError>>) -> Self {
        Self::Degraded {
            scope,
            error: error.into(),
        }
    }

    /// Complete knowledge of a scope as one batch.
    pub fn listing(scope: Scope, records: impl IntoIterator<Item = ServiceRecord>) -> Vec<Self> {
        std::iter::once(Self::Init(scope.clone()))
            .chain(records.into_iter().map(Self::apply))
            .chain(std::iter::once(Self::init_done(scope)))
            .collect()
    }
}
