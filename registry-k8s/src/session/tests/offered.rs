//! Exports whose definitions come late, go, and come in other versions.

use registry_core::{Control, Event, PortDefaults, Resync, Scope};
use tokio::time::Instant;

use super::cluster::{Fault, GROUP, State};
use super::model::{Mode, Run, begin_view, exports, secs};
use crate::view::{McsApi, View};

fn control() -> Control {
    Control::new("mcs".parse().unwrap(), PortDefaults::default())
}

fn begin(control: Control, before: impl FnOnce(&mut State)) -> Run {
    begin_view(
        &exports(),
        control,
        100,
        Mode::All,
        false,
        false,
        vec![10_000],
        before,
    )
}

impl Run {
    async fn rest(&mut self, seconds: u64) {
        self.until(Instant::now() + secs(seconds)).await;
    }

    fn note(&self) -> String {
        self.control.meter().note().unwrap_or_default()
    }

    /// Nothing was ever told to be gone.
    fn lost_nothing(&self) -> bool {
        !self
            .told
            .iter()
            .any(|event| matches!(event, Event::Delete { .. }))
    }

    /// How often a path that ends so was asked for.
    fn asked(&self, end: &str) -> usize {
        let state = self.cluster.lock();
        state.paths.iter().filter(|path| path.ends_with(end)).count()
    }
}

#[tokio::test(start_paused = true)]
async fn acceptance_29_definitions_may_come_later_and_in_a_better_version() {
    let mut run = begin(control(), |state| state.served.clear());
    run.rest(1).await;
    assert!(run.reader.begun && run.reader.picture.is_empty() && run.reader.degraded.is_empty());
    assert!(
        run.note()
            .contains("serves no serviceexports in other.example.com, multicluster.x-k8s.io"),
        "{}",
        run.note()
    );
    run.cluster.lock().serve(&["v1alpha1"]);
    run.rest(40).await;
    assert_eq!(run.reader.picture, run.expected());
    assert_eq!((run.reader.picture.len(), run.note().as_str()), (6, ""));
    assert_eq!(run.asked("v1beta1/serviceexports"), 0);
    run.cluster.lock().serve(&["v1alpha1", "v1beta1"]);
    run.rest(40).await;
    assert!(run.asked("v1beta1/serviceexports") > 0);
    let before = run.asked("v1alpha1/serviceexports");
    run.cluster.lock().serve(&["v1beta1"]);
    run.rest(120).await;
    assert_eq!(run.asked("v1alpha1/serviceexports"), before);
    run.cluster.lock().serve(&["v1alpha1"]);
    run.rest(60).await;
    assert_eq!(run.reader.picture, run.expected());
    assert!(run.lost_nothing() && run.reader.degraded.is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_known_stays_while_its_definition_is_made_anew() {
    let mut run = begin(control(), |_| {});
    run.rest(1).await;
    let picture = run.reader.picture.clone();
    assert_eq!(picture.len(), 6);
    {
        let mut state = run.cluster.lock();
        state.unserved_until = Some(Instant::now() + secs(8));
        state.cut();
    }
    run.rest(3).await;
    assert!(!run.reader.degraded.is_empty(), "it is in trouble meanwhile");
    run.rest(20).await;
    assert_eq!(run.reader.picture, picture);
    assert!(
        run.lost_nothing() && run.reader.degraded.is_empty(),
        "{:?}",
        run.reader.degraded
    );
}

#[tokio::test(start_paused = true)]
async fn somebody_in_between_who_knows_nothing_at_all_is_not_believed() {
    let mut run = begin(control(), |_| {});
    run.rest(1).await;
    let picture = run.reader.picture.clone();
    {
        let mut state = run.cluster.lock();
        state.faults.extend(std::iter::repeat_n(Fault::Refuse(404), 1000));
        state.cut();
    }
    run.rest(120).await;
    assert!(!run.reader.degraded.is_empty());
    run.cluster.lock().faults.clear();
    run.rest(60).await;
    assert_eq!(run.reader.picture, picture);
    assert!(
        run.lost_nothing() && run.reader.degraded.is_empty(),
        "{:?}",
        run.reader.degraded
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_served_no_more_is_gone_after_ten_seconds_and_nobody_announced_that() {
    let mut run = begin(control(), |_| {});
    run.may_go = true;
    run.rest(1).await;
    run.cluster.lock().serve(&[]);
    run.rest(8).await;
    assert!(run.lost_nothing());
    run.rest(10).await;
    assert!(run.reader.picture.is_empty());
    let explicit = |event: &Event| matches!(event, Event::Delete { explicit: true, .. });
    assert!(!run.told.iter().any(explicit));
    assert!(run.reader.degraded.is_empty() && !run.note().is_empty());
    // And that is fresh knowledge from then on, and complete where somebody asks.
    run.rest(300).await;
    assert!(run.reader.confirmed.unwrap().elapsed() < secs(45));
    let before = run.reader.listed.len();
    run.control.request_resync(Resync {
        scope: Scope::Registry,
        strong: false,
    });
    run.rest(1).await;
    assert_eq!(run.reader.listed.len(), before + 1);
    run.cluster.lock().serve(&["v1"]);
    run.rest(40).await;
    assert_eq!(run.reader.picture, run.expected());
}

#[tokio::test(start_paused = true)]
async fn where_services_are_known_from_before_a_first_absence_is_not_believed() {
    for comes_back in [true, false] {
        let control = control();
        control.set_known();
        let mut run = begin(control, |state| state.served.clear());
        run.rest(8).await;
        assert!(!run.reader.begun);
        if comes_back {
            run.cluster.lock().serve(&["v1alpha1"]);
        }
        run.rest(8).await;
        assert!(run.reader.begun);
        assert_eq!(run.reader.picture.len(), if comes_back { 6 } else { 0 });
        assert!(run.reader.degraded.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn who_may_not_ask_what_is_served_tries_the_lists() {
    for other in ["/nothing", "/other.example.com"] {
        let mut run = begin(control(), |state| {
            state.hidden = true;
            state.served = vec!["v1alpha1"];
            state.forbidden.insert(other);
        });
        run.rest(1).await;
        assert_eq!(run.reader.picture, run.expected());
        assert_eq!(run.reader.picture.len(), 6);
    }
    let mut run = begin(control(), |state| {
        state.hidden = true;
        state.forbidden.insert("/serviceexports");
    });
    run.rest(100).await;
    assert!(!run.reader.begun);
    let error = &run.reader.degraded[&Scope::Registry];
    assert!(
        error.contains("needs list and watch on serviceexports in other.example.com"),
        "{error}"
    );
    run.cluster.lock().forbidden.clear();
    run.rest(60).await;
    assert_eq!(run.reader.picture.len(), 6);
}

/// What a cluster says that has exports in the group that goes first, and serves another one as well.
fn begin_both(control: Control, before: impl FnOnce(&mut State)) -> Run {
    let both = View::Exports(McsApi {
        groups: vec![GROUP.to_owned(), "other.example.com".to_owned()],
    });
    begin_view(
        &both,
        control,
        100,
        Mode::All,
        false,
        false,
        vec![10_000],
        |state| {
            state.other = Some("other.example.com");
            before(state);
        },
    )
}

#[tokio::test(start_paused = true)]
async fn another_group_is_read_only_after_the_one_in_use_was_gone_for_a_while() {
    let mut run = begin_both(control(), |_| {});
    run.may_go = true;
    run.rest(1).await;
    let picture = run.reader.picture.clone();
    assert_eq!(picture.len(), 6);
    // A moment without the group, and one in which nobody may ask or list.
    for forbids in [false, true] {
        {
            let mut state = run.cluster.lock();
            if forbids {
                state.forbidden.insert(GROUP);
            } else {
                state.unserved_until = Some(Instant::now() + secs(8));
            }
            state.cut();
        }
        run.rest(100).await;
        run.cluster.lock().forbidden.clear();
        run.rest(60).await;
        assert_eq!(run.reader.picture, picture);
        assert!(
            run.lost_nothing() && run.reader.degraded.is_empty(),
            "{:?}",
            run.reader.degraded
        );
        assert_eq!(run.asked("/other.example.com/v1beta1/serviceexports"), 0);
    }
    // It goes for good, and comes back.
    run.cluster.lock().unserved_until = Some(Instant::now() + secs(100));
    run.cluster.lock().cut();
    run.rest(60).await;
    assert!(run.reader.picture.is_empty());
    assert!(run.asked("/other.example.com/v1beta1/serviceexports") > 0);
    run.rest(100).await;
    assert_eq!(run.reader.picture, picture);
}

#[tokio::test(start_paused = true)]
async fn where_services_are_known_from_before_another_group_than_the_first_has_to_last() {
    for comes_back in [true, false] {
        let control = control();
        control.set_known();
        let mut run = begin_both(control, |state| {
            let time = if comes_back { 5 } else { 1000 };
            state.unserved_until = Some(Instant::now() + secs(time));
        });
        run.rest(9).await;
        let is_trouble = |event: &Event| matches!(event, Event::Degraded { .. });
        assert!(!run.told.iter().any(is_trouble), "it is no trouble");
        assert_eq!(run.reader.begun, comes_back);
        run.rest(9).await;
        assert!(run.reader.begun && run.reader.degraded.is_empty());
        assert_eq!(run.reader.picture.len(), if comes_back { 6 } else { 0 });
    }
}

#[tokio::test(start_paused = true)]
async fn trouble_in_finding_out_is_told_and_passes() {
    let mut run = begin(control(), |state| {
        state.silent.insert(GROUP, Instant::now());
    });
    run.rest(100).await;
    assert!(!run.reader.begun);
    assert!(!run.reader.degraded.is_empty());
    run.cluster.lock().silent.clear();
    run.rest(40).await;
    assert_eq!(run.reader.picture, run.expected());
    assert!(run.reader.degraded.is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_idle_cluster_is_asked_a_few_times_a_minute() {
    for served in [&["v1beta1"][..], &[]] {
        let mut run = begin(control(), |state| state.served = served.to_vec());
        run.rest(60).await;
        run.cluster.lock().paths.clear();
        run.rest(600).await;
        // Two groups, and the versions of the second.
        let asked = run.asked("/other.example.com") + run.asked(GROUP) + run.asked("/v1beta1");
        assert!(asked <= 10 * 6, "{asked} in ten minutes");
    }
}
