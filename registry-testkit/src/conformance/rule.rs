//! What is asked of a registry, each with a name that stays.

use std::fmt;

macro_rules! rules {
    ($($variant:ident $name:literal $contract:literal;)*) => {
        /// One rule of the suite: a sentence of the contract of
        /// [`ServiceRegistry`](registry_core::ServiceRegistry) and [`Event`](registry_core::Event).
        ///
        /// Shown by its [name](Self::name), which stays the same from one version to the next.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Rule {
            $(#[doc = concat!("`", $name, "`: ", $contract)] $variant,)*
        }

        impl Rule {
            /// All rules, in the order of a report.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name, such as `failure_is_not_empty`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The sentence of the contract.
            #[must_use]
            pub fn contract(self) -> &'static str {
                match self { $(Self::$variant => $contract),* }
            }
        }
    };
}

rules! {
    DescribesItself "describes_itself"
        "Kind, default hostname, target and bound stay the same; the kind is one word, the hostname a template, the bound more than nothing.";
    StartsWithCompleteKnowledge "starts_with_complete_knowledge"
        "A watch begins with a listing of the whole registry that has everything; nothing is applied, deleted or completed outside of it before.";
    CanBeEmpty "can_be_empty"
        "A registry without services is listed like any other: nothing is knowledge, too.";
    SeesAdditions "sees_additions"
        "A service that appears is told.";
    SeesChanges "sees_changes"
        "An instance that is added, moves to another port or goes is told.";
    SeesHealth "sees_health"
        "A change of health and nothing else is told.";
    SeesRemovals "sees_removals"
        "A service that goes is told, by a deletion or by its absence from a listing, and nothing else goes with it.";
    AppliesFullState "applies_full_state"
        "A record is the full state of its service: what did not change is in it, too.";
    KeepsTheLastChange "keeps_the_last_change"
        "After any number of quick changes the last state is told.";
    IdsAreStable "ids_are_stable"
        "Services and endpoints keep their ids, whatever happens beside them, also in the next watch; no two endpoints of a service share one.";
    RepeatsAreEqual "repeats_are_equal"
        "What did not change is told in equal records, so that it publishes nothing.";
    ListingsAreWhole "listings_are_whole"
        "Every listing that is completed was begun, one that was begun is completed, and what it could not read lies within its scope.";
    SaysSomethingWithinItsBound "says_something_within_its_bound"
        "Within every freshness bound it says something of the whole registry, also while nothing changes.";
    PacesItself "paces_itself"
        "It does not spin: neither idle nor in trouble does it talk or ask without a pause.";
    WakesTheLastPoller "wakes_the_last_poller"
        "The stream wakes whoever polled it last, as any stream has to.";
    AnswersAResync "answers_a_resync"
        "A wish for complete knowledge is answered in the same stream, with a listing of its scope, or of one that covers it, that began after the wish.";
    AnswersEveryResyncWhileBusy "answers_every_resync_while_busy"
        "So is a wish that comes amid changes, or while a listing is under way.";
    CanBeWatchedAgain "can_be_watched_again"
        "A watch of a registry that was watched before begins with complete knowledge, too, as of now.";
    DropCancelsAllWork "drop_cancels_all_work"
        "Nothing is left of a stream that was dropped: no task, no connection.";
    DoesNotStartEmpty "does_not_start_empty"
        "A watch that opens in trouble does not list what it cannot see as gone.";
    FailureIsNotEmpty "failure_is_not_empty"
        "Trouble removes nothing, whichever shape it has.";
    TellsOfTrouble "tells_of_trouble"
        "Trouble is told within the freshness bound, as a degraded scope, an unread one, or an error.";
    ConfirmsOnlyWhatItSaw "confirms_only_what_it_saw"
        "While trouble lasts, nothing calls what cannot be seen well again: a confirmation is a look, not the tick of a clock.";
    RecoversWithoutRestart "recovers_without_restart"
        "When trouble is over, everything is told that changed meanwhile, and freshness is renewed.";
    SurvivesAServerThatForgot "survives_a_server_that_forgot"
        "A server that restarts empty, and is told everything anew, is followed like one that never did.";
    ProbeTellsTheTruth "probe_tells_the_truth"
        "The probe succeeds where the registry can be read, fails where it cannot, and ends in any case.";
    ErrorsNameWhatWentWrong "errors_name_what_went_wrong"
        "An error says what was asked of whom, has a kind that is no fault of the backend's own, and holds no secret.";
    NeverPanics "never_panics"
        "Nothing that a server does makes the backend panic.";
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
