use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A plan for two servers, and a clock that goes on by hand.
struct Case {
    plan: Plan,
    now: Moment,
}

impl Case {
    fn new() -> Self {
        Self::with(EurekaConfig::default())
    }

    fn with(config: EurekaConfig) -> Self {
        let now = Moment::now();
        let config = EurekaConfig {
            alignment: Alignment::Never,
            ..config
        };
        Self {
            plan: Plan::new(Arc::new(config), 2, now),
            now,
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.wall += time;
    }

    fn poll(&self) -> Poll {
        Poll {
            sent: self.now.instant,
            answered: self.now.instant,
        }
    }

    fn ask(&self) -> Ask {
        self.plan.ask(0, self.now)
    }

    fn full(&mut self, base: usize) -> bool {
        self.plan.full_fetched(base, self.poll(), self.now)
    }

    fn delta(&mut self, base: usize) {
        self.plan.delta_fetched(base, self.poll(), self.now, 2);
    }

    /// Sits out the time until the next poll.
    fn wait(&mut self) -> Duration {
        let time = self.plan.wake().saturating_duration_since(self.now.instant);
        self.pass(time);
        time
    }
}

#[test]
fn it_begins_with_everything_at_once_and_goes_on_with_deltas() {
    let mut case = Case::new();
    assert_eq!(case.plan.wake(), case.now.instant);
    assert_eq!(case.ask(), Ask::Full(Why::Start));
    case.full(0);
    let first = case.wait();
    assert!(first >= 15 * SECOND && first <= 30 * SECOND, "{first:?}");
    for _ in 0..6 {
        assert_eq!(case.ask(), Ask::Delta);
        case.delta(0);
        assert_eq!(case.wait(), 30 * SECOND);
    }
}

#[test]
fn a_delta_is_asked_only_of_the_server_that_what_is_held_came_from() {
    let mut case = Case::new();
    case.full(0);
    assert_eq!(case.plan.ask(1, case.now), Ask::Full(Why::Server));
    case.full(1);
    assert_eq!(case.plan.ask(1, case.now), Ask::Delta);
    assert_eq!(case.plan.ask(0, case.now), Ask::Full(Why::Server));
}

#[test]
fn after_a_gap_of_half_the_retention_everything_is_fetched_also_where_the_machine_slept() {
    let mut case = Case::new();
    case.full(0);
    case.pass(90 * SECOND);
    assert_eq!(case.ask(), Ask::Delta);
    case.pass(SECOND);
    assert_eq!(case.ask(), Ask::Full(Why::Gap));
    case.full(0);
    assert_eq!(case.ask(), Ask::Delta);
    case.now.wall += 91 * SECOND;
    assert_eq!(case.ask(), Ask::Full(Why::Gap), "only the wall clock saw it");
}

#[test]
fn polls_that_fail_widen_the_gap_and_after_two_rounds_the_server_is_doubted() {
    let mut case = Case::new();
    case.full(0);
    case.wait();
    assert!(case.plan.gave_up(case.now), "the first failure is news");
    case.wait();
    assert_eq!(case.ask(), Ask::Delta, "one failure may be of the network");
    assert!(!case.plan.gave_up(case.now));
    assert_eq!(case.ask(), Ask::Full(Why::Doubt));
    case.full(0);
    assert!(!case.plan.is_failing());
    assert_eq!(case.ask(), Ask::Delta);
}

#[test]
fn attempts_are_spread_and_never_a_loop() {
    let mut case = Case::new();
    let mut waited = Duration::ZERO;
    for _ in 0..100 {
        case.plan.failed(0, None, case.now);
        case.plan.gave_up(case.now);
        let wait = case.wait();
        assert!(wait <= 10 * SECOND, "{wait:?}");
        waited += wait;
    }
    assert!(waited > 200 * SECOND, "a hundred attempts in {waited:?}");
}

#[test]
fn who_asks_to_be_left_alone_is_and_a_wish_does_not_change_that() {
    let mut case = Case::new();
    case.full(0);
    case.wait();
    case.plan.failed(0, Some(120 * SECOND), case.now);
    case.plan.failed(1, Some(600 * SECOND), case.now);
    case.plan.gave_up(case.now);
    case.plan.wished(true, case.now);
    assert!(case.plan.rests(0, case.now) && case.plan.rests(1, case.now));
    let waited = case.wait();
    assert!(waited >= 120 * SECOND && waited <= 130 * SECOND, "{waited:?}");
    assert!(!case.plan.rests(0, case.now) && case.plan.rests(1, case.now));
    assert_eq!(case.ask(), Ask::Full(Why::Wish { strong: true }));
}

#[test]
fn a_server_that_asks_to_be_left_alone_keeps_nobody_from_asking_another_one() {
    let mut case = Case::new();
    case.plan.failed(0, Some(600 * SECOND), case.now);
    case.plan.failed(1, None, case.now);
    case.plan.gave_up(case.now);
    assert!(case.wait() <= SECOND);
}

#[test]
fn a_server_without_deltas_is_asked_for_one_again_after_a_while() {
    let mut case = Case::new();
    case.full(0);
    case.wait();
    case.plan.delta_refused(0);
    assert_eq!(case.ask(), Ask::Full(Why::NoDelta));
    assert!(case.full(0), "it is news");
    let mut fulls = 0;
    while case.wait() > Duration::ZERO && case.ask() == Ask::Full(Why::NoDelta) {
        assert!(!case.full(0), "it is told once");
        fulls += 1;
    }
    assert_eq!(fulls, 9, "one each 30 s of five minutes");
    assert_eq!(case.ask(), Ask::Delta);
    case.plan.delta_refused(0);
    assert!(!case.full(0), "it is no news");
    assert_eq!(case.plan.ask(0, case.now), Ask::Full(Why::NoDelta));
    assert_eq!(case.plan.ask(1, case.now), Ask::Full(Why::Server));
    case.full(1);
    assert_eq!(case.plan.ask(1, case.now), Ask::Delta, "each server for itself");
}

#[test]
fn a_server_that_refuses_everything_may_have_deltas() {
    let mut case = Case::new();
    case.full(0);
    case.plan.delta_refused(0);
    case.plan.failed(0, None, case.now);
    case.plan.gave_up(case.now);
    assert!(!case.full(0));
    assert_eq!(case.ask(), Ask::Delta);
}

#[test]
fn one_delta_that_cannot_be_read_is_no_reason_to_give_them_up_and_two_are() {
    let mut case = Case::new();
    case.full(0);
    case.plan.delta_unreadable(0);
    assert_eq!(case.ask(), Ask::Full(Why::Doubt));
    assert!(!case.full(0));
    assert_eq!(case.ask(), Ask::Delta);
    case.plan.delta_unreadable(0);
    assert!(case.full(0));
    assert_eq!(case.ask(), Ask::Full(Why::NoDelta));
}

#[test]
fn counts_that_differ_bring_one_full_fetch_soon_and_then_few() {
    let mut case = Case::new();
    case.full(0);
    let (mut fulls, mut polls) = (Vec::new(), 0);
    let start = case.now.instant;
    while case.now.instant - start < 3600 * SECOND {
        case.wait();
        match case.ask() {
            Ask::Delta => {
                polls += 1;
                case.delta(0);
                case.plan.counted(false, case.now);
            }
            Ask::Full(why) => {
                assert!(matches!(why, Why::Mismatch | Why::Periodic), "{why:?}");
                fulls.push(case.now.instant - start);
                case.full(0);
            }
        }
    }
    // Soon, then 30, 60 and 120 s later, and then about as often as without a reason.
    assert!(fulls[0] <= 31 * SECOND, "{fulls:?}");
    let rests: Vec<u64> = fulls.windows(2).map(|two| (two[1] - two[0]).as_secs()).collect();
    assert_eq!(rests[..3], [30, 60, 120]);
    assert!(rests[3..].iter().all(|rest| *rest >= 240), "{rests:?}");
    assert!(polls > 90, "{polls}");
}

#[test]
fn counts_that_are_equal_again_end_the_rest_between_full_fetches() {
    let mut case = Case::new();
    case.full(0);
    for _ in 0..3 {
        case.plan.counted(false, case.now);
        assert!(case.wait() <= SECOND);
        assert_eq!(case.ask(), Ask::Full(Why::Mismatch));
        case.full(0);
        assert_eq!(case.ask(), Ask::Delta);
        case.plan.counted(true, case.now);
        assert!(!case.plan.is_mismatched());
    }
}

#[test]
fn everything_is_fetched_from_time_to_time_as_equal_counts_prove_nothing() {
    let mut case = Case::new();
    let mut periods = Vec::new();
    case.full(0);
    let mut last = case.now.instant;
    while periods.len() < 50 {
        case.wait();
        match case.ask() {
            Ask::Delta => case.delta(0),
            Ask::Full(Why::Periodic) => {
                periods.push((case.now.instant - last).as_secs());
                last = case.now.instant;
                case.full(0);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(
        periods.iter().all(|period| (240..=390).contains(period)),
        "{periods:?}"
    );
    assert!(periods.iter().any(|period| *period != periods[0]), "{periods:?}");
}

#[test]
fn a_wish_is_met_at_once_and_once() {
    let mut case = Case::new();
    case.full(0);
    case.plan.wished(false, case.now);
    case.plan.wished(true, case.now);
    case.plan.wished(false, case.now);
    assert_eq!(case.wait(), Duration::ZERO);
    assert_eq!(case.ask(), Ask::Full(Why::Wish { strong: true }));
    assert!(case.plan.is_wished());
    case.full(0);
    assert!(!case.plan.is_wished());
    assert_eq!(case.ask(), Ask::Delta);
}

#[test]
fn a_better_server_is_tried_about_as_often_as_everything_is_fetched() {
    let mut case = Case::new();
    assert!(!case.plan.may_come_back(case.now));
    case.pass(240 * SECOND);
    assert!(case.plan.may_come_back(case.now));
    assert!(!case.plan.may_come_back(case.now));
}

#[test]
fn without_deltas_everything_is_fetched_at_each_poll() {
    let mut case = Case::with(EurekaConfig {
        delta: false,
        ..EurekaConfig::default()
    });
    case.full(0);
    for _ in 0..20 {
        case.wait();
        assert_eq!(case.ask(), Ask::Full(Why::NoDelta));
        assert!(!case.full(0), "it was wanted so");
    }
}

#[test]
fn what_took_long_is_not_asked_for_again_at_once() {
    let mut case = Case::new();
    case.full(0);
    let poll = Poll {
        sent: case.now.instant,
        answered: case.now.instant + 100 * SECOND,
    };
    case.plan.delta_fetched(0, poll, case.now, 3);
    assert!(
        case.plan.wake() > poll.answered,
        "an answer that took long is not asked for again at once"
    );
}

#[test]
fn what_was_announced_is_heard_before_everything_is_fetched_where_nothing_was_missed() {
    let mut case = Case::new();
    let before = |case: &Case, base: usize| {
        let ask = case.plan.ask(base, case.now);
        case.plan.has_delta_before(ask, base, case.now)
    };
    assert!(!before(&case, 0), "nothing is held yet");
    case.full(0);
    assert!(!before(&case, 0), "it is a delta that is asked for");
    case.plan.wished(false, case.now);
    assert!(before(&case, 0));
    assert!(
        !before(&case, 1),
        "the other server knows nothing of what is held"
    );
    case.plan.wished(true, case.now);
    assert!(!before(&case, 0), "another server is to say");
    case.full(0);
    case.plan.wished(false, case.now);
    case.pass(91 * SECOND);
    assert!(!before(&case, 0), "after a gap it may lack what was announced");
    while case.ask() != Ask::Full(Why::Periodic) {
        case.full(0);
        for _ in 0..15 {
            case.pass(30 * SECOND);
            if case.ask() == Ask::Delta {
                case.delta(0);
            }
        }
        case.delta(0);
    }
    assert!(before(&case, 0));
}
