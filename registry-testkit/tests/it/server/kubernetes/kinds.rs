//! What the server makes of objects that it is sent.

use registry_testkit::kubernetes::{
    Kubernetes, KubernetesApi, bulk_endpoints, bulk_service, core_path, endpoint_slices_path, services_path,
};
use registry_testkit::{Error, wait};
use serde_json::{Value, json};

use super::{DEADLINE, names, services, spec, status};

fn refused(outcome: Result<Value, Error>) -> (u16, String) {
    match outcome {
        Err(Error::Status { status, body, .. }) => (status, body),
        outcome => panic!("it should have been refused: {outcome:?}"),
    }
}

async fn created(api: &KubernetesApi, namespace: &str, name: &str, spec: Value) -> Value {
    let mut service = api.service(namespace, name, &spec).await.unwrap();
    service["spec"].take()
}

#[tokio::test]
async fn an_object_goes_through_its_life() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("life").await.unwrap();
    let list = services_path(namespace.name());
    services(api, namespace.name(), &["web"]).await;
    let objects = api.list(&list).await.unwrap();
    assert_eq!(names(&objects), ["web"]);
    // The objects of a list have no kind of their own.
    assert!(objects[0].get("kind").is_none());
    let path = format!("{list}/web");
    let patch = json!({ "metadata": { "labels": { "team": "blue" } } });
    let labelled = api.patch(&path, &patch).await.unwrap();
    assert_eq!(labelled["metadata"]["uid"], objects[0]["metadata"]["uid"]);
    let selected = api.list(&format!("{list}?labelSelector=team%3Dred")).await;
    assert!(selected.unwrap().is_empty());

    let (code, _) = refused(
        api.create(&list, &json!({ "metadata": { "name": "web" }, "spec": spec() }))
            .await,
    );
    assert_eq!(code, 409);
    let mut stale = objects[0].clone();
    stale["metadata"]["labels"] = json!({ "team": "red" });
    assert_eq!(refused(api.put(&path, &stale).await).0, 409);

    api.delete(&path).await.unwrap();
    assert_eq!(refused(api.get(&path).await).0, 404);
}

#[tokio::test]
async fn services_get_what_was_left_out() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    let web = created(
        api,
        "default",
        "web",
        json!({
            "ipFamilyPolicy": "PreferDualStack",
            "ports": [{ "name": "http", "port": 80, "targetPort": "web" }, { "name": "dns", "port": 53, "protocol": "UDP" }],
            "selector": { "app": "web" },
        }),
    )
    .await;
    assert_eq!(web["type"], "ClusterIP");
    assert_eq!(web["sessionAffinity"], "None");
    assert_eq!(web["internalTrafficPolicy"], "Cluster");
    assert_eq!(web["ipFamilies"], json!(["IPv4", "IPv6"]));
    assert_eq!(web["clusterIPs"].as_array().unwrap().len(), 2);
    assert_eq!(web["clusterIP"], web["clusterIPs"][0]);
    let http = json!({ "name": "http", "port": 80, "targetPort": "web", "protocol": "TCP" });
    let dns = json!({ "name": "dns", "port": 53, "targetPort": 53, "protocol": "UDP" });
    assert_eq!(web["ports"], json!([http, dns]));

    let headless = created(
        api,
        "default",
        "db",
        json!({ "clusterIP": "None", "selector": { "app": "db" } }),
    )
    .await;
    assert_eq!(headless["clusterIPs"], json!(["None"]));
    assert_eq!(headless["ipFamilies"], json!(["IPv4"]));

    let external = created(
        api,
        "default",
        "ext",
        json!({ "type": "ExternalName", "externalName": "db.example.com" }),
    )
    .await;
    let whole =
        json!({ "type": "ExternalName", "sessionAffinity": "None", "externalName": "db.example.com" });
    assert_eq!(external, whole);
    // A change of type takes and gives back an address.
    let path = format!("{}/ext", services_path("default"));
    let inside = json!({ "spec": { "type": "ClusterIP", "externalName": null, "ports": [{ "port": 80 }] } });
    let changed = api.patch(&path, &inside).await.unwrap();
    assert!(
        changed["spec"]["clusterIP"].as_str().unwrap().contains('.'),
        "{changed}"
    );
    let outside = json!({ "spec": { "type": "ExternalName", "externalName": "x.example.com" } });
    let changed = api.patch(&path, &outside).await.unwrap();
    assert!(changed["spec"].get("clusterIP").is_none(), "{changed}");
}

#[tokio::test]
async fn a_status_is_written_through_its_own_path_only() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("status").await.unwrap();
    let path = format!("{}/lb", services_path(namespace.name()));
    let lb = json!({ "apiVersion": "v1", "kind": "Service", "metadata": { "name": "lb" }, "spec": { "type": "LoadBalancer", "ports": [{ "port": 80 }] } });
    api.apply(&path, &lb).await.unwrap();
    let ingress = json!({ "status": { "loadBalancer": { "ingress": [{ "hostname": "lb.example.com" }] } } });
    let unchanged = api.patch(&path, &ingress).await.unwrap();
    assert_eq!(unchanged["status"], json!({ "loadBalancer": {} }));
    let mut both = ingress.clone();
    both["spec"] = json!({ "sessionAffinity": "ClientIP" });
    let changed = api.patch(&format!("{path}/status"), &both).await.unwrap();
    assert_eq!(changed["status"], ingress["status"]);
    assert_eq!(changed["spec"]["sessionAffinity"], "None");
}

#[tokio::test]
async fn slices_count_their_changes_and_keep_their_kind_of_address() {
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("slices").await.unwrap();
    let endpoints = json!([{ "addresses": ["10.0.0.1"], "conditions": {} }]);
    let slice = json!({ "endpoints": endpoints, "ports": [{ "port": 8080 }] });
    let stored = api
        .endpoint_slice(namespace.name(), "web-1", "web", &slice)
        .await
        .unwrap();
    let port = json!({ "name": "", "protocol": "TCP", "port": 8080 });
    assert_eq!(stored["ports"], json!([port]));
    assert_eq!(stored["endpoints"], endpoints);
    assert_eq!(stored["metadata"]["generation"], 1);

    let path = format!("{}/web-1", endpoint_slices_path(namespace.name()));
    let note = json!({ "metadata": { "annotations": { "note": "x" } } });
    assert_eq!(
        api.patch(&path, &note).await.unwrap()["metadata"]["generation"],
        1
    );
    let moved = json!({ "metadata": { "labels": { "kubernetes.io/service-name": "db" } } });
    assert_eq!(
        api.patch(&path, &moved).await.unwrap()["metadata"]["generation"],
        2
    );
    let other = json!({ "addressType": "IPv6", "endpoints": [{ "addresses": ["fd00::1"] }] });
    let (code, body) = refused(api.patch(&path, &other).await);
    assert_eq!((code, &status_reason(&body)[..]), (422, "Invalid"), "{body}");
}

fn status_reason(body: &str) -> String {
    // An excerpt of an error may be cut.
    let (_, rest) = body
        .split_once("\"reason\":\"")
        .or_else(|| body.split_once("\"reason\": \""))
        .unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn nothing_is_in_a_namespace_that_is_not_there_and_all_goes_with_it() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    let body = json!({ "metadata": { "name": "web" }, "spec": spec() });
    let (code, body) = refused(api.create(&services_path("gone"), &body).await);
    assert_eq!(code, 404);
    assert_eq!(status(&body)["message"], "namespaces \"gone\" not found");

    api.namespace("gone").await.unwrap();
    services(api, "gone", &["web", "db"]).await;
    let pod = json!({ "metadata": { "name": "web-0" }, "spec": { "containers": [] } });
    api.create(&core_path("gone", "pods"), &pod).await.unwrap();
    api.delete("/api/v1/namespaces/gone").await.unwrap();
    wait::until("the namespace to be empty", DEADLINE, async || {
        let services = api.list(&services_path("gone")).await.ok()?;
        let pods = api.list(&core_path("gone", "pods")).await.ok()?;
        (services.is_empty() && pods.is_empty()).then_some(())
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn custom_resources_are_served_as_soon_as_their_kind_is_known() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    let list = "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/default/serviceexports";
    let unknown = api.answer(list, &[]).await.unwrap();
    // Not a status: the group is unknown.
    assert_eq!(
        (unknown.status, unknown.body.trim_end()),
        (404, "404 page not found")
    );
    let version = json!({
        "name": "v1alpha1", "served": true, "storage": true, "subresources": { "status": {} },
        "schema": { "openAPIV3Schema": { "type": "object", "properties": {
            "spec": { "type": "object", "properties": { "priority": { "type": "integer" } } },
            "status": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
        } } },
    });
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {
            "name": "serviceexports.multicluster.x-k8s.io",
            "annotations": { "api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/1645" },
        },
        "spec": {
            "group": "multicluster.x-k8s.io", "scope": "Namespaced", "versions": [version],
            "names": { "plural": "serviceexports", "singular": "serviceexport", "kind": "ServiceExport" },
        },
    });
    api.definition(&definition).await.unwrap();
    let export = json!({
        "apiVersion": "multicluster.x-k8s.io/v1alpha1", "kind": "ServiceExport",
        "metadata": { "name": "web" }, "spec": { "priority": 1, "unknown": true },
    });
    let stored = api.create(list, &export).await.unwrap();
    assert_eq!(stored["spec"], json!({ "priority": 1 }));
    let groups = wait::until("the group to be listed", DEADLINE, async || {
        let groups = api.get("/apis").await.ok()?;
        let group = groups["groups"].as_array()?.iter();
        group
            .clone()
            .find(|group| group["name"] == "multicluster.x-k8s.io")
            .cloned()
    });
    assert_eq!(groups.await.unwrap()["preferredVersion"]["version"], "v1alpha1");
}

#[tokio::test]
async fn many_services_are_created_at_once() {
    const COUNT: usize = 200;
    let kubernetes = Kubernetes::builder().start_or_external().await.unwrap();
    let api = kubernetes.api();
    let namespace = kubernetes.new_namespace("bulk").await.unwrap();
    api.create_services(namespace.name(), COUNT).await.unwrap();
    let services = api.list(&services_path(namespace.name())).await.unwrap();
    assert_eq!(services.len(), COUNT);
    assert_eq!(services[7]["metadata"]["name"], bulk_service(7));
    let slices = api.list(&endpoint_slices_path(namespace.name())).await.unwrap();
    let endpoints: usize = slices
        .iter()
        .map(|slice| slice["endpoints"].as_array().map_or(0, Vec::len))
        .sum();
    assert_eq!(endpoints, (0..COUNT).map(bulk_endpoints).sum::<usize>());
}
