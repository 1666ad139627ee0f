//! Acceptance test 12: what cannot be served costs nobody else anything.

use std::net::{IpAddr, Ipv4Addr};

use registry_core::{
    Address, Endpoint, Health, Labels, Locality, ServiceId, ServiceMeta, ServicePort, ServiceRecord, Vip,
};
use registry_testkit::upstream::{Kind, Upstream, client};
use registry_xds::XdsConfig;

use super::stage::{Service, Stage, VARIANTS, assert_content, free_port, until, virtual_address};

/// A service of which more is said, with an endpoint that listens nowhere.
fn odd(name: &str, number: u16, more: impl FnOnce(Odd) -> Odd) -> ServiceRecord {
    let odd = more(Odd {
        port: ServicePort {
            number: Some(number),
            ..ServicePort::new("tcp")
        },
        vips: Vec::new(),
        labels: Labels::default(),
        aliases: Vec::new(),
        endpoints: vec![
            Endpoint::builder(Address::V4(Ipv4Addr::LOCALHOST))
                .port("tcp", 9)
                .build(),
        ],
    });
    let vips = odd.vips.into_iter().map(|ip| Vip {
        cluster: "".into(),
        addresses: vec![Address::from(ip)],
    });
    let meta = ServiceMeta::builder(ServiceId::named(name))
        .ports([odd.port])
        .addresses(vips)
        .labels(odd.labels)
        .aliases(odd.aliases.iter().map(|alias| alias.as_str().into()))
        .build();
    ServiceRecord::new(meta, odd.endpoints)
}

struct Odd {
    port: ServicePort,
    vips: Vec<IpAddr>,
    labels: Labels,
    aliases: Vec<String>,
    endpoints: Vec<Endpoint>,
}

impl Odd {
    fn at(mut self, ip: impl Into<IpAddr>) -> Self {
        self.vips.push(ip.into());
        self
    }

    fn port(mut self, change: impl FnOnce(&mut ServicePort)) -> Self {
        change(&mut self.port);
        self
    }

    fn label(mut self, key: &str, value: &str) -> Self {
        self.labels = [(key.to_owned(), value.to_owned())].into_iter().collect();
        self
    }

    /// That many labels with that value: 2 MB.
    fn metadata(mut self, value: &str, count: usize) -> Self {
        self.labels = (0..count).map(|n| (format!("registryd.{n}"), value)).collect();
        self
    }

    fn alias(mut self, alias: &str) -> Self {
        self.aliases.push(alias.to_owned());
        self
    }

    fn endpoint(mut self, endpoint: registry_core::EndpointBuilder) -> Self {
        self.endpoints.push(endpoint.build());
        self
    }
}

/// What a registry should not say, each with whether a warning has to name it. `shared` is where the HTTP listener is,
/// `taken` a port that a service has at the virtual address.
fn oddities(shared: u16, taken: u16) -> Vec<(ServiceRecord, bool)> {
    let vip = virtual_address(1);
    // As long as a discovery takes from a registry.
    let long = "x".repeat(60 << 10);
    let endpoint = |address: &str| Endpoint::builder(address.parse::<Address>().unwrap()).port("tcp", 9);
    vec![
        (odd("two..dots", 1, |odd| odd), true),
        (odd(&"l".repeat(300), 1, |odd| odd), true),
        (odd("port-zero", 0, |odd| odd.at(vip)), true),
        (odd("same-place", taken, |odd| odd.at(vip)), true),
        (
            odd("shared-place", 1, |odd| {
                odd.label("registryd.local_port", &shared.to_string())
            }),
            true,
        ),
        (
            odd("bad-place", 1, |odd| odd.label("registryd.local_port", &long)),
            true,
        ),
        (
            odd("bad-protocol", 1, |odd| {
                odd.at(vip).label("registryd.protocol", &long)
            }),
            true,
        ),
        (odd("much-said", 2, |odd| odd.at(vip).metadata(&long, 40)), false),
        (odd("nowhere", 3, |odd| odd.at(Ipv4Addr::UNSPECIFIED)), true),
        (
            odd("everywhere", 3, |odd| odd.at(Ipv4Addr::new(224, 0, 0, 1))),
            true,
        ),
        (odd("broadcast", 3, |odd| odd.at(Ipv4Addr::BROADCAST)), false),
        (
            odd("bad-alias", 4, |odd| odd.at(vip).alias("*").alias(&long)),
            true,
        ),
        (
            odd("bad-port-name", 5, |odd| {
                odd.at(vip).port(|port| {
                    port.number = None;
                    port.name = "a|b\nc".into();
                })
            }),
            true,
        ),
        (
            odd("bad-endpoints", 6, |odd| {
                odd.at(vip)
                    .endpoint(endpoint("0.0.0.0"))
                    .endpoint(endpoint("224.0.0.1"))
                    .endpoint(endpoint("unix:/tmp/s"))
                    .endpoint(endpoint("127.0.0.2").port("tcp", 0))
                    .endpoint(endpoint("127.0.0.3").weight(u32::MAX))
                    .endpoint(endpoint("127.0.0.4").weight(u32::MAX).priority(u8::MAX))
                    .endpoint(endpoint("127.0.0.5").weight(0).health(Health::Unknown))
                    .endpoint(endpoint("127.0.0.6").locality(Locality {
                        region: "r".into(),
                        zone: long.as_str().into(),
                        sub_zone: "\n".into(),
                    }))
                    .endpoint(endpoint("127.0.0.7").identity(long.as_str()))
                    .endpoint(endpoint("127.0.0.8").label("note", long.as_str()))
            }),
            true,
        ),
        (
            odd("bad-hosts", 8, |odd| {
                odd.at(vip).endpoint(endpoint("no.such.host.invalid"))
            }),
            false,
        ),
    ]
}

#[tokio::test]
async fn acceptance_12_a_service_that_cannot_be_served_harms_no_other() {
    for variant in VARIANTS {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let lines = Upstream::start("lines-1", Kind::Tcp).await.unwrap();
        let taken = free_port();
        // In the alphabet before those that want its place; nobody says when services were created.
        let good = [
            Service::new("web", "http", 80).on(web.address()).record(),
            Service::new("a-lines", "tcp", taken)
                .at(virtual_address(1))
                .on(lines.address())
                .record(),
        ];
        let stage = Stage::set(good.clone(), XdsConfig::default()).await;
        let envoy = stage.envoy(variant).await;
        let oddities = oddities(stage.outbound.port(), taken);

        // To an Envoy that runs, one after the other, then all at once.
        for (odd, warned) in &oddities {
            stage.say(good.clone().into_iter().chain([odd.clone()]));
            let hostname = format!("{}.static", odd.meta().id().name());
            if *warned {
                until(&format!("a warning of {hostname:.40}"), async || {
                    (!stage.warnings_of(&hostname).is_empty()).then_some(())
                })
                .await;
            }
        }
        let late = Service::new("late", "http", 80).on(web.address()).record();
        let all = || {
            good.iter()
                .cloned()
                .chain(oddities.iter().map(|(odd, _)| odd.clone()))
        };
        stage.say(all().chain([late]));
        let is_there = async || {
            let answer = client::http(stage.outbound, "late.static", "/").await.ok()?;
            (answer.status == 200).then_some(())
        };
        until("what comes beside them", is_there).await;
        assert_served(&stage, taken).await;
        assert_content(&envoy).await;
        stage.settled().await;
        stage.assert_nothing_refused();
        drop(envoy);

        // To one that starts with them.
        let envoy = stage.envoy(variant).await;
        assert_served(&stage, taken).await;
        assert_content(&envoy).await;
        stage.settled().await;
        stage.assert_nothing_refused();
        for (odd, warned) in oddities {
            let hostname = format!("{}.static", odd.meta().id().name());
            let warnings = stage.warnings_of(&hostname);
            assert_eq!(!warnings.is_empty(), warned, "{hostname:.40}: {warnings:?}");
            assert!(
                warnings.iter().all(|warning| warning.len() < 1_000),
                "{hostname:.40}"
            );
        }
    }
}

/// The good ones are served.
async fn assert_served(stage: &Stage, number: u16) {
    let answer = client::http(stage.outbound, "web.static", "/").await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, "web-1"));
    let at = (virtual_address(1), number).into();
    assert_eq!(client::tcp(at, "hear me").await.unwrap(), "lines-1");
}
