//! A service that moves from Consul to Nomad's own registry, by the configuration that `docs/nomad.md` shows.

use registry_testkit::consul::Consul;
use registry_testkit::nomad::{NomadPlay, Registration};
use serde_json::{Value, json};

use super::recorder::{Recorder, assert_always_routable};
use crate::daemon::Daemon;

const WEB: &str = "web.mesh.internal";

const GUIDE: &str = include_str!("../../../../docs/nomad.md");

/// The configuration of the guide that has both registries, but for where they are.
fn guide(consul: &str, nomad: &str) -> String {
    let mut blocks = GUIDE.split("```yaml\n").skip(1);
    let block = blocks.find(|block| block.contains("consul:") && block.contains("nomad:"));
    let block = block.and_then(|block| block.split("```").next());
    let mut config = block.expect("the guide shows both registries").to_owned();
    for (shown, ours) in [
        ("http://127.0.0.1:8500", consul),
        ("http://127.0.0.1:4646", nomad),
    ] {
        assert!(config.contains(shown), "{shown}: {config}");
        config = config.replace(shown, ours);
    }
    config
}

/// The registration with Consul of that instance of Nomad's, as its job has it with `provider = "consul"`.
fn in_consul(instance: &Registration) -> Value {
    json!({
        "Name": instance.service_name, "ID": instance.id, "Address": instance.address, "Port": instance.port,
        "Check": { "CheckID": instance.alloc_id, "TTL": "10m", "Status": "passing" },
    })
}

#[tokio::test]
async fn an_instance_that_consul_and_nomad_know_is_one_endpoint_with_two_sources() {
    let consul = Consul::builder().start().await.unwrap();
    let nomad = NomadPlay::start().await.unwrap();
    let instances = [1, 2].map(|number| Registration::new("web", number));
    for instance in &instances {
        consul.api().register(&in_consul(instance)).await.unwrap();
    }
    let mut daemon = Daemon::new();
    let config = daemon.head() + &guide(consul.url(), &nomad.url());
    daemon.write("registryd.yaml", &config);
    daemon.start();
    daemon.ready().await;
    let recorder = Recorder::start(&daemon, WEB).await;
    let of = |sources: &str| [1, 2].map(|number| format!("10.0.0.{number} healthy {sources}"));
    recorder.until(&daemon, &of("consul-dc1")).await;

    nomad.register(&instances);
    recorder.until(&daemon, &of("consul-dc1+nomad")).await;
    let (status, service) = daemon.get(&format!("/v1/services/{WEB}")).await;
    assert_eq!(status, 200, "{service}");
    assert_eq!(service["sources"], json!(["consul-dc1", "nomad"]));
    assert_eq!(service["conflicts"], json!([]));
    for endpoint in service["endpoints"].as_array().unwrap() {
        let words = endpoint["sources"].as_array().unwrap().iter();
        let words: Vec<&Value> = words.map(|source| &source["status"]).collect();
        assert_eq!(words, [&json!("passing"), &json!("registered")], "{endpoint}");
        assert_eq!(endpoint["ports"].as_object().map(serde_json::Map::len), Some(1));
    }

    for instance in &instances {
        consul.api().deregister(&instance.id).await.unwrap();
    }
    let in_nomad = [1, 2].map(|number| format!("10.0.0.{number} unknown nomad"));
    recorder.until(&daemon, &in_nomad).await;
    assert_always_routable(&recorder, 2);
    daemon.assert_no_panic();
}
