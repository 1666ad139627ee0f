//! What came of a check.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::Rule;

/// What became of one rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The registry keeps it.
    Passed,
    /// The registry breaks it: what was seen, at least one sentence.
    Failed(Vec<String>),
    /// It could not be judged, and why.
    Skipped(String),
}

/// One rule and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// The rule.
    pub rule: Rule,
    /// What became of it.
    pub outcome: Outcome,
}

/// What came of a check, rule by rule. Shown as a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    kind: String,
    entries: Vec<Entry>,
}

impl Report {
    /// The kind of registry that was checked.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// All rules that were to be judged, in their order.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// What became of a rule; `None` where it was not asked for.
    #[must_use]
    pub fn outcome(&self, rule: Rule) -> Option<&Outcome> {
        let entry = self.entries.iter().find(|entry| entry.rule == rule);
        entry.map(|entry| &entry.outcome)
    }

    /// The rules that were broken.
    #[must_use]
    pub fn failed(&self) -> Vec<Rule> {
        self.rules(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    /// The rules that could not be judged.
    #[must_use]
    pub fn skipped(&self) -> Vec<Rule> {
        self.rules(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    fn rules(&self, wanted: impl Fn(&Outcome) -> bool) -> Vec<Rule> {
        let entries = self.entries.iter().filter(|entry| wanted(&entry.outcome));
        entries.map(|entry| entry.rule).collect()
    }

    /// Demands that no rule was broken, and that none was skipped but those that this world is known not to be made for:
    /// a rule that is skipped in silence looks just like one that is kept.
    ///
    /// # Panics
    ///
    /// With the table, where it is not so, and where one of the rules named here was judged after all.
    #[track_caller]
    pub fn assert_passed_but(&self, skipped: &[Rule]) {
        let mut expected = skipped.to_vec();
        expected.sort_unstable();
        assert!(
            self.failed().is_empty() && self.skipped() == expected,
            "expected no failure, and only these to be skipped: {:?}\n{self}",
            expected.iter().map(|rule| rule.name()).collect::<Vec<_>>()
        );
    }

    /// Demands that every rule was judged and none was broken.
    ///
    /// # Panics
    ///
    /// With the table, where it is not so.
    #[track_caller]
    pub fn assert_passed(&self) {
        self.assert_passed_but(&[]);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, skipped) = (self.failed().len(), self.skipped().len());
        let passed = self.entries.len() - failed - skipped;
        writeln!(
            f,
            "conformance of `{}`: {passed} passed, {failed} failed, {skipped} skipped",
            self.kind
        )?;
        for Entry { rule, outcome } in &self.entries {
            match outcome {
                Outcome::Passed => writeln!(f, "  passed   {rule}")?,
                Outcome::Skipped(why) => writeln!(f, "  skipped  {rule}: {why}")?,
                Outcome::Failed(seen) => {
                    writeln!(f, "  FAILED   {rule}: {}", rule.contract())?;
                    for seen in seen {
                        writeln!(f, "           - {seen}")?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// Where scenarios write down what they saw.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// The kind of the registry, once there was one.
    pub(super) kind: &'static str,
    passed: BTreeSet<Rule>,
    failed: BTreeMap<Rule, Vec<String>>,
    skipped: BTreeMap<Rule, String>,
    presupposed: BTreeSet<Rule>,
}

impl Verdicts {
    /// The rule was kept, as far as one scenario can tell.
    pub(super) fn pass(&mut self, rule: Rule) {
        self.passed.insert(rule);
    }

    /// The rule was broken, whatever else is seen of it.
    pub(super) fn fail(&mut self, rule: Rule, seen: String) {
        let all = self.failed.entry(rule).or_default();
        // The same in every scenario is one thing to read.
        if all.len() < 8 && !all.contains(&seen) {
            all.push(seen);
        }
    }

    /// The rule could not be judged here; elsewhere it may be.
    pub(super) fn skip(&mut self, rule: Rule, why: &str) {
        self.skipped.entry(rule).or_insert_with(|| why.to_owned());
    }

    pub(super) fn has_failed(&self, rule: Rule) -> bool {
        self.failed.contains_key(&rule)
    }

    /// Others cannot be judged, as this one is broken: that is reported whether it was asked for or not.
    pub(super) fn presuppose(&mut self, rule: Rule) {
        self.presupposed.insert(rule);
    }

    pub(super) fn report(mut self, wanted: impl Fn(Rule) -> bool) -> Report {
        let mut entries = Vec::new();
        for rule in Rule::ALL.iter().copied() {
            if !wanted(rule) && !self.presupposed.contains(&rule) {
                continue;
            }
            let outcome = if let Some(seen) = self.failed.remove(&rule) {
                Outcome::Failed(seen)
            } else if self.passed.contains(&rule) {
                Outcome::Passed
            } else {
                let why = self.skipped.remove(&rule);
                Outcome::Skipped(why.unwrap_or_else(|| "it was not reached".to_owned()))
            };
            entries.push(Entry { rule, outcome });
        }
        Report {
            kind: self.kind.to_owned(),
            entries,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts() -> Verdicts {
        let mut verdicts = Verdicts {
            kind: "board",
            ..Verdicts::default()
        };
        verdicts.pass(Rule::CanBeEmpty);
        verdicts.pass(Rule::SeesChanges);
        verdicts.fail(Rule::SeesChanges, "not seen".to_owned());
        verdicts.fail(Rule::SeesChanges, "not seen".to_owned());
        verdicts.fail(Rule::SeesHealth, "not asked for".to_owned());
        verdicts.skip(Rule::SeesRemovals, "it presupposes sees_changes");
        verdicts
    }

    fn wanted(rule: Rule) -> bool {
        [Rule::CanBeEmpty, Rule::SeesRemovals, Rule::PacesItself].contains(&rule)
    }

    #[test]
    fn it_shows_what_was_asked_for_and_what_that_presupposes() {
        let mut verdicts = verdicts();
        verdicts.presuppose(Rule::SeesChanges);
        let report = verdicts.report(wanted);
        let shown = report.to_string();
        let expected = [
            "conformance of `board`: 1 passed, 1 failed, 2 skipped",
            "  passed   can_be_empty",
            "  FAILED   sees_changes: An instance that is added, moves to another port or goes is told.",
            "           - not seen",
            "  skipped  sees_removals: it presupposes sees_changes",
            "  skipped  paces_itself: it was not reached",
        ];
        assert_eq!(shown.lines().collect::<Vec<_>>(), expected);
        assert_eq!(report.failed(), [Rule::SeesChanges]);
    }

    #[test]
    fn a_rule_that_is_skipped_has_to_be_named() {
        let report = verdicts().report(wanted);
        report.assert_passed_but(&[Rule::PacesItself, Rule::SeesRemovals]);
        let all = std::panic::catch_unwind(|| report.assert_passed());
        assert!(all.is_err());
        let judged = std::panic::catch_unwind(|| {
            report.assert_passed_but(&[Rule::CanBeEmpty, Rule::PacesItself, Rule::SeesRemovals]);
        });
        assert!(judged.is_err(), "one that was named was judged after all");
    }
}
