//! What hurts users of other systems, one row of complaints a test.

use std::time::Duration;

use futures_util::future::join_all;
use registry_consul::ConsulConfig;
use registry_core::{Discovery, Guard, Phase};
use registry_testkit::consul::{Consul, service_name};
use registry_testkit::witness::Witness;
use registry_testkit::{FaultProxy, wait};
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::time::Instant;

use crate::support::{
    config, discover, discover_guarded, phase, service, status, until, until_phase, until_statuses,
};

fn web(id: &str) -> Value {
    let address = format!("10.9.0.{}", &id[id.len() - 1..]);
    json!({ "Node": format!("node-of-{id}"), "Address": address, "Service": { "ID": id, "Service": "web", "Port": 80 } })
}

/// What happens to a server, or to the way there.
#[derive(Debug, Clone, Copy)]
enum Outage {
    PacketsVanish,
    Frozen,
    Stopped,
    /// Another one comes back, whose index begins anew.
    Swapped,
}

impl Outage {
    async fn begin(self, consul: &mut Consul, proxy: &FaultProxy) {
        match self {
            Self::PacketsVanish => proxy.black_hole(true),
            Self::Frozen => consul.pause().await.unwrap(),
            Self::Stopped => consul.terminate().await.unwrap(),
            Self::Swapped => consul.kill().await.unwrap(),
        }
    }

    async fn end(self, consul: &mut Consul, proxy: &FaultProxy) {
        match self {
            Self::PacketsVanish => proxy.black_hole(false),
            Self::Frozen => consul.resume().unwrap(),
            Self::Stopped => consul.restart().await.unwrap(),
            Self::Swapped => {
                consul.wipe().unwrap();
                consul.restart().await.unwrap();
            }
        }
    }
}

/// The state is stale within its bound, grows older all the while, loses nothing, and converges without a restart.
async fn turns_stale_and_converges(outage: Outage) {
    let case = format!("{outage:?}");
    let mut consul = Consul::builder().persistent().start().await.unwrap();
    for id in ["web-1", "web-2"] {
        consul.api().catalog_register(&web(id)).await.unwrap();
    }
    let proxy = FaultProxy::start(consul.address().into()).await.unwrap();
    let discovery = discover(ConsulConfig {
        wait: Duration::from_secs(2),
        ..config(&proxy.url())
    });
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;
    let witness = Witness::call(&discovery);

    outage.begin(&mut consul, &proxy).await;
    let taken = Instant::now();
    // The bound is 12 s, of which a busy machine may make more.
    let stale = wait::until("stale", Duration::from_secs(40), async || {
        (phase(&discovery) == Phase::Stale).then_some(())
    });
    stale
        .await
        .unwrap_or_else(|error| panic!("{case}: {error}: {:?}", discovery.status()));
    eprintln!("{case}: stale after {:?} (bound: 12 s)", taken.elapsed());
    let mut age = Duration::ZERO;
    for _ in 0..5 {
        let older = status(&discovery).age.unwrap();
        assert!(older >= age, "{case}: {older:?} after {age:?}");
        age = older;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    witness.saw_everything(&case, &discovery);

    outage.end(&mut consul, &proxy).await;
    let given = Instant::now();
    consul.api().catalog_register(&web("web-3")).await.unwrap();
    until("the latest change", &discovery, |snapshot| {
        let web = service(snapshot, "web");
        web.is_some_and(|web| {
            web.endpoints()
                .iter()
                .any(|endpoint| endpoint.id().ends_with("web-3"))
        })
    })
    .await;
    until_phase(&discovery, Phase::Synced).await;
    eprintln!(
        "{case}: converged {:?} after it was over (two steps: 20 s)",
        given.elapsed()
    );
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_1_no_outage_wedges_the_watch() {
    // They wait more than they work: all at the same time.
    let outages = [
        Outage::PacketsVanish,
        Outage::Frozen,
        Outage::Stopped,
        Outage::Swapped,
    ];
    join_all(outages.map(turns_stale_and_converges)).await;
}

/// A discovery that holds back what looks too bad for as short a time.
fn guarded(url: &str) -> Discovery {
    let guard = Guard {
        hold: Duration::from_secs(2),
        ..Guard::default()
    };
    discover_guarded(config(url), Some(guard))
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_2_a_true_scale_to_zero_gets_through() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    api.register_services(10, 2, 5).await.unwrap();
    for id in ["web-1", "web-2"] {
        api.catalog_register(&web(id)).await.unwrap();
    }
    let discovery = guarded(consul.url());
    until("all services", &discovery, |snapshot| snapshot.len() == 12).await;

    // One service of many goes at once.
    let remove = async |ids: &[(String, String)]| {
        for (node, id) in ids {
            let gone = json!({ "Node": node, "ServiceID": id });
            api.catalog_deregister(&gone).await.unwrap();
        }
    };
    remove(&["web-1", "web-2"].map(|id| (format!("node-of-{id}"), id.to_owned()))).await;
    until("web gone", &discovery, |snapshot| {
        service(snapshot, "web").is_none()
    })
    .await;
    assert!(status(&discovery).held.is_none(), "{:?}", status(&discovery));

    // All the others go when the hold time has passed and the registry said so again.
    let mut all = Vec::new();
    for service in 0..10 {
        let read = api
            .get(&format!("/v1/health/service/{}", service_name(service)))
            .await
            .unwrap();
        for instance in read.as_array().unwrap() {
            let text = |part: &Value| part.as_str().unwrap().to_owned();
            all.push((text(&instance["Node"]["Node"]), text(&instance["Service"]["ID"])));
        }
    }
    remove(&all).await;
    until("only the server itself", &discovery, |snapshot| {
        snapshot.len() == 1
    })
    .await;
    until("nothing held", &discovery, |_| status(&discovery).held.is_none()).await;
    discovery.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pain_9_a_token_that_was_rotated_is_used_at_once_where_the_old_one_is_refused() {
    let consul = Consul::builder().acl().start().await.unwrap();
    let api = consul.api();
    api.catalog_register(&web("web-1")).await.unwrap();
    let rules = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    api.create_policy("reader", rules).await.unwrap();
    let old = api.create_token(&["reader"]).await.unwrap();
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), &old.secret).unwrap();
    let discovery = discover(ConsulConfig {
        token_file: Some(file.path().to_owned()),
        wait: Duration::from_secs(2),
        ..config(consul.url())
    });
    until_statuses(&discovery, "web", &["web-1 passing"]).await;
    until_phase(&discovery, Phase::Synced).await;

    let new = api.create_token(&["reader"]).await.unwrap();
    std::fs::write(file.path(), &new.secret).unwrap();
    api.delete_token(&old.accessor).await.unwrap();
    let requests = status(&discovery).requests;
    until("some waits of the polls", &discovery, |_| {
        status(&discovery).requests > requests + 10
    })
    .await;
    api.catalog_register(&web("web-2")).await.unwrap();
    until_statuses(&discovery, "web", &["web-1 passing", "web-2 passing"]).await;
    let gone = json!({ "Node": "node-of-web-1", "ServiceID": "web-1" });
    api.catalog_deregister(&gone).await.unwrap();
    until_statuses(&discovery, "web", &["web-2 passing"]).await;
    let status = status(&discovery);
    assert_eq!(status.phase, Phase::Synced);
    assert!(
        status.last_error.is_none() && status.degraded.is_empty(),
        "{status:?}"
    );
    discovery.shutdown().await;
}
