//! For fuzz targets, and for tests that replay what they found: everything that a server sends, from its bytes to
//! objects. No part of the API.

use bytes::Bytes;
use registry_core::fuzzing::{check_error, check_message};

use super::event::{self, Happened};
use super::lines::{Line, Lines};
use super::page;

/// Lines of a fuzz input are limited to this, so that long ones come up.
const MOST: usize = 256;

/// The body of a watch. The first byte says how it is cut: however that is, the same lines come of it.
pub fn watch(bytes: &[u8]) {
    let Some((cut, body)) = bytes.split_first() else {
        return;
    };
    let whole = lines(body, body.len().max(1));
    assert_eq!(whole, lines(body, usize::from(*cut) + 1));
    for line in whole {
        match line {
            Line::Whole(line) => read(&line),
            Line::TooLong { length, start } => {
                assert!(length > MOST && start.len() <= length);
                check_message(&event::called(&start));
            }
        }
    }
}

/// A page of a list.
pub fn page(bytes: &[u8]) {
    let body = Bytes::copy_from_slice(bytes);
    match page::parse("GET /x", &body) {
        Ok(page) => {
            assert!(!page.version.is_empty());
            for object in page.objects {
                assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&object).is_ok());
            }
            let most = body.trim_ascii_end().len().saturating_sub(1);
            assert!(
                page::parse("GET /x", &body.slice(..most)).is_err(),
                "a beginning is taken for the whole"
            );
        }
        Err(refusal) => check_error(&refusal.error),
    }
}

fn lines(body: &[u8], size: usize) -> Vec<Line> {
    let mut lines = Lines::new(MOST);
    let mut found = Vec::new();
    for chunk in body.chunks(size) {
        lines.push(Bytes::copy_from_slice(chunk));
        while let Some(line) = lines.next() {
            found.push(line);
        }
    }
    found.extend(lines.finish());
    found
}

fn read(line: &Bytes) {
    assert!(!line.is_empty() && line.len() <= MOST && !line.contains(&b'\n'));
    match event::parse(line) {
        Ok(Happened::Changed { object, version } | Happened::Removed { object, version }) => {
            let value: serde_json::Value = match serde_json::from_slice(&object) {
                Ok(value) => value,
                // Deeper than values may be, which objects of ours are not.
                Err(_) => return,
            };
            assert!(value.is_object());
            // Of keys that come twice, the first counts here and the last there.
            if let Some(version) = version {
                assert!(line.len() >= version.len());
            }
        }
        Ok(Happened::Bookmark { .. } | Happened::Error(_)) => {}
        Err(what) => check_message(&what),
    }
}
