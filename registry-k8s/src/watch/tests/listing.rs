//! Listing by pages.

use bytes::Bytes;

use super::script::*;
use crate::watch::{Resource, page};

#[tokio::test(start_paused = true)]
async fn pages_follow_each_other_and_a_watch_follows_the_last() {
    let mut play = Play::pages([
        list(7, "t1", &[("a", 1), ("b", 2)]),
        list(7, "t2", &[("c", 3), ("d", 4)]),
        list(7, "", &[("e", 5)]),
    ]);
    let told = play.until("complete").await;
    let expected = [
        "begin",
        "listed a@1",
        "listed b@2",
        "listed c@3",
        "listed d@4",
        "listed e@5",
        "complete",
    ];
    assert_eq!(told, expected);
    assert!(play.within(secs(1)).await.is_empty());
    assert_eq!(play.kinds(), ["list", "list t1", "list t2", "watch 7 30"]);
    let list = &play.asks()[0];
    assert!(
        list.path.ends_with("?limit=2"),
        "the most recent state is asked for: {list:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_selector_is_repeated_in_every_request() {
    let resource = Resource {
        selector: Some("team in (a, b),x=1".to_owned()),
        ..resource()
    };
    let mut play = Play::new(
        resource,
        manner(false),
        [list(7, "t 1=", &[]), list(7, "", &[]), quiet(30)],
    );
    play.until("complete").await;
    play.within(secs(31)).await;
    assert_eq!(play.kinds(), ["list", "list t%201%3D", "watch 7 30", "check 7"]);
    for ask in play.asks() {
        assert!(
            ask.path
                .contains("?labelSelector=team%20in%20%28a%2C%20b%29%2Cx%3D1&"),
            "{ask:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ignores_the_limit_sends_one_big_page() {
    let objects: Vec<(String, u64)> = (0..5007).map(|i| (format!("o{i}"), i)).collect();
    let objects: Vec<(&str, u64)> = objects
        .iter()
        .map(|(name, version)| (name.as_str(), *version))
        .collect();
    let mut play = Play::pages([list(9000, "", &objects)]);
    let told = play.until("complete").await;
    assert_eq!(told.len(), 5009);
    assert_eq!(told[5007], "listed o5006@5006");
}

#[tokio::test(start_paused = true)]
async fn a_list_whose_items_are_null_is_empty() {
    let mut play = Play::pages([text(
        r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":null}"#,
    )]);
    assert_eq!(play.until("complete").await, ["begin", "complete"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_no_list_is_a_failure_and_never_an_empty_list() {
    let whole = list_text(7, "", &[("a", 1)]);
    let status = status(500, "InternalError");
    for body in [
        "",
        "<html><body>Welcome</body></html>",
        "null",
        "{}",
        "[]",
        &whole[..whole.len() - 1],
        &whole[..whole.len() / 2],
        &status,
        r#"{"kind":"EndpointSliceList","items":[]}"#,
        r#"{"kind":"EndpointSliceList","metadata":{},"items":[]}"#,
        r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":""},"items":[]}"#,
        r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"}}"#,
        r#"{"kind":"EndpointSliceList","metadata":{"resourceVersion":"7"},"items":{}}"#,
        r#"{"kind":"EndpointSlice","metadata":{"resourceVersion":"7"},"items":[]}"#,
    ] {
        let mut play = Play::pages([text(body), list(7, "", &[("a", 1)])]);
        let told = play.until("complete").await;
        assert!(
            told[0]
                .starts_with("failed GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?limit=2: "),
            "{body}: {told:?}"
        );
        assert_eq!(told[1..], ["begin", "listed a@1", "complete"], "{body}");
        assert_eq!(play.kinds()[..2], ["list", "list"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_shown_of_a_malformed_body_is_none_of_its_values() {
    for body in [
        r#""hunter2""#,
        r#"{"kind":5,"metadata":"hunter2"}"#,
        r#"{"items":"hunter2"}"#,
    ] {
        let mut play = Play::pages([text(body)]);
        let told = play.next().await;
        assert!(
            told[0].contains("expected a list") && !told[0].contains("hunter2"),
            "{told:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_beyond_the_limit_is_a_failure_that_names_found_and_expected() {
    let big = list_text(7, "", &[("a", 1)]).replace(":1}", &format!(":\"{}\"}}", "x".repeat(1 << 20)));
    let mut play = Play::pages([text(&big), list(7, "", &[])]);
    let told = play.until("complete").await;
    assert_eq!(
        told[0],
        "failed GET /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices?limit=2: found more than 1048576 bytes, \
         expected a page of at most 1048576 (max_page_bytes)"
    );
}

#[tokio::test(start_paused = true)]
async fn accept_17_an_expired_token_starts_a_complete_listing_of_its_own() {
    let expired =
        status(410, "Expired").replace(r#""metadata":{}"#, r#""metadata":{"continue":"inconsistent"}"#);
    let mut play = Play::pages([
        list(7, "t1", &[("a", 1), ("b", 2)]),
        list(7, "t2", &[("c", 3), ("d", 4)]),
        Reply::Refuse {
            code: 410,
            retry_after: None,
            body: expired,
        },
        list(9, "t9", &[("a", 1), ("c", 8)]),
        list(9, "", &[("d", 4)]),
    ]);
    let told = play.until("complete").await;
    let again = told.iter().rposition(|told| told == "begin").unwrap();
    assert_eq!(
        told[again..],
        ["begin", "listed a@1", "listed c@8", "listed d@4", "complete"]
    );
    assert!(!told.iter().any(|told| told.starts_with("failed")), "{told:?}");
    play.within(secs(1)).await;
    assert_eq!(
        play.kinds(),
        ["list", "list t1", "list t2", "list", "list t9", "watch 9 30"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_that_expires_again_and_again_is_told_and_asked_for_ever_less_often() {
    let mut replies = Vec::new();
    for _ in 0..12 {
        replies.push(list(7, "t1", &[("a", 1)]));
        replies.push(refuse(410, "Expired"));
    }
    let mut play = Play::pages(replies);
    let told = play.within(secs(10)).await;
    let asked = play.asked().len();
    assert!((6..=24).contains(&asked), "{asked}");
    assert!(
        told.iter()
            .any(|told| told.starts_with("failed GET http://server/") && told.contains("Expired"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_page_that_fails_is_asked_for_again_and_what_was_listed_stays() {
    let mut play = Play::pages([
        list(7, "t1", &[("a", 1)]),
        refuse(500, "InternalError"),
        Reply::Body(vec![bytes("{\"items\":["), Part::Reset]),
        list(7, "", &[("b", 2)]),
    ]);
    let told = play.until("complete").await;
    let begins = told.iter().filter(|told| *told == "begin").count();
    let failures = told.iter().filter(|told| told.starts_with("failed")).count();
    assert_eq!((begins, failures), (1, 2), "{told:?}");
    assert_eq!(play.kinds()[..4], ["list", "list t1", "list t1", "list t1"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_never_comes_does_not_hold_up_the_listing_for_ever() {
    let fail = || refuse(500, "InternalError");
    let mut play = Play::pages([
        list(7, "t1", &[("a", 1)]),
        fail(),
        fail(),
        fail(),
        fail(),
        fail(),
        list(8, "", &[("b", 2)]),
    ]);
    let told = play.until("complete").await;
    assert_eq!(told[told.len() - 3..], ["begin", "listed b@2", "complete"]);
    assert_eq!(play.kinds()[6], "list");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_leads_to_itself_is_a_failure() {
    let mut play = Play::pages([
        list(7, "t1", &[("a", 1)]),
        list(7, "t1", &[("a", 1)]),
        list(7, "", &[("a", 1)]),
    ]);
    let told = play.until("complete").await;
    assert!(
        told.iter()
            .any(|told| told.contains("found the token of this page")),
        "{told:?}"
    );
    assert_eq!(play.kinds()[..3], ["list", "list t1", "list"]);
}

#[tokio::test(start_paused = true)]
async fn a_page_that_stalls_or_only_trickles_in_is_given_up() {
    let trickle = (0..10_000)
        .flat_map(|_| [bytes(" "), Part::Wait(secs(9))])
        .collect();
    for (reply, at_most) in [
        (Reply::Body(vec![bytes("{\"items\":["), Part::Hang]), 11),
        (Reply::Body(trickle), 611),
        (Reply::Never, 41),
    ] {
        let mut play = Play::pages([reply, list(7, "", &[])]);
        let told = play.until("complete").await;
        assert!(
            told[0].starts_with("failed GET /apis/discovery.k8s.io/"),
            "{told:?}"
        );
        let again = play.asked()[1].0;
        assert!(again <= secs(at_most), "{again:?}");
    }
}

#[test]
fn objects_of_a_page_are_parts_of_its_memory() {
    let body = Bytes::from_static(include_bytes!("../../../tests/fixtures/list-limit2.json"));
    let page = page::parse("GET /x", &body).unwrap();
    assert_eq!(page.version, "18496");
    assert!(page.token.unwrap().starts_with("eyJ2Ijoi"));
    let names: Vec<String> = page.objects.iter().map(name).collect();
    assert_eq!(names, ["db@18448", "empty-headless@18451"]);
    let range = body.as_ptr_range();
    for object in page.objects {
        assert!(range.contains(&object.as_ptr()));
    }
}

#[test]
fn no_beginning_of_a_page_is_taken_for_the_whole() {
    let body = Bytes::from_static(include_bytes!("../../../tests/fixtures/list-limit2.json"));
    let whole = body.trim_ascii_end().len();
    for end in (0..whole).step_by(7).chain([whole - 1]) {
        assert!(page::parse("GET /x", &body.slice(..end)).is_err(), "{end}");
    }
}

#[test]
fn versions_are_compared_only_as_plain_numbers() {
    for (version, than, older) in [
        ("5", "9", true),
        ("9", "10", true),
        ("10", "9", false),
        ("9", "9", false),
        ("-5", "9", false),
        ("5", "9a", false),
        ("", "9", false),
        ("5", "99999999999999999999999999", false),
    ] {
        assert_eq!(page::is_older(version, than), older, "{version} {than}");
    }
}
