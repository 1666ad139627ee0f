//! This crate as a server of made-up services, which change on demand.

use std::io::{BufRead, Write};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt, stream};
use registry_core::{
    Address, Control, Discovery, Endpoint, Event, EventStream, Health, HostnameTemplate, Locality,
    RegistryError, RegistryOptions, Scope, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    ServiceRegistry, async_trait,
};
use registry_xds::{Xds, XdsConfig};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::Outcome;

/// What is to happen to a service.
#[derive(Debug)]
enum Change {
    /// Its first endpoint gets that weight; where there is no such service, it comes.
    Weight(usize, u32),
    Remove(usize),
}

/// A registry that lists everything once, and then tells single changes.
#[derive(Debug)]
struct Changing {
    clusters: usize,
    endpoints: usize,
    changes: Mutex<Option<mpsc::UnboundedReceiver<Change>>>,
}

fn record(n: usize, endpoints: usize, weight: u32) -> ServiceRecord {
    let mut port = ServicePort::new("http");
    port.number = Some(80);
    port.app_protocol = "http".into();
    let meta = ServiceMeta::builder(ServiceId::named(format!("service-{n}")))
        .ports([port])
        .build();
    let list = (0..endpoints).map(|e| {
        let ip = std::net::Ipv4Addr::from(0x0a00_0000 + u32::try_from(n << 8 | (e + 1)).unwrap_or_default());
        Endpoint::builder(Address::from(std::net::IpAddr::from(ip)))
            .port("http", 8080)
            .health(Health::Healthy)
            .weight(if e == 0 { weight } else { 1 })
            .locality(Locality {
                region: "eu".into(),
                zone: "eu-1a".into(),
                ..Locality::default()
            })
            .id(format!("service-{n}-{e}"))
            .build()
    });
    ServiceRecord::new(meta, list.collect::<Vec<_>>())
}

#[async_trait]
impl ServiceRegistry for Changing {
    fn kind(&self) -> &'static str {
        "changing"
    }

    fn freshness_bound(&self) -> Duration {
        Duration::MAX
    }

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        let all = (0..self.clusters).map(|n| record(n, self.endpoints, 1));
        let listing = Event::listing(Scope::Registry, all.collect::<Vec<_>>());
        let changes = self.changes.lock().ok().and_then(|mut changes| changes.take());
        let endpoints = self.endpoints;
        let rest = stream::unfold(changes, move |changes| async move {
            let mut changes = changes?;
            let mut waiting = Vec::new();
            // What came together is told together, as registries do.
            if changes.recv_many(&mut waiting, 1_000).await == 0 {
                return None;
            }
            let events = waiting.into_iter().map(|change| match change {
                Change::Weight(n, weight) => Event::Apply {
                    record: record(n, endpoints, weight),
                    explicit: true,
                },
                Change::Remove(n) => Event::Delete {
                    id: ServiceId::named(format!("service-{n}")),
                    explicit: true,
                },
            });
            Some((Ok(events.collect()), Some(changes)))
        });
        Ok(stream::iter([Ok(listing)])
            .chain(rest)
            .chain(stream::pending())
            .boxed())
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

pub(crate) fn run(clusters: usize, endpoints: usize) -> Outcome<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let (changes, receiver) = mpsc::unbounded_channel();
    let registry = Changing {
        clusters,
        endpoints,
        changes: Mutex::new(Some(receiver)),
    };
    let _entered = runtime.enter();
    let options = RegistryOptions {
        hostname: Some("{name}.mesh.internal".parse::<HostnameTemplate>()?),
        ..RegistryOptions::default()
    };
    let discovery = Discovery::builder()
        .registry_with("bench", registry, options)?
        .start()?;
    let stop = CancellationToken::new();
    let xds = Xds::start(discovery.clone(), XdsConfig::default(), stop.clone())?;
    let listener = runtime.block_on(async {
        discovery.ready().await;
        TcpListener::bind("127.0.0.1:0").await
    })?;
    println!("listening {}", listener.local_addr()?);
    runtime.spawn(async move { xds.serve(listener, stop).await });
    for order in std::io::stdin().lock().lines() {
        let order = order?;
        let words: Vec<&str> = order.split(' ').collect();
        let change = match words.as_slice() {
            ["change", n, weight] => Change::Weight(n.parse()?, weight.parse()?),
            ["remove", n] => Change::Remove(n.parse()?),
            _ => return Err(format!("found {order:?}").into()),
        };
        println!(
            "changing {}",
            SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos()
        );
        std::io::stdout().flush()?;
        changes.send(change)?;
    }
    Ok(())
}
