//! Clocks: a cluster is lost by time that passes here, whatever the clock of any machine says.

use std::sync::Arc;
use std::time::Duration;

use registry_core::engine::Engine;
use registry_core::{Event, Outage, Scope, ServiceRegistry, Snapshot};
use tokio::time::Instant;

use crate::clusterset::{Export, Member, WEB, add, engine, id};

const KEEP_FOR: Duration = Duration::from_secs(600);
const SECOND: Duration = Duration::from_secs(1);
const YEAR_2099: u64 = 4_080_000_000;

/// The clusters that endpoints are in, while `b` says that all is as it was.
fn clusters(engine: &mut Engine, snapshot: &mut Arc<Snapshot>, now: Instant) -> Vec<String> {
    let all_is_well = vec![Event::Confirmed(Scope::Registry)];
    engine.apply(&id("b"), all_is_well, now).unwrap();
    if let Some(newer) = engine.publish(now) {
        *snapshot = newer;
    }
    let endpoints = snapshot.get(WEB).unwrap().endpoints();
    endpoints
        .iter()
        .map(|endpoint| endpoint.cluster().to_string())
        .collect()
}

/// The wall clock stands still here while ten minutes pass: to this process it jumps back all the time.
#[test]
fn idea_37_a_cluster_expires_by_time_that_passes_and_not_by_the_wall_clock() {
    let mut now = Instant::now();
    let (mut engine, mut snapshot) = (engine(now), Arc::default());
    add(&mut engine, "a", Outage::KeepFor(KEEP_FOR));
    add(&mut engine, "b", Outage::Keep);
    // Nor does it matter when its clock has an export made, be it long ago or in the future.
    for (number, (cluster, created)) in [("a", YEAR_2099), ("b", 1)].into_iter().enumerate() {
        let record = Export::at(created).record("web", cluster, u8::try_from(number).unwrap());
        let listing = Event::listing(Scope::Registry, [record]);
        engine.apply(&id(cluster), listing, now).unwrap();
    }
    assert_eq!(clusters(&mut engine, &mut snapshot, now), ["a", "b"]);
    // Stale it is at once by then, and its time begins.
    now += Member.freshness_bound();
    assert_eq!(clusters(&mut engine, &mut snapshot, now), ["a", "b"]);
    now += KEEP_FOR - SECOND;
    assert_eq!(clusters(&mut engine, &mut snapshot, now), ["a", "b"]);
    now += SECOND;
    assert_eq!(clusters(&mut engine, &mut snapshot, now), ["b"]);
    // One word of it, and it is back.
    let all_is_well = vec![Event::Confirmed(Scope::Registry)];
    engine.apply(&id("a"), all_is_well, now).unwrap();
    assert_eq!(clusters(&mut engine, &mut snapshot, now), ["a", "b"]);
}
