//! What an export is worth: with and without a Service, of each type of Service, and beside Services that are not exported.

use registry_testkit::kubernetes::mcs::service_exports_path;
use serde_json::json;

use crate::observer::{Recording, endpoints, kind};
use crate::stage::{Member, Stage, a_second_later, headless, pods, slice, web};

const VALID: [&str; 2] = [
    "a Valid=True/Valid Conflict=False/NoConflicts",
    "b Valid=True/Valid Conflict=False/NoConflicts",
];

/// An export of a service with one endpoint.
async fn publish(member: &Member, name: &str, address: &str) {
    member.serve(name, &web(), &pods(&[address])).await;
    member.export(name).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_38_an_export_without_a_service_waits_for_it() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    a.export("web").await;
    let observer = stage.observe().await;
    observer
        .until_statuses("web", &["a Valid=False/NoService Conflict=False/NoConflicts"])
        .await;
    observer.until_lines("web", &[]).await;

    // What others export is served meanwhile, and the older export that is worth nothing is at odds with nobody.
    a_second_later().await;
    b.serve("web", &headless(), &pods(&["10.2.0.1"])).await;
    b.export_as("web", &json!({ "exportedLabels": { "team": "red" } }))
        .await;
    let of_b = [
        "Headless",
        "port http 80/tcp",
        "label team=red",
        "b 10.2.0.1 http=8080",
    ];
    observer.until_lines("web", &of_b).await;
    let waits = [
        "a Valid=False/NoService Conflict=False/NoConflicts",
        "b Valid=True/Valid Conflict=False/NoConflicts",
    ];
    observer.until_statuses("web", &waits).await;

    // Its slices may well be there before it.
    a.slice("web-1", "web", &pods(&["10.1.0.1"])).await;
    a.service("web", &web()).await;
    let both = [
        "ClusterSetIP",
        "port http 80/tcp",
        "a 10.1.0.1 http=8080",
        "b 10.2.0.1 http=8080",
    ];
    observer.until_lines("web", &both).await;
    let conflict = "Conflict=True/LabelsConflict,TypeConflict";
    let reasons = ["a", "b"].map(|id| format!("{id} Valid=True/Valid {conflict}"));
    let reasons = reasons.each_ref().map(String::as_str);
    observer.until_statuses("web", &reasons).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_38_a_service_that_is_made_anew_under_its_export_comes_back() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    publish(a, "web", "10.1.0.1").await;
    publish(b, "web", "10.2.0.1").await;
    let observer = stage.observe().await;
    let both = ["a 10.1.0.1 http=8080", "b 10.2.0.1 http=8080"];
    observer.until_endpoints("web", &both).await;

    // It goes as it does in a cluster: the slices follow the Service.
    a.delete_service("web").await;
    observer.until_endpoints("web", &["b 10.2.0.1 http=8080"]).await;
    let waits = [
        "a Valid=False/NoService Conflict=False/NoConflicts",
        "b Valid=True/Valid Conflict=False/NoConflicts",
    ];
    observer.until_statuses("web", &waits).await;
    a.delete_slice("web-1").await;
    a.service("web", &web()).await;
    a.slice("web-2", "web", &pods(&["10.1.0.2"])).await;
    observer
        .until_endpoints("web", &["a 10.1.0.2 http=8080", "b 10.2.0.1 http=8080"])
        .await;
    observer.until_statuses("web", &VALID).await;

    // The only one that is left goes and comes.
    b.unexport("web").await;
    observer.until_endpoints("web", &["a 10.1.0.2 http=8080"]).await;
    a.delete_service("web").await;
    observer.until_gone("web").await;
    a.service("web", &headless()).await;
    observer
        .until_lines("web", &["Headless", "port http 80/tcp", "a 10.1.0.2 http=8080"])
        .await;
    a.unexport("web").await;
    observer.until_gone("web").await;
    observer.until_statuses("web", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_38_an_external_name_is_no_valid_export() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    let external = json!({ "type": "ExternalName", "externalName": "db.example.com" });
    a.service("db", &external).await;
    // Whoever made a slice for it has mistaken it.
    a.slice("db-1", "db", &pods(&["10.1.0.1"])).await;
    a.export("db").await;
    let observer = stage.observe().await;
    observer
        .until_statuses(
            "db",
            &["a Valid=False/InvalidServiceType Conflict=False/NoConflicts"],
        )
        .await;
    observer.until_lines("db", &[]).await;

    publish(b, "db", "10.2.0.1").await;
    observer.until_endpoints("db", &["b 10.2.0.1 http=8080"]).await;
    let invalid = [
        "a Valid=False/InvalidServiceType Conflict=False/NoConflicts",
        "b Valid=True/Valid Conflict=False/NoConflicts",
    ];
    observer.until_statuses("db", &invalid).await;

    // It becomes a service of this cluster, and another one's again.
    let inside = json!({ "spec": {
        "type": "ClusterIP", "externalName": null, "ports": [{ "name": "http", "port": 80 }],
    } });
    a.patch_service("db", &inside).await;
    observer
        .until_endpoints("db", &["a 10.1.0.1 http=8080", "b 10.2.0.1 http=8080"])
        .await;
    observer.until_statuses("db", &VALID).await;
    let outside = json!({ "spec": { "type": "ExternalName", "externalName": "db.example.com" } });
    a.patch_service("db", &outside).await;
    observer.until_endpoints("db", &["b 10.2.0.1 http=8080"]).await;
    observer.until_statuses("db", &invalid).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_not_exported_contributes_nothing() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    publish(a, "web", "10.1.0.1").await;
    b.serve("web", &headless(), &pods(&["10.2.0.1"])).await;
    b.serve("local", &web(), &pods(&["10.2.0.9"])).await;
    let observer = stage.observe().await;
    observer
        .until_lines(
            "web",
            &["ClusterSetIP", "port http 80/tcp", "a 10.1.0.1 http=8080"],
        )
        .await;
    observer.until_statuses("web", &VALID[..1]).await;
    assert_eq!(observer.find("local").map(|service| endpoints(&service)), None);

    let recording = Recording::begin(&observer);
    a_second_later().await;
    b.export("web").await;
    observer
        .until_endpoints("web", &["a 10.1.0.1 http=8080", "b 10.2.0.1 http=8080"])
        .await;
    b.unexport("web").await;
    observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
    // Neither was anything of it seen before, nor was anything ever missing of what the other exports.
    for seen in recording.of(&observer, "web").await {
        let seen = seen.unwrap();
        assert_eq!(kind(&seen), "ClusterSetIP");
        assert!(
            endpoints(&seen).contains(&"a 10.1.0.1 http=8080".to_owned()),
            "{seen:?}"
        );
    }
    assert!(observer.find("local").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_the_same_by_name_and_namespace_alone() {
    let stage = Stage::open().await;
    let other = format!("{}-2", stage.namespace());
    for (member, address) in stage.members.iter().zip(["10.1.0.1", "10.2.0.1"]) {
        publish(member, "web", address).await;
    }
    // Of the same name in another namespace, with an export there.
    let a = stage.a();
    a.api.namespace(&other).await.unwrap();
    a.api.service(&other, "web", &web()).await.unwrap();
    a.api
        .endpoint_slice(&other, "web-1", "web", &pods(&["10.1.0.9"]))
        .await
        .unwrap();
    a.api.service_export(&other, "web", &json!({})).await.unwrap();
    publish(stage.b(), "pay", "10.2.0.5").await;

    let observer = stage
        .observe_with(|config| config.namespaces.push(other.clone()))
        .await;
    observer
        .until_endpoints("web", &["a 10.1.0.1 http=8080", "b 10.2.0.1 http=8080"])
        .await;
    observer.until_endpoints("pay", &["b 10.2.0.5 http=8080"]).await;
    let elsewhere = format!("web.{other}.svc.clusterset.local");
    let elsewhere = observer.discovery.snapshot().get(&elsewhere).cloned().unwrap();
    assert_eq!(endpoints(&elsewhere), ["a 10.1.0.9 http=8080"]);
    // It is what exists nowhere else, in a cluster that is not cleaned up for us.
    a.api
        .delete(&format!("/api/v1/namespaces/{other}"))
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_and_annotations_are_those_that_the_export_names() {
    let stage = Stage::open().await;
    let a = stage.a();
    let namespace = stage.namespace();
    // Neither those of the Service nor those of the export itself.
    let decorated = json!({ "labels": { "app": "web" }, "annotations": { "owner": "x" } });
    a.serve("web", &web(), &pods(&["10.1.0.1"])).await;
    a.patch_service("web", &json!({ "metadata": decorated })).await;
    let spec = json!({ "exportedLabels": { "team": "blue" }, "exportedAnnotations": { "note": "y" } });
    a.export_as("web", &spec).await;
    let path = format!("{}/web", service_exports_path(namespace));
    a.api
        .patch(&path, &json!({ "metadata": decorated }))
        .await
        .unwrap();
    let observer = stage.observe().await;
    let shared = ["ClusterSetIP", "port http 80/tcp", "a 10.1.0.1 http=8080"];
    observer
        .until_lines(
            "web",
            &[&shared[..], &["label team=blue", "annotation note=y"]].concat(),
        )
        .await;
    // A change of the export is a change of the service.
    let spec =
        json!({ "spec": { "exportedLabels": { "team": null, "tier": "1" }, "exportedAnnotations": null } });
    a.api.patch(&path, &spec).await.unwrap();
    observer
        .until_lines("web", &[&shared[..], &["label tier=1"]].concat())
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn idea_34_a_losing_port_gets_no_traffic_at_any_time() {
    let stage = Stage::open().await;
    let (a, b) = (stage.a(), stage.b());
    let both = slice(&["10.1.0.1"], &[("http", 8080)]);
    a.serve("web", &web(), &both).await;
    a.export("web").await;
    a_second_later().await;
    // The same name with another number, and a port of its own.
    let other = json!({ "ports": [{ "name": "http", "port": 81 }, { "name": "grpc", "port": 90 }] });
    let ports = [("http", 8081), ("grpc", 8090)];
    b.serve("web", &other, &slice(&["10.2.0.1"], &ports)).await;
    let observer = stage.observe().await;
    observer.until_endpoints("web", &["a 10.1.0.1 http=8080"]).await;
    let recording = Recording::begin(&observer);

    b.export("web").await;
    observer
        .until_endpoints("web", &["a 10.1.0.1 http=8080", "b 10.2.0.1 grpc=8090"])
        .await;
    // Pods come, on both sides; one of them has nothing but the port that lost.
    b.slice("web-1", "web", &slice(&["10.2.0.1", "10.2.0.2"], &ports))
        .await;
    b.slice("web-2", "web", &slice(&["10.2.0.3"], &ports[..1])).await;
    a.slice("web-2", "web", &pods(&["10.1.0.2"])).await;
    let all = [
        "a 10.1.0.1 http=8080",
        "a 10.1.0.2 http=8080",
        "b 10.2.0.1 grpc=8090",
        "b 10.2.0.2 grpc=8090",
    ];
    observer.until_endpoints("web", &all).await;
    for seen in recording.of(&observer, "web").await {
        let seen = seen.unwrap();
        let numbers: Vec<_> = seen
            .ports()
            .iter()
            .map(|port| (&*port.name, port.number))
            .collect();
        assert_eq!(
            numbers.iter().find(|(name, _)| *name == "http"),
            Some(&("http", Some(80)))
        );
        let strays: Vec<String> = endpoints(&seen)
            .into_iter()
            .filter(|line| line.starts_with("b ") && (line.contains("http=") || !line.contains("grpc=")))
            .collect();
        assert!(strays.is_empty(), "{strays:?} in {seen:?}");
    }

    // When the winner is gone, the port is the other's.
    a.unexport("web").await;
    let of_b = [
        "ClusterSetIP",
        "port grpc 90/tcp",
        "port http 81/tcp",
        "b 10.2.0.1 grpc=8090 http=8081",
        "b 10.2.0.2 grpc=8090 http=8081",
        "b 10.2.0.3 http=8081",
    ];
    observer.until_lines("web", &of_b).await;
}
