//! A service that moves from Eureka to Consul, one instance after the other.

use registry_testkit::consul::Consul;
use registry_testkit::eureka::{Eureka, Instance};
use serde_json::{Value, json};

use crate::daemon::Daemon;
use crate::stream::{Event, Stream};

const HOST: &str = "orders.mesh.internal";

fn eureka_entry(url: &str) -> String {
    format!(
        "  - name: old\n    hostname: \"{{name}}.mesh.internal\"\n    eureka: {{ urls: [{url:?}], interval: 200ms }}\n"
    )
}

fn config(eureka: &str, consul: &str) -> String {
    format!(
        "\
http: {{ listen: \"127.0.0.1:0\" }}
registries:
{eureka}  - name: new
    hostname: \"{{name}}.mesh.internal\"
    port_name: http
    consul: {{ address: {consul:?}, wait: 10s }}
"
    )
}

/// `address registries`, one line an endpoint, in order.
fn lines(service: &Value) -> Vec<String> {
    let endpoints = service["endpoints"].as_array().unwrap().iter();
    let mut lines: Vec<String> = endpoints
        .map(|endpoint| {
            let sources = endpoint["sources"].as_array().unwrap().iter();
            let names: Vec<&str> = sources
                .map(|source| source["registry"].as_str().unwrap())
                .collect();
            format!("{} {}", endpoint["address"].as_str().unwrap(), names.join("+"))
        })
        .collect();
    lines.sort();
    lines
}

/// Fails where a client that has taken this event has nowhere to send requests.
fn is_routable(event: &Event) {
    let removed = event.data["removed"].as_array().unwrap();
    assert!(!removed.contains(&json!(HOST)), "{}", event.data);
    for service in event.data["updated"].as_array().unwrap() {
        if service["hostname"] == HOST {
            let endpoints = service["endpoints"].as_array().unwrap();
            let routable = endpoints.iter().any(|endpoint| endpoint["health"] == "healthy");
            assert!(routable, "{service}");
            assert_eq!(service["ports"][0]["name"], "http", "{service}");
        }
    }
}

/// Takes events until the service has these endpoints.
async fn until(watch: &mut Stream, wanted: &[&str]) {
    loop {
        let event = watch.next().await;
        is_routable(&event);
        let services = event.data["updated"].as_array().unwrap().iter();
        let mut ours = services.filter(|service| service["hostname"] == HOST);
        if ours.any(|service| lines(service) == wanted) {
            return;
        }
    }
}

#[tokio::test]
async fn a_service_that_moves_from_eureka_to_consul_is_routable_at_every_moment() {
    let mut eureka = Eureka::war().start().await.unwrap();
    let consul = Consul::builder().start().await.unwrap();
    let address = |number: usize| format!("10.0.0.{number}");
    for number in 1..=3 {
        let instance = Instance::new("orders", format!("orders-{number}"))
            .ip(address(number))
            .port(8080);
        eureka.api().register(&instance).await.unwrap();
    }
    let register = async |number: usize| {
        let service = json!({ "ID": format!("orders-{number}"), "Name": "orders", "Address": address(number), "Port": 8080,
                              "Check": { "TTL": "10m", "Status": "passing" } });
        consul.api().register(&service).await.unwrap();
    };
    let both = config(&eureka_entry(eureka.base_url()), consul.url());
    let daemon = Daemon::start(&[("registryd.yaml", &both)]).await;
    let all_old = ["10.0.0.1 old", "10.0.0.2 old", "10.0.0.3 old"];
    let first = daemon.service(HOST).await;
    assert_eq!(lines(&first), all_old);
    let mut watch = Stream::open(daemon.url()).await;

    register(1).await;
    until(&mut watch, &["10.0.0.1 old+new", all_old[1], all_old[2]]).await;
    eureka.api().cancel("orders", "orders-1").await.unwrap();
    until(&mut watch, &["10.0.0.1 new", all_old[1], all_old[2]]).await;
    register(2).await;
    until(&mut watch, &["10.0.0.1 new", "10.0.0.2 old+new", all_old[2]]).await;

    // The server is lost half-way. What is left of it stays, and the move goes on.
    eureka.kill().await.unwrap();
    register(3).await;
    let merged = ["10.0.0.1 new", "10.0.0.2 old+new", "10.0.0.3 old+new"];
    until(&mut watch, &merged).await;

    // Nobody needs it any more.
    daemon.write("registryd.yaml", &config("", consul.url()));
    daemon.signal("HUP");
    until(&mut watch, &["10.0.0.1 new", "10.0.0.2 new", "10.0.0.3 new"]).await;
    assert_eq!(daemon.get("/v1/registries/old").await.0, 404);
}
