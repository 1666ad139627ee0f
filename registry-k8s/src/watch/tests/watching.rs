//! Watching, and how it is known that nothing is missing.

use super::script::*;

fn listed() -> Reply {
    list(7, "", &[("a", 1)])
}

/// A play that has listed version 7.
async fn after_listing(replies: impl IntoIterator<Item = Reply>) -> Play {
    let mut play = Play::pages([listed()].into_iter().chain(replies));
    play.until("complete").await;
    play
}

#[tokio::test(start_paused = true)]
async fn the_next_watch_is_opened_at_once_from_the_last_version() {
    let mut play = after_listing([
        Reply::Body(vec![
            Part::Wait(secs(1)),
            event("ADDED", "b", 8),
            event("DELETED", "a", 9),
            Part::Wait(secs(29)),
        ]),
        Reply::Body(vec![Part::Wait(secs(28)), bookmark(12), Part::Wait(secs(2))]),
    ])
    .await;
    assert_eq!(play.next().await, ["changed b@8", "removed a@9"], "at once");
    assert_eq!(play.next().await, ["confirmed"], "at the end");
    assert_eq!(play.next().await, ["confirmed"], "by the bookmark");
    assert_eq!(play.next().await, ["confirmed"], "at the end");
    play.within(secs(1)).await;
    assert_eq!(play.kinds(), ["list", "watch 7 30", "watch 9 30", "watch 12 30"]);
    let times: Vec<_> = play.asked().into_iter().map(|(at, _)| at).collect();
    assert_eq!(times[1..], [secs(0), secs(30), secs(60)]);
    let path = &play.asks()[1].path;
    assert!(path.contains("allowWatchBookmarks=true"), "{path}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_was_silent_to_its_end_proves_nothing_until_the_server_shows_our_version() {
    let mut play = after_listing([
        quiet(30),
        list(11, "more", &[("z", 3)]),
        quiet(30),
        list(7, "", &[]),
    ])
    .await;
    let told = play.within(secs(61)).await;
    assert_eq!(told, ["confirmed", "confirmed"], "and no objects of the check");
    assert_eq!(
        play.kinds(),
        [
            "list",
            "watch 7 30",
            "check 7",
            "watch 7 30",
            "check 7",
            "watch 7 30"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn accept_24a_a_server_from_the_past_is_noticed_and_listed() {
    let mut play = after_listing([
        Reply::Body(vec![Part::Wait(secs(3)), Part::Reset]),
        quiet(5),
        ahead(),
        ahead(),
        ahead(),
        ahead(),
        list(3, "", &[("new", 2)]),
    ])
    .await;
    let told = play.until("complete").await;
    assert!(told[0].starts_with("failed connection reset"), "{told:?}");
    assert_eq!(told[1..], ["begin", "listed new@2", "complete"]);
    let asked = play.asked();
    assert!(asked[7].0 < secs(25), "{asked:?}");
    play.within(secs(1)).await;
    assert_eq!(
        play.kinds(),
        [
            "list",
            "watch 7 30",
            "watch 7 5",
            "check 7",
            "check 7",
            "check 7",
            "check 7",
            "list",
            "watch 3 30"
        ]
    );
    for pair in asked[3..7].windows(2) {
        let waited = pair[1].0 - pair[0].0;
        assert!(waited >= secs(1) && waited <= secs(2), "{asked:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_that_lags_behind_is_given_time() {
    let mut play = after_listing([quiet(30), ahead(), ahead(), ahead(), list(7, "", &[])]).await;
    assert_eq!(play.next().await, ["confirmed"]);
    play.within(secs(1)).await;
    assert_eq!(
        play.kinds(),
        [
            "list",
            "watch 7 30",
            "check 7",
            "check 7",
            "check 7",
            "check 7",
            "watch 7 30"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_an_older_version_than_ours_means_to_list_again() {
    let mut play = after_listing([quiet(30), list(5, "", &[]), list(5, "", &[("new", 5)])]).await;
    let told = play.until("complete").await;
    assert_eq!(told, ["begin", "listed new@5", "complete"]);
    assert_eq!(play.kinds()[..4], ["list", "watch 7 30", "check 7", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_a_version_that_the_server_refuses_to_have_yet_is_checked() {
    let mut play = after_listing([ahead(), list(7, "", &[])]).await;
    assert_eq!(play.next().await, ["confirmed"]);
    play.within(secs(1)).await;
    assert_eq!(play.kinds(), ["list", "watch 7 30", "check 7", "watch 7 30"]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_a_check_is_told_and_met_by_a_brief_watch_or_a_listing() {
    for (reply, is_failure, then) in [
        (refuse(500, "InternalError"), true, "watch 7 5"),
        (text("<html>"), true, "watch 7 5"),
        (refuse(410, "Expired"), false, "list"),
        (refuse(403, "Forbidden"), true, "list"),
        (refuse(400, "BadRequest"), true, "list"),
    ] {
        let mut play = after_listing([quiet(30), reply]).await;
        let told = play.within(secs(100)).await;
        assert_eq!(play.kinds()[..3], ["list", "watch 7 30", "check 7"]);
        assert_eq!(play.kinds()[3], then);
        let failure = told
            .iter()
            .any(|told| told.starts_with("failed") && told.contains("limit=1&"));
        assert_eq!(failure, is_failure, "{told:?}");
        assert!(!told.iter().any(|told| told == "confirmed"), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_21_a_connection_that_is_silently_dead_is_found_within_45_seconds() {
    for parts in [vec![], vec![Part::Wait(secs(4)), event("ADDED", "b", 8)]] {
        let mut play = after_listing([open(parts), quiet(5), list(9, "", &[])]).await;
        let told = play.until("confirmed").await;
        assert!(
            told.iter()
                .any(|told| told.starts_with("failed GET /apis/discovery.k8s.io/v1/")
                    && told.contains("nothing was heard for")),
            "{told:?}"
        );
        let (at, kind) = &play.asked()[2];
        assert!(kind.ends_with(" 5"), "{kind}");
        assert!(*at <= secs(41), "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_a_watch_is_given_up() {
    let mut play = after_listing([Reply::Never]).await;
    let told = play.next().await;
    assert!(told[0].contains("no answer within 40s"), "{told:?}");
    play.within(secs(1)).await;
    assert_eq!(play.kinds(), ["list", "watch 7 30", "watch 7 5"]);
    assert_eq!(
        play.asks()[1].patience,
        secs(10),
        "which the transport keeps sooner"
    );
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_outlasts_its_time_and_still_speaks_is_alive() {
    let mut parts = Vec::new();
    for version in 8..50 {
        parts.extend([Part::Wait(secs(9)), event("MODIFIED", "a", version)]);
    }
    let mut play = after_listing([open(parts)]).await;
    let told = play.within(secs(300)).await;
    assert!(!told.iter().any(|told| told.starts_with("failed")), "{told:?}");
    let confirmed = told.iter().filter(|told| *told == "confirmed").count();
    assert!(confirmed >= 4, "events say that it is alive: {told:?}");
    assert_eq!(play.kinds(), ["list", "watch 7 30"]);
}

#[tokio::test(start_paused = true)]
async fn a_watch_after_trouble_is_brief_and_the_one_after_it_is_not() {
    let mut play = after_listing([
        Reply::Body(vec![event("ADDED", "b", 8), bytes("{\"type\":\"ADD")]),
        quiet(5),
        list(9, "", &[]),
    ])
    .await;
    let told = play.until("confirmed").await;
    assert_eq!(told[0], "changed b@8");
    assert!(told[1].contains("ended within a line"), "{told:?}");
    play.within(secs(1)).await;
    assert_eq!(
        play.kinds(),
        ["list", "watch 7 30", "watch 8 5", "check 8", "watch 8 30"]
    );
}

#[tokio::test(start_paused = true)]
async fn accept_25_bookmarks_alone_keep_the_place() {
    let mut replies = Vec::new();
    for minute in 0..20 {
        replies.push(Reply::Body(vec![
            Part::Wait(secs(28)),
            bookmark(100 + minute),
            Part::Wait(secs(2)),
        ]));
    }
    replies.push(Reply::Body(vec![Part::Wait(secs(1)), Part::Reset]));
    let mut play = after_listing(replies).await;
    let told = play.until("failed").await;
    let confirmed = told.iter().filter(|told| *told == "confirmed").count();
    assert_eq!(confirmed, told.len() - 1, "{told:?}");
    play.within(secs(4)).await;
    let kinds = play.kinds();
    assert_eq!(kinds[kinds.len() - 2..], ["watch 119 30", "watch 119 5"]);
    assert_eq!(kinds.iter().filter(|kind| *kind == "list").count(), 1);
    assert!(!kinds.iter().any(|kind| kind.starts_with("check")));
}

#[tokio::test(start_paused = true)]
async fn watches_that_end_at_once_are_opened_ever_less_often() {
    let replies = (0..200).map(|_| Reply::Body(vec![]));
    let mut play = after_listing(replies).await;
    let told = play.within(secs(60)).await;
    assert!(told.iter().all(|told| told.contains("ended at once")), "{told:?}");
    let asked = play.asked().len();
    assert!((5..=40).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_repeats_itself_and_ends_is_not_asked_in_a_loop() {
    let replies = (0..500).map(|_| Reply::Body(vec![event("MODIFIED", "a", 7)]));
    let mut play = after_listing(replies).await;
    play.within(secs(60)).await;
    let asked = play.asked().len();
    assert!((5..=40).contains(&asked), "{asked}");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_cut_short_after_it_brought_something_goes_on_at_once_without_a_confirmation() {
    let mut play = after_listing([Reply::Body(vec![
        event("ADDED", "b", 8),
        Part::Wait(secs(3)),
        event("ADDED", "c", 9),
    ])])
    .await;
    let told = play.within(secs(4)).await;
    assert_eq!(told, ["changed b@8", "changed c@9"]);
    assert_eq!(play.asked()[2], (secs(3), "watch 9 5".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn all_that_comes_at_once_is_told_at_once_and_no_more_is_waited_for() {
    let burst: Vec<_> = (8..2508).map(|version| event("MODIFIED", "a", version)).collect();
    let mut play = after_listing([open(burst)]).await;
    let mut sizes = Vec::new();
    while sizes.iter().sum::<usize>() < 2500 {
        sizes.push(play.next().await.len());
    }
    assert_eq!(sizes, [1000, 1000, 500]);
}
