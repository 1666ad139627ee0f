//! Whatever way services come, change and go, a view is what it would be if it were made at once.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::config::OutboundConfig;

/// Few names, domains and addresses, so that services are in each other's way.
fn draft() -> impl Strategy<Value = Draft> {
    let some = |words: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(words), 0..3).prop_map(|words| words.join(" "))
    };
    (
        0_u8..6,
        prop::option::of(0_u64..3),
        prop::option::of(prop::sample::select(&["x", "y", "s0.static"][..])),
        1_u8..3,
        some(&["80", "81"]),
        some(&[
            "http.15001=x,y",
            "http.15001=s0.static,x:80",
            "http.15001=y,Z",
            "http.7=*",
            "http.7=x,z",
            "http.8=",
        ]),
        some(&[
            "tcp@127.0.0.1:5",
            "tcp@127.0.0.1:6",
            "tcp@127.0.0.1:15001",
            "sni@127.0.0.1:6@x,y",
            "sni@127.0.0.1:6@y",
            "http@127.0.0.1:6@http.6",
            "http@127.0.0.1:7@http.7",
            "http@127.0.0.1:7@http.15001",
        ]),
    )
        .prop_map(|(name, created, alias, endpoints, ports, hosts, listen)| Draft {
            name: format!("s{name}"),
            created,
            aliases: alias.into_iter().map(str::to_owned).collect(),
            endpoints,
            labels: [("ports", ports), ("hosts", hosts), ("listen", listen)].into(),
        })
}

/// Services with distinct names.
fn listing() -> impl Strategy<Value = Vec<Draft>> {
    prop::collection::vec(draft(), 0..8).prop_map(|drafts| {
        let mut seen = HashSet::new();
        drafts
            .into_iter()
            .filter(|draft| seen.insert(draft.name.clone()))
            .collect()
    })
}

fn settings() -> impl Strategy<Value = XdsConfig> {
    let excluded = prop::option::of(prop::sample::select(&["s0*", "s1*", "*"][..]));
    (excluded, prop::sample::select(&[15_001_u16, 6, 7][..])).prop_map(|(excluded, port)| XdsConfig {
        exclude_services: excluded.into_iter().map(str::to_owned).collect(),
        outbound: OutboundConfig {
            listen: ([127, 0, 0, 1], port).into(),
            ..OutboundConfig::default()
        },
        ..XdsConfig::default()
    })
}

#[derive(Debug, Clone)]
enum Step {
    List(Vec<Draft>),
    Reconfigure(Arc<XdsConfig>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => listing().prop_map(Step::List),
        1 => settings().prop_map(|config| Step::Reconfigure(Arc::new(config))),
    ]
}

/// What Envoy would refuse, or wait for.
fn check(set: &ResourceSet) {
    for resource in set.iter(ResourceType::Route) {
        let message = RouteConfiguration::decode(resource.body()).unwrap();
        let mut seen = HashSet::new();
        let mut last = String::new();
        for host in &message.virtual_hosts {
            assert!(!host.domains.is_empty(), "{host:?}");
            assert!(last <= host.name, "not in order");
            last.clone_from(&host.name);
            for domain in &host.domains {
                assert!(
                    seen.insert(domain.to_ascii_lowercase()),
                    "{domain} twice in {message:?}"
                );
            }
        }
    }
    for resource in set.iter(ResourceType::Listener) {
        let message = Listener::decode(resource.body()).unwrap();
        let address = resource.name().strip_prefix("outbound_127.0.0.1_").unwrap();
        let mut names = HashSet::new();
        for chain in &message.filter_chains {
            let matches = chain
                .filter_chain_match
                .iter()
                .flat_map(|matches| &matches.server_names);
            matches.for_each(|name| assert!(names.insert(name.clone()), "{name} twice"));
        }
        for chain in listener_of(set, &format!("127.0.0.1:{address}")).unwrap() {
            if let Some(routes) = chain.strip_prefix("http ") {
                assert!(
                    set.get(ResourceType::Route, routes).is_some(),
                    "nobody answers for {routes}"
                );
            }
        }
    }
}

fn content(set: &ResourceSet) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = ResourceType::ALL
        .into_iter()
        .flat_map(|type_| {
            set.iter(type_)
                .map(move |resource| (format!("{type_} {}", resource.name()), resource.version()))
        })
        .collect();
    all.sort();
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Facts §9.17: equal services give equal versions on every replica, however they came there.
    #[test]
    fn any_history_leads_to_what_a_fresh_start_makes(steps in prop::collection::vec(step(), 1..8), turn in 0_usize..8) {
        let mut world = World::new([]);
        let mut state = world.state();
        let mut config = Arc::<XdsConfig>::default();
        let mut last = Vec::new();
        let mut warned = Arc::default();
        for step in steps {
            match step {
                Step::List(drafts) => {
                    let before = world.snapshot.clone();
                    last.clone_from(&drafts);
                    world.list(drafts);
                    state.apply(&world.snapshot.changes_since(&before));
                }
                Step::Reconfigure(other) => {
                    config = other;
                    state.reconfigure(config.clone(), &world.snapshot);
                }
            }
            warned = state.warnings().unwrap_or(warned);
            check(&set_of(&mut state, &world));
        }
        // The same services in another order, in a world of its own.
        let turn = turn % last.len().max(1);
        last.rotate_left(turn);
        let other = World::new(last);
        let mut fresh = other.state_of(envoy(), (*config).clone());
        let (one, two) = (set_of(&mut state, &world), set_of(&mut fresh, &other));
        prop_assert_eq!(content(&one), content(&two));
        for type_ in ResourceType::ALL {
            prop_assert_eq!(one.version(type_), two.version(type_));
        }
        prop_assert_eq!(shown(&[warned]), warnings_of(&mut fresh));
    }
}
