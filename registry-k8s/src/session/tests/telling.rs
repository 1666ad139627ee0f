//! What a session tells in cases that were got wrong once.

use std::collections::BTreeSet;

use registry_core::{Control, Event, PortDefaults, Resync, Scope};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::cluster::State;
use super::model::{
    Ill, Mode, Run, begin, begin_view, begin_with_most, exports, ill, plain, secs, slice, steady,
};
use crate::view::View;

async fn begun(mode: Mode, streaming: bool, nodes: bool) -> Run {
    let mut run = begin(mode, streaming, nodes, vec![10_000]);
    run.until(Instant::now() + secs(1)).await;
    assert!(run.reader.begun);
    run
}

impl Run {
    async fn pass(&mut self, seconds: u64) {
        self.until(Instant::now() + secs(seconds)).await;
    }

    fn wish(&self, scope: Scope) {
        self.control.request_resync(Resync { scope, strong: false });
    }

    fn whole_listings(&self) -> usize {
        let is_whole = |(scope, _): &&(Scope, Instant)| *scope == Scope::Registry;
        self.reader.listed.iter().filter(is_whole).count()
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_word_is_the_beginning_of_the_whole_and_each_service_is_told_once() {
    let run = begun(Mode::All, true, true).await;
    assert!(matches!(&run.told[0], Event::Init(Scope::Registry)));
    let applied = run
        .told
        .iter()
        .filter(|event| matches!(event, Event::Apply { .. }));
    assert_eq!(applied.count(), 6);
}

#[tokio::test(start_paused = true)]
async fn another_cluster_behind_the_address_is_the_end_where_its_name_rests_on_it() {
    for ends in [false, true] {
        let mut run = begin(Mode::All, true, true, vec![10_000]);
        if ends {
            run.session = run.session.until_swapped();
        }
        run.pass(60).await;
        {
            let mut state = run.cluster.lock();
            state.wipe(|_| true);
            state.cut();
        }
        let swapped = timeout(secs(40), async {
            loop {
                if let Err(error) = run.session.next_batch().await {
                    return error.to_string();
                }
            }
        });
        let swapped = swapped.await;
        assert_eq!(swapped.is_ok(), ends, "{swapped:?}");
        if let Ok(error) = swapped {
            assert!(error.contains("found \"life-1\""), "{error}");
            assert!(error.contains("expected \"life-0\""), "{error}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_goes_because_its_namespace_was_unlabelled_is_announced() {
    let mut run = begun(Mode::Labelled, true, false).await;
    let (key, object) = plain("Namespace", "b", &json!({}));
    run.cluster.lock().put(key, object);
    run.pass(1).await;
    let deleted = run.told.iter().filter_map(|event| match event {
        Event::Delete { id, explicit } => Some((id.group().to_string(), *explicit)),
        _ => None,
    });
    let deleted: Vec<_> = deleted.collect();
    assert_eq!(deleted, [("b".to_owned(), true), ("b".to_owned(), true)]);
    assert_eq!(run.reader.picture, run.expected());
}

#[tokio::test(start_paused = true)]
async fn a_namespace_that_an_answer_left_out_is_said_to_be_well_again() {
    let mut run = begun(Mode::Named, false, false).await;
    run.cluster.lock().forbidden.insert("/namespaces/b/");
    run.cluster.lock().cut();
    run.pass(10).await;
    let group = Scope::Group("b".into());
    assert!(run.reader.degraded.contains_key(&group));
    run.wish(Scope::Registry);
    run.pass(1).await;
    assert_eq!(run.whole_listings(), 2);
    assert!(run.reader.degraded.contains_key(&group));
    run.cluster.lock().forbidden.clear();
    run.pass(60).await;
    assert!(run.reader.degraded.is_empty(), "{:?}", run.reader.degraded);
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_taken_when_the_one_before_it_was_answered() {
    let mut run = begun(Mode::Named, false, false).await;
    run.cluster.lock().silent.insert("/namespaces/a/", Instant::now());
    run.wish(Scope::Registry);
    run.pass(1).await;
    run.cluster.lock().silent.clear();
    run.cluster.lock().silent.insert("/namespaces/b/", Instant::now());
    let group = Scope::Group("b".into());
    run.wish(group.clone());
    let of_group = |run: &Run| {
        let is_begin = |event: &&Event| matches!(event, Event::Init(scope) if *scope == group);
        run.told.iter().filter(is_begin).count()
    };
    // Those of `a` are found dead and asked for again, which answers the first. Of `b` nothing can be said.
    run.pass(100).await;
    assert_eq!((run.whole_listings(), of_group(&run)), (2, 0));
    run.cluster.lock().silent.clear();
    run.pass(100).await;
    assert_eq!((run.whole_listings(), of_group(&run)), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_turns_in_circles_while_the_whole_is_not_known_yet() {
    let mut run = begin(Mode::All, true, true, vec![10_000]);
    run.cluster.lock().silent.insert("/nodes", Instant::now());
    run.pass(5).await;
    let (key, object) = slice("a", "e0", "s0", [1].into_iter());
    run.cluster.lock().put(key, object);
    // Counts how often it is asked without any time passing.
    run.pass(5).await;
    assert!(!run.reader.begun);
    run.pass(60).await;
    assert_eq!(run.reader.picture, run.expected());
}

#[tokio::test(start_paused = true)]
async fn what_is_too_long_to_be_read_in_a_listing_stays_and_is_said_to_be_unread() {
    let mut run = begun(Mode::All, true, false).await;
    let [_, (key, object), ..] = steady("a");
    run.cluster.lock().put(key.clone(), ill(&object, Ill::Long));
    run.wish(Scope::Registry);
    run.pass(1).await;
    let unread = run.told.iter().rev().find_map(|event| match event {
        Event::InitDone { unread, .. } => Some(unread.clone()),
        _ => None,
    });
    assert_eq!(unread.unwrap()[0].0, Scope::Registry);
    run.cluster.lock().put(key, object);
    run.wish(Scope::Registry);
    run.pass(1).await;
    assert_eq!(run.reader.picture, run.expected());
    assert!(run.reader.degraded.is_empty());
}

/// As after a restart: what was known before is not forgotten for a Service that cannot be read.
#[tokio::test(start_paused = true)]
async fn an_export_of_a_service_that_cannot_be_read_at_the_first_look_keeps_what_it_had() {
    for how in [Ill::Field, Ill::Name, Ill::Long] {
        let [(key, object), ..] = steady("a");
        let broken = ill(&object, how);
        let control = Control::new("mcs".parse().unwrap(), PortDefaults::default());
        let breaking = |state: &mut State| state.put(key.clone(), broken);
        let mut run = begin_view(
            &exports(),
            control,
            100,
            Mode::All,
            true,
            false,
            vec![10_000],
            breaking,
        );
        let known = ("a".to_owned(), "steady".to_owned());
        let had: BTreeSet<String> = ["10.9.9.9".to_owned()].into();
        run.reader.picture.insert(known.clone(), had.clone());
        run.pass(1).await;
        assert!(run.reader.begun, "{how:?}");
        assert_eq!(run.reader.picture.get(&known), Some(&had), "{how:?}");
        assert!(!run.reader.degraded.is_empty(), "{how:?}");
        assert_eq!(run.reader.picture.len(), 6, "{how:?}: all else is told");

        run.cluster.lock().put(key, object);
        run.wish(Scope::Registry);
        run.pass(1).await;
        assert_eq!(run.reader.picture, run.expected(), "{how:?}");
        assert!(run.reader.degraded.is_empty(), "{how:?}");
    }
}

/// Restored as `a/steady`, with an object that cannot be read at the first look.
async fn restored(view: &View, how: Ill) -> (Run, (String, String)) {
    let [(key, object), ..] = steady("a");
    let broken = ill(&object, how);
    let control = Control::new("mcs".parse().unwrap(), PortDefaults::default());
    let breaking = |state: &mut State| state.put(key, broken);
    let mut run = begin_view(view, control, 100, Mode::All, true, false, vec![10_000], breaking);
    let known = ("a".to_owned(), "steady".to_owned());
    let had: BTreeSet<String> = ["10.9.9.9".to_owned()].into();
    run.reader.picture.insert(known.clone(), had);
    run.may_go = true;
    run.pass(1).await;
    assert!(run.reader.begun && run.reader.picture.contains_key(&known));
    assert!(!run.reader.degraded.is_empty(), "{how:?}");
    (run, known)
}

#[tokio::test(start_paused = true)]
async fn what_could_never_be_read_goes_when_it_is_deleted() {
    let [(service, _), _, _, (export, _)] = steady("a");
    for (view, key, how) in [
        (exports(), &export, Ill::Field),
        (exports(), &export, Ill::Name),
        (exports(), &export, Ill::Long),
        (View::Services, &service, Ill::Field),
    ] {
        let (mut run, known) = restored(&view, how).await;
        run.cluster.lock().delete(key);
        run.pass(1).await;
        assert!(!run.reader.picture.contains_key(&known), "{how:?}");
        let announced = run
            .told
            .iter()
            .any(|event| matches!(event, Event::Delete { id, explicit: true } if id.name() == "steady"));
        assert!(announced, "{how:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_could_never_be_read_goes_where_a_later_list_lacks_it() {
    let [(service, _), _, _, (export, _)] = steady("a");
    for (view, key) in [(exports(), &export), (View::Services, &service)] {
        let (mut run, known) = restored(&view, Ill::Field).await;
        {
            let mut state = run.cluster.lock();
            state.delete(key);
            state.compact();
            state.cut();
        }
        run.pass(60).await;
        assert!(!run.reader.picture.contains_key(&known));
        let confirmed = |event: &Event| matches!(event, Event::Confirmed(Scope::Service(_)));
        assert!(!run.told.iter().any(confirmed));
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_namespaces_stay_a_trouble_and_are_not_told_at_each_change_of_one() {
    let mut run = begin_with_most(2, Mode::Labelled, true, false, vec![10_000]);
    run.pass(1).await;
    let is_excess = |event: &&Event| {
        matches!(
            event,
            Event::Degraded {
                scope: Scope::Registry,
                ..
            }
        )
    };
    let before = run.told.iter().filter(is_excess).count();
    assert!(before > 0);
    for number in 0..5 {
        let labels = json!({ "watched": "yes", "number": number.to_string() });
        let (key, object) = plain("Namespace", "c", &labels);
        run.cluster.lock().put(key, object);
        run.pass(1).await;
    }
    assert_eq!(run.told.iter().filter(is_excess).count(), before);
    let told = run.told.len();
    run.pass(100).await;
    let confirmed = |event: &&Event| matches!(event, Event::Confirmed(Scope::Registry));
    assert!(run.told[told..].iter().filter(confirmed).count() >= 2);
    assert!(
        run.reader.degraded.contains_key(&Scope::Registry),
        "it is the last word each time"
    );
    let (key, object) = plain("Namespace", "b", &json!({}));
    run.cluster.lock().put(key, object);
    run.pass(100).await;
    assert!(run.reader.degraded.is_empty(), "{:?}", run.reader.degraded);
    assert!(
        run.reader
            .picture
            .contains_key(&("c".to_owned(), "steady".to_owned()))
    );
}
