//! One service from a file and from Consul.

use registry_testkit::consul::Consul;
use serde_json::{Value, json};

use crate::daemon::Daemon;

const HOST: &str = "payments.mesh.internal";

fn config(url: &str, port_number: u16) -> String {
    format!(
        "\
http: {{ listen: \"127.0.0.1:0\" }}
registries:
  - name: vms
    hostname: \"{{name}}.mesh.internal\"
    file: {{ path: vms.yaml }}
  - name: consul
    hostname: \"{{name}}.mesh.internal\"
    port_number: {port_number}
    consul: {{ address: \"{url}\", wait: 10s }}
"
    )
}

fn services(health: &str) -> String {
    format!(
        "\
services:
  - name: payments
    ports: [{{ name: http, number: 80 }}]
    endpoints:
      - {{ address: 10.0.0.7, ports: {{ http: 8080 }}{health} }}
      - {{ address: 10.0.0.8, ports: {{ http: 8080 }} }}
"
    )
}

/// `address health registries`, one line an endpoint.
fn lines(service: &Value) -> Vec<String> {
    let line = |endpoint: &Value| {
        let sources = endpoint["sources"].as_array().unwrap().iter();
        let sources: Vec<&str> = sources
            .map(|source| source["registry"].as_str().unwrap())
            .collect();
        format!(
            "{} {} {}",
            endpoint["address"].as_str().unwrap(),
            endpoint["health"].as_str().unwrap(),
            sources.join("+")
        )
    };
    service["endpoints"]
        .as_array()
        .unwrap()
        .iter()
        .map(line)
        .collect()
}

async fn until(daemon: &Daemon, wanted: &[&str]) -> Value {
    daemon
        .wait(&format!("{wanted:?}"), async || {
            let (status, service) = daemon.get(&format!("/v1/services/{HOST}")).await;
            (status == 200 && lines(&service) == wanted).then_some(service)
        })
        .await
}

#[tokio::test]
async fn acceptance_5_file_and_consul_are_one_service() {
    let consul = Consul::builder().start().await.unwrap();
    let register = async |id: &str, address: &str| {
        let service = json!({ "ID": id, "Name": "payments", "Address": address, "Port": 8080,
                              "Check": { "CheckID": format!("check-{id}"), "TTL": "10m", "Status": "passing" } });
        consul.api().register(&service).await.unwrap();
    };
    register("p-7", "10.0.0.7").await;
    register("p-9", "10.0.0.9").await;
    let files = [
        ("registryd.yaml", config(consul.url(), 81)),
        ("vms.yaml", services("")),
    ];
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let daemon = Daemon::start(&files).await;

    let merged = [
        "10.0.0.7 healthy vms+consul",
        "10.0.0.8 unknown vms",
        "10.0.0.9 healthy consul",
    ];
    let service = until(&daemon, &merged).await;
    assert_eq!(
        service["ports"][0]["name"], "http",
        "Consul's nameless port is the service's only one"
    );
    for endpoint in service["endpoints"].as_array().unwrap() {
        assert_eq!(endpoint["ports"], json!({ "http": 8080 }));
    }
    let conflict = &service["conflicts"][0];
    assert_eq!(conflict["field"], "port.number");
    let values = json!([{ "registry": "vms", "value": "80" }, { "registry": "consul", "value": "81" }]);
    assert_eq!(conflict["values"], values);
    assert_eq!(service["ports"][0]["number"], 80, "precedence wins");

    daemon.write("vms.yaml", &services(", health: draining"));
    until(&daemon, &["10.0.0.7 draining vms+consul", merged[1], merged[2]]).await;
    daemon.write("vms.yaml", "services: [");
    daemon.wait_for_log(0, "vms.yaml").await;
    consul
        .api()
        .set_agent_check("check-p-9", "critical", "down")
        .await
        .unwrap();
    until(
        &daemon,
        &[
            "10.0.0.7 draining vms+consul",
            merged[1],
            "10.0.0.9 unhealthy consul",
        ],
    )
    .await;

    daemon.write("vms.yaml", "services: []\n");
    let service = until(&daemon, &["10.0.0.7 healthy consul", "10.0.0.9 unhealthy consul"]).await;
    assert_eq!(service["conflicts"], json!([]));
    assert_eq!(service["sources"], json!(["consul"]));

    let (_, alone) = daemon.get(&format!("/v1/services/{HOST}@consul")).await;
    assert_eq!(alone["hash"], service["hash"]);
}
