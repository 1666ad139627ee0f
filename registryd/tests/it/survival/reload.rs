//! A changed configuration of one registry, as its neighbour and its clients see it.

use std::collections::BTreeMap;
use std::time::Duration;

use registry_testkit::FaultProxy;
use registry_testkit::consul::Consul;
use serde_json::{Value, json};

use super::{endpoints, entry, saved, services, shows};
use crate::daemon::Daemon;
use crate::stream::Stream;

fn config(registries: &str) -> String {
    format!("http: {{ listen: \"127.0.0.1:0\" }}\nstart_deadline: 20s\nregistries:\n{registries}")
}

/// A Consul whose polls are parked for longer than any test takes.
fn consul(name: &str, url: &str, more: &str) -> String {
    format!(
        "  - name: {name}\n    hostname: \"{{name}}.{name}\"\n    consul: {{ address: \"{url}\", wait: 10m }}\n{more}"
    )
}

async fn server(endpoints: usize) -> Consul {
    let consul = Consul::builder().start().await.unwrap();
    for n in 1..=endpoints {
        let service =
            json!({ "ID": format!("web-{n}"), "Name": "web", "Address": format!("10.0.1.{n}"), "Port": 80 });
        consul.api().register(&service).await.unwrap();
    }
    consul
}

/// Registry `b`, which nothing may happen to, and all that could show that something did.
struct Neighbour {
    _server: Consul,
    proxy: FaultProxy,
}

/// What of a registry and its server changes only where something happened to it.
#[derive(Debug, PartialEq)]
struct Seen {
    service: Value,
    since: Value,
    attempts: Value,
    connections: u64,
    /// Requests that ask for everything, not for what comes after something.
    first_reads: BTreeMap<String, usize>,
}

impl Neighbour {
    async fn start() -> Self {
        let server = server(2).await;
        let proxy = FaultProxy::start(server.address().into()).await.unwrap();
        Self {
            _server: server,
            proxy,
        }
    }

    fn entry(&self) -> String {
        consul("b", &self.proxy.url(), "    compare: off\n")
    }

    /// What is seen of it once its polls are parked.
    async fn at_rest(&self, daemon: &Daemon) -> Seen {
        shows(daemon, "web.b", 2, 0).await;
        let mut before = None;
        daemon
            .wait("parked polls", async || {
                // Nothing may come for this long; then whatever is asked is parked.
                let count = self.proxy.requests_total();
                tokio::time::sleep(Duration::from_millis(1_500)).await;
                (before.replace(count) == Some(count)).then_some(())
            })
            .await;
        self.seen(daemon).await
    }

    async fn seen(&self, daemon: &Daemon) -> Seen {
        let registry = daemon.registry("b").await;
        let mut service = daemon.service("web.b").await;
        service.as_object_mut().unwrap().remove("registries");
        let mut first_reads = BTreeMap::new();
        for request in self.proxy.requests() {
            if request.query("index").is_none() {
                *first_reads.entry(request.path().to_owned()).or_default() += 1;
            }
        }
        Seen {
            service,
            since: registry["since"].clone(),
            attempts: registry["attempts"].clone(),
            connections: self.proxy.connections_total(),
            first_reads,
        }
    }
}

/// Reads all events that have come, and checks that none speaks of `b`.
async fn nothing_of_b(watch: &mut Stream) {
    while let Some(event) = watch.within(Duration::from_millis(300)).await {
        let updated = event.data["updated"].as_array().unwrap().iter();
        let names = updated.map(|service| &service["hostname"]);
        let names = names.chain(event.data["removed"].as_array().unwrap());
        for name in names {
            assert!(!name.as_str().unwrap().ends_with(".b"), "{}", event.data);
        }
        assert!(event.data["phases"].get("b").is_none(), "{}", event.data);
        assert_eq!(event.data["registries"]["b"]["phase"], "synced", "{}", event.data);
    }
}

#[tokio::test]
async fn pain_3_acceptance_5_whatever_is_edited_of_one_registry_nothing_happens_to_its_neighbour() {
    let neighbour = Neighbour::start().await;
    let other = server(1).await;
    let b = neighbour.entry();
    let with = |a: &str| config(&format!("{a}{b}"));
    let first = with(&entry("a", ""));
    let files = [
        ("registryd.yaml", first.as_str()),
        ("a.yaml", &services(20)),
        ("c.yaml", &services(4)),
    ];
    let daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.a", 20, 0).await;
    let before = neighbour.at_rest(&daemon).await;
    let mut watch = Stream::open(daemon.url()).await;

    let plain = entry("a", "");
    for (what, a) in [
        ("a filter", entry("a", "    include: { cidrs: [10.0.0.0/29] }\n")),
        ("no filter", plain.clone()),
        ("another hostname", plain.replace("{name}.a", "{name}.other")),
        ("rights", entry("a", "    required: false\n    precedence: 7\n")),
        (
            "survival",
            entry("a", "    guard: off\n    outage: drop\n    compare: off\n"),
        ),
        ("another file", plain.replace("a.yaml", "c.yaml")),
        ("another kind", consul("a", other.url(), "")),
        ("another name", entry("c", "")),
        ("none at all", String::new()),
        ("and back again", plain.clone()),
    ] {
        daemon.reload(&with(&a)).await;
        nothing_of_b(&mut watch).await;
        assert_eq!(neighbour.seen(&daemon).await, before, "{what}");
    }
    // Its place in the file may change as well, and what it is merged with.
    daemon.reload(&config(&format!("{b}{plain}"))).await;
    daemon
        .reload(&format!(
            "{}merge: [{{ hosts: \"*.a\", policy: exclusive }}]\n",
            with(&plain)
        ))
        .await;
    nothing_of_b(&mut watch).await;
    assert_eq!(neighbour.seen(&daemon).await, before, "its place");
}

#[tokio::test]
async fn acceptance_5_a_registry_that_is_pointed_elsewhere_keeps_its_services_until_it_knows_better() {
    let (old, new) = (server(20).await, server(2).await);
    let proxy = FaultProxy::start(new.address().into()).await.unwrap();
    proxy.black_hole(true);
    let first = config(&consul("a", old.url(), ""));
    let daemon = Daemon::start(&[("registryd.yaml", &first)]).await;
    let before = shows(&daemon, "web.a", 20, 0).await;
    let mut watch = Stream::open(daemon.url()).await;

    daemon.reload(&config(&consul("a", &proxy.url(), ""))).await;
    proxy.wait_for_connections(1).await;
    let (status, kept) = daemon.get("/v1/services/web.a").await;
    assert_eq!((status, &kept["hash"]), (200, &before["hash"]));
    while let Some(event) = watch.within(Duration::from_millis(300)).await {
        assert_eq!(event.data["removed"], json!([]));
        for service in event.data["updated"].as_array().unwrap() {
            assert_eq!(
                endpoints(service).len(),
                if service["name"] == "web" { 20 } else { 1 }
            );
        }
    }

    // Another server has other services: what it lacks is no loss.
    proxy.black_hole(false);
    proxy.reset_all();
    shows(&daemon, "web.a", 2, 0).await;
    let registry = daemon.registry("a").await;
    assert_eq!(registry["held"], json!(null), "{registry}");
    assert!(!daemon.log().contains("held back"), "{}", daemon.log());
}

#[tokio::test]
async fn acceptance_5_a_narrower_filter_applies_at_once_and_is_no_loss() {
    let first = config(&entry("a", ""));
    let daemon = Daemon::start(&[("registryd.yaml", &first), ("a.yaml", &services(20))]).await;
    shows(&daemon, "payments.a", 20, 0).await;
    daemon
        .reload(&config(&entry("a", "    include: { cidrs: [10.0.0.0/30] }\n")))
        .await;
    shows(&daemon, "payments.a", 3, 0).await;
    // As delivered is what is kept: a wider one needs nobody's word.
    std::fs::rename(daemon.path("a.yaml"), daemon.path("away.yaml")).unwrap();
    daemon.reload(&first).await;
    shows(&daemon, "payments.a", 20, 0).await;
    let registry = daemon.registry("a").await;
    assert_eq!(
        (&registry["attempts"], &registry["held"]),
        (&json!(1), &json!(null))
    );
    assert!(!daemon.log().contains("held back"), "{}", daemon.log());
}

#[tokio::test]
async fn acceptance_5_a_renamed_registry_leaves_when_its_successor_is_known() {
    let first = config(&entry("a", ""));
    let files = [
        ("registryd.yaml", first.as_str()),
        ("a.yaml", &services(20)),
        ("c.yaml", &services(20)),
    ];
    let daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.a", 20, 0).await;
    saved(&daemon, "a").await;
    let mut watch = Stream::open(daemon.url()).await;
    // The same services under a new name of the registry: they have to be there before the old ones go.
    daemon
        .reload(&config(&entry("c", "").replace("{name}.c", "{name}.a")))
        .await;
    daemon
        .wait("one registry", async || {
            let (_, all) = daemon.get("/v1/registries").await;
            (all["registries"].as_array()?.len() == 1).then_some(())
        })
        .await;
    let service = shows(&daemon, "payments.a", 20, 0).await;
    assert_eq!(service["sources"], json!(["c"]));
    while let Some(event) = watch.within(Duration::from_millis(300)).await {
        assert_eq!(event.data["removed"], json!([]), "never absent");
        for service in event.data["updated"].as_array().unwrap() {
            assert_eq!(endpoints(service).len(), 20);
        }
    }
    assert!(!daemon.log().contains("held back"), "{}", daemon.log());
    // The state of the one that was removed is nobody's any more.
    saved(&daemon, "c").await;
    let file = daemon.path("lib/a.state");
    daemon
        .wait("the file to go", async || (!file.exists()).then_some(()))
        .await;
}

#[tokio::test]
async fn acceptance_5_a_removed_registry_goes_with_all_it_had_and_nothing_is_held() {
    let both = config(&format!("{}{}", entry("a", ""), entry("b", "")));
    let files = [
        ("registryd.yaml", both.as_str()),
        ("a.yaml", &services(20)),
        ("b.yaml", &services(20)),
    ];
    let daemon = Daemon::start(&files).await;
    shows(&daemon, "payments.a", 20, 0).await;
    let before = shows(&daemon, "payments.b", 20, 0).await;
    daemon.reload(&config(&entry("b", ""))).await;
    daemon.gone("payments.a").await;
    assert_eq!(daemon.service("payments.b").await["revision"], before["revision"]);
    assert!(!daemon.log().contains("held back"), "{}", daemon.log());
    assert_eq!(daemon.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn settings_of_survival_change_without_a_new_watch() {
    let first = config(&entry("a", ""));
    let daemon = Daemon::start(&[("registryd.yaml", &first), ("a.yaml", &services(20))]).await;
    shows(&daemon, "payments.a", 20, 0).await;
    let before = daemon.registry("a").await;
    let other = "    outage: { keep_for: 10m }\n    guard: { share: 0.9 }\n    compare: 1s\n";
    daemon.reload(&config(&entry("a", other))).await;
    let now = daemon
        .registry_that("a", "another policy", |registry| {
            registry["outage"]["policy"] == "keep_for"
        })
        .await;
    assert_eq!(
        (&now["attempts"], &now["since"]),
        (&before["attempts"], &before["since"])
    );
    let compared = |registry: &Value| registry["comparisons"].as_u64() > Some(0);
    daemon.registry_that("a", "a comparison", compared).await;
    // Nine tenths may go now.
    daemon.write("a.yaml", &services(5));
    shows(&daemon, "payments.a", 5, 0).await;
    assert!(!daemon.log().contains("held back"), "{}", daemon.log());
}
