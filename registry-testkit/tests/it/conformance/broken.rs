//! One backend for each rule, wrong in exactly one way, and the rule that has to notice.

use registry_testkit::conformance::{Options, Outcome, Rule, check};

use super::memory::Memory;

macro_rules! faults {
    ($($(#[$doc:meta])* $fault:ident $test:ident => $rule:ident;)*) => {
        /// What a backend does wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Fault {
            $($(#[$doc])* $fault,)*
        }

        /// Which rule each of them breaks.
        const BREAKS: &[(Fault, Rule)] = &[$((Fault::$fault, Rule::$rule)),*];

        $(#[tokio::test(start_paused = true)]
        async fn $test() {
            only_that_rule_fires(Fault::$fault, Rule::$rule).await;
        })*
    };
}

faults! {
    /// Counts its watches in its target, so that saved state fits none of them.
    ChangesItsTarget acceptance_6_a_target_that_changes => DescribesItself;
    /// Tells of a service before it lists all of them.
    AppliesBeforeItsListing acceptance_6_a_service_before_the_first_listing => StartsWithCompleteKnowledge;
    /// An empty registry is one that failed, it thinks.
    TakesEmptyForFailure acceptance_6_an_empty_registry_taken_for_a_failure => CanBeEmpty;
    /// Looks only at services that it listed at the start.
    OverlooksNewServices acceptance_6_new_services_overlooked => SeesAdditions;
    /// An endpoint is its address, it thinks.
    ComparesOnlyAddresses acceptance_6_ports_overlooked => SeesChanges;
    /// Health is no change.
    OverlooksHealth acceptance_6_health_overlooked => SeesHealth;
    /// Never deletes.
    KeepsRemovedServices acceptance_6_removals_overlooked => SeesRemovals;
    /// Deletes one too many.
    RemovesTheNextOneToo acceptance_6_one_too_many_removed => SeesRemovals;
    /// Takes a record for a list of what is new.
    AppliesOnlyWhatIsNew acceptance_6_partial_records => AppliesFullState;
    /// Rests after a change, and overlooks those that come meanwhile.
    ForgetsTheLastChange acceptance_6_the_last_of_many_changes_lost => KeepsTheLastChange;
    /// Calls endpoints by their place in the list.
    NumbersEndpoints acceptance_6_ids_that_move_up => IdsAreStable;
    /// Writes the number of the listing into every record.
    StampsItsListings acceptance_6_repeats_that_differ => RepeatsAreEqual;
    /// Completes listings that were never begun.
    EndsWhatItNeverBegan acceptance_6_listings_without_a_beginning => ListingsAreWhole;
    /// Begins listings that are never completed.
    LeavesAListingOpen acceptance_6_listings_without_an_end => ListingsAreWhole;
    /// Is silent while nothing changes.
    NeverConfirms acceptance_6_silence_beyond_the_bound => SaysSomethingWithinItsBound;
    /// Tries again at once, for ever.
    SpinsInTrouble acceptance_6_attempts_without_a_pause => PacesItself;
    /// Wakes the task that polled first.
    WakesTheFirstPoller acceptance_6_the_wrong_poller_woken => WakesTheLastPoller;
    /// Answers wishes for everything only.
    IgnoresWishesForParts acceptance_6_wishes_for_a_service_ignored => AnswersAResync;
    /// A wish that comes while it lists is met by that listing, it thinks.
    DropsWishesWhileListing acceptance_6_wishes_lost_while_busy => AnswersEveryResyncWhileBusy;
    /// Goes on where the last watch ended.
    ListsOnlyOnce acceptance_6_a_second_watch_without_a_listing => CanBeWatchedAgain;
    /// Spawns a task that nobody ends.
    LeavesATask acceptance_6_a_task_that_stays => DropCancelsAllWork;
    /// What cannot be read at the start is empty.
    StartsEmpty acceptance_6_a_failure_listed_as_empty_at_the_start => DoesNotStartEmpty;
    /// What cannot be read any more is empty.
    ForgetsInTrouble acceptance_6_a_failure_listed_as_empty => FailureIsNotEmpty;
    /// Keeps failures to itself.
    HidesFailures acceptance_6_failures_hidden => TellsOfTrouble;
    /// Confirms by the clock, whatever came of its look.
    ConfirmsByTheClock acceptance_6_confirmations_without_a_look => ConfirmsOnlyWhatItSaw;
    /// After one failure it never asks again.
    GivesUp acceptance_6_a_watch_that_gives_up => RecoversWithoutRestart;
    /// An index never goes back, it thinks.
    TrustsItsIndex acceptance_6_an_index_that_goes_back => SurvivesAServerThatForgot;
    /// Its probe is always content.
    ProbesNothing acceptance_6_a_probe_that_is_always_content => ProbeTellsTheTruth;
    /// Puts the token into messages.
    ShowsItsToken acceptance_6_a_secret_in_an_error => ErrorsNameWhatWentWrong;
    /// Says that something failed, not what.
    SaysNothingOfTheError acceptance_6_errors_that_name_nothing => ErrorsNameWhatWentWrong;
    /// Takes an answer for granted.
    PanicsOnGarbage acceptance_6_a_panic_on_garbage => NeverPanics;
}

async fn only_that_rule_fires(fault: Fault, rule: Rule) {
    let report = check(&Memory(Some(fault)), &Options::default()).await;
    assert_eq!(report.failed(), [rule], "{fault:?}\n{report}");
    assert_eq!(report.skipped(), [], "{fault:?}: all others are judged\n{report}");
    let Some(Outcome::Failed(seen)) = report.outcome(rule) else {
        panic!("{report}")
    };
    assert!(!seen.is_empty(), "it says what was seen");
}

#[test]
fn acceptance_6_every_rule_has_a_backend_that_breaks_it() {
    for rule in Rule::ALL {
        assert!(BREAKS.iter().any(|(_, broken)| broken == rule), "{rule}");
    }
}

#[tokio::test(start_paused = true)]
async fn acceptance_6_a_correct_backend_passes_every_rule() {
    check(&Memory(None), &Options::default()).await.assert_passed();
}
