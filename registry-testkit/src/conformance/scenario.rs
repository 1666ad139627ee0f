//! What is done to a registry, each time in a world of its own.

mod calm;
mod changes;
mod life;
mod resync;
mod trouble;

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;

use super::case::Case;
use super::report::Verdicts;
use super::watching::{Stop, text};
use super::world::{Trouble, WorldError};
use super::{Options, Rule, Subject};

/// One story, and the rules that it judges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scenario {
    Introduction,
    Empty,
    Changes,
    Burst,
    Identity,
    Idle,
    Waker,
    Resync,
    Life,
    Restart,
    Outage(Trouble),
    StartInTrouble(Trouble),
}

impl Scenario {
    pub(super) fn all(troubles: &[Trouble]) -> Vec<Self> {
        let mut all = vec![
            Self::Introduction,
            Self::Empty,
            Self::Changes,
            Self::Burst,
            Self::Identity,
            Self::Idle,
            Self::Waker,
            Self::Resync,
            Self::Life,
            Self::Restart,
        ];
        for trouble in troubles.iter().copied() {
            all.push(Self::Outage(trouble));
            if !matches!(trouble, Trouble::OneService(_)) {
                all.push(Self::StartInTrouble(trouble));
            }
        }
        all
    }

    /// The rules for whose sake it is played; what else it finds out is reported as well.
    pub(super) fn rules(self) -> &'static [Rule] {
        match self {
            Self::Introduction => &[
                Rule::DescribesItself,
                Rule::StartsWithCompleteKnowledge,
                Rule::ListingsAreWhole,
                Rule::NeverPanics,
            ],
            Self::Empty => &[Rule::CanBeEmpty],
            Self::Changes => &[
                Rule::SeesAdditions,
                Rule::SeesChanges,
                Rule::SeesHealth,
                Rule::SeesRemovals,
                Rule::AppliesFullState,
                Rule::ListingsAreWhole,
            ],
            Self::Burst => &[Rule::KeepsTheLastChange],
            Self::Identity => &[Rule::IdsAreStable, Rule::RepeatsAreEqual, Rule::CanBeWatchedAgain],
            Self::Idle => &[
                Rule::SaysSomethingWithinItsBound,
                Rule::PacesItself,
                Rule::ListingsAreWhole,
            ],
            Self::Waker => &[Rule::WakesTheLastPoller],
            Self::Resync => &[
                Rule::AnswersAResync,
                Rule::AnswersEveryResyncWhileBusy,
                Rule::ListingsAreWhole,
            ],
            Self::Life => &[Rule::DropCancelsAllWork, Rule::ProbeTellsTheTruth],
            Self::Restart => &[Rule::SurvivesAServerThatForgot],
            Self::Outage(_) => &[
                Rule::FailureIsNotEmpty,
                Rule::TellsOfTrouble,
                Rule::ConfirmsOnlyWhatItSaw,
                Rule::RecoversWithoutRestart,
                Rule::ProbeTellsTheTruth,
                Rule::ErrorsNameWhatWentWrong,
                Rule::PacesItself,
                Rule::NeverPanics,
            ],
            Self::StartInTrouble(_) => &[
                Rule::DoesNotStartEmpty,
                Rule::TellsOfTrouble,
                Rule::RecoversWithoutRestart,
                Rule::ErrorsNameWhatWentWrong,
                Rule::NeverPanics,
            ],
        }
    }

    /// Plays it in a new world.
    pub(super) async fn play(self, subject: &dyn Subject, options: &Options, verdicts: &mut Verdicts) {
        let mut case = match Case::start(subject, options, verdicts).await {
            Ok(case) => case,
            Err(error) => return self.broke(&Stop::World(error), verdicts),
        };
        case.verdicts.kind = case.registry.kind();
        // Methods that are no part of a watch may panic as well.
        let played = AssertUnwindSafe(self.run(&mut case)).catch_unwind().await;
        case.finish();
        drop(case);
        match played {
            Ok(Ok(())) => {}
            Ok(Err(stop)) => self.broke(&stop, verdicts),
            Err(panic) => verdicts.fail(Rule::NeverPanics, format!("{self}: {}", text(&*panic))),
        }
    }

    async fn run(self, case: &mut Case<'_>) -> Result<(), Stop> {
        // Boxed, as each is a large future and only one of them is ever played.
        match self {
            Self::Introduction => Box::pin(calm::introduction(case)).await,
            Self::Empty => Box::pin(calm::empty(case)).await,
            Self::Changes => Box::pin(changes::changes(case)).await,
            Self::Burst => Box::pin(changes::burst(case)).await,
            Self::Identity => Box::pin(calm::identity(case)).await,
            Self::Idle => Box::pin(calm::idle(case)).await,
            Self::Waker => Box::pin(calm::waker(case)).await,
            Self::Resync => Box::pin(resync::resync(case)).await,
            Self::Life => Box::pin(life::life(case)).await,
            Self::Restart => Box::pin(life::restart(case)).await,
            Self::Outage(trouble) => Box::pin(trouble::outage(case, trouble)).await,
            Self::StartInTrouble(trouble) => Box::pin(trouble::start(case, trouble)).await,
        }
    }

    /// It could not be played to its end.
    fn broke(self, stop: &Stop, verdicts: &mut Verdicts) {
        match stop {
            Stop::World(WorldError::Unsupported) => {
                for rule in self.rules() {
                    verdicts.skip(*rule, "this world cannot do what it takes");
                }
            }
            Stop::World(WorldError::Failed(error)) => {
                for rule in self.rules() {
                    verdicts.fail(*rule, format!("{self}: the world failed: {}", chain(&**error)));
                }
            }
            Stop::Needs(broken, seen) => {
                verdicts.presuppose(*broken);
                verdicts.fail(*broken, format!("{self}: {seen}"));
                for rule in self.rules() {
                    verdicts.skip(*rule, &format!("it presupposes {broken}"));
                }
            }
        }
    }
}

impl fmt::Display for Scenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Introduction => f.write_str("a first watch"),
            Self::Empty => f.write_str("nothing registered"),
            Self::Changes => f.write_str("changes"),
            Self::Burst => f.write_str("quick changes"),
            Self::Identity => f.write_str("listed again"),
            Self::Idle => f.write_str("nothing happens"),
            Self::Waker => f.write_str("another poller"),
            Self::Resync => f.write_str("wishes"),
            Self::Life => f.write_str("opened and dropped"),
            Self::Restart => f.write_str("restarted empty"),
            Self::Outage(trouble) => write!(f, "{trouble}"),
            Self::StartInTrouble(trouble) => write!(f, "{trouble} at the start"),
        }
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
