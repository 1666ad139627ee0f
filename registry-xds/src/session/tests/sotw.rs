//! Transcripts of state of the world; the numbers are those of the rules that they show.

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use tonic::Code;

use super::support::*;
use crate::session::Incoming;
use crate::session::Variant::Sotw;

const NOTHING: [&str; 0] = [];

const ALL: &str = "c:web@1 c:api@1 e:web@1 e:api@1 r:http.15001@web,api l:shared@http.15001";

#[test]
fn rule_1_the_first_request_of_each_type_is_answered_whatever_version_it_has() {
    let set = World::default().set(ALL);
    let mut stream = Stream::new(Sotw);
    assert_eq!(stream.ask(C, &[]), NOTHING, "nothing is known yet");
    assert_eq!(stream.update(&set), ["c +api@1 +web@1"]);
    for (type_, names, answer) in [
        (C, &[][..], "c +api@1 +web@1"),
        (E, &["web"], "e +web@1"),
        (L, &[], "l +shared@http.15001"),
        (R, &["http.15001"], "r +http.15001@web,api"),
    ] {
        for version in [set.version(type_), "7".to_owned()] {
            let mut stream = Stream::of(Sotw, type_);
            stream.update(&set);
            let request = DiscoveryRequest {
                version_info: version,
                // Of another stream: there is no other one that it could be stale beside.
                response_nonce: "5".to_owned(),
                ..stream.sotw(type_, names)
            };
            assert_eq!(stream.send(Incoming::Sotw(Box::new(request))).unwrap(), [answer]);
            assert_eq!(stream.ask(type_, names), NOTHING);
        }
    }
}

#[test]
fn rule_2_a_request_with_an_old_nonce_is_dropped_with_its_names() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set(ALL));
    stream.ask(E, &["web"]);
    let stale = stream.sotw(E, &["web", "api"]);
    assert_eq!(
        stream.update(&world.set(&ALL.replace("e:web@1", "e:web@2"))),
        ["e +web@2"]
    );
    assert_eq!(stream.send(Incoming::Sotw(Box::new(stale))).unwrap(), NOTHING);
    let channel = stream.session.channel(E).unwrap();
    assert_eq!((channel.names, channel.pending), (1, true));
    assert_eq!(stream.ask(E, &["web", "api"]), ["e +api@1"]);
}

#[test]
fn rule_2_a_name_that_went_with_an_old_nonce_and_came_again_is_sent() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set(ALL));
    stream.ask(E, &["web", "api"]);
    // On their way, while the next response is on its own.
    let [fewer, again] = [&["api"][..], &["web", "api"]].map(|names| stream.sotw(E, names));
    let changed = world.set(&ALL.replace("e:api@1", "e:api@2"));
    assert_eq!(stream.update(&changed), ["e +api@2"]);
    for stale in [fewer, again] {
        assert_eq!(stream.send(Incoming::Sotw(Box::new(stale))).unwrap(), NOTHING);
    }
    assert_eq!(stream.ask(E, &["web", "api"]), ["e +web@1"]);
    assert_eq!(stream.ask(E, &["web", "api"]), NOTHING);
}

#[test]
fn rule_1_who_had_some_endpoints_and_now_wants_all_gets_all() {
    let set = World::default().set(ALL);
    for known in [true, false] {
        let mut stream = Stream::new(Sotw);
        let request = DiscoveryRequest {
            version_info: set.version(E),
            ..stream.sotw(E, &["*"])
        };
        if known {
            stream.update(&set);
        }
        let mut answer = stream.send(Incoming::Sotw(Box::new(request))).unwrap();
        answer.extend(stream.update(&set));
        assert_eq!(answer, ["e +api@1 +web@1"]);
    }
}

#[test]
fn rule_2_a_refusal_is_recorded_and_nothing_is_sent_until_there_is_a_change() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("c:web@1 c:api@1"));
    stream.ask(C, &[]);
    stream.ack(C);
    let good = stream.session.channel(C).unwrap().sent;
    assert_eq!(
        stream.update(&world.set("c:web@bad c:api@1")),
        ["c +api@1 +web@bad"]
    );
    assert_eq!(stream.nack(C, &"no ".repeat(1000)), NOTHING);
    assert_eq!(stream.nack(C, "no"), NOTHING);
    let channel = stream.session.channel(C).unwrap();
    assert_eq!((channel.nacks, channel.responses, channel.pending), (2, 2, false));
    assert_eq!(channel.acked, good);
    assert_eq!(channel.nack, Some(("no".to_owned(), channel.sent.unwrap())));
    assert_eq!(stream.update(&world.set("c:web@3 c:api@1")), ["c +api@1 +web@3"]);
    assert_eq!(stream.nack(C, &"no ".repeat(1000)), NOTHING);
    let (message, _) = stream.session.channel(C).unwrap().nack.unwrap();
    assert_eq!(message.len(), 1024);
}

#[test]
fn rule_3_new_names_are_sent_though_unchanged_and_dropped_ones_are_met_with_silence() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set(ALL));
    assert_eq!(stream.ask(E, &["web"]), ["e +web@1"]);
    assert_eq!(stream.ask(E, &["web", "api"]), ["e +api@1"]);
    assert_eq!(stream.ask(E, &["api"]), NOTHING);
    assert_eq!(
        stream.update(&world.set(&ALL.replace("e:web@1", "e:web@2"))),
        NOTHING
    );
    assert_eq!(stream.ask(E, &["api", "web"]), ["e +web@2"]);
}

#[test]
fn rule_4_asking_again_with_an_acknowledged_nonce_is_answered_and_acknowledging_is_not() {
    let set = World::default().set(ALL);
    let mut stream = Stream::new(Sotw);
    stream.update(&set);
    stream.ask(E, &["web", "api"]);
    assert_eq!(stream.ack(E), NOTHING);
    for _ in 0..3 {
        assert_eq!(stream.ack(E), ["e +api@1 +web@1"], "it was acknowledged before");
        assert_eq!(stream.ack(E), NOTHING);
    }
    stream.ask(C, &[]);
    assert_eq!(stream.ack(C), NOTHING);
    assert_eq!(stream.ack(C), NOTHING, "all of everything is never lacking");
}

#[test]
fn rule_5_clusters_and_listeners_are_stated_in_full_and_routes_and_endpoints_as_they_change() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("c:web@1 c:api@1 e:web@1 e:api@1"));
    assert_eq!(stream.ask(C, &[]), ["c +api@1 +web@1"]);
    assert_eq!(stream.ask(E, &["api", "web"]), ["e +api@1 +web@1"]);
    stream.ack(C);
    stream.ack(E);
    assert_eq!(
        stream.update(&world.set("c:web@1 c:api@1 e:web@1 e:api@2")),
        ["e +api@2"]
    );
    assert_eq!(
        stream.update(&world.set("c:web@2 c:api@1 e:web@1 e:api@2")),
        ["c +api@1 +web@2", "e +web@1"]
    );
    stream.ack(C);
    assert_eq!(stream.update(&world.set("c:web@2 e:web@1")), ["c +web@2"]);
    stream.ack(C);
    assert_eq!(stream.ask(E, &["web"]), NOTHING);
    assert_eq!(
        stream.update(&world.set("")),
        ["c"],
        "an empty answer deletes all"
    );
}

#[test]
fn rule_5_of_clusters_and_listeners_that_are_named_each_answer_has_all() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("l:web@1 l:api@1 l:other@1"));
    assert_eq!(stream.ask(L, &["web"]), ["l +web@1"]);
    assert_eq!(stream.ask(L, &["web", "api"]), ["l +api@1 +web@1"]);
    assert_eq!(stream.ask(L, &["web", "api"]), NOTHING);
    assert_eq!(stream.update(&world.set("l:web@1 l:api@1 l:other@2")), NOTHING);
    assert_eq!(
        stream.update(&world.set("l:web@1 l:api@2 l:other@2")),
        ["l +api@2 +web@1"]
    );
    stream.ask(L, &["web", "api"]);
    assert_eq!(stream.update(&world.set("l:api@2")), ["l !web +api@2"]);
}

#[test]
fn rule_6_no_names_are_all_names_until_the_first_name() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("c:web@1 c:api@1"));
    assert_eq!(stream.ask(C, &[]), ["c +api@1 +web@1"]);
    assert_eq!(stream.ask(C, &[]), NOTHING);
    assert_eq!(stream.ask(C, &["web"]), ["c +web@1"]);
    assert_eq!(stream.ask(C, &[]), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@2 c:api@1")), NOTHING);
    assert_eq!(stream.ask(C, &["*", "none"]), ["c !none +api@1 +web@2"]);
    assert_eq!(stream.update(&world.set("c:web@2 c:api@2")), ["c +api@2 +web@2"]);
    assert_eq!(stream.ask(C, &["*", "none"]), NOTHING);
    assert_eq!(stream.ask(C, &["none"]), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@2 c:api@3")), NOTHING);
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("c:web@1 e:web@1"));
    assert_eq!(stream.ask(E, &[]), NOTHING, "only clusters and listeners know it");
    assert_eq!(stream.ask(E, &["*"]), ["e +web@1"]);
}

#[test]
fn a_name_beside_everything_that_went_before_it_was_denied_leaves_nothing_due() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("c:web@1 l:web@1"));
    assert_eq!(stream.ask(C, &[]), ["c +web@1"]);
    assert_eq!(stream.ack(C), NOTHING);
    assert_eq!(stream.ask(L, &["*"]), ["l +web@1"]);
    assert_eq!(stream.update(&world.set("c:web@2 l:web@1")), ["c +web@2"]);
    assert_eq!(
        stream.ask(L, &["*", "none"]),
        NOTHING,
        "listeners wait for clusters"
    );
    assert_eq!(stream.ask(L, &["*"]), NOTHING);
    assert_eq!(stream.ack(C), NOTHING);
    assert!(!stream.session.subscription(L).unwrap().is_due());
}

#[test]
fn rule_7_versions_are_functions_of_content_and_nonces_are_never_used_twice() {
    let (mut here, mut there) = (World::default(), World::default());
    there.set("c:web@2 c:gone@1 e:web@2");
    let (here, there) = (here.set(ALL), there.set(ALL));
    let mut nonces = Vec::new();
    let [first, second] = [here, there].map(|set| {
        let mut stream = Stream::new(Sotw);
        stream.session.update(set, stream.now);
        for (type_, names) in [(C, vec![]), (E, vec!["web"]), (L, vec![])] {
            let request = Incoming::Sotw(Box::new(stream.sotw(type_, &names)));
            stream.session.request(request, stream.now).unwrap();
        }
        let all = stream.responses();
        nonces = all.iter().map(|response| response.nonce.clone()).collect();
        all.into_iter()
            .map(|response| response.version)
            .collect::<Vec<_>>()
    });
    assert_eq!(first, second);
    nonces.sort();
    nonces.dedup();
    assert_eq!(nonces.len(), 3);
}

#[test]
fn a_name_that_does_not_exist_is_denied_at_once_and_sent_when_it_appears() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("l:web@1 c:web@1 e:web@1"));
    assert_eq!(stream.ask(L, &["web", "none"]), ["l !none +web@1"]);
    assert_eq!(stream.ack(L), NOTHING);
    assert_eq!(stream.ask(R, &["none"]), ["r !none"]);
    assert_eq!(stream.ask(R, &["none"]), NOTHING);
    stream
        .session
        .update(world.set("l:web@1 c:web@1 e:web@1 e:api@1"), stream.now);
    assert_eq!(stream.out(), NOTHING, "and never again");
    let request = stream.sotw(E, &["none"]);
    stream
        .session
        .request(Incoming::Sotw(Box::new(request)), stream.now)
        .unwrap();
    let responses = stream.responses();
    let [(name, message)] = &responses[0].errors[..] else {
        panic!("{responses:?}");
    };
    assert_eq!(short(E, name), "none");
    assert!(message.starts_with("no service none.mesh:"), "{message}");
    assert_eq!(
        stream.update(&world.set("l:web@1 l:none@1 r:none@1 c:web@1 e:none@1")),
        ["e +none@1", "l +none@1 +web@1", "r +none@1"]
    );
}

#[test]
fn types_that_are_not_served_are_never_answered_and_a_missing_type_ends_the_stream() {
    let set = World::default().set(ALL);
    let mut stream = Stream::new(Sotw);
    stream.update(&set);
    let secrets = DiscoveryRequest {
        type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".to_owned(),
        ..DiscoveryRequest::default()
    };
    assert_eq!(
        stream.send(Incoming::Sotw(Box::new(secrets.clone()))).unwrap(),
        NOTHING
    );
    let untyped = || Incoming::Sotw(Box::default());
    assert_eq!(stream.send(untyped()).unwrap_err().code(), Code::InvalidArgument);

    let mut stream = Stream::of(Sotw, C);
    stream.update(&set);
    assert_eq!(stream.send(untyped()).unwrap(), ["c +api@1 +web@1"]);
    let other = stream.send(Incoming::Sotw(Box::new(secrets)));
    assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);
    let delta = stream.send(Incoming::Delta(Box::default()));
    assert_eq!(delta.unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn a_listing_waits_for_all_registries_and_a_name_only_for_those_that_may_own_it() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.partial("c:web@1 e:web@1 l:shared@1"));
    assert_eq!(stream.ask(C, &[]), NOTHING);
    assert_eq!(stream.ask(L, &[]), NOTHING);
    assert_eq!(stream.ask(E, &["web", "none"]), ["e !none +web@1"]);
    assert_eq!(
        stream.update(&world.set("c:web@1 e:web@1 l:shared@2")),
        ["c +web@1", "e +web@1", "l +shared@2"]
    );

    // Known to have nothing yet: what is missing in the answer was not there before.
    let mut stream = Stream::new(Sotw);
    stream.update(&world.uncertain("l:web@1"));
    assert_eq!(stream.ask(L, &["web", "none"]), ["l +web@1"]);
    assert_eq!(stream.ack(L), NOTHING);
    assert_eq!(stream.update(&world.uncertain("l:web@2")), ["l +web@2"]);
    assert_eq!(stream.update(&world.set("l:web@2")), ["l !none +web@2"]);

    // It may have had the other one.
    let mut stream = Stream::new(Sotw);
    stream.update(&world.uncertain("l:web@1"));
    let returning = DiscoveryRequest {
        version_info: "1".to_owned(),
        ..stream.sotw(L, &["web", "other"])
    };
    assert_eq!(stream.send(Incoming::Sotw(Box::new(returning))).unwrap(), NOTHING);
    stream.pass(std::time::Duration::from_secs(1));
    assert_eq!(
        stream.update(&world.set("l:web@1 l:other@1")),
        ["l +other@1 +web@1"]
    );
}

#[test]
fn what_is_in_doubt_stays_in_the_answers() {
    let mut world = World::default();
    let mut stream = Stream::new(Sotw);
    stream.update(&world.set("c:web@1 c:api@1"));
    stream.ask(C, &[]);
    stream.ack(C);
    assert_eq!(stream.update(&world.uncertain("c:web@2")), ["c +api@1 +web@2"]);
    assert_eq!(stream.ack(C), NOTHING);
    assert_eq!(stream.update(&world.set("c:web@2")), ["c +web@2"]);
}
