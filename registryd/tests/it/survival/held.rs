//! A loss that is too large to be believed at once, everywhere where it shows.

use serde_json::json;

use super::{config, endpoints, services, shows};
use crate::daemon::Daemon;
use crate::stream::Stream;

const METRIC: &str = "registryd_registry_held";
const LABELS: &str = "{registry=\"vms\",kind=\"file\"}";

async fn twenty(guard: &str) -> Daemon {
    let config = config(guard);
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", &services(20))]).await;
    shows(&daemon, "payments.vms", 20, 0).await;
    daemon
}

#[tokio::test]
async fn a_loss_that_is_held_back_shows_everywhere_until_it_is_acknowledged() {
    let daemon = twenty("").await;
    let before = daemon.registry("vms").await;
    assert_eq!(before["held"], json!(null));
    assert_eq!(
        daemon.ask(&["ack", "vms"]),
        (Some(0), "vms: nothing is held back\n".to_owned())
    );
    let mut watch = Stream::open(daemon.url()).await;

    daemon.write("vms.yaml", &services(8));
    let service = shows(&daemon, "payments.vms", 20, 12).await;
    let listed = endpoints(&service);
    assert!(
        listed[..8].iter().all(|shown| !shown.contains(' ')),
        "fresh ones come first: {listed:?}"
    );
    let all = service["endpoints"].as_array().unwrap();
    assert!(all.iter().all(|endpoint| endpoint["priority"] == 0));
    assert!(all.iter().all(|endpoint| endpoint["health"] == "healthy"));
    assert_eq!(service["registries"]["vms"]["phase"], "synced");
    let seen = watch
        .until("payments.vms", |service| endpoints(service) == listed)
        .await;
    assert_eq!(seen["hash"], service["hash"]);

    let held = daemon.registry("vms").await["held"].clone();
    assert_eq!((&held["endpoints"], &held["services"]), (&json!(12), &json!(1)));
    let name = held["names"][0].as_str().unwrap();
    assert!(name.ends_with("payments"), "{held}");
    let remaining = held["remaining_s"].as_f64().unwrap();
    assert!((0.0..=60.0).contains(&remaining), "{held}");
    assert!(held["since"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        daemon.metric(&format!("{METRIC}_endpoints{LABELS}")).await,
        Some(12.0)
    );
    let remaining = daemon
        .metric(&format!("{METRIC}_remaining_seconds{LABELS}"))
        .await;
    assert!(
        remaining.is_some_and(|left| (0.0..=60.0).contains(&left)),
        "{remaining:?}"
    );

    let (_, table) = daemon.ask(&["status"]);
    assert!(
        table.contains("   12, ") && table.contains(" left   keep"),
        "{table}"
    );
    assert!(
        table.contains("vms: held: 12 endpoints of 1 service ("),
        "{table}"
    );
    assert!(table.contains("registryd ack vms"), "{table}");
    let (_, table) = daemon.ask(&["get", "services"]);
    assert!(table.contains("20/20 (12 held)"), "{table}");
    let (_, table) = daemon.ask(&["get", "endpoints", "payments.vms"]);
    assert_eq!(table.matches("healthy, held").count(), 12, "{table}");
    assert!(daemon.log().contains("held back"), "{}", daemon.log());

    let (code, said) = daemon.ask(&["ack", "vms"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.starts_with("vms: let go of 12 endpoints of 1 service ("),
        "{said}"
    );
    let service = shows(&daemon, "payments.vms", 8, 0).await;
    assert_eq!(service["endpoints"][0]["address"], "10.0.0.1");
    assert_eq!(daemon.registry("vms").await["held"], json!(null));
    assert_eq!(
        daemon.metric(&format!("{METRIC}_endpoints{LABELS}")).await,
        Some(0.0)
    );
    assert_eq!(
        daemon
            .metric(&format!("{METRIC}_remaining_seconds{LABELS}"))
            .await,
        None
    );
    assert!(daemon.log().contains("an operator let go"), "{}", daemon.log());

    let (code, said) = daemon.ask(&["ack", "vmz"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("did you mean \"vms\""), "{said}");
    let (code, json) = daemon.ask(&["ack", "vms", "--output", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    let none = json!({ "registry": "vms", "endpoints": 0, "services": 0, "names": [] });
    assert_eq!((code, json), (Some(0), none));
}

#[tokio::test]
async fn a_loss_goes_by_itself_once_complete_knowledge_confirms_it() {
    let daemon = twenty("    guard: { hold: 1s }\n").await;
    daemon.write("vms.yaml", &services(8));
    daemon.wait_for_log(0, "held back").await;
    shows(&daemon, "payments.vms", 8, 0).await;
    daemon.wait_for_log(0, "confirmed the loss").await;
    daemon
        .registry_that("vms", "nothing held", |registry| registry["held"].is_null())
        .await;
}

#[tokio::test]
async fn what_comes_back_is_held_no_more_and_nothing_was_ever_gone() {
    let daemon = twenty("").await;
    let before = shows(&daemon, "payments.vms", 20, 0).await;
    daemon.write("vms.yaml", &services(8));
    shows(&daemon, "payments.vms", 20, 12).await;
    daemon.write("vms.yaml", &services(20));
    let after = shows(&daemon, "payments.vms", 20, 0).await;
    assert_eq!(after["hash"], before["hash"]);
    daemon
        .registry_that("vms", "nothing held", |registry| registry["held"].is_null())
        .await;
}

#[tokio::test]
async fn without_a_guard_any_loss_is_believed_and_switching_it_off_lets_go() {
    let daemon = twenty("    guard: off\n").await;
    daemon.write("vms.yaml", &services(1));
    shows(&daemon, "payments.vms", 1, 0).await;
    daemon.reload(&config("")).await;
    daemon.write("vms.yaml", &services(20));
    shows(&daemon, "payments.vms", 20, 0).await;
    daemon.write("vms.yaml", "services: []\n");
    shows(&daemon, "payments.vms", 20, 20).await;

    // At once, and without a new watch.
    daemon.reload(&config("    guard: off\n")).await;
    daemon.gone("payments.vms").await;
    assert_eq!(daemon.registry("vms").await["attempts"], 1);
}

#[tokio::test]
async fn a_registry_can_be_asked_for_everything() {
    let daemon = twenty("").await;
    let before = daemon.registry("vms").await["requests"].as_u64().unwrap();
    let (code, said) = daemon.ask(&["resync", "vms"]);
    assert_eq!((code, said.as_str()), (Some(0), "vms: asked for everything\n"));
    let read = |registry: &serde_json::Value| registry["requests"].as_u64().unwrap() > before;
    daemon.registry_that("vms", "another look", read).await;
    let (code, said) = daemon.ask(&["resync", "nothing"]);
    assert_eq!(code, Some(1), "{said}");
}

#[tokio::test]
async fn periodic_comparisons_are_counted() {
    let daemon = twenty("    compare: 1s\n").await;
    let compared = |registry: &serde_json::Value| registry["comparisons"].as_u64().unwrap() >= 2;
    let registry = daemon.registry_that("vms", "two comparisons", compared).await;
    assert_eq!(registry["repaired"], 0, "nothing differed");
    let counted = daemon
        .metric(&format!("registryd_registry_comparisons_total{LABELS}"))
        .await;
    assert!(counted.is_some_and(|counted| counted >= 2.0), "{counted:?}");
    let repaired = daemon
        .metric(&format!("registryd_registry_repaired_services_total{LABELS}"))
        .await;
    assert_eq!(repaired, Some(0.0));
}
