//! From instances to entries, as cheaply as it can be told that one is the same as before.

use std::borrow::Cow;
use std::sync::Arc;

use registry_core::{Endpoint, EndpointSet, Interner, PortDefaults, ServicePort, Str};
use xxhash_rust::xxh3::xxh3_128;

use super::entry::{Digest, Entry};
use super::pending::Pending;
use super::profile::Profiles;
use crate::config::EurekaConfig;
use crate::map::{self, Mapping};
use crate::wire::{Instance, Port};

/// What reading instances takes.
#[derive(Debug)]
pub(super) struct Reading {
    config: Arc<EurekaConfig>,
    ports: PortDefaults,
    interner: Interner,
    profiles: Profiles,
    scratch: Vec<u8>,
}

impl Reading {
    pub(super) fn new(config: Arc<EurekaConfig>, ports: PortDefaults) -> Self {
        Self {
            config,
            ports,
            interner: Interner::default(),
            profiles: Profiles::default(),
            scratch: Vec::new(),
        }
    }

    pub(super) fn wants(&self, app: &str) -> bool {
        self.config.wants(app)
    }

    pub(super) fn service_port(&self, name: &str) -> ServicePort {
        map::ports::of_service(name, &self.ports)
    }

    pub(super) fn text(&mut self, text: &str) -> Str {
        self.interner.text(text)
    }

    /// The entry of an instance, given the one that is held under its key. What is wrong with it goes to `noted`.
    pub(super) fn entry(
        &mut self,
        instance: &Instance<'_>,
        key: &str,
        held: Option<&Entry>,
        app: &Str,
        noted: &mut Pending,
    ) -> Entry {
        let digest = digest(instance, &mut self.scratch);
        if let Some(held) = held
            && !held.unreadable
            && held.digest == digest
        {
            return held.again(instance);
        }
        let mapping = Mapping {
            config: &self.config,
            ports: &self.ports,
        };
        let mut notes = Vec::new();
        let endpoint = match map::endpoint(instance, key, mapping, &mut self.interner, &mut notes) {
            Ok(endpoint) => endpoint,
            Err(problem) => {
                noted.trouble(app, Some(key), &problem);
                return Entry::unread(instance, key, held);
            }
        };
        notes.iter().for_each(|note| noted.remark(app, key, note));
        let endpoint = match held.and_then(Entry::endpoint) {
            Some(held) => successor(held, endpoint),
            None => Arc::new(endpoint),
        };
        let aliases = map::vips::of(instance);
        let profile = self.profiles.get(endpoint.ports(), &aliases, &mut self.interner);
        Entry::new(instance, endpoint, profile, digest)
    }
}

/// An endpoint in place of another one: the other one itself where nothing of it is different, and else first seen when
/// that was.
///
/// A set would see to that when it takes the endpoint in, but in a copy of its own, of which we would not know.
fn successor(held: &Arc<Endpoint>, endpoint: Endpoint) -> Arc<Endpoint> {
    let endpoint = Arc::new(endpoint);
    if held.address() != endpoint.address() {
        return endpoint;
    }
    let mut pair = EndpointSet::from_iter([held.clone()]);
    pair.insert(endpoint);
    // One it is: both have one address and one id.
    pair.iter().next().unwrap_or(held).clone()
}

/// The hash of all that matters of an instance: leases, times and what happened to it do not, nor the order of keys.
fn digest(instance: &Instance<'_>, scratch: &mut Vec<u8>) -> Digest {
    scratch.clear();
    let Instance {
        instance_id,
        app: _,
        host_name,
        ip_addr,
        status,
        overridden,
        port,
        secure_port,
        vip_address,
        secure_vip_address,
        data_center,
        metadata,
        asg_name,
        app_group_name,
        last_updated: _,
        last_dirty: _,
        action: _,
    } = instance;
    for field in [
        instance_id,
        host_name,
        ip_addr,
        vip_address,
        secure_vip_address,
        asg_name,
        app_group_name,
    ] {
        scratch.push(u8::from(field.is_some()));
        text(scratch, field.as_deref().unwrap_or_default());
    }
    scratch.extend([*status as u8, *overridden as u8]);
    for Port { number, enabled } in [port, secure_port] {
        scratch.extend([u8::from(*enabled), u8::from(number.is_some())]);
        scratch.extend(number.unwrap_or_default().to_le_bytes());
    }
    for pairs in [data_center, metadata] {
        scratch.extend(pairs.len().to_le_bytes());
        if pairs.is_sorted_by(|(a, _), (b, _)| a <= b) {
            pairs.iter().for_each(|held| pair(scratch, held));
        } else {
            // Stable: of equal keys the last one counts.
            let mut sorted: Vec<&(Cow<'_, str>, Cow<'_, str>)> = pairs.iter().collect();
            sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
            sorted.into_iter().for_each(|held| pair(scratch, held));
        }
    }
    let hash = xxh3_128(scratch);
    #[allow(clippy::cast_possible_truncation, reason = "both halves are kept")]
    let halves = [(hash >> 64) as u64, hash as u64];
    Digest(halves)
}

fn pair(scratch: &mut Vec<u8>, (key, value): &(Cow<'_, str>, Cow<'_, str>)) {
    text(scratch, key);
    text(scratch, value);
}

fn text(scratch: &mut Vec<u8>, text: &str) {
    scratch.extend(text.len().to_le_bytes());
    scratch.extend(text.as_bytes());
}
