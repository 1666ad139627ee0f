//! What happens while a client that came is still being sent what there is.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;

use super::support::*;
use crate::resource::{ResourceSet, ResourceType};
use crate::session::Variant::Delta;
use crate::session::{Incoming, Response};

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Of three of these one response is full.
fn large(content: char) -> String {
    content.to_string().repeat(200 << 10)
}

fn set(world: &mut World, type_: ResourceType, services: &BTreeMap<&str, char>) -> Arc<ResourceSet> {
    let letter = if type_ == C { 'c' } else { 'e' };
    let words = services
        .iter()
        .map(|(name, content)| format!("{letter}:{name}@{} ", large(*content)));
    world.set(&words.collect::<String>())
}

fn request(type_: ResourceType, more: &[&str], less: &[&str]) -> Incoming {
    let long = |names: &[&str]| names.iter().map(|name| long(type_, name)).collect();
    Incoming::Delta(Box::new(DeltaDiscoveryRequest {
        type_url: type_.url().to_owned(),
        resource_names_subscribe: long(more),
        resource_names_unsubscribe: long(less),
        ..DeltaDiscoveryRequest::default()
    }))
}

/// The names in a response, and the first letter of what each has.
fn content(response: &Response) -> BTreeMap<String, char> {
    let one = |resource: &Arc<crate::resource::Resource>| {
        let content = body(resource).chars().next().unwrap();
        (short(resource.type_(), resource.name()), content)
    };
    response.resources.iter().map(one).collect()
}

/// Sends the first response of several, then changes one service that was sent and one that was not, and removes another
/// that was not. Returns that response, and what came after it.
fn interrupt(
    type_: ResourceType,
    wanted: &[&str],
    unsubscribe: bool,
) -> (BTreeMap<String, char>, Vec<Response>, [String; 4]) {
    let mut world = World::default();
    let mut services: BTreeMap<_, _> = NAMES.iter().map(|name| (*name, 'x')).collect();
    let mut stream = Stream::new(Delta);
    stream
        .session
        .update(set(&mut world, type_, &services), stream.now);
    stream
        .session
        .request(request(type_, wanted, &[]), stream.now)
        .unwrap();
    let first = content(&stream.session.next(stream.now).unwrap());
    assert_eq!(first.len(), 3, "{first:?}");

    let sent: BTreeSet<_> = first.keys().cloned().collect();
    let rest: Vec<_> = NAMES.iter().filter(|name| !sent.contains(**name)).collect();
    let (changed, removed, dropped) = (*rest[0], *rest[1], *rest[2]);
    let again = *NAMES.iter().find(|name| sent.contains(**name)).unwrap();
    services.insert(again, 'y');
    services.insert(changed, 'y');
    services.remove(removed);
    if unsubscribe {
        stream
            .session
            .request(request(type_, &[], &[dropped]), stream.now)
            .unwrap();
    }
    stream
        .session
        .update(set(&mut world, type_, &services), stream.now);
    let names = [again, changed, removed, dropped].map(str::to_owned);
    (first, stream.responses(), names)
}

fn all(responses: &[Response]) -> BTreeMap<String, char> {
    let mut all = BTreeMap::new();
    for (name, content) in responses.iter().flat_map(content) {
        assert_eq!(all.insert(name, content), None, "sent once");
    }
    all
}

#[test]
fn who_wants_everything_gets_what_changed_meanwhile_and_never_hears_of_what_went() {
    let (first, rest, [again, changed, removed, _]) = interrupt(C, &[], false);
    let mut expected: BTreeMap<_, _> = NAMES.iter().map(|name| ((*name).to_owned(), 'x')).collect();
    expected.retain(|name, _| !first.contains_key(name) && *name != removed);
    expected.insert(again, 'y');
    expected.insert(changed, 'y');
    assert_eq!(all(&rest), expected);
    assert!(rest.iter().all(|response| response.removed.is_empty()));
}

#[test]
fn who_named_them_gets_what_changed_meanwhile_and_hears_of_what_went_but_not_of_what_it_dropped() {
    let (first, rest, [again, changed, removed, dropped]) = interrupt(E, &NAMES, true);
    let mut expected: BTreeMap<_, _> = NAMES.iter().map(|name| ((*name).to_owned(), 'x')).collect();
    expected.retain(|name, _| !first.contains_key(name) && *name != removed && *name != dropped);
    expected.insert(again, 'y');
    expected.insert(changed, 'y');
    assert_eq!(all(&rest), expected);
    let gone: Vec<_> = rest.iter().flat_map(|response| &response.removed).collect();
    assert_eq!(gone, [&*long(E, &removed)]);
}
