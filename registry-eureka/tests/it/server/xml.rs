//! A server that is asked for XML says the same as one that is asked for JSON.

use registry_core::Discovery;
use registry_testkit::eureka::{EurekaApi, Instance};

use crate::support::gate::{Gate, Verdict};
use crate::support::servers::Shared;
use crate::support::{canonical, config_of, discover, until};

/// Instances of many kinds, in two applications.
async fn register_all(api: &EurekaApi) {
    let of = |id: &str, port| Instance::new("t14-orders", id).port(port).ip("10.14.0.1");
    let amazon = [("availability-zone", "eu-west-1b"), ("instance-id", "i-14")];
    let all = [
        of("plain", 8001).metadata("zone", "a").metadata("weight", "3"),
        of("bare", 8002).without_vip(),
        of("down", 8003).status("DOWN"),
        of("tls", 8004).secure_port(8443).secure_vip("t14-tls"),
        of("tls-only", 8005).without_port().secure_port(8445),
        of("marks <&> \"'", 8006)
            .metadata("k-ü寿", "<a href=\"x\">&amp;\t'</a>")
            .metadata("empty", ""),
        of("vips", 8007).vip("t14-orders, t14-alt"),
        Instance::nameless("t14-amazon", "ip-10-14")
            .ip("10.14.0.2")
            .amazon(amazon),
    ];
    for instance in all {
        api.register(&instance).await.unwrap();
    }
}

/// Waits until both have that in a line of what they publish, or not, and all else is the same.
async fn until_equal(json: &Discovery, xml: &Discovery, text: &str, there: bool) {
    let has = |lines: &[String]| lines.iter().any(|line| line.contains(text)) == there;
    let wanted = until(&format!("{text:?} there: {there}"), json, |snapshot| {
        has(&canonical(snapshot))
    })
    .await;
    let wanted = canonical(&wanted);
    let found = until(&format!("{text:?} there: {there}, from XML"), xml, |snapshot| {
        has(&canonical(snapshot))
    })
    .await;
    assert_eq!(canonical(&found), wanted);
}

pub(super) async fn says_the_same(shared: &Shared) {
    let api = shared.api();
    register_all(api).await;
    let gate = Gate::start(shared.server().address(), |head| {
        Verdict::Pass(head.with("Accept", "application/xml"))
    })
    .await;
    let url = format!("http://{}{}", gate.addr(), shared.server().base_path());
    let json = discover(config_of(shared.base_url(), "t14-*"));
    let xml = discover(config_of(&url, "t14-*"));
    for discovery in [&json, &xml] {
        until("all instances", discovery, |snapshot| {
            snapshot.endpoint_count() == 8
        })
        .await;
    }
    let lines = canonical(&json.snapshot());
    assert_eq!(canonical(&xml.snapshot()), lines);
    for wanted in ["i-14", "eu-west-1b", "<&>", "k-ü寿", "t14-tls", "t14-alt", "8445"] {
        assert!(
            lines.iter().any(|line| line.contains(wanted)),
            "{wanted}: {lines:#?}"
        );
    }

    // By deltas.
    api.set_status("t14-orders", "plain", "OUT_OF_SERVICE")
        .await
        .unwrap();
    until_equal(&json, &xml, "OUT_OF_SERVICE", true).await;
    api.set_metadata("t14-orders", "bare", &[("version", "v2&3")])
        .await
        .unwrap();
    until_equal(&json, &xml, "v2&3", true).await;
    api.cancel("t14-orders", "marks <&> \"'").await.unwrap();
    until_equal(&json, &xml, "<&>", false).await;
    api.cancel("t14-amazon", "i-14").await.unwrap();
    until_equal(&json, &xml, "i-14", false).await;
    api.delete_status("t14-orders", "plain", Some("UP"))
        .await
        .unwrap();
    until_equal(&json, &xml, "OUT_OF_SERVICE", false).await;

    let answers = gate.answers();
    let is_xml = |head: &String| {
        head.lines()
            .any(|line| line.starts_with("content-type: application/xml"))
    };
    let odd = answers.iter().find(|head| !is_xml(head));
    assert!(
        answers.len() > 5 && odd.is_none(),
        "{} answers, {odd:?}",
        answers.len()
    );
    json.shutdown().await;
    xml.shutdown().await;
}

/// 14.
#[tokio::test(flavor = "multi_thread")]
async fn xml_and_json_of_one_server_are_one_snapshot() {
    says_the_same(&Shared::war().await).await;
}
