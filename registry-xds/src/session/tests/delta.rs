//! Transcripts of delta.

use super::support::*;
use crate::session::Variant::Delta;

/// Rule 9.
#[test]
fn what_the_client_has_is_not_sent_again_and_what_is_gone_is_removed() {
    let set = World::default().set("c:web@1 c:api@2");
    let mut stream = Stream::of(Delta, C);
    stream.update(&set);
    assert_eq!(
        stream.resume(C, &[], &[], &["web@1", "api@1", "old@1"]),
        ["c +api@2 -old"]
    );
    assert_eq!(stream.ack(C), [""; 0]);
}
