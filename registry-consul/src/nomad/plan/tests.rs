use super::*;
use crate::nomad::answer::id;

fn plan(names: &[&str]) -> Plan {
    let mut plan = Plan::default();
    for name in names {
        plan.keep(&id("default", name));
    }
    plan
}

/// The names that are begun with that haste, answered at that index.
fn read(plan: &mut Plan, haste: Haste, index: u64) -> Vec<String> {
    let mut names = Vec::new();
    while let Some(reading) = plan.begin(haste) {
        assert_eq!(plan.answered(&reading, index), Verdict::Taken);
        names.push(reading.service.name().to_string());
    }
    names.sort();
    names
}

#[test]
fn nothing_is_read_that_nobody_needs() {
    let mut plan = plan(&["api", "web"]);
    assert_eq!(plan.begin(Haste::Now), None);
    assert_eq!(plan.begin(Haste::Turn), None);
    assert!(!plan.has_haste() && !plan.has_turns());
}

#[test]
fn an_event_makes_its_service_due_and_no_other() {
    let mut plan = plan(&["api", "web"]);
    plan.need(&id("default", "web"), 7, Haste::Now);
    assert_eq!(plan.begin(Haste::Turn), None);
    assert_eq!(read(&mut plan, Haste::Now, 7), ["web"]);
    assert_eq!(plan.seen(&id("default", "web")), 7);
    plan.need(&id("default", "web"), 6, Haste::Now);
    assert_eq!(
        plan.begin(Haste::Now),
        None,
        "an answer at 7 holds what happened at 6"
    );
    plan.need(&id("default", "gone"), 9, Haste::Now);
    assert_eq!(plan.begin(Haste::Now), None, "nobody keeps it");
}

#[test]
fn a_change_that_nobody_told_of_makes_all_due_that_have_not_seen_so_far() {
    let mut plan = plan(&["api", "db", "web"]);
    plan.need_all(5, Haste::Turn, |_| true);
    assert_eq!(read(&mut plan, Haste::Turn, 5), ["api", "db", "web"]);
    plan.need(&id("default", "web"), 9, Haste::Now);
    assert_eq!(read(&mut plan, Haste::Now, 9), ["web"]);
    plan.need_all(8, Haste::Turn, |service| service.name() != "db");
    assert_eq!(read(&mut plan, Haste::Turn, 8), ["api"], "web has seen 9");
}

#[test]
fn what_changed_for_certain_does_not_wait_for_its_turn() {
    let mut plan = plan(&["api", "web"]);
    plan.need_all(5, Haste::Turn, |_| true);
    plan.need(&id("default", "web"), 6, Haste::Now);
    assert_eq!(read(&mut plan, Haste::Now, 6), ["web"]);
    assert_eq!(read(&mut plan, Haste::Turn, 6), ["api"]);
    assert!(!plan.has_turns());
}

#[test]
fn an_answer_that_does_not_reach_what_was_needed_is_behind() {
    let mut plan = plan(&["web"]);
    let web = id("default", "web");
    plan.need(&web, 7, Haste::Now);
    let reading = plan.begin(Haste::Now).unwrap();
    assert_eq!(reading.needed, 7);
    assert_eq!(plan.answered(&reading, 6), Verdict::Behind);
    assert_eq!(plan.begin(Haste::Now), None, "who asks again says when");
    plan.want(&web, Haste::Now);
    assert_eq!(read(&mut plan, Haste::Now, 8), ["web"]);
    plan.want(&web, Haste::Now);
    let reading = plan.begin(Haste::Now).unwrap();
    assert_eq!(plan.answered(&reading, 7), Verdict::Behind, "8 was seen before");
    plan.settle(&web, 7);
    assert_eq!((plan.seen(&web), plan.begin(Haste::Now)), (7, None));
}

#[test]
fn one_service_is_read_once_at_a_time_and_again_for_what_happened_meanwhile() {
    let mut plan = plan(&["web"]);
    let web = id("default", "web");
    plan.need(&web, 7, Haste::Now);
    let reading = plan.begin(Haste::Now).unwrap();
    plan.need(&web, 9, Haste::Now);
    assert_eq!(plan.begin(Haste::Now), None);
    assert_eq!(plan.begin_comparison(|_| true), None);
    assert_eq!(plan.answered(&reading, 8), Verdict::Taken, "it was asked for 7");
    let reading = plan.begin(Haste::Now).unwrap();
    plan.want(&web, Haste::Now);
    assert_eq!(plan.answered(&reading, 9), Verdict::Taken);
    assert_eq!(
        read(&mut plan, Haste::Now, 9),
        ["web"],
        "wanted after it was begun"
    );
}

#[test]
fn what_failed_is_read_when_it_is_wanted_again() {
    let mut plan = plan(&["web"]);
    plan.need(&id("default", "web"), 7, Haste::Now);
    let reading = plan.begin(Haste::Now).unwrap();
    plan.failed(&reading);
    assert_eq!(plan.begin(Haste::Now), None);
    plan.need(&id("default", "web"), 7, Haste::Now);
    assert_eq!(read(&mut plan, Haste::Now, 7), ["web"]);
}

#[test]
fn the_comparison_goes_round_all_services() {
    let mut plan = plan(&["api", "db", "web"]);
    plan.forget(&id("default", "db"));
    let mut seen = Vec::new();
    for index in 1..=4 {
        let reading = plan.begin_comparison(|_| true).unwrap();
        assert_eq!(plan.answered(&reading, index), Verdict::Taken);
        seen.push(reading.service.name().to_string());
    }
    assert_eq!(seen, ["api", "web", "api", "web"]);
    let not_web = |service: &ServiceId| service.name() != "web";
    assert_eq!(
        plan.begin_comparison(not_web).unwrap().service,
        id("default", "api")
    );
    assert_eq!(plan.begin_comparison(not_web), None, "it is being read");
}

#[test]
fn services_that_come_and_go_leave_nothing_behind() {
    let mut plan = plan(&["web"]);
    for round in 0..1000 {
        let service = id("default", &format!("batch-{}", round % 10));
        plan.keep(&service);
        plan.forget(&service);
    }
    assert!(plan.ring.len() < 100, "{}", plan.ring.len());
    assert_eq!(
        plan.begin_comparison(|_| true).unwrap().service,
        id("default", "web")
    );
    assert_eq!(plan.begin_comparison(|_| true), None);
}

#[test]
fn in_another_history_smaller_indexes_count() {
    let mut plan = plan(&["web"]);
    let web = id("default", "web");
    plan.need(&web, 700, Haste::Now);
    assert_eq!(read(&mut plan, Haste::Now, 700), ["web"]);
    plan.reset();
    plan.need(&web, 3, Haste::Now);
    assert_eq!(read(&mut plan, Haste::Now, 3), ["web"]);
    assert_eq!(plan.seen(&web), 3);
}
