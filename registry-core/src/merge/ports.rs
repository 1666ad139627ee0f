//! Merging ports: which ports a service has, and which ports of its sources those are.

use super::{Claimant, MergePolicy, PortRule, note};
use crate::model::{Conflict, ConflictField, RegistryId, Resolution, ServicePort};
use crate::text::Str;

/// How the ports of one source's endpoints relate to those of the merged service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Binding {
    /// The implicit port, and what it is called in the merged service.
    pub(super) rename: Option<(Str, Str)>,
    /// Ports that do not fit the service's and are left out.
    pub(super) dropped: Vec<Str>,
}

/// The ports of the service that these make together, and how those of each fit in. They are in order of precedence, so the
/// first says whether the service is headless.
pub(super) fn merge(
    claimants: &[&Claimant<'_>],
    policy: &dyn MergePolicy,
    conflicts: &mut Vec<Conflict>,
) -> (Vec<ServicePort>, Vec<Binding>) {
    let rule = policy.ports();
    // Who connects by number knows a port by its number: that nobody named it makes no difference then, if it has one.
    let named = |port: &&ServicePort| !port.implicit || (rule == PortRule::Strict && port.number.is_some());
    let headless = |claimant: &&Claimant<'_>| claimant.record.meta().resolution() == Resolution::Headless;
    let mut merged = Merged {
        strict: rule == PortRule::Strict,
        by_number: rule == PortRule::Strict && !claimants.first().is_some_and(headless),
        ports: Vec::new(),
    };
    let mut bindings = vec![Binding::default(); claimants.len()];
    for (claimant, binding) in claimants.iter().zip(&mut bindings) {
        for port in claimant.record.meta().ports().iter().filter(named) {
            if !merged.add(port, Owner::of(claimant, port, policy), conflicts) {
                binding.dropped.push(port.name.clone());
            }
        }
    }
    // A port that nobody named is the service's only named one, if there is exactly one to be.
    let only = match merged.ports.as_slice() {
        [(port, _)] => Some(port.clone()),
        _ => None,
    };
    for (claimant, binding) in claimants.iter().zip(&mut bindings) {
        let ports = claimant.record.meta().ports().iter();
        for port in ports.filter(|port| !named(port)) {
            let mut bound = port.clone();
            if let Some(only) = &only {
                bound.name = only.name.clone();
                bound.transport = only.transport;
                binding.rename = Some((port.name.clone(), only.name.clone()));
            }
            if !merged.add(&bound, Owner::of(claimant, port, policy), conflicts) {
                binding.dropped.push(port.name.clone());
            }
        }
    }
    let ports = merged.ports.into_iter().map(|(port, _)| port).collect();
    (ports, bindings)
}

/// The ports so far, each with who had it first.
struct Merged<'a> {
    strict: bool,
    /// Strict, and clients connect to the numbers of the service's ports: those of headless services do not.
    by_number: bool,
    ports: Vec<(ServicePort, Owner<'a>)>,
}

/// Who has a port.
#[derive(Clone, Copy)]
struct Owner<'a> {
    registry: &'a RegistryId,
    /// What it says that is spoken on it, where that is compared.
    app_protocol: Option<&'a str>,
}

impl<'a> Owner<'a> {
    fn of(claimant: &Claimant<'a>, port: &'a ServicePort, policy: &dyn MergePolicy) -> Self {
        Self {
            registry: claimant.registry,
            app_protocol: policy.app_protocol(claimant.record.meta(), port),
        }
    }
}

impl<'a> Merged<'a> {
    /// Adds a port, or checks it against the one of its name. False where it does not fit.
    fn add(&mut self, port: &ServicePort, by: Owner<'a>, conflicts: &mut Vec<Conflict>) -> bool {
        let registry = by.registry;
        let Some(at) = self.ports.iter().position(|(held, _)| held.name == port.name) else {
            let fits = self.number_is_free(port, registry, conflicts);
            if fits {
                self.ports.push((port.clone(), by));
            }
            return fits;
        };
        let (held, owner) = &self.ports[at];
        let mut fits = held.transport == port.transport;
        if !fits {
            note(
                conflicts,
                ConflictField::PortTransport,
                &port.name,
                (owner.registry, held.transport.as_str()),
                (registry, port.transport.as_str()),
            );
        }
        match (held.number, port.number) {
            (Some(ours), Some(theirs)) if ours != theirs => {
                note(
                    conflicts,
                    ConflictField::PortNumber,
                    &port.name,
                    (owner.registry, &ours.to_string()),
                    (registry, &theirs.to_string()),
                );
                fits &= !self.by_number;
            }
            (None, Some(_)) if fits => {
                fits = self.number_is_free(port, registry, conflicts);
                if fits {
                    self.ports[at].0.number = port.number;
                }
            }
            _ => {}
        }
        let strict = self.strict;
        // A port with neither name nor number says of the service's port only that it is served.
        let says = strict && !(port.implicit && port.number.is_none());
        let (held, owner) = &mut self.ports[at];
        if !strict && held.app_protocol.is_empty() && fits {
            held.app_protocol = port.app_protocol.clone();
            owner.app_protocol = by.app_protocol;
        } else if let (Some(ours), Some(theirs)) = (owner.app_protocol, by.app_protocol)
            && (says || !theirs.is_empty())
            && ours != theirs
        {
            note(
                conflicts,
                ConflictField::AppProtocol,
                &port.name,
                (owner.registry, ours),
                (registry, theirs),
            );
        }
        fits
    }

    /// False where number and transport are those of another registry's port of another name, and that matters.
    fn number_is_free(
        &self,
        port: &ServicePort,
        registry: &RegistryId,
        conflicts: &mut Vec<Conflict>,
    ) -> bool {
        let Some(number) = port.number.filter(|_| self.by_number) else {
            return true;
        };
        let taken = self.ports.iter().find(|(held, owner)| {
            let same = held.number == port.number && held.transport == port.transport;
            same && held.name != port.name && owner.registry != registry
        });
        if let Some((held, owner)) = taken {
            note(
                conflicts,
                ConflictField::PortName,
                &format!("{number}/{}", port.transport),
                (owner.registry, &held.name),
                (registry, &port.name),
            );
        }
        taken.is_none()
    }
}
