//! What is told of a service that was read: what it is now, and whether what it lacks was announced.

use std::collections::HashSet;

use registry_core::{Event, Scope, ServiceId, ServiceRecord, Str};

use super::Session;
use super::service::ids;
use crate::nomad::map::{self, Mapping};
use crate::nomad::wire::Instance;

impl Session {
    /// Reads the last body again and tells what it comes to by now.
    pub(super) fn tell_again(&mut self, service: &ServiceId, gone: Vec<Str>, wished: bool) {
        let Some(body) = self
            .services
            .get(service)
            .and_then(|tracked| tracked.body.clone())
        else {
            return;
        };
        // It was read before.
        let Ok(instances) = serde_json::from_slice::<Vec<Instance<'_>>>(&body) else {
            return;
        };
        let record = self.mapped(service, &instances);
        self.tell(service, &record, gone, wished);
    }

    pub(super) fn mapped(&mut self, service: &ServiceId, instances: &[Instance<'_>]) -> ServiceRecord {
        let mapping = Mapping {
            region: self.config.region.as_deref().unwrap_or_default(),
            ports: self.control.ports(),
        };
        let (config, opinions, feed) = (&self.config, &self.opinions, self.feed_of(service));
        let status = |instance: &Instance<'_>| {
            let wanted = config.has_tags(&instance.tags);
            wanted.then(|| opinions.status(feed, instance)).flatten()
        };
        let (record, skipped) = map::record(service, instances, mapping, status, &mut self.interner);
        for problem in &skipped {
            tracing::warn!(registry = %self.control.registry(), %service, "instance left out: {problem}");
        }
        self.control.meter().count_skipped(skipped.len() as u64);
        record
    }

    /// Tells what a service is now, and of what it lacks whether that was announced.
    pub(super) fn tell(&mut self, service: &ServiceId, record: &ServiceRecord, gone: Vec<Str>, wished: bool) {
        let Some(tracked) = self.services.get_mut(service) else {
            return;
        };
        let empty = record.endpoints().is_empty();
        let before = std::mem::replace(&mut tracked.record, (!empty).then(|| record.clone()));
        let listed = tracked.listed;
        let kept: HashSet<&str> = ids(record).collect();
        let gone: Vec<Str> = gone.into_iter().filter(|gone| !kept.contains(&**gone)).collect();
        self.note_told(service, &gone);
        let last = |explicit| {
            if empty {
                Event::Delete {
                    id: service.clone(),
                    explicit,
                }
            } else {
                Event::Apply {
                    record: record.clone(),
                    explicit,
                }
            }
        };
        let in_round = self.is_round_open();
        let lost: HashSet<&str> = before
            .iter()
            .flat_map(ids)
            .filter(|id| !kept.contains(id))
            .collect();
        let content = |record: &ServiceRecord| record.endpoints().content_hash();
        let before_content = before.as_ref().map(content);
        let is_new = lost.is_empty() && before_content.is_some_and(|before| before != content(record));
        // A complete listing under way holds back what is told in it. What is lost has to wait for its end; what is merely
        // new need not, and is told in a listing of its own besides.
        if wished || (in_round && self.synced && is_new) {
            let scope = Scope::Service(service.clone());
            self.batch.push(Event::Init(scope.clone()));
            self.batch.extend((!empty).then(|| last(false)));
            self.batch.push(Event::init_done(scope));
        }
        if in_round || wished {
            // The listing takes away what it lacks.
            self.batch.push(last(false));
            self.batch.extend(announced(service, gone));
        } else {
            let (announced_now, earlier): (Vec<Str>, Vec<Str>) =
                gone.into_iter().partition(|gone| lost.contains(&**gone));
            let explicit = !lost.is_empty() && announced_now.len() == lost.len();
            if let Some(before) = before.as_ref().filter(|_| !explicit && !announced_now.is_empty()) {
                // Some were removed, others are merely missing.
                self.batch.push(Event::Apply {
                    record: without(before, &announced_now),
                    explicit: true,
                });
            }
            self.batch.push(last(explicit));
            self.batch.extend(announced(service, earlier));
        }
        if empty {
            if !in_round && !listed {
                self.forget(service);
            } else {
                self.memory().known.remove(service);
            }
        } else {
            self.memory().known.insert(service.clone());
        }
    }
}

/// That of what was removed nothing comes back, also of what the complete knowledge merely lacked.
pub(super) fn announced(service: &ServiceId, gone: Vec<Str>) -> Option<Event> {
    (!gone.is_empty()).then(|| Event::Announced {
        id: service.clone(),
        gone,
    })
}

fn without(record: &ServiceRecord, gone: &[Str]) -> ServiceRecord {
    let gone: HashSet<&str> = gone.iter().map(|gone| &**gone).collect();
    let mut endpoints = record.endpoints().clone();
    for endpoint in record.endpoints().iter() {
        if gone.contains(endpoint.id()) {
            endpoints.remove(endpoint);
        }
    }
    ServiceRecord::new(record.meta().clone(), endpoints)
}
