//! Make before break, on both protocols: what goes when, and what waits for what. Rules 14 and 15.

use std::time::Duration;

use super::support::*;
use crate::resource::ResourceType;
use crate::session::Variant::{self, Delta, Sotw};

const NOTHING: [&str; 0] = [];
const SHARED: &str = "http.15001";

/// A set with these services, `name@cluster/endpoints`, a route to each of them, and the listener in front.
fn services(text: &str) -> String {
    let mut words = vec![format!("l:outbound_127.0.0.1_15001@{SHARED}")];
    let mut routes = Vec::new();
    for service in text.split_whitespace() {
        let (name, content) = service.split_once('@').unwrap();
        let (cluster, endpoints) = content.split_once('/').unwrap();
        words.push(format!("c:{name}@{cluster} e:{name}@{endpoints}"));
        routes.push(name);
    }
    words.push(format!("r:{SHARED}@{}", routes.join(",")));
    words.join(" ")
}

/// An Envoy that has all of that.
fn envoy(variant: Variant, world: &mut World, text: &str) -> Stream {
    let mut stream = Stream::new(variant);
    stream.update(&world.set(&services(text)));
    let names: Vec<_> = text
        .split_whitespace()
        .map(|word| word.split_once('@').unwrap().0)
        .collect();
    for (type_, names) in [(C, vec![]), (E, names), (L, vec![]), (R, vec![SHARED])] {
        assert_eq!(stream.subscribe(type_, &names).len(), 1);
        assert_eq!(stream.ack(type_), NOTHING);
    }
    stream
}

/// What a response with clusters looks like: in full, or what changes.
fn either<'a>(variant: Variant, sotw: &'a str, delta: &'a str) -> [&'a str; 1] {
    match variant {
        Sotw => [sotw],
        Delta => [delta],
    }
}

#[test]
fn routes_to_a_new_service_wait_until_its_cluster_is_acknowledged() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1");
        let clusters = stream.update(&world.set(&services("web@1/1 api@1/1")));
        assert_eq!(clusters, either(variant, "c +api@1 +web@1", "c +api@1"));
        // Rule 14: the acknowledgement comes once the endpoints are there.
        assert_eq!(stream.subscribe_more(E, &["web", "api"], &["api"]), ["e +api@1"]);
        assert_eq!(stream.ack(E), NOTHING);
        assert_eq!(stream.ack(C), ["r +http.15001@web,api"]);
        assert_eq!(stream.ack(R), NOTHING);
        assert_eq!(stream.session.deadline(), None);
    }
}

#[test]
fn a_removed_service_keeps_cluster_and_endpoints_until_routes_without_it_are_acknowledged() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1 api@1/1");
        assert_eq!(
            stream.update(&world.set(&services("web@1/1"))),
            ["r +http.15001@web"]
        );
        assert_eq!(stream.out(), NOTHING);
        assert_eq!(stream.ack(R), either(variant, "c +web@1", "c -api"));
        // Envoy unsubscribes by itself; one that does not is told at last.
        assert_eq!(stream.ack(C), either(variant, "e !api", "e !api -api"));
    }
}

#[test]
fn a_union_ends_when_routes_are_acknowledged() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "old@1/1");
        let clusters = stream.update(&world.set(&services("new@1/1")));
        assert_eq!(clusters, either(variant, "c +new@1 +old@1", "c +new@1"));
        assert_eq!(stream.ack(C), ["r +http.15001@new"]);
        assert_eq!(stream.ack(R), either(variant, "c +new@1", "c -old"));
    }
}

#[test]
fn two_changes_in_flight_are_one_and_the_newest_is_sent() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1");
        stream.update(&world.set(&services("web@1/1 a@1/1")));
        let clusters = stream.update(&world.set(&services("web@1/1 a@1/1 b@1/1")));
        assert_eq!(clusters, either(variant, "c +a@1 +b@1 +web@1", "c +b@1"));
        assert_eq!(stream.ack(C), ["r +http.15001@web,a,b"]);
        // One that is taken back before anything was sent is never heard of.
        stream.ack(R);
        stream
            .session
            .update(world.set(&services("web@1/1 a@1/1 b@1/1 c@1/1")), stream.now);
        assert_eq!(
            stream.update(&world.set(&services("web@1/1 a@1/1 b@1/1"))),
            NOTHING
        );
    }
}

#[test]
fn a_service_that_is_back_before_it_went_never_went() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "api@1/1 web@1/1");
        assert_eq!(
            stream.update(&world.set(&services("web@1/1"))),
            ["r +http.15001@web"]
        );
        let back = stream.update(&world.set(&services("api@1/1 web@1/1")));
        assert_eq!(back, ["r +http.15001@api,web"]);
        assert_eq!(stream.ack(R), NOTHING);
        assert_eq!(stream.session.deadline(), None);
    }
}

#[test]
fn a_refusal_lets_what_waits_go_on() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1 api@1/1");
        stream.update(&world.set(&services("web@bad/1")));
        assert_eq!(stream.nack(C, "no"), ["r +http.15001@web"]);
        assert_eq!(stream.nack(R, "no"), either(variant, "c +web@bad", "c -api"));
    }
}

#[test]
fn nothing_waits_longer_than_20_seconds() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1");
        let start = stream.now;
        stream.update(&world.set(&services("web@1/1 new@1/1")));
        let patience = Duration::from_secs(20);
        assert_eq!(stream.session.deadline(), Some(start + patience));
        stream.pass(patience / 2);
        // More clusters do not put it off.
        stream.update(&world.set(&services("web@1/1 new@2/1")));
        assert_eq!(stream.session.deadline(), Some(start + patience));
        stream.now = start + patience - Duration::from_millis(1);
        assert_eq!(stream.out(), NOTHING);
        stream.now = start + patience;
        assert_eq!(stream.out(), ["r +http.15001@web,new"]);

        stream.update(&world.set(&services("web@1/1")));
        stream.pass(patience);
        assert_eq!(stream.out(), either(variant, "c +web@1", "c -new"));
    }
}

#[test]
fn endpoints_flow_whatever_else_is_under_way() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1 api@1/1");
        stream.update(&world.set(&services("web@1/1 new@1/1")));
        for version in 2..5 {
            let set = world.set(&services(&format!("web@1/{version} new@1/1")));
            assert_eq!(stream.update(&set), [format!("e +web@{version}")]);
        }
    }
}

#[test]
fn a_listener_goes_before_its_cluster() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = Stream::new(variant);
        stream.update(&world.set("c:tcp@1 e:tcp@1 l:outbound_10.0.0.1_80@tcp"));
        stream.subscribe(C, &[]);
        stream.ack(C);
        stream.subscribe(L, &[]);
        stream.ack(L);
        let gone = stream.update(&world.set(""));
        assert_eq!(gone, either(variant, "l", "l -outbound_10.0.0.1_80"));
        assert_eq!(stream.ack(L), either(variant, "c", "c -tcp"));
    }
}

#[test]
fn types_that_were_never_asked_for_are_not_waited_for() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = Stream::new(variant);
        stream.update(&world.set(&services("web@1/1 api@1/1")));
        stream.subscribe(C, &[]);
        let next = stream.update(&world.set(&services("web@2/1")));
        assert_eq!(next, either(variant, "c +web@2", "c +web@2 -api"));

        let mut stream = Stream::new(variant);
        stream.update(&world.set(&services("web@1/1")));
        assert_eq!(stream.subscribe(R, &[SHARED]), ["r +http.15001@web"]);
        assert_eq!(
            stream.update(&world.set(&services("web@1/1 api@1/1"))),
            ["r +http.15001@web,api"]
        );
    }
}

#[test]
fn clusters_stay_while_routes_without_them_are_in_doubt() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1 api@1/1");
        let partial = world.partial(&services("web@1/2"));
        assert_eq!(stream.update(&partial), ["e +web@2"]);
        assert_eq!(
            stream.update(&world.set(&services("web@1/2"))),
            ["r +http.15001@web"]
        );
        assert_eq!(stream.ack(R), either(variant, "c +web@1", "c -api"));
    }
}

#[test]
fn a_registry_that_came_later_and_is_silent_holds_up_what_it_cannot_have_lost_and_no_more() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = envoy(variant, &mut world, "web@1/1");
        let clusters = stream.update(&world.uncertain(&services("web@1/1 api@1/1")));
        assert_eq!(clusters, either(variant, "c +api@1 +web@1", "c +api@1"));
        assert_eq!(stream.ack(C), ["r +http.15001@web,api"]);
        stream.ack(R);
        // The other registry may have `api`: it stays, and so do all routes until that is known.
        assert_eq!(stream.update(&world.uncertain(&services("web@1/1"))), NOTHING);
        let more = world.uncertain(&services("web@1/1 new@1/1"));
        let clusters = stream.update(&more);
        assert_eq!(clusters, either(variant, "c +api@1 +new@1 +web@1", "c +new@1"));
        assert_eq!(stream.ack(C), NOTHING);
        let known = stream.update(&world.set(&services("web@1/1 new@1/1")));
        assert_eq!(known, ["r +http.15001@web,new"]);
        assert_eq!(stream.ack(R), either(variant, "c +new@1 +web@1", "c -api"));
    }
}

#[test]
fn an_envoy_that_starts_gets_no_listeners_before_all_registries_spoke() {
    for variant in [Sotw, Delta] {
        let mut world = World::default();
        let mut stream = Stream::new(variant);
        stream.update(&world.partial(&services("web@1/1")));
        assert_eq!(stream.subscribe(L, &[]), NOTHING);
        assert_eq!(stream.subscribe(R, &[SHARED]), NOTHING);
        assert_eq!(
            stream.update(&world.set(&services("web@1/1"))),
            ["l +outbound_127.0.0.1_15001@http.15001", "r +http.15001@web"]
        );
    }
}

/// All orders of four.
fn orders() -> Vec<[ResourceType; 4]> {
    let mut orders = vec![];
    for a in ResourceType::ALL {
        for b in ResourceType::ALL.into_iter().filter(|b| *b != a) {
            for c in ResourceType::ALL.into_iter().filter(|c| *c != a && *c != b) {
                let d = ResourceType::ALL
                    .into_iter()
                    .find(|d| ![a, b, c].contains(d))
                    .unwrap();
                orders.push([a, b, c, d]);
            }
        }
    }
    orders
}

/// Rule 15. The client has `web` and `old`; now there are `web`, changed, and `new`.
#[test]
fn who_comes_back_is_brought_up_to_date_in_order_whatever_it_asks_for_first() {
    assert_eq!(orders().len(), 24);
    for order in orders() {
        let mut stream = Stream::new(Delta);
        stream.update(&World::default().set(&services("web@2/1 new@1/1")));
        let mut seen = Vec::new();
        for type_ in order {
            seen.extend(match type_ {
                C => stream.resume(C, &[], &[], &["web@1", "old@1"]),
                E => stream.resume(E, &["web", "old"], &[], &["web@1", "old@1"]),
                L => stream.resume(L, &[], &[], &["outbound_127.0.0.1_15001@http.15001"]),
                R => stream.resume(R, &[SHARED], &[], &["http.15001@web,old"]),
            });
        }
        let at = |text: &str| seen.iter().position(|seen| seen == text);
        assert!(
            at("c +new@1 +web@2") < seen.iter().rposition(|seen| seen == "e +web@1"),
            "{order:?} {seen:?}"
        );
        assert!(
            seen.iter()
                .all(|seen| !seen.starts_with('r') && !seen.contains("-old")),
            "{order:?} {seen:?}"
        );
        stream.change(E, &["new"], &[]);
        let routes = stream.ack(C);
        assert_eq!(routes.last().unwrap(), "r +http.15001@web,new", "{order:?}");
        stream.ack(L);
        assert_eq!(stream.ack(R), NOTHING, "{order:?}");
        stream.pass(Duration::from_secs(1));
        assert_eq!(stream.out(), ["c -old"], "{order:?}");
        assert_eq!(stream.change(E, &[], &["old"]), NOTHING);
        assert_eq!(stream.ack(C), NOTHING);
    }
}

/// Rule 15, where the client states nothing but versions.
#[test]
fn who_comes_back_with_state_of_the_world_gets_routes_after_clusters() {
    for order in orders() {
        let mut stream = Stream::new(Sotw);
        stream.update(&World::default().set(&services("web@2/1 new@1/1")));
        let mut seen = Vec::new();
        for type_ in order {
            let names: &[&str] = match type_ {
                E => &["web"],
                R => &[SHARED],
                C | L => &[],
            };
            seen.extend(stream.come_back(type_, names));
        }
        let [clusters, endpoints] =
            ["c +new@1 +web@2", "e +web@1"].map(|text| seen.iter().rposition(|seen| seen == text));
        assert!(clusters < endpoints, "{order:?} {seen:?}");
        assert!(
            seen.iter().all(|seen| !seen.starts_with(['l', 'r'])),
            "{order:?} {seen:?}"
        );
        assert_eq!(
            stream.ask(C, &[]),
            ["l +outbound_127.0.0.1_15001@http.15001", "r +http.15001@web,new"],
            "{order:?}"
        );
    }
}

/// Rule 15. Nobody knows any more what `old` was, so it cannot stay in an answer that states all clusters; and routes of the
/// client still lead to it.
#[test]
fn who_comes_back_with_state_of_the_world_and_lacks_nothing_loses_clusters_last() {
    for order in orders() {
        let mut stream = Stream::new(Sotw);
        stream.update(&World::default().set(&services("web@2/1")));
        let mut seen = Vec::new();
        for type_ in order {
            let names: &[&str] = match type_ {
                E => &["web", "old"],
                R => &[SHARED],
                C | L => &[],
            };
            seen.extend(stream.come_back(type_, names));
        }
        let at = |seen: &[String], text: &str| seen.iter().position(|seen| seen.starts_with(text));
        assert_eq!(at(&seen, "c "), None, "{order:?} {seen:?}");
        assert!(
            seen.contains(&"r +http.15001@web".to_owned()),
            "{order:?} {seen:?}"
        );
        assert_eq!(stream.ack(L), NOTHING, "{order:?}");
        assert_eq!(stream.ack(R), ["c +web@2", "e +web@1"], "{order:?}");
        assert_eq!(stream.ack(C), NOTHING, "{order:?}");
    }
}

/// As above, where the client does not answer to its routes.
#[test]
fn clusters_that_go_last_wait_for_a_client_no_longer_than_its_patience() {
    let mut stream = Stream::new(Sotw);
    stream.update(&World::default().set(&services("web@2/1")));
    for (type_, names) in [(C, &[][..]), (E, &["web", "old"]), (L, &[]), (R, &[SHARED])] {
        stream.come_back(type_, names);
    }
    stream.pass(Duration::from_secs(19));
    assert_eq!(stream.out(), NOTHING);
    stream.pass(Duration::from_secs(1));
    assert_eq!(stream.out(), ["c +web@2", "e +web@1"]);
}

/// As above, where the server had nothing to say for longer than that: no set at all, or one that decides nothing.
#[test]
fn patience_for_a_client_that_comes_back_begins_with_what_it_can_be_answered() {
    for doubted in [false, true] {
        let mut world = World::default();
        let mut stream = Stream::new(Sotw);
        if doubted {
            stream.update(&world.uncertain(""));
        }
        for (type_, name) in [(C, "old"), (E, "old"), (L, "web"), (R, "grpc|web")] {
            assert_eq!(stream.come_back(type_, &[name]), NOTHING);
        }
        stream.pass(Duration::from_secs(60));
        assert_eq!(stream.out(), NOTHING);
        let mut seen = stream.update(&world.set("c:new@1 e:new@1 l:web@grpc|web r:grpc|web@new"));
        seen.sort();
        assert_eq!(
            seen,
            ["e !old", "l +web@grpc|web", "r +grpc|web@new"],
            "{doubted}"
        );
        stream.pass(Duration::from_secs(19));
        assert_eq!(stream.out(), NOTHING, "{doubted}");
        let deadline = stream.session.deadline();
        assert_eq!(deadline, Some(stream.now + Duration::from_secs(1)), "{doubted}");
        stream.pass(Duration::from_secs(1));
        assert_eq!(stream.out(), ["c !old"], "{doubted}");
    }
}

#[test]
fn who_comes_back_without_clusters_waits_a_second_at_most() {
    let mut stream = Stream::new(Sotw);
    stream.update(&World::default().set(&services("web@1/1")));
    assert_eq!(stream.come_back(R, &[SHARED]), NOTHING);
    assert_eq!(
        stream.session.deadline(),
        Some(stream.now + Duration::from_secs(1))
    );
    stream.pass(Duration::from_secs(1));
    assert_eq!(stream.out(), ["r +http.15001@web"]);
}

/// Rule 15. Nobody knows any more what `old` was; routes of the client still lead there, and those that it gets lead to `new`,
/// which it has still to get.
#[test]
fn who_comes_back_with_state_of_the_world_keeps_what_is_gone_until_its_routes_lead_elsewhere() {
    for order in orders() {
        let mut stream = Stream::new(Sotw);
        stream.update(&World::default().set(&services("web@2/1 new@1/1")));
        let mut seen = Vec::new();
        for type_ in order {
            let names: &[&str] = match type_ {
                E => &["web", "old"],
                R => &[SHARED],
                C | L => &[],
            };
            seen.extend(stream.come_back(type_, names));
        }
        assert!(
            seen.contains(&"c +new@1 +web@2 ~old".to_owned()),
            "{order:?} {seen:?}"
        );
        assert!(
            seen.iter().all(|seen| !seen.starts_with(['l', 'r'])),
            "{order:?} {seen:?}"
        );
        // `old` is never warm, so the clusters are not acknowledged.
        assert_eq!(stream.ack(E), NOTHING, "{order:?}");
        assert_eq!(stream.ask(E, &["web", "old", "new"]), ["e +new@1"], "{order:?}");
        assert_eq!(
            stream.ack(E),
            ["l +outbound_127.0.0.1_15001@http.15001", "r +http.15001@web,new"],
            "{order:?}"
        );
        assert_eq!(stream.ack(L), NOTHING, "{order:?}");
        let last = stream.ack(R);
        assert_eq!(last.first().unwrap(), "c +new@1 +web@2", "{order:?}");
        assert_eq!(stream.ack(C), NOTHING, "{order:?}");
        assert_eq!(stream.ask(E, &["web", "new"]), NOTHING, "{order:?}");
        assert_eq!(stream.session.deadline(), None);
    }
}

/// Rule 15, for gRPC, which names its clusters.
#[test]
fn who_comes_back_with_named_clusters_loses_them_after_its_routes_lead_elsewhere() {
    for order in orders() {
        let mut stream = Stream::new(Sotw);
        stream.update(&World::default().set("c:new@1 e:new@1 l:web@grpc|web r:grpc|web@new"));
        let mut seen = Vec::new();
        for type_ in order {
            let name = match type_ {
                C | E => "old",
                L => "web",
                R => "grpc|web",
            };
            seen.extend(stream.come_back(type_, &[name]));
        }
        seen.sort();
        assert_eq!(
            seen,
            ["e !old", "l +web@grpc|web", "r +grpc|web@new"],
            "{order:?}"
        );
        assert_eq!(stream.ask(C, &["old", "new"]), NOTHING, "{order:?}");
        assert_eq!(stream.ack(L), NOTHING, "{order:?}");
        assert_eq!(stream.ack(R), ["c !old +new@1"], "{order:?}");
        assert_eq!(stream.ask(C, &["new"]), NOTHING, "{order:?}");
        assert_eq!(stream.ask(E, &["new"]), ["e +new@1"], "{order:?}");
        assert_eq!(stream.session.deadline(), None);
    }
}
