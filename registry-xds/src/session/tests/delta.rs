//! Transcripts of delta; the numbers are those of the rules that they show.

use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use tonic::Code;

use super::support::*;
use crate::session::Incoming;
use crate::session::Variant::Delta;

const NOTHING: [&str; 0] = [];

#[test]
fn rule_9_what_the_client_has_is_not_sent_again_and_what_is_gone_is_removed() {
    let set = World::default().set("c:web@1 c:api@2 c:new@1");
    let held = ["web@1", "api@1", "old@1"];
    for known in [true, false] {
        let mut stream = Stream::of(Delta, C);
        if known {
            stream.update(&set);
            assert_eq!(stream.resume(C, &[], &[], &held), ["c +api@2 +new@1 -old"]);
        } else {
            assert_eq!(stream.resume(C, &[], &[], &held), NOTHING);
            assert_eq!(stream.update(&set), ["c +api@2 +new@1 -old"]);
        }
        assert_eq!(stream.ack(C), NOTHING);
    }
}

#[test]
fn rule_9_the_first_wish_for_everything_is_answered_even_with_nothing() {
    let mut world = World::default();
    for (text, held) in [("", &[][..]), ("c:web@1 l:shared@1", &["web@1"])] {
        let mut stream = Stream::new(Delta);
        stream.update(&world.set(text));
        assert_eq!(stream.resume(C, &[], &[], held), ["c"]);
        assert_eq!(stream.ack(C), NOTHING);
    }
    let mut stream = Stream::of(Delta, C);
    stream.update(&world.set(""));
    assert_eq!(stream.send(Incoming::Delta(Box::default())).unwrap(), ["c"]);
    assert_eq!(stream.send(Incoming::Delta(Box::default())).unwrap(), NOTHING);
}

#[test]
fn rule_10_a_name_that_is_subscribed_to_is_sent_even_if_the_client_has_it() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.set("e:web@1 e:api@1"));
    assert_eq!(
        stream.resume(E, &["web", "api"], &[], &["web@1", "api@1"]),
        ["e +api@1 +web@1"]
    );
    assert_eq!(stream.ack(E), NOTHING);
    assert_eq!(stream.change(E, &["web"], &[]), ["e +web@1"]);
    assert_eq!(stream.update(&world.set("e:web@1 e:api@2")), ["e +api@2"]);
}

#[test]
fn rule_11_what_does_not_exist_is_denied_at_once_and_sent_when_it_appears() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.set("c:web@1"));
    assert_eq!(stream.change(E, &["none"], &[]), ["e !none -none"]);
    assert_eq!(stream.update(&world.set("c:web@1 c:api@1")), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@1 e:none@1")), ["e +none@1"]);
    assert_eq!(stream.ack(E), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@1")), ["e !none -none"]);
    assert_eq!(
        stream.change(E, &["web"], &[]),
        NOTHING,
        "its cluster is there, so will it be"
    );
    assert_eq!(stream.update(&world.set("c:web@1 e:web@1")), ["e +web@1"]);
}

#[test]
fn rule_11_nothing_is_denied_or_removed_while_a_registry_may_still_bring_it() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.uncertain("c:web@1"));
    assert_eq!(stream.resume(C, &[], &[], &["web@1", "api@1"]), ["c"]);
    stream.pass(Duration::from_secs(1));
    assert_eq!(stream.change(E, &["api"], &[]), NOTHING);
    assert_eq!(stream.update(&world.uncertain("c:web@2")), ["c +web@2"]);
    assert_eq!(stream.update(&world.set("c:web@2")), ["c -api", "e !api -api"]);
}

#[test]
fn rule_11_nothing_is_denied_that_a_registry_nobody_waits_for_may_bring() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.unwaited("c:web@1"));
    assert_eq!(stream.resume(C, &[], &[], &["web@1", "api@1"]), ["c"]);
    stream.pass(Duration::from_secs(1));
    assert_eq!(stream.update(&world.unwaited("c:web@1")), ["c -api"]);
    assert_eq!(stream.change(E, &["api"], &[]), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@1")), ["e !api -api"]);
}

#[test]
fn rule_12_names_beside_everything_and_names_never_asked_for() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.set("c:web@1 c:api@1"));
    assert_eq!(stream.change(C, &[], &[]), ["c +api@1 +web@1"]);
    assert_eq!(stream.change(C, &[], &["web", "phantom"]), NOTHING);
    assert_eq!(stream.change(C, &["web", "none"], &[]), ["c !none +web@1 -none"]);
    assert_eq!(
        stream.update(&world.set("c:web@1 c:api@2")),
        ["c +api@2"],
        "still everything"
    );
    assert_eq!(stream.change(C, &[], &["web", "none"]), ["c +web@1 -none"]);
    assert_eq!(stream.change(C, &["web"], &["*"]), ["c +web@1"]);
    assert_eq!(stream.update(&world.set("c:web@2 c:api@3")), ["c +web@2"]);
    assert_eq!(stream.change(C, &["*"], &[]), ["c +api@3"]);
    assert_eq!(stream.change(C, &[], &["web", "*"]), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@3 c:api@4")), NOTHING);
}

#[test]
fn rule_12_who_drops_its_last_name_wants_nothing() {
    for (type_, letter) in [(C, 'c'), (E, 'e'), (L, 'l'), (R, 'r')] {
        let mut world = World::default();
        let mut stream = Stream::new(Delta);
        let mut state = |web, api| world.set(&format!("{letter}:web@{web} {letter}:api@{api}"));
        stream.update(&state(1, 1));
        let all = format!("{letter} +api@1 +web@1");
        assert_eq!(stream.change(type_, &["web", "api"], &[]), [all]);
        assert_eq!(stream.change(type_, &[], &["web"]), NOTHING);
        assert_eq!(stream.update(&state(2, 1)), NOTHING);
        assert_eq!(stream.change(type_, &[], &["api"]), NOTHING);
        assert_eq!(stream.update(&state(2, 2)), NOTHING);
        // Only on its first request would no names be all names.
        assert_eq!(stream.change(type_, &[], &[]), NOTHING);
        assert_eq!(stream.update(&world.set("")), NOTHING);
    }
}

#[test]
fn rule_12_everything_asked_for_twice_is_sent_twice_and_goes_once() {
    let mut world = World::default();
    let mut stream = Stream::of(Delta, C);
    stream.update(&world.set("c:web@1 c:api@1"));
    assert_eq!(stream.change(C, &["*"], &[]), ["c +api@1 +web@1"]);
    let again = DeltaDiscoveryRequest {
        resource_names_subscribe: vec!["*".to_owned()],
        ..DeltaDiscoveryRequest::default()
    };
    stream
        .session
        .request(Incoming::Delta(Box::new(again)), stream.now)
        .unwrap();
    assert_eq!(stream.update(&world.set("c:web@1")), ["c +web@1 -api"]);
}

#[test]
fn rule_12_subscriptions_count_whatever_the_nonce() {
    let set = World::default().set("e:web@1 e:api@1");
    let mut stream = Stream::new(Delta);
    stream.update(&set);
    assert_eq!(stream.change(E, &["web"], &[]), ["e +web@1"]);
    let stale = DeltaDiscoveryRequest {
        type_url: E.url().to_owned(),
        resource_names_subscribe: vec![long(E, "api")],
        response_nonce: "0".to_owned(),
        ..DeltaDiscoveryRequest::default()
    };
    assert_eq!(
        stream.send(Incoming::Delta(Box::new(stale))).unwrap(),
        ["e +api@1"]
    );
    assert!(stream.session.channel(E).unwrap().pending);
}

#[test]
fn rule_13_endpoints_of_a_cluster_that_changed_are_sent_again() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.set("c:web@1 c:api@1 e:web@1 e:api@1"));
    stream.change(C, &[], &[]);
    stream.change(E, &["web", "api"], &[]);
    assert_eq!(
        stream.update(&world.set("c:web@2 c:api@1 e:web@1 e:api@1")),
        ["c +web@2", "e +web@1"]
    );
    stream.ack(E);
    stream.ack(C);
    stream.session.update(world.set("c:api@1 e:api@1"), stream.now);
    assert_eq!(
        stream.update(&world.set("c:web@2 c:api@1 e:web@1 e:api@1")),
        NOTHING
    );
}

#[test]
fn rule_13_so_are_those_of_clusters_that_changed_while_the_client_was_away() {
    let set = World::default().set("c:web@2 c:api@1 e:web@1 e:api@1");
    let held = ["web@1", "api@1"];
    let mut stream = Stream::new(Delta);
    stream.update(&set);
    assert_eq!(stream.resume(E, &["web", "api"], &[], &held), ["e +api@1 +web@1"]);
    assert_eq!(stream.resume(C, &[], &[], &held), ["c +web@2", "e +web@1"]);
    let mut stream = Stream::new(Delta);
    stream.update(&set);
    assert_eq!(stream.resume(C, &[], &[], &held), ["c +web@2"]);
    assert_eq!(stream.resume(E, &["web", "api"], &[], &held), ["e +api@1 +web@1"]);
}

#[test]
fn a_refusal_is_recorded_and_what_was_refused_is_sent_when_it_changes() {
    let mut world = World::default();
    let mut stream = Stream::new(Delta);
    stream.update(&world.set("c:web@1 c:api@1"));
    stream.change(C, &[], &[]);
    assert_eq!(stream.nack(C, "web is bad"), NOTHING);
    let channel = stream.session.channel(C).unwrap();
    assert_eq!((channel.nacks, channel.acked, channel.pending), (1, None, false));
    assert_eq!(channel.nack.unwrap().0, "web is bad");
    assert_eq!(stream.update(&world.set("c:web@1 c:api@2")), ["c +api@2"]);
    assert_eq!(stream.update(&world.set("c:web@2 c:api@2")), ["c +web@2"]);
    stream.ack(C);
    let channel = stream.session.channel(C).unwrap();
    assert_eq!(channel.acked, channel.sent);
}

#[test]
fn large_answers_are_cut_and_keep_their_order() {
    let large = |n: usize| format!("c:web{n}@{} e:web{n}@1", "x".repeat(300 << 10));
    let text: Vec<_> = (0..5).map(large).collect();
    let set = World::default().set(&text.join(" "));
    let mut stream = Stream::new(Delta);
    stream.change(C, &[], &[]);
    stream.change(E, &["web0", "web1"], &[]);
    stream.session.update(set, stream.now);
    let responses = stream.responses();
    let sizes: Vec<_> = (responses.iter())
        .map(|response| (response.type_, response.resources.len()))
        .collect();
    assert_eq!(sizes, [(C, 2), (C, 2), (C, 1), (E, 2)]);
}

#[test]
fn a_client_without_end_is_cut_off() {
    let exhausted = |stream: &mut Stream, request: DeltaDiscoveryRequest| {
        let error = stream.send(Incoming::Delta(Box::new(request))).unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted);
        assert!(error.message().len() < 100);
    };
    let large = |letter: &str| letter.repeat(33 << 20);
    let mut stream = Stream::of(Delta, E);
    for _ in 0..2 {
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: vec![large("a")],
            ..DeltaDiscoveryRequest::default()
        };
        assert_eq!(stream.send(Incoming::Delta(Box::new(request))).unwrap(), NOTHING);
    }
    let request = DeltaDiscoveryRequest {
        resource_names_subscribe: vec![large("b")],
        ..DeltaDiscoveryRequest::default()
    };
    exhausted(&mut stream, request);
    let request = DeltaDiscoveryRequest {
        initial_resource_versions: [large("a"), large("b")].map(|name| (name, String::new())).into(),
        ..DeltaDiscoveryRequest::default()
    };
    exhausted(&mut Stream::of(Delta, E), request);
}
