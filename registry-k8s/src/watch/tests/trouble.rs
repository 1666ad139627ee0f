//! Refusals: when, and with what, the feed comes back.

use super::script::*;
use crate::transport::Form;
use crate::watch::Resource;

#[tokio::test(start_paused = true)]
async fn accept_16_a_410_as_the_status_of_a_watch_means_to_list_again() {
    let mut play = Play::pages([
        list(7, "", &[("a", 1), ("b", 2)]),
        quiet(30),
        list(8, "", &[]),
        refuse(410, "Expired"),
        list(9, "", &[("b", 2)]),
    ]);
    play.until("complete").await;
    let told = play.until("complete").await;
    assert_eq!(
        told,
        ["confirmed", "begin", "listed b@2", "complete"],
        "without a failure"
    );
    assert_eq!(play.asked()[4], (secs(30), "list".to_owned()), "at once");
}

#[tokio::test(start_paused = true)]
async fn accept_17_a_410_within_a_watch_means_to_list_again() {
    let mut play = Play::pages([
        list(7, "", &[("a", 1)]),
        Reply::Body(vec![
            Part::Wait(secs(3)),
            event("ADDED", "b", 8),
            error(410, "Expired"),
        ]),
        list(9, "", &[("b", 8)]),
    ]);
    play.until("complete").await;
    let told = play.until("complete").await;
    assert_eq!(told, ["changed b@8", "begin", "listed b@8", "complete"]);
    assert_eq!(play.asked()[2], (secs(3), "list".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_always_says_410_or_400_is_not_hammered() {
    for answer in [
        refuse(410, "Expired"),
        Reply::Body(vec![error(410, "Expired")]),
        refuse(400, "BadRequest"),
        Reply::Body(vec![error(422, "Invalid")]),
    ] {
        let replies = (0..200).flat_map(|_| [list(7, "", &[("a", 1)]), answer.clone()]);
        let mut play = Play::pages(replies);
        let told = play.within(secs(60)).await;
        let lists = play.kinds().iter().filter(|kind| *kind == "list").count();
        assert!((5..=30).contains(&lists), "{lists}");
        assert!(told.iter().any(|told| told.starts_with("failed")), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn accept_20_a_retry_after_is_kept_and_not_stretched() {
    for code in [429, 503] {
        let mut again = Vec::new();
        for _ in 0..20 {
            let mut play = Play::pages([refuse_for(code, "Busy", Some(7)), list(7, "", &[])]);
            play.until("complete").await;
            again.push(play.asked()[1].0);
        }
        for at in &again {
            assert!(*at >= secs(7) && *at <= secs(9), "{at:?}");
        }
        again.dedup();
        assert!(again.len() > 1, "clients come back at different times");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_a_listing_does_not_cut_a_retry_after_short() {
    let mut play = Play::pages([list(7, "", &[]), refuse_for(429, "Busy", Some(7))]);
    play.until("complete").await;
    play.until("failed").await;
    play.feed.list_again();
    play.within(secs(20)).await;
    let (at, kind) = &play.asked()[2];
    assert_eq!(kind, "list");
    assert!(*at >= secs(7) && *at <= secs(9), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wish_for_a_listing_is_met_at_once_whatever_is_under_way() {
    let fresh = || list(9, "", &[("z", 9)]);
    let watching = || list(7, "", &[("a", 1)]);
    let within = |seconds, replies: Vec<Reply>| (seconds, replies);
    for (seconds, replies) in [
        within(0, vec![Reply::Never]),
        within(0, vec![open(vec![bytes("{")])]),
        within(5, vec![watching(), open(vec![])]),
        within(5, vec![watching(), Reply::Never]),
        within(5, vec![refuse(403, "Forbidden")]),
        within(35, vec![watching(), quiet(30), Reply::Never]),
        within(0, vec![list(7, "t1", &[("a", 1)]), Reply::Never]),
    ] {
        let before = replies.len();
        let mut play = Play::pages(replies.into_iter().chain([fresh()]));
        play.within(secs(seconds)).await;
        assert!(play.asked().len() <= before);
        // Where nothing was under way yet there is something now.
        if play.asked().len() < before {
            play.within(secs(1)).await;
        }
        play.feed.list_again();
        let told = play.until("complete").await;
        assert_eq!(told, ["begin", "listed z@9", "complete"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_forbidden_is_told_with_the_role_that_is_needed_and_tried_slowly() {
    let mut play = Play::pages([
        refuse(403, "Forbidden"),
        refuse(403, "Forbidden"),
        list(7, "", &[]),
    ]);
    let told = play.until("complete").await;
    assert_eq!(
        told[0],
        "failed GET http://server/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?limit=2: 403 it says Forbidden \
         (needs list and watch on endpointslices in discovery.k8s.io, namespace shop)"
    );
    let times: Vec<_> = play.asked().into_iter().map(|(at, _)| at).collect();
    for pair in times.windows(2).take(2) {
        let waited = pair[1] - pair[0];
        assert!(waited >= secs(30) && waited <= secs(46), "{times:?}");
    }
    for (path, need) in [
        (
            "/api/v1/nodes",
            "needs list and watch on nodes in the core group)",
        ),
        (
            "/api/v1/namespaces",
            "needs list and watch on namespaces in the core group)",
        ),
        (
            "/api/v1/namespaces/shop/services",
            "needs list and watch on services in the core group, namespace shop)",
        ),
        (
            "/apis/discovery.k8s.io/v1/endpointslices",
            "needs list and watch on endpointslices in discovery.k8s.io)",
        ),
    ] {
        let resource = Resource {
            path: path.to_owned(),
            selector: None,
            form: Form::Metadata,
        };
        let mut play = Play::new(resource, manner(false), [refuse(403, "Forbidden")]);
        let told = play.next().await;
        assert!(told[0].ends_with(need), "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_kind_that_is_not_there_is_tried_slowly_too() {
    let missing = || Reply::Refuse {
        code: 404,
        retry_after: None,
        body: "404 page not found\n".to_owned(),
    };
    let mut play = Play::pages([missing(), list(7, "", &[])]);
    let told = play.until("complete").await;
    assert!(told[0].ends_with("(needs Kubernetes 1.21 or later)"), "{told:?}");
    let at = play.asked()[1].0;
    assert!(at >= secs(30) && at <= secs(46), "{at:?}");
    let resource = Resource {
        path: "/apis/x.io/v1/things".to_owned(),
        ..resource()
    };
    let mut play = Play::new(resource, manner(false), [missing()]);
    assert!(play.next().await[0].ends_with("(needs a cluster that has /apis/x.io/v1/things)"));
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_forbidden_or_gone_missing_is_followed_by_a_listing() {
    for code in [403, 404] {
        let mut play = Play::pages([list(7, "", &[("a", 1)]), refuse(code, "No"), list(9, "", &[])]);
        play.until("complete").await;
        let told = play.until("complete").await;
        assert!(told[0].starts_with("failed "), "{told:?}");
        let (at, kind) = &play.asked()[2];
        assert_eq!(kind, "list");
        assert!(*at >= secs(30) && *at <= secs(46), "{at:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn refused_credentials_are_tried_again_soon_from_the_same_version() {
    let mut play = Play::pages([list(7, "", &[]), refuse(401, "Unauthorized")]);
    play.until("complete").await;
    assert!(play.next().await[0].contains("401"));
    play.within(secs(1)).await;
    assert_eq!(play.kinds(), ["list", "watch 7 30", "watch 7 5"]);
}

#[tokio::test(start_paused = true)]
async fn errors_within_a_watch_are_told_and_it_goes_on_from_the_same_version() {
    let mut play = Play::pages([
        list(7, "", &[]),
        Reply::Body(vec![
            event("ADDED", "b", 8),
            error(500, "InternalError"),
            event("ADDED", "c", 9),
        ]),
        open(vec![event("ADDED", "c", 9)]),
    ]);
    play.until("complete").await;
    let told = play.until("changed c@9").await;
    assert_eq!(told[0], "changed b@8");
    assert_eq!(
        told[1],
        "failed GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?watch=1&allowWatchBookmarks=true\
         &timeoutSeconds=30&resourceVersion=7: 500 it says InternalError"
    );
    assert_eq!(play.kinds(), ["list", "watch 7 30", "watch 8 5"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_within_a_watch_is_kept() {
    let busy =
        status(429, "TooManyRequests").replace("\"code\"", "\"details\":{\"retryAfterSeconds\":5},\"code\"");
    let busy = bytes(&format!("{{\"type\":\"ERROR\",\"object\":{busy}}}\n"));
    let mut play = Play::pages([list(7, "", &[]), Reply::Body(vec![busy])]);
    play.within(secs(10)).await;
    let at = play.asked()[2].0;
    assert!(at >= secs(5) && at <= secs(7), "{at:?}");
}

#[tokio::test(start_paused = true)]
async fn attempts_come_ever_less_often_until_one_succeeds() {
    let fail = || refuse(500, "InternalError");
    let replies = (0..40).map(|_| fail()).chain([list(7, "", &[]), fail()]);
    let mut play = Play::pages(replies);
    play.until("complete").await;
    let times: Vec<_> = play.asked().into_iter().map(|(at, _)| at).collect();
    let last = *times.last().unwrap();
    assert!(last >= secs(60) && last <= secs(400), "{last:?}");
    play.until("failed").await;
    play.within(secs(1)).await;
    let asked = play.asked();
    let waited = asked[42].0 - asked[41].0;
    assert!(waited <= secs(1), "{waited:?}");
}
