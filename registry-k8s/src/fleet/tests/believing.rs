//! What a roll believes of what it is told, and when.

use std::collections::BTreeSet;

use tokio::time::Instant;

use super::super::roll::{HOLD, Verdict};
use super::*;

const MOMENT: Duration = Duration::from_millis(200);

/// A roll with a clock that the test moves.
struct Table {
    roll: Roll,
    now: Instant,
    nobody: BTreeSet<Str>,
}

impl Table {
    fn new(grace: Duration) -> Self {
        let build = builder(
            &KubernetesConfig::default(),
            Some("/clusters".into()),
            Make::services(),
        );
        Self {
            roll: Roll::new(grace, build),
            now: Instant::now(),
            nobody: BTreeSet::new(),
        }
    }

    fn look(&mut self, found: &[(&str, &str)]) -> Verdict {
        let candidates: Vec<Candidate> = found.iter().map(|(name, text)| candidate(name, text)).collect();
        self.roll.take_in(&candidates, &self.nobody, self.now)
    }

    fn later(&mut self, by: Duration) -> &mut Self {
        self.now += by;
        self
    }

    fn names(&self) -> Vec<String> {
        let members = self.roll.members().into_iter();
        members.map(|member| member.name).collect()
    }
}

/// `?` stands for a file that cannot be read.
fn candidate(name: &str, text: &str) -> Candidate {
    let place = format!("/clusters/{name}.yaml");
    let unread = || {
        Arc::new(RegistryError::new(
            ErrorKind::Configuration,
            format!("{place}: permission denied"),
        ))
    };
    Candidate {
        name: name.into(),
        found: match text {
            "?" => Err(unread()),
            text => Ok(Kubeconfig::from_bytes(text.into()).unwrap()),
        },
        place,
        clash: None,
    }
}

fn problem(verdict: &Verdict, name: &str) -> String {
    verdict
        .problems
        .get(name)
        .map(|error| error.report())
        .unwrap_or_default()
}

#[tokio::test]
async fn the_first_list_is_believed_at_once_and_what_comes_later_when_it_has_rested() {
    let mut table = Table::new(MOMENT);
    let (a, b) = (kubeconfig("a"), kubeconfig("b"));
    assert!(table.look(&[("a", &a)]).changed);
    assert_eq!(table.names(), ["a"]);

    let verdict = table.later(MOMENT).look(&[("a", &a), ("b", &b)]);
    assert!(!verdict.changed);
    assert_eq!(verdict.due, Some(table.now + MOMENT));
    assert!(table.later(MOMENT).look(&[("a", &a), ("b", &b)]).changed);
    assert_eq!(table.names(), ["a", "b"]);
    let verdict = table.later(MOMENT).look(&[("a", &a), ("b", &b)]);
    assert!(!verdict.changed && verdict.due.is_none());
}

#[tokio::test]
async fn an_empty_first_list_is_a_change() {
    let mut table = Table::new(MOMENT);
    assert!(table.look(&[]).changed);
    assert!(!table.later(MOMENT).look(&[]).changed);
}

#[tokio::test]
async fn an_unchanged_kubeconfig_keeps_its_registry_and_a_changed_one_gets_another() {
    let mut table = Table::new(Duration::ZERO);
    let (a, b) = (kubeconfig("a"), kubeconfig("b"));
    table.look(&[("a", &a), ("b", &b)]);
    let before = table.roll.members();
    let other = kubeconfig("elsewhere");
    assert!(table.later(MOMENT).look(&[("a", &a), ("b", &other)]).changed);
    let after = table.roll.members();
    assert!(Arc::ptr_eq(&before[0].registry, &after[0].registry));
    assert_eq!(before[0].fingerprint, after[0].fingerprint);
    assert!(!Arc::ptr_eq(&before[1].registry, &after[1].registry));
    assert_ne!(before[1].fingerprint, after[1].fingerprint);
}

#[tokio::test]
async fn a_fingerprint_covers_name_kubeconfig_and_settings_and_nothing_else() {
    let fingerprint = |config: &KubernetesConfig, base: &str, name: &str, text: &str| {
        let candidate = candidate(name, text);
        let kubeconfig = candidate.found.clone().unwrap();
        member(
            config,
            &Make::services(),
            Some(&base.into()),
            &candidate,
            &kubeconfig,
        )
        .unwrap()
        .fingerprint
    };
    let config = KubernetesConfig::default();
    let other = KubernetesConfig {
        network: "other".to_owned(),
        ..config.clone()
    };
    let (a, b) = (kubeconfig("a"), kubeconfig("b"));
    let first = fingerprint(&config, "/clusters", "a", &a);
    assert_eq!(first, fingerprint(&config, "/clusters", "a", &a));
    for different in [
        fingerprint(&config, "/clusters", "b", &a),
        fingerprint(&config, "/clusters", "a", &b),
        fingerprint(&other, "/clusters", "a", &a),
        fingerprint(&config, "/elsewhere", "a", &a),
    ] {
        assert_ne!(first, different);
    }
}

#[tokio::test]
async fn what_cannot_be_read_or_used_keeps_its_last_good_kubeconfig() {
    let mut table = Table::new(MOMENT);
    let a = kubeconfig("a");
    table.look(&[("a", &a)]);
    let before = table.roll.members();

    let verdict = table.later(MOMENT).look(&[("a", "?")]);
    assert_eq!(problem(&verdict, "a"), "/clusters/a.yaml: permission denied");
    assert!(!verdict.changed);
    table.later(MOMENT).look(&[("a", "half: [")]);
    let verdict = table.later(MOMENT).look(&[("a", "half: [")]);
    assert!(
        problem(&verdict, "a").starts_with("/clusters/a.yaml: found something else at line 1"),
        "{verdict:?}"
    );
    assert!(!verdict.changed);

    table.later(MOMENT).look(&[("a", &a)]);
    let verdict = table.later(MOMENT).look(&[("a", &a)]);
    assert!(!verdict.changed && verdict.problems.is_empty(), "{verdict:?}");
    assert!(Arc::ptr_eq(
        &before[0].registry,
        &table.roll.members()[0].registry
    ));
}

#[tokio::test]
async fn what_was_never_good_is_a_problem_and_no_member() {
    let mut table = Table::new(MOMENT);
    let verdict = table.look(&[("a", "no kubeconfig at all")]);
    assert!(verdict.changed && verdict.problems.len() == 1);
    assert_eq!(table.names(), [""; 0]);
    table.later(MOMENT).look(&[]);
    assert!(table.later(MOMENT).look(&[]).problems.is_empty());
}

#[tokio::test]
async fn a_member_goes_when_it_is_missing_at_two_looks() {
    let mut table = Table::new(MOMENT);
    let (a, b) = (kubeconfig("a"), kubeconfig("b"));
    table.look(&[("a", &a), ("b", &b)]);

    // Replaced in two steps: away for one look.
    let verdict = table.later(MOMENT).look(&[("a", &a)]);
    assert_eq!(verdict.due, Some(table.now + MOMENT));
    assert!(!table.later(MOMENT).look(&[("a", &a), ("b", &b)]).changed);
    assert!(!table.later(MOMENT).look(&[("a", &a)]).changed);
    assert!(!table.later(MOMENT / 2).look(&[("a", &a)]).changed);
    assert!(table.later(MOMENT / 2).look(&[("a", &a)]).changed);
    assert_eq!(table.names(), ["a"]);
}

#[tokio::test]
async fn members_that_are_missing_all_at_once_stay_until_that_was_so_for_a_while() {
    let mut table = Table::new(MOMENT);
    let (a, b) = (kubeconfig("a"), kubeconfig("b"));
    table.look(&[("a", &a), ("b", &b)]);
    let verdict = table.later(MOMENT).look(&[]);
    let held = verdict.held.expect("it is doubted").report();
    assert_eq!(
        held,
        "2 of 2 clusters are missing at once; they are kept until that is so for 30s"
    );
    assert_eq!(verdict.due, Some(table.now + HOLD));

    // Some of them are back: what is still missing is believed again.
    let verdict = table.later(MOMENT).look(&[("a", &a)]);
    assert!(verdict.held.is_none() && verdict.changed);
    assert_eq!(table.names(), ["a"]);

    table.later(MOMENT).look(&[]);
    let verdict = table.later(HOLD - MOMENT).look(&[]);
    assert!(verdict.held.is_some() && !verdict.changed);
    let verdict = table.later(MOMENT).look(&[]);
    assert!(verdict.held.is_none() && verdict.changed);
    assert_eq!(table.names(), [""; 0]);
}

#[tokio::test]
async fn what_was_announced_goes_at_once_however_many_they_are() {
    let mut table = Table::new(Duration::ZERO);
    let (a, b) = (kubeconfig("a"), kubeconfig("b"));
    table.look(&[("a", &a), ("b", &b)]);
    table.nobody = BTreeSet::from(["a".into(), "b".into()]);
    let verdict = table.look(&[]);
    assert!(verdict.changed && verdict.held.is_none() && verdict.due.is_none());
    assert_eq!(table.names(), [""; 0]);
}

#[tokio::test]
async fn a_file_that_never_rests_is_a_problem() {
    let mut table = Table::new(MOMENT);
    let a = kubeconfig("a");
    table.look(&[("a", &a)]);
    let mut last = None;
    for i in 0..60 {
        let text = format!("{a}# {i}\n");
        last = Some(table.later(MOMENT).look(&[("a", &text)]));
    }
    let said = problem(&last.unwrap(), "a");
    assert_eq!(said, "/clusters/a.yaml: found another content at each look");
    assert_eq!(table.names(), ["a"]);
}
