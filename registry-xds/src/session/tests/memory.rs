//! What a stream holds, in bytes. Resources and their names are the set's; a stream only refers to them.

use std::sync::Arc;

use super::support::*;
use crate::session::Variant::{Delta, Sotw};

const SERVICES: usize = 10_000;

fn names() -> Vec<String> {
    (0..SERVICES).map(|n| format!("service-{n}")).collect()
}

fn set(world: &mut World, changed: &str) -> Arc<crate::resource::ResourceSet> {
    let service = |n: &String| format!("c:{n}@1 e:{n}@{} ", if n == changed { 2 } else { 1 });
    world.set(&names().iter().map(service).collect::<String>())
}

#[test]
fn a_stream_with_ten_thousand_clusters_and_their_endpoints_costs_a_few_hundred_kilobytes() {
    let mut world = World::default();
    let first = set(&mut world, "");
    let second = set(&mut world, "service-7");
    let all = names();
    let all: Vec<_> = all.iter().map(String::as_str).collect();
    for variant in [Sotw, Delta] {
        let mut kept = None;
        let start = allocation_counter::measure(|| {
            let mut stream = Stream::new(variant);
            stream.update(&first);
            stream.subscribe(C, &[]);
            stream.subscribe(E, &all);
            stream.ack(E);
            stream.ack(C);
            kept = Some(stream.session);
        });
        let mut session = kept.unwrap();
        assert_eq!(session.channel(E).unwrap().names, SERVICES);
        assert!(start.bytes_current < 400_000, "{variant:?}: {start:?}");

        // A change costs what changes, and leaves nothing behind.
        let now = tokio::time::Instant::now();
        let change = allocation_counter::measure(|| {
            session.update(second.clone(), now);
            let response = session.next(now).unwrap();
            assert_eq!(response.resources.len(), 1);
            drop(response);
            assert!(session.next(now).is_none());
        });
        assert!(change.bytes_max < 10_000, "{variant:?}: {change:?}");
        assert!(change.bytes_current < 1_000, "{variant:?}: {change:?}");
    }
}

#[test]
fn an_idle_stream_costs_next_to_nothing() {
    let set = World::default().set("c:web@1 e:web@1 l:web@1 r:web@1");
    let mut kept = None;
    let cost = allocation_counter::measure(|| {
        let mut stream = Stream::new(Delta);
        stream.update(&set);
        for (type_, names) in [(C, vec![]), (E, vec!["web"]), (L, vec![]), (R, vec!["web"])] {
            stream.subscribe(type_, &names);
            stream.ack(type_);
        }
        kept = Some(stream.session);
    });
    assert!(kept.is_some());
    assert!(cost.bytes_current < 8_000, "{cost:?}");
}
