//! Lists, instances, blocking queries, events, checks, allocations.

use std::time::Duration;

use registry_testkit::nomad::{Job, World, unique, worlds};
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::{DEADLINE, event};

/// The names that a list has in a namespace.
fn names(list: &Value, namespace: &str) -> Vec<String> {
    let listed = list.as_array().into_iter().flatten();
    let of_namespace = listed.filter(|one| one["Namespace"] == namespace);
    let services = of_namespace.flat_map(|one| one["Services"].as_array().cloned().unwrap_or_default());
    let mut names: Vec<String> = services
        .map(|one| one["ServiceName"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

async fn index(world: &dyn World, path: &str) -> u64 {
    let answer = world.api().get(path).await.unwrap();
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.index().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_all_namespaces_has_all_and_a_service_is_read_in_one() {
    for world in worlds(false).await.unwrap() {
        let (name, other) = (unique("list"), unique("list-ns"));
        world.add_namespace(&other).await.unwrap();
        let here = Job::new(&name).count(2).tagged(&["v1", "blue"]);
        let there = Job::new(&name).within(&other);
        world.run(&here).await.unwrap();
        world.run(&there).await.unwrap();

        let api = world.api();
        let list = api.get("/v1/services?namespace=*").await.unwrap();
        assert_eq!(list.header("X-Nomad-Knownleader"), Some("true"));
        assert_eq!(list.header("X-Nomad-Lastcontact"), Some("0"));
        assert!(names(&list.json(), "default").contains(&name), "{}", list.text);
        assert_eq!(names(&list.json(), &other), [name.as_str()]);
        for (path, count) in [
            (format!("/v1/service/{name}"), 2),
            (format!("/v1/service/{name}?namespace={other}"), 1),
            (format!("/v1/service/{name}?namespace=*"), 0),
            (format!("/v1/service/{name}?namespace=nowhere"), 0),
            (format!("/v1/service/{name}-not?stale"), 0),
            ("/v1/services?namespace=nowhere".to_owned(), 0),
        ] {
            let answer = api.get(&path).await.unwrap();
            assert_eq!(answer.status, 200, "{path}");
            assert_eq!(answer.json().as_array().map(Vec::len), Some(count), "{path}");
            assert!(answer.index() >= list.index(), "{path}: the index of the table");
        }
        let instances = api.instances("default", &name).await.unwrap();
        assert_eq!(
            (
                instances[0].tags.len(),
                instances[0].job_id.as_str(),
                instances[0].datacenter.as_str()
            ),
            (2, name.as_str(), "dc1")
        );
        for job in [here, there] {
            world.stop(&job, true).await.unwrap();
        }
        let list = api.get("/v1/services?namespace=*").await.unwrap().json();
        assert!(!names(&list, "default").contains(&name), "{list}");
        world.remove_namespace(&other).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocking_query_of_a_namespace_wakes_for_its_own_changes_alone() {
    for world in worlds(false).await.unwrap() {
        let (own, other) = (unique("own"), unique("other"));
        for namespace in [&own, &other] {
            world.add_namespace(namespace).await.unwrap();
        }
        let job = |namespace: &str| Job::new("web").within(namespace);
        world.run(&job(&own)).await.unwrap();
        let list = format!("/v1/services?namespace={own}");
        let before = index(&*world, &list).await;

        // Nothing happens: the same again when the wait is over.
        let start = Instant::now();
        let path = format!("{list}&index={before}&wait=1s");
        assert!(index(&*world, &path).await >= before);
        assert!(
            start.elapsed() >= Duration::from_millis(950),
            "{:?}",
            start.elapsed()
        );

        // The index of the table moves at once; this one sleeps on, and then shows it.
        let before = index(&*world, &list).await;
        let api = world.api().clone();
        let parked = tokio::spawn({
            let path = format!("{list}&index={before}&wait=300s");
            async move { timeout(DEADLINE, api.get(&path)).await.unwrap().unwrap() }
        });
        world.run(&job(&other)).await.unwrap();
        let moved = index(&*world, &list).await;
        assert!(moved > before, "the table has one index");
        world.run(&job(&own).count(2)).await.unwrap();
        assert!(parked.await.unwrap().index() > Some(before));

        for namespace in [own, other] {
            world.stop(&job(&namespace), true).await.unwrap();
            world.remove_namespace(&namespace).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_stream_begins_with_a_heartbeat_and_tells_registrations_and_their_end() {
    for world in worlds(false).await.unwrap() {
        let job = Job::new(unique("events")).tagged(&["a"]);
        let from = index(&*world, "/v1/services?namespace=*").await;
        let query = format!("topic=Service&namespace=*&index={from}");
        let (status, mut lines) = world.api().events(&query).await.unwrap();
        let first = timeout(DEADLINE, lines.next()).await.unwrap();
        assert_eq!((status, first.as_deref()), (200, Some("{}")));

        world.run(&job).await.unwrap();
        let registered = event(&mut lines, job.name()).await;
        assert_eq!(registered["Type"], "ServiceRegistration");
        let service = &registered["Payload"]["Service"];
        let instances = world.api().instances("default", job.name()).await.unwrap();
        assert_eq!(service["ID"], instances[0].id.as_str());
        assert_eq!(registered["Key"], instances[0].id.as_str());
        assert_eq!(registered["Index"], instances[0].modify_index);
        assert_eq!(registered["FilterKeys"][1], job.name());

        world.stop(&job, true).await.unwrap();
        let gone = event(&mut lines, job.name()).await;
        assert_ne!(gone["Type"], "ServiceRegistration");
        assert_eq!(gone["Key"], instances[0].id.as_str());
        assert!(gone["Index"].as_u64() > registered["Index"].as_u64());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_from_the_future_is_no_error_and_tells_what_comes() {
    for world in worlds(false).await.unwrap() {
        let job = Job::new(unique("future"));
        let query = "topic=Service&namespace=*&index=99999999";
        let (status, mut lines) = world.api().events(query).await.unwrap();
        assert_eq!(status, 200);
        world.run(&job).await.unwrap();
        let registered = event(&mut lines, job.name()).await;
        assert!(registered["Index"].as_u64() < Some(99_999_999));
        world.stop(&job, true).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_namespace_tells_nothing_to_a_stream_that_is_older() {
    for world in worlds(false).await.unwrap() {
        let from = index(&*world, "/v1/services?namespace=*").await;
        let query = format!("topic=Service&namespace=*&index={from}");
        let (_, mut lines) = world.api().events(&query).await.unwrap();
        assert_eq!(
            timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
            Some("{}")
        );
        let young = unique("young");
        world.add_namespace(&young).await.unwrap();
        let (hidden, shown) = (
            Job::new(unique("hidden")).within(&young),
            Job::new(unique("shown")),
        );
        world.run(&hidden).await.unwrap();
        world.run(&shown).await.unwrap();
        let seen = async {
            loop {
                let frame = super::frame(&mut lines).await.to_string();
                assert!(!frame.contains(hidden.name()), "{frame}");
                if frame.contains(shown.name()) {
                    return;
                }
            }
        };
        timeout(DEADLINE, seen).await.unwrap();
        for job in [&hidden, &shown] {
            world.stop(job, true).await.unwrap();
        }
        world.remove_namespace(&young).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_are_read_by_allocation_and_allocations_by_page() {
    for world in worlds(false).await.unwrap() {
        let namespace = unique("checks");
        world.add_namespace(&namespace).await.unwrap();
        let job = Job::new("checked").within(&namespace).count(3).checked();
        world.run(&job).await.unwrap();
        for (passes, status) in [(true, "success"), (false, "failure"), (true, "success")] {
            world.set_passing(&job, passes).await.unwrap();
            let instances = world.api().instances(&namespace, "checked").await.unwrap();
            assert_eq!(instances.len(), 3, "the list has no health");
            for instance in instances {
                let path = format!("/v1/allocation/{}/checks", instance.alloc_id);
                let results = world.api().get(&path).await.unwrap();
                assert_eq!((results.status, results.index()), (200, None));
                let results = results.json();
                let result = results.as_object().unwrap().values().next().unwrap();
                assert_eq!(
                    (&result["Service"], &result["Status"]),
                    (&"checked".into(), &status.into())
                );
            }
        }
        let missing = "/v1/allocation/00000000-0000-0000-0000-000000000000/checks";
        assert_eq!(world.api().get(missing).await.unwrap().status, 404);

        let (mut pages, mut token, mut ids) = (0, None, Vec::new());
        loop {
            let next = token
                .map(|token| format!("&next_token={token}"))
                .unwrap_or_default();
            let path = format!("/v1/allocations?namespace={namespace}&task_states=false&per_page=2{next}");
            let page = world.api().get(&path).await.unwrap();
            assert!(page.index().is_some());
            let list = page.json();
            ids.extend(list.as_array().unwrap().iter().map(|one| one["ID"].to_string()));
            assert!(
                list.as_array()
                    .unwrap()
                    .iter()
                    .all(|one| one["ClientStatus"] == "running"),
                "{list}"
            );
            pages += 1;
            token = page.header("X-Nomad-Nexttoken").map(str::to_owned);
            if token.is_none() {
                break;
            }
        }
        ids.dedup();
        assert_eq!((pages, ids.len()), (2, 3));
        world.stop(&job, true).await.unwrap();
        world.remove_namespace(&namespace).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_answered_is_an_error_with_a_status() {
    for world in worlds(false).await.unwrap() {
        for (path, status, text) in [
            ("/v1/services?index=-1", 400, "Invalid index"),
            ("/v1/services?index=1&wait=abc", 400, "Invalid wait time"),
            ("/v1/services?region=nosuch", 500, "No path to region"),
            ("/v1/nope", 404, ""),
        ] {
            let answer = world.api().get(path).await.unwrap();
            assert_eq!((answer.status, answer.text.as_str()), (status, text), "{path}");
        }
    }
}
