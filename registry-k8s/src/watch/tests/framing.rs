//! Lines, wherever the network cuts them, and events.

use bytes::Bytes;

use super::script::name;
use crate::watch::event::{self, Happened};
use crate::watch::fuzzing;
use crate::watch::lines::{Line, Lines};

const STREAMS: [&str; 2] = [
    include_str!("../../../tests/fixtures/watchlist-stream.jsonl"),
    include_str!("../../../tests/fixtures/watch-stream-bookmark.jsonl"),
];

fn cut(chunks: &[&[u8]], most: usize) -> Vec<Line> {
    let mut lines = Lines::new(most);
    let mut found = Vec::new();
    for chunk in chunks {
        lines.push(Bytes::copy_from_slice(chunk));
        while let Some(line) = lines.next() {
            found.push(line);
        }
    }
    found.extend(lines.finish());
    found
}

fn expected(stream: &str) -> Vec<Line> {
    let lines = stream.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| Line::Whole(Bytes::copy_from_slice(line.as_bytes())))
        .collect()
}

#[test]
fn accept_23_a_stream_cut_at_any_byte_has_the_same_lines() {
    for stream in STREAMS {
        let expected = expected(stream);
        let crlf = stream.replace('\n', "\r\n\r\n\n");
        for stream in [stream, &crlf, stream.trim_end()] {
            let bytes = stream.as_bytes();
            for at in 0..=bytes.len() {
                let (a, b) = bytes.split_at(at);
                assert_eq!(cut(&[a, b], 1 << 20), expected, "{at}");
            }
            for size in [1, 2, 3, 7, 64, 1000] {
                let chunks: Vec<&[u8]> = bytes.chunks(size).collect();
                assert_eq!(cut(&chunks, 1 << 20), expected, "{size}");
            }
        }
    }
}

#[test]
fn accept_23_a_line_of_3_mib_is_put_together() {
    let long = "x".repeat(3 << 20);
    let text = format!("a\n{long}\nb\n");
    let chunks: Vec<&[u8]> = text.as_bytes().chunks(16 << 10).collect();
    let whole = |text: &str| Line::Whole(Bytes::copy_from_slice(text.as_bytes()));
    assert_eq!(cut(&chunks, 16 << 20), [whole("a"), whole(&long), whole("b")]);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_however_it_is_cut() {
    let long = "x".repeat(5000);
    let text = format!("a\n{long}\nb\n{long}");
    let start = Bytes::copy_from_slice(&long.as_bytes()[..512]);
    let whole = |text: &str| Line::Whole(Bytes::copy_from_slice(text.as_bytes()));
    let too_long = || Line::TooLong {
        length: 5000,
        start: start.clone(),
    };
    for size in [1, 2, 5, 513, 4999, 5000, 5001, 20_000] {
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(size).collect();
        assert_eq!(
            cut(&chunks, 4999),
            [whole("a"), too_long(), whole("b"), too_long()],
            "{size}"
        );
        let found = cut(&chunks, 5000);
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|line| matches!(line, Line::Whole(_))), "{size}");
    }
}

#[test]
fn a_line_within_a_chunk_is_a_part_of_it() {
    let chunk = Bytes::from_static(STREAMS[1].as_bytes());
    let mut lines = Lines::new(1 << 20);
    lines.push(chunk.clone());
    let mut count = 0;
    while let Some(Line::Whole(line)) = lines.next() {
        assert!(chunk.as_ptr_range().contains(&line.as_ptr()));
        let (Ok(Happened::Changed { object, .. }) | Ok(Happened::Removed { object, .. })) =
            event::parse(&line)
        else {
            continue;
        };
        assert!(chunk.as_ptr_range().contains(&object.as_ptr()));
        count += 1;
    }
    assert_eq!(count, 3);
}

#[test]
fn captured_events_are_what_they_are() {
    let read = |stream: &'static str| -> Vec<String> {
        let lines = stream.lines().map(|line| Bytes::from_static(line.as_bytes()));
        lines
            .map(|line| match event::parse(&line).unwrap() {
                Happened::Changed { object, version } => {
                    format!("changed {} {}", name(&object), version.unwrap())
                }
                Happened::Removed { object, version } => {
                    format!("removed {} {}", name(&object), version.unwrap())
                }
                Happened::Bookmark {
                    version,
                    ends_listing,
                } => format!("bookmark {} {ends_listing}", version.unwrap()),
                Happened::Error(_) => "error".to_owned(),
            })
            .collect()
    };
    assert_eq!(
        read(STREAMS[1]),
        [
            "changed lb-custom@18533 18533",
            "changed lb-custom@18534 18534",
            "removed lb-fqdn@18535 18535",
            "bookmark 18535 false"
        ]
    );
    let listed = read(STREAMS[0]);
    assert_eq!(listed.len(), 11);
    assert_eq!(listed[0], "changed db-m8mc4@18494 18494");
    assert_eq!(listed[10], "bookmark 18532 true");
}

#[test]
fn a_version_is_found_wherever_it_stands() {
    for (object, expected) in [
        (r#"{"metadata":{"resourceVersion":"5"}}"#, Some("5")),
        (
            r#"{"spec":{"metadata":{"resourceVersion":"1"}},"metadata":{"x":{"resourceVersion":"2"},"resourceVersion":"5","y":[]},"z":1}"#,
            Some("5"),
        ),
        (
            r#"{ "metad\u0061ta" : { "resourceVersi\u006fn" : "\u0035" } }"#,
            Some("5"),
        ),
        (r#"{"metadata":{"resourceVersion":5}}"#, None),
        (r#"{"metadata":{"resourceVersion":""}}"#, None),
        (r#"{"metadata":{"resourceVersion":null}}"#, None),
        (r#"{"metadata":null}"#, None),
        (r#"{"metadata":[]}"#, None),
        (r#"{"resourceVersion":"5"}"#, None),
        ("{}", None),
    ] {
        let line = Bytes::from(format!(r#"{{"object":{object},"type":"ADDED","more":1}}"#));
        let Ok(Happened::Changed {
            version,
            object: found,
        }) = event::parse(&line)
        else {
            panic!("{object}")
        };
        assert_eq!(version.as_deref(), expected, "{object}");
        assert_eq!(found, object.as_bytes());
    }
}

#[test]
fn nothing_of_a_line_is_shown_but_names() {
    for line in [
        r#""hunter2""#,
        r#"{"type":"ADDED","object":"hunter2"}"#,
        r#"{"type":{"hunter2":1},"object":{"data":"hunter2"}}"#,
        r#"{"type":"ADDED","object":{"metadata":{"name":"a/hunter2"},"data":"hunter2"}"#,
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":\"hunter2\"}}",
    ] {
        let error = event::parse(&Bytes::from_static(line.as_bytes())).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
    }
    let named = r#"{"type":"X","object":{"metadata":{"name": "web-1.x","namespace":"shop","#;
    assert_eq!(event::called(named.as_bytes()), "shop/web-1.x");
}

#[test]
fn what_a_fuzzer_would_try_first_holds() {
    for stream in STREAMS {
        for cut in [0_u8, 1, 7, 63, 255] {
            let mut input = vec![cut];
            input.extend_from_slice(stream.as_bytes());
            fuzzing::watch(&input);
            input.truncate(input.len() / 2);
            fuzzing::watch(&input);
        }
    }
    fuzzing::watch(
        b"\x05{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"resourceVersion\":\"1\"}}}\r\n\n{\xff}\nnull",
    );
    for page in [
        include_str!("../../../tests/fixtures/list-limit2.json"),
        "{\"items\":[1,null],\"metadata\":{\"resourceVersion\":\"1\"}}\n",
        "",
        "{\"items\":\u{7}}",
    ] {
        fuzzing::page(page.as_bytes());
    }
}

proptest::proptest! {
    #[test]
    fn bytes_of_any_kind_are_read_without_harm(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
        fuzzing::watch(&bytes);
        fuzzing::page(&bytes);
    }

    #[test]
    fn damaged_streams_are_read_without_harm(
        stream in 0..2_usize,
        damage in proptest::collection::vec((0..4000_usize, proptest::prelude::any::<u8>()), 0..20),
    ) {
        let mut bytes = STREAMS[stream].as_bytes().to_vec();
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        fuzzing::watch(&bytes);
    }
}
