//! What holds of any stream of events.

use serde_json::Value;

use super::{Events, lines};

pub(crate) fn watch(bytes: &[u8]) {
    let whole = Events::default().take(bytes);
    for size in [1, 7] {
        let mut events = Events::default();
        let pieces: Vec<_> = bytes.chunks(size).flat_map(|chunk| events.take(chunk)).collect();
        assert_eq!(pieces, whole, "events depend on how the stream was cut");
    }
    for (kind, data) in whole {
        if let Ok(value) = serde_json::from_slice::<Value>(&data) {
            let text = lines(&kind, &value);
            let printable = text.lines().all(|line| !line.chars().any(char::is_control));
            assert!(printable, "a terminal would obey {text:?}");
        }
    }
}
