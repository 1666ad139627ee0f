//! The grid against servers of a virtual time: whatever they do, what is seen must be seen soon, with few polls.

use std::ops::Range;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use tokio::time::Instant;

use super::span::Micros;
use super::{Grid, Poll};

const MILLI: Micros = 1_000;
const SECOND: Micros = 1_000 * MILLI;
const MINUTE: Micros = 60 * SECOND;
const HOUR: Micros = 60 * MINUTE;
const PERIOD: Micros = 30 * SECOND;

/// By SplitMix64: tests have to repeat.
struct Dice(u64);

impl Dice {
    fn draw(&mut self, range: Range<Micros>) -> Micros {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let span = u64::try_from(range.end - range.start).expect("a range");
        range.start + Micros::try_from((z ^ (z >> 31)) % span).expect("small")
    }
}

/// A server, and what happens to it in one run.
#[derive(Debug, Clone)]
struct Scene {
    seed: u64,
    /// The server's; the grid is told `PERIOD`. None: every change is visible at once.
    period: Option<Micros>,
    /// Where its first line is.
    phase: Micros,
    /// How much later than a period after the one before each line is.
    drift: Micros,
    /// How long after a line our copy is renewed, each time anew: there are others.
    uneven: Range<Micros>,
    /// The first line after this moment is late by so much.
    pause: Option<(Micros, Micros)>,
    /// What the server's clock says at the start; it is shown cut to seconds.
    clock: Option<Micros>,
    /// How far apart changes are.
    quiet: Range<Micros>,
    /// How long each way takes.
    delay: Range<Micros>,
    interval: Micros,
    length: Micros,
}

impl Default for Scene {
    fn default() -> Self {
        Self {
            seed: 1,
            period: Some(PERIOD),
            phase: 7 * SECOND,
            drift: 200,
            uneven: 0..1,
            pause: None,
            clock: None,
            quiet: 20 * SECOND..100 * SECOND,
            delay: MILLI..100 * MILLI,
            interval: PERIOD,
            length: 2 * HOUR,
        }
    }
}

/// A moment at which something became visible.
#[derive(Debug, Clone, Copy)]
struct Sight {
    visible: Micros,
    /// When the first answer that has it was there.
    seen: Micros,
}

impl Sight {
    fn delay(self) -> Micros {
        self.seen - self.visible
    }
}

#[derive(Debug)]
struct Run {
    sights: Vec<Sight>,
    /// When they were sent.
    polls: Vec<Micros>,
    /// Whether the line was known, after each poll.
    learnt: Vec<(Micros, Option<Duration>)>,
}

impl Scene {
    /// When something becomes visible, in order.
    fn visible(&self, dice: &mut Dice) -> Vec<Micros> {
        let mut changes = Vec::new();
        let mut at = dice.draw(self.quiet.clone());
        while at < self.length {
            changes.push(at);
            at += dice.draw(self.quiet.clone());
        }
        let Some(period) = self.period else {
            return changes;
        };
        let mut lines = Vec::new();
        let mut line = self.phase;
        let mut pause = self.pause;
        while line < self.length {
            if let Some((_, late)) = pause.take_if(|(from, _)| *from <= line) {
                line += late;
            }
            lines.push(line + dice.draw(self.uneven.clone()));
            line += period + self.drift;
        }
        let mut changes = changes.into_iter().peekable();
        lines.retain(|line| {
            let mut any = false;
            while changes.next_if(|change| change < line).is_some() {
                any = true;
            }
            any
        });
        lines
    }

    fn run(&self) -> Run {
        self.run_with(Grid::learning(duration(PERIOD)).seeded(self.seed))
    }

    fn run_with(&self, mut grid: Grid) -> Run {
        let origin = Instant::now();
        let mut dice = Dice(self.seed);
        let visible = self.visible(&mut dice);
        let mut run = Run {
            sights: Vec::new(),
            polls: Vec::new(),
            learnt: Vec::new(),
        };
        let mut held = 0;
        let mut before: Option<Poll> = None;
        let mut sent = dice.draw(0..PERIOD);
        while sent < self.length {
            let asked = sent + dice.draw(self.delay.clone());
            let answered = asked + dice.draw(self.delay.clone());
            let shown = visible.partition_point(|line| *line <= asked);
            run.polls.push(sent);
            let changed = shown > held;
            for visible in &visible[held..shown] {
                if before.is_some() {
                    run.sights.push(Sight {
                        visible: *visible,
                        seen: answered,
                    });
                }
            }
            held = shown;
            let poll = Poll {
                sent: origin + duration(sent),
                answered: origin + duration(answered),
            };
            if let Some(clock) = self.clock {
                let second = (clock + asked).div_euclid(SECOND) * SECOND;
                grid.hint(poll.answered, UNIX_EPOCH + duration(second));
            }
            if let Some(before) = before {
                grid.observe(before, poll, changed);
            }
            before = Some(poll);
            let next = grid.next_poll(poll.sent, duration(self.interval));
            run.learnt.push((sent, grid.learnt()));
            let next = Micros::try_from(next.duration_since(origin).as_micros()).expect("short");
            assert!(next >= sent + 200 * MILLI, "polls at {sent} and {next}");
            let longest = if self.interval < PERIOD {
                self.interval
            } else {
                self.interval.max(PERIOD) + SECOND
            } + 2 * self.delay.end;
            assert!(next <= sent + longest, "no poll from {sent} to {next}");
            sent = next.max(answered);
        }
        run
    }
}

impl Run {
    fn worst(&self, range: impl std::ops::RangeBounds<Micros>) -> Micros {
        let delays = self.sights.iter().filter(|sight| range.contains(&sight.visible));
        delays
            .map(|sight| sight.delay())
            .max()
            .expect("something was seen in that time")
    }

    /// After how many changes that were seen no later one was late.
    fn changes_to_learn(&self) -> usize {
        let late = self.sights.iter().rposition(|sight| sight.delay() > SECOND);
        late.map_or(0, |late| late + 1)
    }

    fn polls_in(&self, range: Range<Micros>) -> usize {
        self.polls.iter().filter(|sent| range.contains(sent)).count()
    }
}

fn duration(micros: Micros) -> Duration {
    Duration::from_micros(u64::try_from(micros).expect("not negative"))
}

/// Any line, and a server's clock that was right when it started, or that says nothing of its lines any more.
fn scenes() -> impl Strategy<Value = Scene> {
    let clock = prop_oneof![Just(None), Just(Some(0)), (0..PERIOD).prop_map(Some)];
    (any::<u64>(), 0..PERIOD, clock, -200..=MILLI).prop_map(|(seed, phase, behind, drift)| Scene {
        seed,
        phase,
        clock: behind.map(|behind| PERIOD - phase + behind),
        drift,
        ..Scene::default()
    })
}

/// The same scenes in each run, drawn as [`scenes`] draws them: how fast is learnt is a matter of luck, so what is asserted
/// of it is a share of many.
fn drawn(count: u64) -> impl Iterator<Item = Scene> {
    let mut dice = Dice(count);
    (0..count).map(move |seed| {
        let phase = dice.draw(0..PERIOD);
        let behind = match dice.draw(0..3) {
            0 => None,
            1 => Some(0),
            _ => Some(dice.draw(0..PERIOD)),
        };
        Scene {
            seed,
            phase,
            clock: behind.map(|behind| PERIOD - phase + behind),
            drift: dice.draw(-200..MILLI + 1),
            ..Scene::default()
        }
    })
}

/// How many changes each of these runs needed, in order.
fn changes_to_learn(runs: impl Iterator<Item = Run>) -> Vec<usize> {
    let mut needed: Vec<usize> = runs.map(|run| run.changes_to_learn()).collect();
    needed.sort_unstable();
    needed
}

#[test]
fn after_a_few_changes_no_later_one_is_seen_more_than_a_second_late() {
    let runs = drawn(1000).map(|scene| scene.run());
    let needed = changes_to_learn(runs.inspect(|run| assert!(run.sights.len() > 60)));
    // A server whose clock leads astray, and a first poll right behind its line: that takes longer to believe.
    assert!(needed[989] <= 8 && needed[999] <= 30, "{:?}", &needed[950..]);
}

#[test]
fn a_line_that_moves_all_day_is_kept_in_sight() {
    let all_day = |scene| Scene {
        drift: MILLI,
        length: 24 * HOUR,
        ..scene
    };
    let runs = drawn(100).map(|scene| all_day(scene).run());
    let known = |run: &Run| assert!(run.learnt.iter().any(|(_, learnt)| learnt.is_some()));
    let needed = changes_to_learn(runs.inspect(known));
    assert!(needed[97] <= 8 && needed[99] <= 30, "{:?}", &needed[90..]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_line_that_jumps_is_found_again(scene in scenes(), late in 300 * MILLI..29 * SECOND) {
        let scene = Scene { pause: Some((2 * HOUR, late)), length: 6 * HOUR, ..scene };
        let run = scene.run();
        prop_assert!(run.worst(HOUR..2 * HOUR) <= SECOND);
        prop_assert!(run.worst(..) <= PERIOD + SECOND);
        prop_assert!(run.worst(3 * HOUR..) <= SECOND, "{late} late: {}", run.worst(3 * HOUR..));
    }

    #[test]
    fn whatever_the_server_does_a_change_is_seen_within_an_interval(
        scene in scenes(),
        period in prop_oneof![Just(None), (100 * MILLI..29 * SECOND).prop_map(Some)],
        interval in prop_oneof![Just(PERIOD), SECOND..PERIOD],
    ) {
        let run = Scene { period, interval, length: 6 * HOUR, ..scene.clone() }.run();
        prop_assert!(run.worst(..) <= interval + SECOND, "{}", run.worst(..));
        let usual = usize::try_from(scene.length * 3 / interval).expect("not negative");
        let more = usize::try_from(scene.length * 3 / PERIOD).expect("not negative");
        prop_assert!(run.polls.len() <= usual + more, "{} polls", run.polls.len());
    }
}

#[test]
fn the_first_change_confirms_a_grid_that_is_where_the_servers_clock_says() {
    for seed in 0..20 {
        let phase = Dice(seed).draw(0..PERIOD);
        let scene = Scene {
            seed,
            phase,
            drift: 0,
            clock: Some(PERIOD - phase),
            ..Scene::default()
        };
        let run = scene.run();
        assert!(
            run.worst(5 * MINUTE..) <= 3 * SECOND,
            "seed {seed}: {:?}",
            run.sights
        );
        assert!(run.changes_to_learn() <= 4, "seed {seed}: {:?}", run.sights);
    }
}

#[test]
fn bursts_of_changes_and_single_ones_teach_as_much() {
    for quiet in [MILLI..10 * SECOND, 10 * MINUTE..20 * MINUTE] {
        let run = Scene {
            quiet,
            drift: MILLI,
            length: 12 * HOUR,
            ..Scene::default()
        }
        .run();
        // Many changes may become visible at one line.
        let lines: std::collections::BTreeSet<Micros> = run
            .sights
            .iter()
            .take(run.changes_to_learn())
            .map(|sight| sight.visible)
            .collect();
        assert!(lines.len() <= 9, "{lines:?}");
    }
}

#[test]
fn a_line_that_is_known_costs_a_sixth_more_polls() {
    let run = Scene {
        length: 24 * HOUR,
        drift: MILLI,
        ..Scene::default()
    }
    .run();
    let polls = run.polls_in(HOUR..24 * HOUR);
    let lines = 23 * 120;
    assert!((lines..lines * 7 / 6).contains(&polls), "{polls} polls");
    let unknown = run
        .learnt
        .iter()
        .filter(|(at, learnt)| *at > HOUR && learnt.is_none())
        .count();
    assert!(unknown < polls / 10, "not known after {unknown} of {polls} polls");
}

#[test]
fn a_registry_in_which_nothing_happens_is_asked_seldom() {
    let run = Scene {
        quiet: 47 * HOUR..48 * HOUR,
        length: 47 * HOUR,
        clock: Some(0),
        ..Scene::default()
    }
    .run();
    assert!(run.sights.is_empty());
    let first = run.polls_in(0..HOUR);
    assert!(first <= 3 * 120 + 3, "{first} polls in the first hour");
    let later = run.polls_in(HOUR..47 * HOUR);
    assert!(later <= 46 * 120 * 8 / 5, "{later} polls in 46 hours");
}

#[test]
fn a_server_without_a_cache_is_not_asked_more_for_ever() {
    for (period, quiet) in [
        (None, 20 * SECOND..100 * SECOND),
        (None, SECOND..2 * SECOND),
        (Some(10 * SECOND), 20 * SECOND..100 * SECOND),
        (Some(45 * SECOND), 20 * SECOND..100 * SECOND),
    ] {
        let run = Scene {
            period,
            quiet,
            length: 24 * HOUR,
            ..Scene::default()
        }
        .run();
        let polls = run.polls_in(HOUR..24 * HOUR);
        assert!(polls <= 23 * 120 * 5 / 4, "{period:?}: {polls} polls");
    }
}

#[test]
fn a_server_that_takes_its_time_to_renew_its_copies_is_asked_when_it_has() {
    for seed in 0..10 {
        let scene = Scene {
            seed,
            uneven: 0..300 * MILLI,
            drift: MILLI,
            length: 24 * HOUR,
            ..Scene::default()
        };
        let run = scene.run();
        let late = run.sights.iter().filter(|sight| sight.delay() > SECOND).count();
        assert!(late * 25 <= run.sights.len(), "{late} of {}", run.sights.len());
        let polls = run.polls_in(HOUR..24 * HOUR);
        assert!(polls <= 23 * 120 * 4 / 3, "{polls} polls");
    }
}

#[test]
fn twice_the_period_is_as_good() {
    let run = Scene {
        period: Some(2 * PERIOD),
        length: 6 * HOUR,
        ..Scene::default()
    }
    .run();
    assert!(run.changes_to_learn() <= 9, "{}", run.changes_to_learn());
}

#[test]
fn polls_closer_than_the_period_have_one_right_after_each_line() {
    for seed in 0..10 {
        let phase = Dice(seed).draw(0..PERIOD);
        let scene = Scene {
            seed,
            phase,
            interval: 5 * SECOND,
            drift: MILLI,
            length: 12 * HOUR,
            ..Scene::default()
        };
        let run = scene.run();
        assert!(run.worst(..HOUR) <= 6 * SECOND);
        assert!(run.changes_to_learn() <= 5, "{}", run.changes_to_learn());
        let polls = run.polls_in(0..scene.length);
        assert!(polls <= 12 * 720 * 21 / 20, "{polls} polls");
    }
}

#[test]
fn polls_further_apart_than_the_period_are_right_after_a_line() {
    for seed in 0..10 {
        let phase = Dice(seed).draw(0..PERIOD);
        // Nine lines, and a part of the tenth that changes nothing.
        let interval = 9 * PERIOD + 10 * SECOND;
        let scene = Scene {
            seed,
            phase,
            drift: 0,
            interval,
            length: 24 * HOUR,
            ..Scene::default()
        };
        let run = scene.run();
        let polls: Vec<Micros> = run
            .polls
            .iter()
            .copied()
            .filter(|sent| *sent > 18 * HOUR)
            .collect();
        assert!(polls.len() <= 6 * 120 / 9 * 2, "{} polls", polls.len());
        for sent in polls {
            let after = (sent - phase).rem_euclid(PERIOD);
            assert!(
                !(SECOND..=PERIOD - SECOND).contains(&after),
                "seed {seed}: {after} after a line"
            );
        }
    }
}

#[test]
fn a_slow_network_is_allowed_for() {
    let scene = Scene {
        delay: 100 * MILLI..800 * MILLI,
        drift: MILLI,
        length: 12 * HOUR,
        ..Scene::default()
    };
    let run = scene.run();
    assert!(run.worst(HOUR..) <= 6 * SECOND, "{}", run.worst(HOUR..));
    assert!(run.polls_in(HOUR..12 * HOUR) <= 11 * 120 * 3);
}

#[test]
fn the_same_seed_polls_at_the_same_moments() {
    assert_eq!(Scene::default().run().polls, Scene::default().run().polls);
    assert_ne!(
        Scene::default().run().polls,
        Scene {
            seed: 2,
            ..Scene::default()
        }
        .run()
        .polls
    );
}

#[test]
fn configured_lines_need_no_change_and_follow_this_machines_clock() {
    let now = Instant::now();
    let wall = |micros: Micros| UNIX_EPOCH + duration(100_000 * PERIOD + micros);
    let mut grid = Grid::fixed(duration(PERIOD), duration(4 * SECOND), now, wall(0)).seeded(1);
    assert_eq!(grid.learnt(), Some(Duration::ZERO));
    let mut at = now;
    for line in 0..100 {
        let next = grid.next_poll(at, duration(PERIOD)).duration_since(now);
        let late = Micros::try_from(next.as_micros()).expect("short") - (4 * SECOND + line * PERIOD);
        assert!(
            (200 * MILLI..500 * MILLI).contains(&late),
            "{late} after line {line}"
        );
        at = now + next;
        // Clocks of this world are never quite still.
        grid.clock(
            at,
            wall(Micros::try_from(next.as_micros()).expect("short") + line % 5 * 100 - 200),
        );
    }
    // It is set back by ten seconds: the line that was just polled is passed again.
    let before = Micros::try_from(at.duration_since(now).as_micros()).expect("short");
    grid.clock(at, wall(before - 10 * SECOND));
    let next = grid.next_poll(at, duration(PERIOD)).duration_since(at);
    assert!(
        next > duration(9 * SECOND) && next < duration(11 * SECOND),
        "{next:?}"
    );
    // Every fourth line only.
    let mut polls = vec![at];
    for _ in 0..5 {
        polls.push(grid.next_poll(*polls.last().expect("one"), duration(4 * PERIOD + 5 * SECOND)));
    }
    for pair in polls.windows(2).skip(1) {
        let apart = pair[1].duration_since(pair[0]);
        assert!(
            apart > duration(4 * PERIOD - SECOND) && apart < duration(4 * PERIOD + SECOND),
            "{apart:?}"
        );
    }
}

#[test]
fn a_period_too_short_to_matter_leaves_polls_an_interval_apart() {
    let now = Instant::now();
    for mut grid in [
        Grid::learning(duration(500 * MILLI)),
        Grid::learning(Duration::ZERO),
        Grid::fixed(Duration::ZERO, duration(SECOND), now, UNIX_EPOCH),
    ] {
        grid.hint(now, UNIX_EPOCH);
        let poll = Poll {
            sent: now,
            answered: now,
        };
        grid.observe(poll, poll, true);
        assert_eq!(grid.next_poll(now, duration(PERIOD)), now + duration(PERIOD));
        assert_eq!(grid.learnt(), None);
    }
}

#[test]
fn absurd_times_overflow_nowhere() {
    let now = Instant::now();
    let wall = UNIX_EPOCH + duration(PERIOD * 1_000_000);
    let long = Duration::from_secs(400 * 365 * 86_400);
    for period in [duration(PERIOD), Duration::MAX] {
        for mut grid in [
            Grid::learning(period),
            Grid::fixed(period, Duration::MAX, now, wall),
        ] {
            for interval in [Duration::ZERO, long] {
                grid.clock(now, wall);
                grid.hint(now, UNIX_EPOCH + long);
                let later = Poll {
                    sent: now + duration(MINUTE),
                    answered: now + long,
                };
                grid.observe(
                    Poll {
                        sent: now,
                        answered: now,
                    },
                    later,
                    true,
                );
                grid.observe(later, later, true);
                assert!(grid.next_poll(now, interval) >= now);
                assert!(grid.next_poll(now + long, interval) >= now + long);
            }
        }
    }
}
