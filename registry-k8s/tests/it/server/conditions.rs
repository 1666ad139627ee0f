//! Whether endpoints serve: their conditions, and which of two pods is there that seem to have one address.

use std::time::Duration;

use registry_core::{Health, Resolution};
use serde_json::{Value, json};

use crate::stage::{Stage, at, pod, pod_as, slice_of, status};
use crate::support::spec;

const YES: Option<bool> = Some(true);
const NO: Option<bool> = Some(false);

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_3_of_two_pods_with_one_address_the_running_one_is_there() {
    let stage = Stage::open().await;
    let running = pod("10.0.0.1", "new");
    let gone = pod_as("10.0.0.1", "old", [NO, NO, YES]);
    let cases = [
        [("a", vec![&running]), ("b", vec![&gone])],
        [("a", vec![&gone]), ("b", vec![&running])],
        [("b", vec![&running]), ("a", vec![&gone])],
        [("b", vec![&gone]), ("a", vec![&running])],
        [("a", vec![&running, &gone]), ("b", vec![])],
        [("a", vec![&gone, &running]), ("b", vec![])],
    ];
    let recording = stage.record();
    for (number, case) in cases.iter().enumerate() {
        let service = format!("case-{number}");
        stage.service(&service, &spec()).await;
        for (slice, pods) in case {
            let pods: Vec<Value> = pods.iter().map(|pod| (*pod).clone()).collect();
            stage
                .slice(&format!("{service}-{slice}"), &service, &slice_of(&pods, 8080))
                .await;
        }
    }
    stage.settle().await;
    let mut revisions = Vec::new();
    for number in 0..cases.len() {
        let service = format!("case-{number}");
        let found = stage.get(&service);
        let endpoint = at(&found, "10.0.0.1");
        assert_eq!(
            (endpoint.id(), endpoint.health()),
            ("new/uid-of-new", Health::Healthy),
            "{service}"
        );
        revisions.push(found.revision());
        // The other one may have been there before it, alone.
        let ids: Vec<String> = recording
            .of(&stage, &service)
            .await
            .iter()
            .flatten()
            .flat_map(|seen| seen.endpoints().iter().map(|endpoint| endpoint.id().to_owned()))
            .collect();
        let first = ids.iter().position(|id| id == "new/uid-of-new");
        assert!(
            ids[first.unwrap()..].iter().all(|id| id == "new/uid-of-new"),
            "{service}: {ids:?}"
        );
    }

    // That the other one is cleared away is nothing to anybody.
    for (number, case) in cases.iter().enumerate() {
        let service = format!("case-{number}");
        for (slice, pods) in case {
            let name = format!("{service}-{slice}");
            if pods.iter().any(|pod| **pod == running) {
                let pods = std::slice::from_ref(&running);
                stage.slice(&name, &service, &slice_of(pods, 8080)).await;
            } else {
                stage.delete_slice(&name).await;
            }
        }
    }
    stage.settle().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    for (number, before) in revisions.into_iter().enumerate() {
        let found = stage.get(&format!("case-{number}"));
        assert_eq!(found.revision(), before, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_4_all_27_conditions_come_to_the_health_of_the_table() {
    let stage = Stage::open().await;
    // Unset is ready, serving and not terminating.
    let table = |conditions: [Option<bool>; 3]| match (
        conditions[0] != NO,
        conditions[1] != NO,
        conditions[2] == YES,
    ) {
        (true, true, false) => Health::Healthy,
        (true, false, false) => Health::Degraded,
        (false, true, false) => Health::Unhealthy,
        (false, false, false) => Health::Unhealthy,
        (true, true, true) => Health::Draining,
        (false, true, true) => Health::Draining,
        (true, false, true) => Health::Draining,
        (false, false, true) => Health::Unhealthy,
    };
    let all = [None, NO, YES];
    let mut combinations = Vec::new();
    for ready in all {
        for serving in all {
            combinations.extend(all.map(|terminating| [ready, serving, terminating]));
        }
    }
    let address = |at: usize| format!("10.0.0.{}", at + 1);
    let pods: Vec<Value> = combinations
        .iter()
        .enumerate()
        .map(|(number, conditions)| pod_as(&address(number), &format!("web-{number}"), *conditions))
        .collect();
    stage.slice("web-1", "web", &slice_of(&pods, 8080)).await;
    stage.service("web", &spec()).await;
    let web = stage
        .until("27 endpoints", "web", |web| web.endpoints().len() == 27)
        .await;
    let word = |set: Option<bool>| set.map_or("unset".to_owned(), |set| set.to_string());
    for (number, conditions) in combinations.iter().enumerate() {
        let endpoint = at(&web, &address(number));
        let [ready, serving, terminating] = conditions.map(word);
        let raw = format!("ready={ready} serving={serving} terminating={terminating}");
        assert_eq!((endpoint.health(), status(endpoint)), (table(*conditions), raw));
    }
    assert_eq!(web.routable_endpoints().count(), 12);

    // Where nothing is ready, what still serves on its way out is used.
    let rest = [
        pod_as("10.0.1.1", "last", [NO, YES, YES]),
        pod_as("10.0.1.2", "over", [NO, NO, YES]),
        pod_as("10.0.1.3", "starts", [NO, NO, NO]),
    ];
    stage.slice("web-1", "web", &slice_of(&rest, 8080)).await;
    let web = stage
        .until("the last one", "web", |web| web.endpoints().len() == 3)
        .await;
    let routable: Vec<&str> = web.routable_endpoints().map(|endpoint| endpoint.id()).collect();
    assert_eq!(routable, ["last/uid-of-last"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn acceptance_5_a_published_pod_that_terminates_keeps_its_conditions_step_by_step() {
    let stage = Stage::open().await;
    let headless = json!({
        "clusterIP": "None", "publishNotReadyAddresses": true, "ports": [{ "name": "http", "port": 80 }],
    });
    stage.service("db", &headless).await;
    let recording = stage.record();
    let steps = [
        ([YES, NO, NO], Health::Degraded),
        ([YES, YES, NO], Health::Healthy),
        ([YES, YES, YES], Health::Draining),
        ([YES, NO, YES], Health::Draining),
    ];
    for (conditions, health) in steps {
        let mut db_0 = pod_as("10.0.0.1", "db-0", conditions);
        db_0["hostname"] = json!("db-0");
        stage.slice("db-1", "db", &slice_of(&[db_0], 5432)).await;
        let word = |set: Option<bool>| set.unwrap().to_string();
        let [ready, serving, terminating] = conditions.map(word);
        let raw = format!("ready={ready} serving={serving} terminating={terminating}");
        let db = stage
            .until(&raw, "db", |db| {
                let mut all = db.endpoints().iter();
                all.any(|endpoint| status(endpoint) == raw)
            })
            .await;
        assert_eq!(db.resolution(), Resolution::Headless);
        let endpoint = at(&db, "10.0.0.1");
        assert_eq!(endpoint.health(), health);
        // The last one there is keeps its traffic, and its name.
        assert_eq!(db.routable_endpoints().count(), 1, "{raw}");
        let name = format!("db-0.db.{}.svc.cluster.local", stage.namespace());
        assert_eq!(db.endpoint_dns_name(endpoint), Some(name));
    }
    let states = recording.of(&stage, "db").await;
    let sizes: Vec<usize> = states.iter().flatten().map(|db| db.endpoints().len()).collect();
    let first = sizes.iter().position(|size| *size == 1).unwrap();
    assert!(sizes[first..].iter().all(|size| *size == 1), "{sizes:?}");
}
