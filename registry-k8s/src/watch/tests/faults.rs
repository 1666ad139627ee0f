//! What cannot be read, what is counted, and what is not lost when nobody waits.

use std::future::Future;
use std::task::{Context, Waker};

use super::script::*;
use crate::watch::Told;

fn listed() -> Reply {
    list(7, "", &[("a", 1)])
}

#[tokio::test(start_paused = true)]
async fn lines_that_cannot_be_read_are_passed_over_named_and_counted() {
    let long = format!(
        "{{\"type\":\"ADDED\",\"object\":{{\"metadata\":{{\"name\":\"big\",\"namespace\":\"shop\"}},\"x\":\"{}\"}}}}\n",
        "x".repeat(5000)
    );
    let mut play = Play::pages([
        listed(),
        open(vec![
            event("ADDED", "b", 8),
            bytes("hello\n"),
            bytes("{\"type\":\"ADDED\"}\n"),
            bytes("{\"type\":\"ADDED\",\"object\":null}\n"),
            bytes(
                "{\"type\":\"PAUSED\",\"object\":{\"metadata\":{\"name\":\"p\",\"namespace\":\"shop\"}}}\n",
            ),
            bytes("{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":5}}\n"),
            bytes(&long[..2000]),
            bytes(&long[2000..]),
            event("ADDED", "c", 9),
        ]),
    ]);
    play.until("complete").await;
    let told = play.until("changed c@9").await;
    let place = "skipped /apis/discovery.k8s.io/v1/namespaces/shop/endpointslices: ";
    let expected = [
        "changed b@8".to_owned(),
        format!("{place}an object: found no JSON at line 1 column 1, expected a watch event"),
        format!(
            "{place}an object: found a value of another type at line 1 column 16, expected a watch event"
        ),
        format!("{place}ADDED event: found null for an object"),
        format!(
            "{place}shop/p: found an event of type \"PAUSED\", expected ADDED, MODIFIED, DELETED, BOOKMARK or ERROR"
        ),
        format!("{place}a bookmark with a value of another type at line 1 column 13"),
        format!(
            "{place}shop/big: found a line of {} bytes, expected at most 4096 (max_object_bytes)",
            long.len() - 1
        ),
        "changed c@9".to_owned(),
    ];
    assert_eq!(told, expected);
    assert_eq!(play.control.meter().skipped(), 6);
}

#[tokio::test(start_paused = true)]
async fn accept_22_what_does_not_decode_is_handed_on_and_moves_the_version() {
    let odd = bytes(
        "{\"type\":\"ADDED\",\"object\":{\"ports\":\"x\",\"metadata\":{\"labels\":5,\"name\":\"odd\",\"resourceVersion\":\"8\",\"uid\":[]}}}\n",
    );
    let nothing =
        bytes("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"name\":\"n\",\"resourceVersion\":9}}}\n");
    let mut play = Play::pages([listed(), Reply::Body(vec![odd, nothing, Part::Wait(secs(30))])]);
    play.until("complete").await;
    assert_eq!(play.next().await, ["changed odd@8", "changed n@?"]);
    play.until("confirmed").await;
    play.within(secs(1)).await;
    assert_eq!(play.kinds()[2], "watch 8 30");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_has_nothing_but_another_page_proves_nothing() {
    let page = Reply::Body(vec![bytes("<html>\n</html>\n"), Part::Wait(secs(30))]);
    let mut play = Play::pages([listed(), page, quiet(5), list(9, "", &[])]);
    play.until("complete").await;
    let told = play.until("failed").await;
    assert!(
        told[2].contains("found nothing that is a watch event"),
        "{told:?}"
    );
    assert_eq!(play.next().await, ["confirmed"]);
    play.within(secs(1)).await;
    assert_eq!(
        play.kinds(),
        ["list", "watch 7 30", "watch 7 5", "check 7", "watch 7 30"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_last_line_without_its_end_counts_if_it_is_complete() {
    let line = |text: &str| bytes(text.trim_end());
    let Part::Bytes(whole) = event("ADDED", "b", 8) else {
        unreachable!()
    };
    let whole = String::from_utf8(whole.to_vec()).unwrap();
    let mut play = Play::pages([listed(), Reply::Body(vec![Part::Wait(secs(30)), line(&whole)])]);
    play.until("complete").await;
    assert_eq!(play.until("confirmed").await, ["changed b@8", "confirmed"]);

    let half = &whole.trim_end()[..whole.len() - 3];
    let mut play = Play::pages([listed(), Reply::Body(vec![Part::Wait(secs(30)), line(half)])]);
    play.until("complete").await;
    let told = play.next().await;
    assert!(told[0].contains("ended within a line"), "{told:?}");
    play.within(secs(1)).await;
    assert_eq!(play.kinds()[2], "watch 7 5");
}

#[tokio::test(start_paused = true)]
async fn every_request_is_counted_once_and_failed_ones_as_failed() {
    let mut play = Play::pages([
        refuse(500, "InternalError"),
        text("<html>"),
        listed(),
        Reply::Body(vec![event("ADDED", "b", 8), Part::Wait(secs(30))]),
        Reply::Body(vec![Part::Wait(secs(2)), Part::Reset]),
        Reply::Body(vec![error(500, "InternalError")]),
        quiet(5),
        list(9, "", &[]),
    ]);
    play.until("complete").await;
    play.until("failed").await;
    play.until("confirmed").await;
    play.within(secs(1)).await;
    let asked = play.asked().len() as u64;
    assert_eq!(asked, 9, "{:?}", play.kinds());
    let meter = |play: &Play| (play.control.meter().requests(), play.control.meter().failures());
    assert_eq!(meter(&play), (8, 4), "one is under way");
    play.feed.list_again();
    assert_eq!(meter(&play), (9, 4));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_lost_where_waiting_is_given_up_again_and_again() {
    let replies = || {
        [open(vec![
            Part::Wait(secs(1)),
            event("ADDED", "a", 1),
            Part::Wait(secs(1)),
            bytes("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"na"),
            Part::Wait(secs(1)),
            bytes("me\":\"b\",\"resourceVersion\":\"2\"}}}\n"),
            end_mark(7),
            Part::Wait(secs(1)),
            event("DELETED", "a", 8),
        ])]
    };
    let mut patient = Play::streaming(replies());
    let expected = patient.until("removed").await;

    let mut hasty = Play::streaming(replies());
    let mut told = Vec::new();
    for _ in 0..1000 {
        if let Ok(batch) = tokio::time::timeout(std::time::Duration::from_millis(7), hasty.feed.next()).await
        {
            told.extend(batch.iter().map(short));
        }
        if told.len() == expected.len() {
            break;
        }
    }
    assert_eq!(told, expected);
    assert_eq!(hasty.kinds(), ["stream 30"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_for_before_the_feed_is_polled() {
    let mut play = Play::pages([listed()]);
    tokio::time::sleep(secs(5)).await;
    assert!(play.asked().is_empty());
    let told = play.feed.next().await;
    assert!(matches!(told[..], [Told::Begin, Told::Listed(_), Told::Complete]));
    assert_eq!(play.asked()[0].0, secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_nothing_does_not_hold_up_the_thread() {
    let flood: Vec<Part> = (0..100_000).map(|_| bytes("\n")).collect();
    let mut play = Play::pages([listed(), open(flood)]);
    play.until("complete").await;
    let mut next = Box::pin(play.feed.next());
    let mut cx = Context::from_waker(Waker::noop());
    let mut polls = 0;
    while polls < 3 {
        assert!(next.as_mut().poll(&mut cx).is_pending());
        polls += 1;
    }
    drop(next);
    assert_eq!(play.kinds(), ["list", "watch 7 30"]);
    let told = play.within(secs(39)).await;
    assert!(told.is_empty(), "bytes are a sign of life: {told:?}");
}
