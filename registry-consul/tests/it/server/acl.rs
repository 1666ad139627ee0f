//! Tokens: missing, too weak, revoked, replaced, and rights that shrink. Whatever happens, what is known stays.

use std::path::Path;
use std::time::Duration;

use registry_consul::{ConsulConfig, ConsulRegistry};
use registry_core::{DegradedScope, Discovery, ErrorKind, Phase, Scope, ServiceRegistry};
use registry_testkit::consul::{Consul, ConsulApi};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use crate::support::real::{revisions, until_error, until_true};
use crate::support::{config, discover, phase, service, status, until, until_phase, until_statuses};

const ALL: &str = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
const SERVICES_ONLY: &str = r#"service_prefix "" { policy = "read" }"#;
const ONE_SERVICE: &str = r#"service "web" { policy = "read" } node_prefix "" { policy = "read" }"#;

async fn server() -> Consul {
    let consul = Consul::builder().acl().start().await.unwrap();
    for (name, id) in [("web", "web-1"), ("web", "web-2"), ("api", "api-1")] {
        register(consul.api(), name, id).await;
    }
    consul
}

async fn register(api: &ConsulApi, name: &str, id: &str) {
    let node = format!("node-of-{id}");
    let address = format!("10.9.0.{}", &id[id.len() - 1..]);
    let service = json!({ "ID": id, "Service": name, "Port": 80 });
    api.catalog_register(&json!({ "Node": node, "Address": address, "Service": service }))
        .await
        .unwrap();
}

/// A configuration whose token is in the file, and whose polls are short.
fn with_token_file(consul: &Consul, file: &Path) -> ConsulConfig {
    ConsulConfig {
        token_file: Some(file.to_owned()),
        wait: Duration::from_secs(2),
        ..config(consul.url())
    }
}

fn token_file(token: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), token).unwrap();
    file
}

/// A discovery with a token of the given rules that is in sync.
async fn synced(consul: &Consul, rules: &str) -> (Discovery, NamedTempFile, String) {
    consul.api().create_policy("reader", rules).await.unwrap();
    let token = consul.api().create_token(&["reader"]).await.unwrap();
    let file = token_file(&token.secret);
    let discovery = discover(with_token_file(consul, file.path()));
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    until_statuses(&discovery, "api", &["api-1 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;
    (discovery, file, token.accessor)
}

async fn set_rules(consul: &Consul, rules: &str) {
    let policies = consul.api().get("/v1/acl/policies").await.unwrap();
    let id = policies
        .as_array()
        .and_then(|policies| policies.iter().find(|policy| policy["Name"] == "reader"))
        .and_then(|policy| policy["ID"].as_str())
        .unwrap()
        .to_owned();
    let policy: Value = json!({ "ID": id, "Name": "reader", "Rules": rules });
    consul
        .api()
        .put(&format!("/v1/acl/policy/{id}"), &policy)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_without_a_token_nothing_is_known_and_the_error_says_denied() {
    let consul = server().await;
    let discovery = discover(config(consul.url()));
    let message = until_error(&discovery, ErrorKind::Denied, "token").await;
    println!("{message}");
    assert_eq!(phase(&discovery), Phase::Connecting);
    assert!(!discovery.readiness().ready);
    assert!(discovery.snapshot().is_empty());
    let error = ConsulRegistry::try_new(config(consul.url()))
        .unwrap()
        .probe()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_an_unknown_token_is_denied() {
    let consul = server().await;
    let file = token_file("5a9d2a3b-0000-0000-0000-000000000000");
    let discovery = discover(with_token_file(&consul, file.path()));
    until_error(&discovery, ErrorKind::Denied, "ACL not found").await;
    assert_eq!(phase(&discovery), Phase::Connecting);
    let registry = ConsulRegistry::try_new(with_token_file(&consul, file.path())).unwrap();
    assert_eq!(registry.probe().await.unwrap_err().kind(), ErrorKind::Denied);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_token_without_node_read_is_no_empty_registry() {
    let consul = server().await;
    consul.api().create_policy("reader", SERVICES_ONLY).await.unwrap();
    let token = consul.api().create_token(&["reader"]).await.unwrap();
    let file = token_file(&token.secret);
    let discovery = discover(with_token_file(&consul, file.path()));
    until_error(&discovery, ErrorKind::Denied, "node:read").await;
    // Longer than a listing is patient with what it cannot read.
    tokio::time::sleep(Duration::from_secs(17)).await;
    let status = status(&discovery);
    assert!(discovery.snapshot().is_empty());
    assert!(
        !discovery.readiness().ready,
        "not one service could be read: {status:?}"
    );
    assert_ne!(status.phase, Phase::Synced, "{status:?}");

    set_rules(&consul, ALL).await;
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_token_revoked_under_parked_polls_is_reported_and_a_new_one_is_taken_from_the_file() {
    let consul = server().await;
    let (discovery, file, accessor) = synced(&consul, ALL).await;
    let before = revisions(&discovery.snapshot());

    consul.api().delete_token(&accessor).await.unwrap();
    let message = until_error(&discovery, ErrorKind::Denied, "403").await;
    println!("{message}");
    until_phase(&discovery, Phase::Stale).await;
    assert_eq!(revisions(&discovery.snapshot()), before, "nothing is lost");
    until_true("each service to be in trouble", &discovery, || {
        let of_services = |scope: &&DegradedScope| matches!(scope.scope, Scope::Service(_));
        status(&discovery).degraded.iter().filter(of_services).count() == before.len()
    })
    .await;

    let token = consul.api().create_token(&["reader"]).await.unwrap();
    std::fs::write(file.path(), &token.secret).unwrap();
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(revisions(&discovery.snapshot()), before, "nothing was touched");
    register(consul.api(), "web", "web-3").await;
    until_statuses(
        &discovery,
        "web",
        &["web-1 passing", "web-2 passing", "web-3 passing"],
    )
    .await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_a_token_file_that_vanishes_costs_nothing_that_is_known() {
    let consul = server().await;
    let (discovery, file, accessor) = synced(&consul, ALL).await;
    let before = revisions(&discovery.snapshot());

    let requests = status(&discovery).requests;
    std::fs::remove_file(file.path()).unwrap();
    // The token that was read last goes on being used, until it is refused.
    until_true("some more polls", &discovery, || {
        status(&discovery).requests > requests + 20
    })
    .await;
    assert_eq!(phase(&discovery), Phase::Synced, "{:?}", discovery.status());
    consul.api().delete_token(&accessor).await.unwrap();
    until_phase(&discovery, Phase::Stale).await;
    println!("{:?}", status(&discovery).last_error);
    assert_eq!(revisions(&discovery.snapshot()), before);

    let token = consul.api().create_token(&["reader"]).await.unwrap();
    std::fs::write(file.path(), &token.secret).unwrap();
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(revisions(&discovery.snapshot()), before);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_rights_to_nodes_that_are_lost_remove_nothing() {
    let consul = server().await;
    let (discovery, _file, _) = synced(&consul, ALL).await;
    let before = revisions(&discovery.snapshot());

    set_rules(&consul, SERVICES_ONLY).await;
    let message = until_error(&discovery, ErrorKind::Denied, "").await;
    println!("{message}");
    until_phase(&discovery, Phase::Stale).await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(revisions(&discovery.snapshot()), before, "nothing is lost");

    set_rules(&consul, ALL).await;
    until_phase(&discovery, Phase::Synced).await;
    assert_eq!(revisions(&discovery.snapshot()), before);
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_8_rights_to_a_service_that_are_lost_remove_nothing() {
    let consul = server().await;
    let (discovery, _file, _) = synced(&consul, ALL).await;
    let before = revisions(&discovery.snapshot());

    set_rules(&consul, ONE_SERVICE).await;
    until_error(&discovery, ErrorKind::Denied, "").await;
    until("api in trouble", &discovery, |_| {
        status(&discovery)
            .degraded
            .iter()
            .any(|scope| scope.scope.to_string().contains("api"))
    })
    .await;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let troubled = status(&discovery).degraded;
    assert!(
        !troubled
            .iter()
            .any(|scope| scope.scope.to_string().contains("web")),
        "{troubled:?}"
    );
    assert!(service(&discovery.snapshot(), "api").is_some());
    assert_eq!(revisions(&discovery.snapshot()), before, "nothing is lost");

    // What may still be read goes on.
    register(consul.api(), "web", "web-3").await;
    until_statuses(
        &discovery,
        "web",
        &["web-1 passing", "web-2 passing", "web-3 passing"],
    )
    .await;
    set_rules(&consul, ALL).await;
    until_phase(&discovery, Phase::Synced).await;
    until("no trouble", &discovery, |_| {
        status(&discovery).degraded.is_empty()
    })
    .await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_that_is_printed_suffices_and_shows_nothing_else() {
    let consul = server().await;
    let config = ConsulConfig {
        services: vec!["we*".to_owned()],
        ..config(consul.url())
    };
    consul
        .api()
        .create_policy("printed", &config.acl_policy())
        .await
        .unwrap();
    let token = consul.api().create_token(&["printed"]).await.unwrap();
    let file = token_file(&token.secret);
    let everything = discover(with_token_file(&consul, file.path()));
    until_phase(&everything, Phase::Synced).await;
    assert!(
        service(&everything.snapshot(), "api").is_none(),
        "the token may not see it"
    );
    let discovery = discover(ConsulConfig {
        token_file: Some(file.path().to_owned()),
        ..config
    });
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;
}
