//! Acceptance test 13, and addresses that an Envoy cannot have.

use std::net::{Ipv4Addr, TcpListener};

use registry_testkit::envoy::Envoy;
use registry_testkit::log::Everything;
use registry_testkit::upstream::{Kind, Upstream, client};
use registry_xds::{Bootstrap, ResourceType, Variant, XdsConfig};

use super::stage::{Service, Stage, VARIANTS, assert_content, free_port, local, start, until};

/// Only the machine knows that a port is taken there: by its administration listener, and by another program.
#[tokio::test]
async fn acceptance_13_what_envoy_refuses_is_shown_logged_and_not_sent_again() {
    for variant in VARIANTS {
        let log = Everything::default();
        let listening = log.listen();
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let lines = Upstream::start("lines-1", Kind::Tcp).await.unwrap();
        let other = TcpListener::bind((Ipv4Addr::LOCALHOST, free_port())).unwrap();
        let taken = other.local_addr().unwrap().port();
        let admin = free_port();
        let free = free_port();
        let line = |name, port: u16| {
            let service = Service::new(name, "tcp", 7).on(lines.address());
            service.label("registryd.local_port", &port.to_string()).record()
        };
        let web_record = Service::new("web", "http", 80).on(web.address()).record();
        let good = [web_record.clone(), line("good", free)];
        let stage = Stage::set(good.clone(), XdsConfig::default()).await;
        let envoy = start(&Bootstrap {
            admin: Some(local(admin)),
            ..stage.bootstrap(variant)
        })
        .await;
        stage.settled().await;
        stage.assert_nothing_refused();

        stage.say(
            good.clone()
                .into_iter()
                .chain([line("taken", taken), line("admin", admin)]),
        );
        let nack = until("it is refused", async || {
            stage.client().await.types[&ResourceType::Listener]
                .last_nack
                .clone()
        })
        .await;
        assert!(nack.message.contains(&taken.to_string()), "{nack:?}");
        let status = stage.client().await.types[&ResourceType::Listener].clone();
        assert_eq!(
            (status.channel.nacks, status.channel.pending),
            (1, false),
            "{status:?}"
        );
        let told = log
            .text()
            .lines()
            .filter(|line| line.contains("WARN") && line.contains("refuse"))
            .count();
        assert!(told > 0, "{}", log.text());

        // It is not sent again by itself, nor with what comes next in delta.
        let responses = status.channel.responses;
        let next = free_port();
        let late = Service::new("late", "http", 80).on(web.address()).record();
        stage.say(good.clone().into_iter().chain([
            line("taken", taken),
            line("admin", admin),
            late,
            line("next", next),
        ]));
        until("what comes next is there", async || {
            let answer = client::http(stage.outbound, "late.static", "/").await.ok()?;
            let said = client::tcp(local(next), "hear me").await.ok()?;
            (answer.status == 200 && said == "lines-1").then_some(())
        })
        .await;
        stage.settled().await;
        let status = stage.client().await.types[&ResourceType::Listener].clone();
        assert_eq!(status.channel.responses, responses + 1, "{status:?}");
        // The state of the world has the refused ones in it again.
        let nacks = if variant == Variant::Sotw { 2 } else { 1 };
        assert_eq!(status.channel.nacks, nacks, "{status:?}");
        assert_eq!(client::tcp(local(free), "hear me").await.unwrap(), "lines-1");

        // It goes on where the cause goes.
        drop(other);
        stage.say(good.clone().into_iter().chain([line("other-name", taken)]));
        until("it is taken", async || {
            client::tcp(local(taken), "hear me").await.ok()
        })
        .await;
        stage.settled().await;
        assert_warm(&envoy).await;
        drop(listening);
    }
}

async fn assert_warm(envoy: &Envoy) {
    assert_eq!(envoy.stat("cluster_manager.warming_clusters").await.unwrap(), 0);
    assert_eq!(
        envoy.stat("cluster_manager.cds.update_rejected").await.unwrap(),
        0
    );
}

#[tokio::test]
async fn a_virtual_address_that_the_host_does_not_have_is_no_reason_to_refuse() {
    for variant in VARIANTS {
        let web = Upstream::start("web-1", Kind::Http).await.unwrap();
        let service = Service::new("far", "tcp", free_port())
            .at(Ipv4Addr::new(192, 0, 2, 7))
            .on(web.address());
        let near = Service::new("web", "http", 80).on(web.address());
        let stage = Stage::set([service, near].map(Service::record), XdsConfig::default()).await;
        let envoy = stage.envoy(variant).await;
        let answer = client::http(stage.outbound, "web.static", "/").await.unwrap();
        assert_eq!(answer.status, 200);
        assert_eq!(
            envoy
                .stat("listener_manager.total_listeners_active")
                .await
                .unwrap(),
            2
        );
        assert_content(&envoy).await;
        stage.settled().await;
        stage.assert_nothing_refused();
    }
}
