//! Servers and tokens that suddenly show less, without a word of why.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use futures_util::future::join_all;
use registry_consul::ConsulConfig;
use registry_core::{Discovery, Guard, Timestamp};
use registry_testkit::consul::{Consul, ConsulApi, node_name, service_name};
use registry_testkit::witness::{Witness, endpoints};
use registry_testkit::{FaultProxy, servers, wait};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::Instant;

use crate::support::{config, discover_guarded, service, status, until};

const SERVICES: usize = 20;
const INSTANCES: usize = 2;
const NODES: usize = 10;
const HOLD: Duration = Duration::from_secs(2);

/// Longer than a restart, a listing that is patient and a hold take together on a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn guarded(config: ConsulConfig) -> Discovery {
    let guard = Guard {
        hold: HOLD,
        ..Guard::default()
    };
    discover_guarded(config, Some(guard))
}

/// Registers the first services, each with all of its instances.
async fn register(consul: &Consul, services: usize) {
    let api = consul.api();
    api.register_services(services, INSTANCES, NODES).await.unwrap();
}

/// Waits until so many services, and `consul`, are there whole.
async fn until_complete(discovery: &Discovery, services: usize) {
    until("all services", discovery, |snapshot| {
        snapshot.len() == services + 1 && snapshot.endpoint_count() == services * INSTANCES + 1
    })
    .await;
}

/// What is held back, once something is: since when, and when that was seen.
async fn until_held(case: &str, discovery: &Discovery, witness: &Witness) -> (usize, Timestamp, Instant) {
    let held = wait::until("something to be held", DEADLINE, async || status(discovery).held).await;
    let seen = Instant::now();
    let held = held.unwrap_or_else(|error| panic!("{case}: {error}; {:?}", status(discovery)));
    eprintln!(
        "{case}: {} endpoints of {} services are held",
        held.endpoints, held.services
    );
    witness.saw_everything(case, discovery);
    (held.endpoints, held.since, seen)
}

/// Waits until exactly these services are left, and nothing is held; the loss must not have shown before the hold time
/// had passed and the registry was asked once more.
async fn until_confirmed(
    case: &str,
    discovery: &Discovery,
    witness: &Witness,
    (since, seen): (Timestamp, Instant),
    proxy: Option<&FaultProxy>,
    wanted: &BTreeSet<String>,
) {
    let settled = wait::until("the confirmed state", DEADLINE, async || {
        let found: BTreeSet<String> = endpoints(&discovery.snapshot());
        let names: BTreeSet<String> = found
            .iter()
            .filter_map(|line| line.split('.').next().map(str::to_owned))
            .collect();
        (names == *wanted && status(discovery).held.is_none()).then_some(())
    });
    if let Err(error) = settled.await {
        panic!(
            "{case}: {error}; {:?}; {:?}",
            endpoints(&discovery.snapshot()),
            status(discovery)
        );
    }
    let missing = wait::until("the witness to see it", DEADLINE, async || witness.missing()).await;
    let missing = missing.unwrap();
    let held_for = missing.published.as_millis() - since.as_millis();
    eprintln!("{case}: let go after {held_for} ms");
    assert!(
        u128::from(held_for) + 5 >= HOLD.as_millis(),
        "{case}: {missing:?}"
    );
    if let Some(proxy) = proxy {
        let requests = proxy.requests();
        let asked = requests.iter().any(|request| {
            request.path() == "/v1/catalog/services"
                && request.query("consistent").is_some()
                && request.at >= seen
                && request.at <= missing.seen
        });
        assert!(asked, "{case}: {requests:?}");
    }
}

/// The names of the first services, and `consul`.
fn names(services: usize) -> BTreeSet<String> {
    (0..services)
        .map(service_name)
        .chain(["consul".to_owned()])
        .collect()
}

/// A server with all services, a proxy in front of it, and a discovery of either.
async fn synced(through_proxy: bool) -> (Consul, FaultProxy, Discovery, Witness) {
    let consul = Consul::builder().persistent().start().await.unwrap();
    register(&consul, SERVICES).await;
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let url = if through_proxy {
        proxy.url()
    } else {
        consul.url().to_owned()
    };
    let discovery = guarded(config(&url));
    until_complete(&discovery, SERVICES).await;
    let witness = Witness::call(&discovery);
    (consul, proxy, discovery, witness)
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_restarted_empty_nothing_is_lost_until_the_hold_time_and_a_confirmation() {
    // Behind a proxy nobody ever refuses a connection: the watch lives on, and the new server looks like the old one.
    join_all([false, true].map(async |through_proxy| {
        let case = if through_proxy {
            "behind a proxy"
        } else {
            "with refused connections"
        };
        let (mut consul, proxy, discovery, witness) = synced(through_proxy).await;
        consul.kill().await.unwrap();
        consul.wipe().unwrap();
        consul.restart().await.unwrap();
        let (held, since, seen) = until_held(case, &discovery, &witness).await;
        assert_eq!(held, SERVICES * INSTANCES, "{case}: all at once");
        let web = json!({ "Node": "n9", "Address": "10.9.0.1", "Service": { "ID": "web-1", "Service": "web", "Port": 80 } });
        consul.api().catalog_register(&web).await.unwrap();
        let wanted = ["consul", "web"].map(str::to_owned).into();
        let proxy = through_proxy.then_some(&proxy);
        until_confirmed(case, &discovery, &witness, (since, seen), proxy, &wanted).await;
        discovery.shutdown().await;
    }))
    .await;
}

/// `consul snapshot save` or `restore`.
async fn snapshot(consul: &Consul, command: &'static str, file: &Path) {
    let (url, file) = (consul.url().to_owned(), file.to_owned());
    let run = tokio::task::spawn_blocking(move || {
        let program = servers::find("consul/bin/consul").unwrap();
        let mut run = Command::new(program);
        run.args(["snapshot", command, "-http-addr"]).arg(url).arg(file);
        run.output().unwrap()
    });
    let output = run.await.unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_a_backup_that_misses_60_percent_is_held_until_the_hold_time_and_a_confirmation() {
    const LEFT: usize = SERVICES * 4 / 10;
    // Restored into the running server, whose connections all live on; and into one that was wiped before.
    join_all([false, true].map(async |wiped| {
        let case = if wiped {
            "into a wiped server"
        } else {
            "into a running server"
        };
        let backup = NamedTempFile::new().unwrap();
        let mut consul = Consul::builder().persistent().start().await.unwrap();
        register(&consul, LEFT).await;
        snapshot(&consul, "save", backup.path()).await;
        register(&consul, SERVICES).await;
        let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
        let discovery = guarded(config(&proxy.url()));
        until_complete(&discovery, SERVICES).await;
        let witness = Witness::call(&discovery);

        if wiped {
            consul.kill().await.unwrap();
            consul.wipe().unwrap();
            consul.restart().await.unwrap();
        }
        snapshot(&consul, "restore", backup.path()).await;
        let (held, since, seen) = until_held(case, &discovery, &witness).await;
        if !wiped {
            assert_eq!(held, (SERVICES - LEFT) * INSTANCES, "{case}: all at once");
        }
        until_confirmed(
            case,
            &discovery,
            &witness,
            (since, seen),
            Some(&proxy),
            &names(LEFT),
        )
        .await;
        discovery.shutdown().await;
    }))
    .await;
}

/// Rights to `consul`, to the first services and to the first nodes.
fn rules(services: usize, nodes: usize) -> String {
    let services = (0..services)
        .map(service_name)
        .map(|name| format!(r#"service "{name}" {{ policy = "read" }} "#));
    let nodes = (0..nodes)
        .map(node_name)
        .map(|name| format!(r#"node "{name}" {{ policy = "read" }} "#));
    let own = r#"service "consul" { policy = "read" } node_prefix "node-1" { policy = "read" } "#;
    services.chain(nodes).chain([own.to_owned()]).collect()
}

async fn set_rules(api: &ConsulApi, rules: &str) {
    let policies = api.get("/v1/acl/policies").await.unwrap();
    let policies = policies.as_array().unwrap();
    let policy = policies.iter().find(|policy| policy["Name"] == "reader").unwrap();
    let id = policy["ID"].as_str().unwrap();
    let policy = json!({ "ID": id, "Name": "reader", "Rules": rules });
    api.put(&format!("/v1/acl/policy/{id}"), &policy).await.unwrap();
}

/// A server with ACLs and all services, and a discovery whose token may see them all for now.
async fn with_rights(
    services: usize,
    instances: usize,
) -> (Consul, FaultProxy, Discovery, Witness, NamedTempFile) {
    let consul = Consul::builder().acl().start().await.unwrap();
    let api = consul.api();
    api.register_services(services, instances, NODES).await.unwrap();
    api.create_policy("reader", &rules(services, NODES))
        .await
        .unwrap();
    let token = api.create_token(&["reader"]).await.unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &token.secret).unwrap();
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = guarded(ConsulConfig {
        token_file: Some(file.path().to_owned()),
        wait: Duration::from_secs(3),
        ..config(&proxy.url())
    });
    until("all services", &discovery, |snapshot| {
        snapshot.len() == services + 1 && snapshot.endpoint_count() == services * instances + 1
    })
    .await;
    let witness = Witness::call(&discovery);
    (consul, proxy, discovery, witness, file)
}

/// Every instance of these services is registered anew with another tag, so that their indexes move.
async fn touch(api: &ConsulApi, services: impl Iterator<Item = usize>) {
    for service in services {
        let path = format!("/v1/health/service/{}", service_name(service));
        for held in api.get(&path).await.unwrap().as_array().unwrap() {
            let registration = json!({
                "Node": held["Node"]["Node"], "Address": held["Node"]["Address"], "SkipNodeUpdate": true,
                "Service": { "ID": held["Service"]["ID"], "Service": service_name(service), "Address": held["Service"]["Address"],
                             "Port": held["Service"]["Port"], "Tags": ["touched"] },
            });
            api.catalog_register(&registration).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_shrinking_rights_that_can_be_told_from_deregistrations_lose_nothing_ever() {
    let few_services = (rules(SERVICES * 3 / 10, NODES), SERVICES * 7 / 10);
    let few_nodes = (rules(SERVICES, NODES * 3 / 10), SERVICES / 2);
    join_all(
        [("services", few_services), ("nodes", few_nodes)].map(async |(case, (rules, troubled))| {
            let (consul, _proxy, discovery, witness, _file) = with_rights(SERVICES, INSTANCES).await;
            let start = Instant::now();
            set_rules(consul.api(), &rules).await;
            until(
                "the services that are not seen any more to be in trouble",
                &discovery,
                |_| status(&discovery).degraded.len() >= troubled,
            )
            .await;
            // What the token sees is not what is: not even a listing that was asked for may take it for that.
            discovery.resync("consul".parse().unwrap()).await;
            tokio::time::sleep(HOLD * 3).await;
            eprintln!("{case}: {:?} after the rights shrank", start.elapsed());
            witness.saw_everything(case, &discovery);
            assert!(status(&discovery).held.is_none(), "{:?}", status(&discovery));
            discovery.shutdown().await;
        }),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_shrinking_rights_that_look_like_deregistrations_are_held_until_confirmed() {
    const LEFT: usize = SERVICES * 3 / 10;
    let case = "services whose indexes move";
    let (consul, proxy, discovery, witness, _file) = with_rights(SERVICES, INSTANCES).await;
    set_rules(consul.api(), &rules(LEFT, NODES)).await;
    touch(consul.api(), LEFT..SERVICES).await;
    let (_, since, seen) = until_held(case, &discovery, &witness).await;
    until_confirmed(
        case,
        &discovery,
        &witness,
        (since, seen),
        Some(&proxy),
        &names(LEFT),
    )
    .await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_shrinking_rights_to_nodes_that_look_like_deregistrations_are_held_until_confirmed() {
    const FEW: usize = 10;
    let case = "nodes, and services whose indexes move";
    // Of each service an instance on each node.
    let (consul, proxy, discovery, witness, _file) = with_rights(FEW, NODES).await;
    set_rules(consul.api(), &rules(FEW, NODES * 3 / 10)).await;
    touch(consul.api(), 0..FEW).await;
    let (_, since, seen) = until_held(case, &discovery, &witness).await;
    until_confirmed(
        case,
        &discovery,
        &witness,
        (since, seen),
        Some(&proxy),
        &names(FEW),
    )
    .await;
    for index in 0..FEW {
        let left = service(&discovery.snapshot(), &service_name(index)).unwrap();
        assert_eq!(left.endpoints().len(), NODES * 3 / 10, "{index}");
    }
    discovery.shutdown().await;
}
