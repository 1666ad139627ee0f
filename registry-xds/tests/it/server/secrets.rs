//! Certificates from an agent beside Envoy, by SDS: clusters name them, and what takes their place changes no cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use registry_core::ServiceRecord;
use registry_testkit::envoy::Envoy;
use registry_testkit::upstream::{Authority, client};
use registry_testkit::xds::secrets::{Agent, authorities, certificate, trust_domain};
use registry_xds::{Bootstrap, ResourceType, SdsAgent, UpstreamTls, UpstreamTlsSource, Variant, XdsConfig};

use super::certificates::{guarded, mark_of};
use super::stage::{Service, Stage, VARIANTS, assert_content, free_port, local, start, until};

/// The names that SPIRE's agent gives its secrets.
const OWN: &str = "default";
const ROOTS: &str = "ROOTCA";

/// TLS to all services by an agent's secrets, to endpoints with one of these identities.
fn config(identities: &[&str]) -> XdsConfig {
    XdsConfig {
        upstream_tls: vec![UpstreamTls {
            hosts: "*".to_owned(),
            source: UpstreamTlsSource::Sds {
                cluster: "spire_agent".to_owned(),
                certificate: OWN.to_owned(),
                validation: ROOTS.to_owned(),
            },
            identities: identities.iter().map(ToString::to_string).collect(),
            server_name: None,
        }],
        ..XdsConfig::default()
    }
}

/// An Envoy that finds the agent at that socket.
async fn envoy(stage: &Stage, variant: Variant, socket: &Path) -> Envoy {
    let agent = SdsAgent {
        cluster: "spire_agent".to_owned(),
        socket: socket.to_owned(),
    };
    start(&Bootstrap {
        sds: vec![agent],
        ..stage.bootstrap(variant)
    })
    .await
}

/// A service at a port of its own, and that port.
fn line(name: &'static str, address: SocketAddr) -> (ServiceRecord, SocketAddr) {
    let port = free_port();
    let service = Service::new(name, "tcp", 7).label("registryd.local_port", &port.to_string());
    (service.on(address).record(), local(port))
}

fn socket(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("api.sock")
}

/// Waits until what is said at an address ends so; `None` for nothing at all.
async fn until_said(address: SocketAddr, end: Option<&str>) {
    until("the certificates are as they are now", async || {
        let said = client::tcp(address, "hear me").await.ok();
        match (said, end) {
            (Some(said), Some(end)) => said.ends_with(end).then_some(()),
            (said, end) => (said.is_none() && end.is_none()).then_some(()),
        }
    })
    .await;
}

#[tokio::test]
async fn certificates_of_an_agent_take_each_others_place_without_a_change_of_clusters() {
    for variant in VARIANTS {
        let (servers, clients) = (Authority::new().unwrap(), Authority::new().unwrap());
        let stranger = Authority::new().unwrap();
        let own = clients.issue(&["spiffe://mesh/envoy"]).unwrap();
        let bank = servers.issue(&["spiffe://mesh/bank"]).unwrap();
        let thief = servers.issue(&["spiffe://other/bank"]).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let roots = servers.certificate();
        let secrets = |own| [certificate(OWN, own), authorities(ROOTS, &roots)];
        let agent = Agent::start_at(&socket(&folder), secrets(&own)).unwrap();

        let (bank_record, bank) = line("bank", guarded(&bank, &clients).await);
        let (thief_record, thief) = line("thief", guarded(&thief, &clients).await);
        let stage = Stage::set([bank_record, thief_record], config(&["spiffe://mesh/*"])).await;
        let envoy = envoy(&stage, variant, &socket(&folder)).await;
        stage.settled().await;
        let said = client::tcp(bank, "hear me").await.unwrap();
        assert_eq!(said, format!("bank.static {}", mark_of(&own)));
        assert!(client::tcp(thief, "hear me").await.is_err());
        let stat = "cluster.outbound|7||thief_static.ssl.fail_verify_san";
        assert!(envoy.stat(stat).await.unwrap() > 0);
        let before = (stage.sent(ResourceType::Cluster), stage.responses().await);

        // Another certificate, as agents renew them every hour.
        let renewed = clients.issue(&["spiffe://mesh/envoy"]).unwrap();
        agent.set(secrets(&renewed));
        until_said(bank, Some(&mark_of(&renewed))).await;

        // Another authority, and both of them.
        agent.set([
            certificate(OWN, &renewed),
            authorities(ROOTS, &stranger.certificate()),
        ]);
        until_said(bank, None).await;
        let both = format!("{}{roots}", stranger.certificate());
        agent.set([certificate(OWN, &renewed), authorities(ROOTS, &both)]);
        until_said(bank, Some(&mark_of(&renewed))).await;
        assert!(client::tcp(thief, "hear me").await.is_err());

        // An agent that is gone takes nothing with it, and is asked again when it is back.
        let seen = agent.seen();
        assert_eq!(seen.refused, Vec::<String>::new());
        drop(agent);
        until_said(bank, Some(&mark_of(&renewed))).await;
        let last = clients.issue(&["spiffe://mesh/envoy"]).unwrap();
        let agent = Agent::start_at(&socket(&folder), secrets(&last)).unwrap();
        until_said(bank, Some(&mark_of(&last))).await;
        assert_eq!(agent.seen().refused, Vec::<String>::new());

        assert_content(&envoy).await;
        assert_eq!(
            (stage.sent(ResourceType::Cluster), stage.responses().await),
            before
        );
        assert_eq!(envoy.stat("cluster_manager.cluster_modified").await.unwrap(), 0);
        stage.assert_nothing_refused();
    }
}

/// SPIRE has its authorities checked by Envoy's validator of SPIFFE, which looks at URIs alone.
#[tokio::test]
async fn names_that_a_validator_overlooks_are_no_leave_for_everybody() {
    let (servers, clients) = (Authority::new().unwrap(), Authority::new().unwrap());
    let own = clients.issue(&["spiffe://mesh/envoy"]).unwrap();
    let bank = servers.issue(&["spiffe://mesh/bank", "bank.static"]).unwrap();
    let thief = servers.issue(&["spiffe://mesh/thief", "thief.static"]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let roots = servers.certificate();
    let plain = [certificate(OWN, &own), authorities(ROOTS, &roots)];
    let as_spire = [certificate(OWN, &own), trust_domain(ROOTS, "mesh", &roots)];
    let agent = Agent::start_at(&socket(&folder), plain).unwrap();
    let (bank_record, bank) = line("bank", guarded(&bank, &clients).await);
    let (thief_record, thief) = line("thief", guarded(&thief, &clients).await);
    let stage = Stage::set([bank_record, thief_record], config(&["bank.static"])).await;
    let envoy = envoy(&stage, Variant::Delta, &socket(&folder)).await;
    until_said(bank, Some(&mark_of(&own))).await;
    assert!(client::tcp(thief, "hear me").await.is_err());

    agent.set(as_spire);
    until_said(bank, None).await;
    assert!(client::tcp(thief, "hear me").await.is_err());

    let by_id = XdsConfig {
        outbound: stage.xds.views().config().outbound.clone(),
        ..config(&["spiffe://mesh/bank"])
    };
    stage.xds.reconfigure(by_id).unwrap();
    until_said(bank, Some(&mark_of(&own))).await;
    assert!(client::tcp(thief, "hear me").await.is_err());
    assert_content(&envoy).await;
    assert_eq!(agent.seen().refused, Vec::<String>::new());
    stage.assert_nothing_refused();
}
