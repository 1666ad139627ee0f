//! Facts §9.8: each rule of facts §4 as a short transcript, in both protocols where it is of both, between a scripted
//! client and a real server.
//!
//! Clusters and endpoints are called by their service, `web` for `outbound|80||web.static`. A response reads
//! `c +web -old !none`: what it has, what it removes, and what it says does not exist.

mod delta;
mod order;
mod reload;
mod sotw;
mod strangers;

use std::collections::BTreeMap;

use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryResponse, DiscoveryResponse, ResourceError,
};
use registry_core::{Discovery, RegistryOptions, ServiceRecord, StaticHandle, StaticRegistry};
use registry_testkit::xds::{CDS, EDS, LDS, Protocol, RDS, Service, Stream, channel, envoy_node};
use registry_xds::XdsConfig;

use crate::support::{PATIENCE, Served, serve_discovery, service};

pub(crate) use registry_testkit::xds::{Delta, Sotw};

const C: &str = CDS;
const E: &str = EDS;
const L: &str = LDS;
const R: &str = RDS;

/// The routes of the listener that all HTTP services share.
const ROUTES: &str = "http.15001";

/// A service on port 80, with that many endpoints.
fn plain(name: &str, endpoints: u16) -> ServiceRecord {
    service(name, endpoints, 1)
}

/// The same, where something about its cluster is different and nothing about its endpoints.
fn touched(name: &str, endpoints: u16) -> ServiceRecord {
    spoken(&service(name, endpoints, 1), "http2", 80)
}

/// The same service with another protocol and number of its port.
fn spoken(record: &ServiceRecord, protocol: &str, number: u16) -> ServiceRecord {
    let mut port = record.meta().ports()[0].clone();
    port.app_protocol = protocol.into();
    port.number = Some(number);
    let meta = record.meta().to_builder().ports([port]).build();
    ServiceRecord::new(meta, record.endpoints().clone())
}

/// Settings of a registry that loses what it loses at once.
fn unguarded() -> RegistryOptions {
    RegistryOptions {
        guard: None,
        ..RegistryOptions::default()
    }
}

async fn serve(records: impl IntoIterator<Item = ServiceRecord>) -> (Served, StaticHandle) {
    let registry = StaticRegistry::new(records);
    let handle = registry.handle();
    let discovery = Discovery::builder()
        .registry_with("here", registry, unguarded())
        .unwrap()
        .start()
        .unwrap();
    (serve_discovery(discovery, XdsConfig::default()).await, handle)
}

/// What a transcript shows of a response, beside what both protocols have.
trait Words: Protocol {
    fn errors(response: &Self::Response) -> &[ResourceError];
    fn gone(response: &Self::Response) -> &[String];
}

impl Words for Sotw {
    fn errors(response: &DiscoveryResponse) -> &[ResourceError] {
        &response.resource_errors
    }

    fn gone(_: &DiscoveryResponse) -> &[String] {
        &[]
    }
}

impl Words for Delta {
    fn errors(response: &DeltaDiscoveryResponse) -> &[ResourceError] {
        &response.resource_errors
    }

    fn gone(response: &DeltaDiscoveryResponse) -> &[String] {
        &response.removed_resources
    }
}

fn long(type_url: &str, name: &str) -> String {
    let short = type_url == C || type_url == E;
    match short && name != "*" && !name.contains('|') {
        true => format!("outbound|80||{name}.static"),
        false => name.to_owned(),
    }
}

fn short(name: &str) -> &str {
    let name = name.strip_prefix("outbound|80||").unwrap_or(name);
    name.strip_suffix(".static").unwrap_or(name)
}

/// A response in words.
fn shown<P: Words>(response: &P::Response) -> String {
    let listed = P::listed(response);
    let mut words: Vec<_> = listed
        .iter()
        .map(|listed| format!("+{}", short(&listed.name)))
        .collect();
    words.extend(P::gone(response).iter().map(|name| format!("-{}", short(name))));
    let denied = P::errors(response)
        .iter()
        .filter_map(|error| error.resource_name.as_ref());
    words.extend(denied.map(|denied| format!("!{}", short(&denied.name))));
    words.sort();
    let type_ = match P::type_url(response) {
        CDS => "c",
        EDS => "e",
        LDS => "l",
        _ => "r",
    };
    words.insert(0, type_.to_owned());
    words.join(" ")
}

/// What a response looks like that states all clusters or listeners, or what changes.
fn either<P: Protocol>(sotw: &'static str, delta: &'static str) -> &'static str {
    if P::METHOD == Sotw::METHOD { sotw } else { delta }
}

/// A client whose every request is the test's own.
struct Client<P: Words> {
    stream: Stream<P>,
    /// The last response of each type.
    last: BTreeMap<String, P::Response>,
    questions: usize,
}

impl<P: Words> Client<P> {
    fn of(served: &Served, service: Service) -> Self {
        let channel = channel(served.address).unwrap();
        Self {
            stream: Stream::open(channel, service, envoy_node("vm-1", "")),
            last: BTreeMap::new(),
            questions: 0,
        }
    }

    fn open(served: &Served) -> Self {
        Self::of(served, Service::Aggregated)
    }

    /// State of the world: asks for these names and no others. Delta: for these, too.
    fn ask(&mut self, type_url: &str, names: &[&str]) {
        self.change(type_url, names, &[]);
    }

    /// Delta: asks for some names, and no longer for others.
    fn change(&mut self, type_url: &str, more: &[&str], less: &[&str]) {
        self.resume(type_url, more, less, &[]);
    }

    /// Delta: says in a stream's first request what the client has.
    fn resume(&mut self, type_url: &str, more: &[&str], less: &[&str], held: &[(&str, &str)]) {
        let [more, less] = [more, less]
            .map(|names| -> Vec<String> { names.iter().map(|name| long(type_url, name)).collect() });
        let [more, less] = [&more, &less].map(|names| names.iter().map(String::as_str).collect::<Vec<_>>());
        let held = held
            .iter()
            .map(|&(name, version)| (long(type_url, name), version.to_owned()))
            .collect();
        self.stream.subscribe_with(type_url, &more, &less, held);
    }

    async fn hear(&mut self) -> String {
        let response = self.stream.recv(PATIENCE).await.unwrap();
        let words = shown::<P>(&response);
        self.last.insert(P::type_url(&response).to_owned(), response);
        words
    }

    /// Asks for names, hears the answer and acknowledges it.
    async fn get(&mut self, type_url: &str, names: &[&str]) -> String {
        self.ask(type_url, names);
        let words = self.hear().await;
        self.ack(type_url);
        words
    }

    fn ack(&mut self, type_url: &str) {
        self.stream.ack(&self.last[type_url]);
    }

    fn nack(&mut self, type_url: &str, reason: &str) {
        self.stream.nack(&self.last[type_url], reason);
    }

    /// Makes sure that what was asked so far is not answered any more: by another question, whose answer would come
    /// after those, were there any. It takes no time, and holds under any load.
    async fn quiet(&mut self) {
        self.questions += 1;
        let name = format!("grpc|question{}", self.questions);
        self.ask(R, &[&name]);
        let response = self.stream.recv(PATIENCE).await.unwrap();
        let answer = either::<P>("r !NAME", "r !NAME -NAME").replace("NAME", &name);
        assert_eq!(shown::<P>(&response), answer);
        self.stream.ack(&response);
    }

    fn version(&self, type_url: &str) -> String {
        P::version(&self.last[type_url]).to_owned()
    }

    /// The versions of the resources in the last response of a type, as a client says that it has them.
    fn versions(&self, type_url: &str) -> BTreeMap<String, String> {
        P::listed(&self.last[type_url])
            .into_iter()
            .map(|listed| (listed.name, listed.version))
            .collect()
    }
}

/// An Envoy that has all there is of these services.
async fn envoy<P: Words>(served: &Served, names: &[&str]) -> Client<P> {
    let mut client = Client::<P>::open(served);
    client.get(C, &[]).await;
    client.get(E, names).await;
    client.get(L, &[]).await;
    client.get(R, &[ROUTES]).await;
    client
}
