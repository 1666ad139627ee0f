//! Streaming lists.

use super::script::*;

#[tokio::test(start_paused = true)]
async fn a_streaming_list_goes_on_as_a_watch_in_the_same_answer() {
    let mut play = Play::streaming([Reply::Body(vec![
        event("ADDED", "a", 1),
        event("ADDED", "b", 2),
        end_mark(7),
        Part::Wait(secs(3)),
        event("MODIFIED", "a", 8),
        Part::Wait(secs(27)),
    ])]);
    assert_eq!(
        play.until("complete").await,
        ["begin", "listed a@1", "listed b@2", "complete"]
    );
    assert_eq!(play.next().await, ["changed a@8"]);
    assert_eq!(play.next().await, ["confirmed"]);
    play.within(secs(1)).await;
    assert_eq!(play.kinds(), ["stream 30", "watch 8 30"]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_streaming_list_is_complete() {
    let mut play = Play::streaming([open(vec![end_mark(7)])]);
    assert_eq!(play.until("complete").await, ["begin", "complete"]);
}

#[tokio::test(start_paused = true)]
async fn accept_19_a_server_that_rejects_streaming_lists_is_asked_for_pages_ever_after() {
    let within = Reply::Body(vec![error(422, "Invalid")]);
    for rejection in [refuse(422, "Invalid"), refuse(400, "BadRequest"), within] {
        let mut play = Play::streaming([
            rejection,
            list(7, "", &[("a", 1)]),
            refuse(410, "Expired"),
            list(9, "", &[("a", 1)]),
        ]);
        assert_eq!(
            play.until("complete").await,
            ["begin", "listed a@1", "complete"],
            "without a failure"
        );
        play.until("complete").await;
        play.feed.list_again();
        play.within(secs(1)).await;
        assert_eq!(
            play.kinds()[..6],
            ["stream 30", "list", "watch 7 30", "list", "watch 9 30", "list"]
        );
        assert_eq!(play.asked()[1].0, secs(0), "at once");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_18_a_streaming_list_that_breaks_off_begins_again() {
    for end in [
        Part::Reset,
        bytes("{\"type\":\"ADDED\",\"obj"),
        error(500, "InternalError"),
    ] {
        let mut play = Play::streaming([
            Reply::Body(vec![event("ADDED", "a", 1), event("ADDED", "b", 2), end]),
            open(vec![event("ADDED", "b", 2), event("ADDED", "c", 3), end_mark(9)]),
        ]);
        let told = play.until("complete").await;
        assert_eq!(told[..3], ["begin", "listed a@1", "listed b@2"]);
        assert!(told[3].starts_with("failed "), "{told:?}");
        assert_eq!(told[4..], ["begin", "listed b@2", "listed c@3", "complete"]);
        assert_eq!(play.kinds(), ["stream 30", "stream 30"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_removed_while_it_is_listed_is_told() {
    let mut play = Play::streaming([open(vec![
        event("ADDED", "a", 1),
        bookmark(4),
        event("DELETED", "a", 5),
        event("MODIFIED", "b", 6),
        end_mark(7),
    ])]);
    assert_eq!(
        play.until("complete").await,
        ["begin", "listed a@1", "removed a@5", "listed b@6", "complete"]
    );
}

#[tokio::test(start_paused = true)]
async fn after_two_streaming_lists_that_died_of_silence_pages_are_asked_for() {
    let silent = || open(vec![event("ADDED", "a", 1)]);
    let ended = || Reply::Body(vec![event("ADDED", "a", 1), Part::Wait(secs(5))]);
    for replies in [[silent(), silent()], [ended(), ended()], [open(vec![]), ended()]] {
        let [first, second] = replies;
        let mut play = Play::streaming([first, second, list(7, "", &[("a", 1)])]);
        let told = play.until("complete").await;
        let failures = told
            .iter()
            .filter(|told| told.starts_with("failed GET /apis"))
            .count();
        assert_eq!(failures, 2, "{told:?}");
        let again = play.asked()[1].0;
        assert!(again <= secs(16), "{again:?}");
        play.feed.list_again();
        play.within(secs(1)).await;
        assert_eq!(
            play.kinds(),
            ["stream 30", "stream 30", "list", "watch 7 30", "list"],
            "and remembered"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_may_take_long_as_long_as_something_comes() {
    let mut parts = Vec::new();
    for version in 1..20 {
        parts.extend([event("ADDED", "a", version), Part::Wait(secs(14))]);
    }
    parts.push(end_mark(30));
    let mut play = Play::streaming([open(parts)]);
    let told = play.until("complete").await;
    assert!(!told.iter().any(|told| told.starts_with("failed")), "{told:?}");
    assert_eq!(play.kinds(), ["stream 30"]);
}

#[tokio::test(start_paused = true)]
async fn where_streaming_lists_cannot_even_begin_every_third_attempt_is_by_pages() {
    let fail = || refuse(503, "ServiceUnavailable");
    let mut play = Play::streaming([
        fail(),
        Reply::Never,
        fail(),
        fail(),
        fail(),
        list(7, "", &[]),
        refuse(410, "Expired"),
        open(vec![end_mark(9)]),
    ]);
    play.until("complete").await;
    play.until("complete").await;
    assert_eq!(
        play.kinds(),
        [
            "stream 30",
            "stream 30",
            "list",
            "stream 30",
            "stream 30",
            "list",
            "watch 7 30",
            "stream 30"
        ],
        "and not remembered"
    );
}

#[tokio::test(start_paused = true)]
async fn a_streaming_list_that_is_too_old_begins_again() {
    let mut play = Play::streaming([
        Reply::Body(vec![event("ADDED", "a", 1), error(410, "Expired")]),
        open(vec![end_mark(9)]),
    ]);
    let told = play.until("complete").await;
    assert_eq!(told, ["begin", "listed a@1", "begin", "complete"]);
}

#[tokio::test(start_paused = true)]
async fn an_end_mark_without_a_version_completes_nothing() {
    let bad = bytes(
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}}}}\n",
    );
    let mut play = Play::streaming([
        Reply::Body(vec![event("ADDED", "a", 1), bad]),
        open(vec![end_mark(9)]),
    ]);
    let told = play.until("complete").await;
    assert!(
        told[2].starts_with("failed ") && told[2].contains("without a version"),
        "{told:?}"
    );
    assert_eq!(told[3..], ["begin", "complete"]);
}

#[tokio::test(start_paused = true)]
async fn once_it_is_a_watch_a_streaming_list_is_held_to_the_time_of_one() {
    let mut play = Play::streaming([open(vec![end_mark(7)])]);
    play.until("complete").await;
    let told = play.next().await;
    assert!(told[0].contains("nothing was heard for"), "{told:?}");
    play.within(secs(1)).await;
    let (at, kind) = &play.asked()[1];
    assert_eq!(kind, "watch 7 5");
    assert!((secs(40)..=secs(41)).contains(at), "{at:?}");
}
