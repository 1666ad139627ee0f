//! What passes through: services, endpoints, provenance, phases and ages.

use registry_core::{
    Addresses, Behind, Discovery, Endpoint, ErrorKind, Event, Health, Labels, Locality, Phase, RegistryError,
    Resolution, Scope, Service, ServiceId, ServiceMeta, ServicePort, ServiceRecord, SessionAffinity,
    Timestamp, Traffic, Transport, Vip,
};
use registry_testkit::scripted::{ScriptedRegistry, Step};

use super::stage::{
    Daemon, addresses, discovery, endpoint, leaf, merging, record, record_of, registry, status, until,
};

/// A service with something in every field that the API tells of.
fn full() -> ServiceRecord {
    let labels = |word: &str| [("key", word)].into_iter().collect::<Labels>();
    let meta = ServiceMeta::builder(ServiceId::new("", "shop", "Payments API"))
        .aliases(["pay.example".into()])
        .ports([
            ServicePort {
                number: Some(80),
                app_protocol: "grpc".into(),
                ..ServicePort::new("http")
            },
            ServicePort {
                transport: Transport::Udp,
                implicit: true,
                ..ServicePort::new("default")
            },
        ])
        .addresses([Vip {
            cluster: "east".into(),
            addresses: vec!["10.96.0.7".parse().unwrap(), "fd00::7".parse().unwrap()],
        }])
        .labels(labels("label \"quoted\" é"))
        .metadata(labels("metadata"))
        .traffic(Traffic {
            session_affinity: SessionAffinity::ClientIp,
            distribution: "PreferClose".into(),
            internal_local: true,
        })
        .created(Some(Timestamp::from_millis(1_700_000_000_123)))
        .resolution(Resolution::Headless)
        .build();
    let [first, others @ ..] =
        ["10.0.0.1", "2001:db8::1", "db.example", "unix:/run/db"].map(|text| text.parse().unwrap());
    let dual = Endpoint::builder(Addresses::new(first, others))
        .id("payments-1")
        .port("http", 8080)
        .port("default", 9090)
        .health(Health::Draining)
        .administrative(true)
        .status("draining")
        .weight(5)
        .priority(6)
        .label("version", "v2")
        .hints(["eu-1a".into()])
        .node_hints(["machine".into()])
        .identity("spiffe://mesh/payments")
        .locality(Locality {
            region: "eu".into(),
            zone: "eu-1a".into(),
            sub_zone: "rack".into(),
        })
        .network("lan")
        .cluster("east")
        .node("n1")
        .hostname("payments-0")
        .build();
    ServiceRecord::new(meta, [dual, endpoint(2).build()])
}

/// All of an endpoint that has to be the same, whoever passes it on.
fn essence(endpoint: &Endpoint) -> String {
    format!(
        "{:?} {:?} {:?} {} {} {:?} {} {} {} {} {:?} {:?} {:?} {} {}",
        endpoint.addresses(),
        endpoint.ports(),
        endpoint.health(),
        endpoint.weight(),
        endpoint.priority(),
        endpoint.locality(),
        endpoint.network(),
        endpoint.cluster(),
        endpoint.node(),
        endpoint.hostname(),
        endpoint.hints(),
        endpoint.node_hints(),
        endpoint.labels(),
        endpoint.identity(),
        endpoint.administrative(),
    )
}

fn assert_same(there: &Service, here: &Service) {
    assert_eq!(there.hostname(), here.hostname());
    assert_eq!((there.name(), there.namespace()), (here.name(), here.namespace()));
    assert_eq!(there.aliases(), here.aliases());
    assert_eq!(there.ports(), here.ports());
    assert_eq!(there.addresses(), here.addresses());
    assert_eq!(there.labels(), here.labels());
    assert_eq!(
        there.sources()[0].meta.metadata(),
        here.sources()[0].meta.metadata()
    );
    assert_eq!(there.traffic(), here.traffic());
    assert_eq!(
        (there.created(), there.resolution()),
        (here.created(), here.resolution())
    );
    let all = |service: &Service| {
        service
            .endpoints()
            .iter()
            .map(|endpoint| essence(endpoint))
            .collect::<Vec<_>>()
    };
    assert_eq!(all(there), all(here));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_parent_has_is_what_a_leaf_has_over_any_number_of_tiers() {
    let (top, _handle) = Daemon::scripted([full(), record("empty", [])]).await;
    let middle = Daemon::serving(leaf([top.url()])).await;
    let leaf = leaf([middle.url()]);
    leaf.ready().await;
    let (there, here) = (top.discovery.snapshot(), leaf.snapshot());
    assert_eq!((here.len(), here.endpoint_count()), (2, 2));
    for service in there.services() {
        assert_same(service, here.get(service.hostname()).unwrap());
    }

    let service = here.get("payments-api.mesh").unwrap();
    assert!(here.get("pay.example").is_some() && here.get("10.96.0.7").is_some());
    assert_eq!(service.sources()[0].meta.origins(), ["parent/vms"]);
    let endpoint = service
        .endpoints()
        .iter()
        .find(|endpoint| endpoint.weight() == 5)
        .unwrap();
    let claims: Vec<_> = endpoint.claims().collect();
    assert_eq!(
        (claims.len(), claims[0].id.as_str(), claims[0].status.as_str()),
        (1, "parent/vms/payments-1", "draining")
    );
    let original = there.get("payments-api.mesh").unwrap().endpoints().iter();
    let mut original = original.filter(|endpoint| endpoint.weight() == 5);
    let said = original.next().unwrap().claims().next().unwrap();
    let [origin] = &*claims[0].origins else {
        panic!("{:?}", claims[0].origins);
    };
    assert_eq!(
        (origin.registry.as_str(), &origin.id, &origin.status),
        ("parent/vms", &said.id, &said.status)
    );
    assert_eq!(
        (origin.first_seen, origin.last_changed),
        (said.first_seen, said.last_changed)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_pass_at_once_and_what_a_parent_announces_to_be_gone_is_gone() {
    let (parent, handle) = Daemon::scripted([record("web", 1..=40), record("api", [50])]).await;
    let leaf = leaf([parent.url()]);
    leaf.ready().await;
    // More than the guard of either would believe by itself; that of the parent is told that it is so.
    handle.say(vec![Event::Apply {
        record: record("web", [1]),
        explicit: true,
    }]);
    until(&leaf, "a loss that was announced", |leaf| {
        addresses(&leaf.snapshot(), "web.mesh") == Some(vec![1])
    })
    .await;
    handle.say(vec![
        Event::Delete {
            id: ServiceId::named("web"),
            explicit: true,
        },
        Event::apply(record_of(
            "api",
            [endpoint(50).health(Health::Draining), endpoint(51)],
        )),
    ]);
    until(&leaf, "a service that is gone", |leaf| {
        leaf.snapshot().get("web.mesh").is_none()
    })
    .await;
    assert_eq!(addresses(&leaf.snapshot(), "api.mesh"), Some(vec![50, 51]));
    assert!(status(&leaf).held.is_none());
    assert_eq!(
        leaf.snapshot().endpoint_count(),
        parent.discovery.snapshot().endpoint_count()
    );
}

fn down() -> Step {
    Step::degrade(ErrorKind::Unreachable, "consul: no answer")
}

fn behind<'a>(all: &'a [Behind], way: &[&str]) -> &'a Behind {
    let (first, rest) = way.split_first().unwrap();
    let found = all.iter().find(|behind| behind.id.as_str() == *first).unwrap();
    if rest.is_empty() {
        found
    } else {
        behind(&found.behind, rest)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_is_stale_behind_a_parent_is_stale_at_every_tier_and_the_others_are_not() {
    let consul = ScriptedRegistry::new([Step::list([record("web", [1])])]);
    let vms = ScriptedRegistry::new([Step::list([record("web", [1]), record("api", [2])])]);
    let (consul_handle, _vms_handle) = (consul.handle(), vms.handle());
    let top = Daemon::serving(discovery([("consul", consul), ("vms", vms)])).await;
    let middle = Daemon::serving(leaf([top.url()])).await;
    let leaf = leaf([middle.url()]);
    leaf.ready().await;
    assert_eq!(status(&leaf).phase, Phase::Synced);
    let before = leaf.snapshot();

    (0..3).for_each(|_| consul_handle.play(down()));
    until(&leaf, "staleness two tiers away", |leaf| {
        status(leaf).phase == Phase::Stale
    })
    .await;
    let now = status(&leaf);
    let (consul, vms) = (
        behind(&now.behind, &["parent", "consul"]),
        behind(&now.behind, &["parent", "vms"]),
    );
    assert_eq!((consul.phase, vms.phase), (Phase::Stale, Phase::Synced));
    assert_eq!(
        (consul.kind.as_str(), consul.error.as_deref()),
        ("scripted", Some("consul: no answer"))
    );
    assert!(consul.age().is_some());
    assert_eq!(
        behind(&now.behind, &["parent"]).instance,
        Some(top.discovery.instance())
    );
    assert_eq!(now.instance, Some(middle.discovery.instance()));
    // Services themselves are as they were.
    assert_eq!(leaf.snapshot().root_hash(), before.root_hash());

    consul_handle.play(Step::confirm());
    until(&leaf, "freshness two tiers away", |leaf| {
        status(leaf).phase == Phase::Synced
    })
    .await;
    assert_eq!(
        behind(&status(&leaf).behind, &["parent", "consul"]).phase,
        Phase::Synced
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_of_the_parent_with_a_service_that_cannot_be_read_is_stale_in_part() {
    let (parent, handle) = Daemon::scripted([record("web", [1]), record("api", [2])]).await;
    let leaf = leaf([parent.url()]);
    leaf.ready().await;
    for _ in 0..3 {
        let error = RegistryError::new(ErrorKind::Malformed, "odd");
        handle.say(vec![Event::degraded(
            Scope::Service(ServiceId::named("web")),
            error,
        )]);
    }
    until(&leaf, "the phase of the whole", |leaf| {
        status(leaf).phase == Phase::Stale
    })
    .await;
    let now = status(&leaf);
    let vms = behind(&now.behind, &["vms"]);
    assert_eq!((vms.phase, vms.partly), (Phase::Stale, true));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_from_a_stale_registry_alone_yields_to_a_fresh_one() {
    let draining = || endpoint(1).health(Health::Draining);
    let consul = ScriptedRegistry::new([Step::list([
        record_of("web", [draining()]),
        record_of("api", [draining()]),
    ])]);
    let vms = ScriptedRegistry::new([Step::list([record_of("api", [draining()])])]);
    let consul_handle = consul.handle();
    let parent = Daemon::serving(discovery([("consul", consul), ("vms", vms)])).await;
    let local = ScriptedRegistry::new([Step::list([record("web", [1]), record("api", [1])])]);
    let leaf = Discovery::builder()
        .registry_with("parent", registry([parent.url()]), merging("{hostname}"))
        .and_then(|builder| builder.registry_with("local", local, merging("{name}.mesh")))
        .and_then(registry_core::DiscoveryBuilder::start)
        .unwrap();
    leaf.ready().await;
    let health = |leaf: &Discovery, name: &str| {
        let snapshot = leaf.snapshot();
        let service = snapshot.get(name).unwrap();
        assert_eq!(
            (service.sources().len(), service.endpoints().len()),
            (2, 1),
            "{name}"
        );
        service.endpoints().iter().next().unwrap().health()
    };
    assert_eq!(health(&leaf, "web.mesh"), Health::Draining);
    (0..3).for_each(|_| consul_handle.play(down()));
    until(&leaf, "the word of who is fresh", |leaf| {
        health(leaf, "web.mesh") == Health::Healthy
    })
    .await;
    // Somebody fresh behind the parent says so as well.
    assert_eq!(health(&leaf, "api.mesh"), Health::Draining);
    consul_handle.play(Step::confirm());
    until(&leaf, "the word of who is fresh again", |leaf| {
        health(leaf, "web.mesh") == Health::Draining
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ages_of_registries_behind_go_on_being_told() {
    let (parent, handle) = Daemon::scripted([record("web", [1])]).await;
    let leaf = leaf([parent.url()]);
    leaf.ready().await;
    let age = |leaf: &Discovery| behind(&status(leaf).behind, &["vms"]).age().unwrap();
    let old = std::time::Duration::from_millis(700);
    until(&leaf, "an age that grows", |leaf| age(leaf) > old).await;
    let revision = leaf.snapshot().revision();
    until(&leaf, "a confirmation that passes", |leaf| {
        handle.say(vec![Event::Confirmed(Scope::Registry)]);
        age(leaf) < old
    })
    .await;
    assert_eq!(leaf.snapshot().revision(), revision, "ages are no news");
}
