//! `grpc.health.v1.Health`, as load balancers and `grpc-health-probe` ask it.

use registry_core::{Discovery, StaticRegistry};
use registry_testkit::scripted::{ScriptedRegistry, Step};
use registry_xds::{Xds, XdsConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::support::{Talk, connect, serve_registry};

/// Messages of one text, and of one number: as prost has them by itself.
type Probe = Talk<String, u32>;

const CHECK: &str = "/grpc.health.v1.Health/Check";
const WATCH: &str = "/grpc.health.v1.Health/Watch";
const SERVING: u32 = 1;
const NOT_SERVING: u32 = 2;

#[tokio::test]
async fn it_serves_once_discovery_is_ready() {
    let registry = ScriptedRegistry::new([Step::Hang]);
    let served = serve_registry(registry, XdsConfig::default()).await;
    let channel = connect(served.address).await;
    let mut check = Probe::open(&channel, CHECK).await.unwrap();
    check.say(String::new());
    assert_eq!(check.hear().await, NOT_SERVING);
    assert_eq!(check.end().await.code(), Code::Ok);

    let discovery = Discovery::builder()
        .registry("here", StaticRegistry::new([]))
        .unwrap()
        .start()
        .unwrap();
    let stop = CancellationToken::new();
    let xds = Xds::start(discovery, XdsConfig::default(), stop.clone()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let channel = connect(listener.local_addr().unwrap()).await;
    let serving = tokio::spawn(async move { xds.serve(listener, stop).await });
    let mut watch = Probe::open(&channel, WATCH).await.unwrap();
    watch.say("envoy.service.discovery.v3.AggregatedDiscoveryService".to_owned());
    while watch.hear().await != SERVING {}
    watch.hear_nothing().await;

    let mut check = Probe::open(&channel, CHECK).await.unwrap();
    check.say("nosuch".to_owned());
    assert_eq!(check.end().await.code(), Code::NotFound);
    serving.abort();
}
