//! How the suite runs.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Rule, Trouble};

/// The rules that are judged by trouble alone.
const SURVIVAL: [Rule; 8] = [
    Rule::DoesNotStartEmpty,
    Rule::FailureIsNotEmpty,
    Rule::TellsOfTrouble,
    Rule::ConfirmsOnlyWhatItSaw,
    Rule::RecoversWithoutRestart,
    Rule::ProbeTellsTheTruth,
    Rule::ErrorsNameWhatWentWrong,
    Rule::NeverPanics,
];

/// Which rules are judged, and how long is waited.
///
/// ```
/// use std::time::Duration;
/// use registry_testkit::conformance::{Options, Rule};
///
/// let mut options = Options::without(&[Rule::SurvivesAServerThatForgot]);
/// options.patience = Duration::from_secs(60);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// How long anything may take that is not bounded by the freshness bound, which is added. Only what fails waits for
    /// it, so let it be generous where time is real.
    pub patience: Duration,
    /// How much later than its freshness bound a word may come on a busy machine.
    pub slack: Duration,
    /// How long the registry is left alone between two steps, so that each is met by a backend at rest.
    pub pause: Duration,
    /// The rules that are judged; what they presuppose is reported where it fails.
    pub rules: BTreeSet<Rule>,
    /// The shapes of trouble that are tried, each at the start and later.
    pub troubles: Vec<Trouble>,
}

impl Default for Options {
    /// All rules and all trouble, 30 s of patience, 10 s of slack and pauses of 0.3 s.
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(30),
            slack: Duration::from_secs(10),
            pause: Duration::from_millis(300),
            rules: Rule::ALL.iter().copied().collect(),
            troubles: Trouble::ALL.to_vec(),
        }
    }
}

impl Options {
    /// These rules alone, for a look at one of them.
    #[must_use]
    pub fn only(rules: &[Rule]) -> Self {
        Self {
            rules: rules.iter().copied().collect(),
            ..Self::default()
        }
    }

    /// All rules but these.
    #[must_use]
    pub fn without(rules: &[Rule]) -> Self {
        let mut options = Self::default();
        options.rules.retain(|rule| !rules.contains(rule));
        options
    }

    /// All rules that need no trouble, and none of it. With [`amid`](Self::amid) each of `Trouble::ALL` it is the whole
    /// suite, in parts that may run at the same time: trouble takes time.
    #[must_use]
    pub fn calm() -> Self {
        Self {
            troubles: Vec::new(),
            ..Self::without(&SURVIVAL)
        }
    }

    /// The rules that are judged by trouble alone, in these shapes of it.
    #[must_use]
    pub fn amid(troubles: &[Trouble]) -> Self {
        Self {
            troubles: troubles.to_vec(),
            ..Self::only(&SURVIVAL)
        }
    }
}
