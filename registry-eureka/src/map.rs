//! From Eureka's instances to the model: pure functions.

use registry_core::{Endpoint, Interner, PortDefaults};

use crate::config::EurekaConfig;
use crate::wire::Instance;

/// How to read instances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mapping<'a> {
    pub(crate) config: &'a EurekaConfig,
    /// Settings of ports: the name and number of the plain one.
    pub(crate) ports: &'a PortDefaults,
}

/// What the server keys an instance by within its application.
pub(crate) fn key<'i>(instance: &'i Instance<'_>) -> Option<&'i str> {
    let _ = instance;
    unimplemented!("map")
}

/// The endpoint of an instance, or why there is none.
pub(crate) fn endpoint(
    instance: &Instance<'_>,
    mapping: Mapping<'_>,
    interner: &mut Interner,
) -> Result<Endpoint, String> {
    let _ = (instance, mapping, interner);
    unimplemented!("map")
}
