//! Settings that are understood, and most likely not what was meant.

use serde_json::Value;

use super::{config, services};
use crate::daemon::Daemon;

#[tokio::test]
async fn pain_20_a_filter_that_matches_nothing_warns_until_it_is_mended() {
    let wrong = config("    include: { names: [paymets] }\n");
    let daemon = Daemon::start(&[("registryd.yaml", &wrong), ("vms.yaml", &services(3))]).await;
    let warned = |registry: &Value| {
        registry["warnings"]
            .as_array()
            .is_some_and(|list| !list.is_empty())
    };
    let registry = daemon.registry_that("vms", "a warning", warned).await;
    let warning = registry["warnings"][0].as_str().expect("a text");
    assert!(warning.contains("the filter matches none of 1"), "{warning}");
    let (_, table) = daemon.ask(&["status"]);
    assert!(table.contains("vms: warning: no service takes part"), "{table}");
    assert_eq!(daemon.get("/readyz").await.0, 200, "it is known, and it is empty");
    daemon.reload(&wrong.replace("paymets", "payments")).await;
    daemon.service("payments.vms").await;
    assert!(!warned(&daemon.registry("vms").await));
}
