//! Transcripts of state of the world.

use super::support::*;
use crate::session::Variant::Sotw;

/// Rules 1 and 3.
#[test]
fn the_first_request_of_each_type_is_answered_from_the_set() {
    let set =
        World::default().set("c:web@1 c:api@1 e:web@1 e:api@1 r:http.15001@web,api l:shared@http.15001");
    let mut stream = Stream::new(Sotw);
    assert_eq!(stream.ask(C, &[]), [""; 0], "nothing is known yet");
    assert_eq!(stream.update(&set), ["c +api@1 +web@1"]);
    assert_eq!(stream.ask(E, &["web"]), ["e +web@1"]);
    assert_eq!(stream.ack(E), [""; 0]);
    assert_eq!(stream.ack(C), [""; 0]);
    assert_eq!(stream.ask(E, &["web", "api"]), ["e +api@1"]);
    assert_eq!(stream.ack(E), [""; 0]);
    assert_eq!(stream.ask(E, &["api"]), [""; 0]);
}
