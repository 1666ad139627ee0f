//! Multi-Cluster Services, as far as an API server without a controller knows them.

use registry_testkit::Error;
use registry_testkit::kubernetes::mcs::{
    CLUSTER_ID, GROUP, SERVICE_NAME, VERSIONS, service_exports_path, service_imports_path,
};
use registry_testkit::kubernetes::{ADMIN, Clusterset, Kubernetes, endpoint_slices_path};
use serde_json::{Value, json};

fn refusal(outcome: Result<Value, Error>) -> u16 {
    match outcome {
        Err(Error::Status { status, .. }) => status,
        outcome => panic!("it should have been refused: {outcome:?}"),
    }
}

#[tokio::test]
async fn exports_and_imports_have_the_fields_of_the_api_and_no_others() {
    let clusters = Clusterset::start_or_external(1).await.unwrap();
    let namespace = clusters.new_namespace("mcs").await.unwrap();
    let (api, namespace) = (clusters[0].api(), namespace.name());
    let spec = json!({ "exportedLabels": { "team": "blue" }, "exportedAnnotations": { "note": "x" } });
    let export = api.service_export(namespace, "web", &spec).await.unwrap();
    assert_eq!(export["spec"], spec);
    let spec = json!({
        "type": "ClusterSetIP", "ips": ["10.9.0.1"], "ipFamilies": ["IPv4"],
        "ports": [{ "name": "http", "port": 80 }],
        "sessionAffinity": "ClientIP", "sessionAffinityConfig": { "clientIP": { "timeoutSeconds": 10 } },
        "internalTrafficPolicy": "Cluster", "trafficDistribution": "PreferClose",
    });
    let import = api.service_import(namespace, "web", &spec).await.unwrap();
    let mut stored = spec.clone();
    stored["ports"][0]["protocol"] = json!("TCP");
    assert_eq!(import["spec"], stored);

    // Nothing but the status is written through the path of the status.
    let path = format!("{}/web", service_imports_path(namespace));
    let status = json!({ "spec": { "ips": [] }, "status": { "clusters": [{ "cluster": "a" }] } });
    let changed = api.patch(&format!("{path}/status"), &status).await.unwrap();
    assert_eq!(
        (&changed["spec"], &changed["status"]),
        (&stored, &status["status"])
    );

    let list = service_imports_path(namespace);
    for wrong in [
        json!({ "ports": [] }),
        json!({ "type": "NodePort" }),
        json!({ "type": "Headless", "ips": ["a", "b", "c"] }),
        json!({ "type": "Headless", "ports": [{ "name": "http" }] }),
    ] {
        let object = json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": "ServiceImport",
            "metadata": { "name": "wrong" }, "spec": wrong,
        });
        assert_eq!(refusal(api.create(&list, &object).await), 422, "{object}");
    }
}

#[tokio::test]
async fn a_newer_version_shows_the_same_objects_and_a_definition_that_goes_takes_them_along() {
    let kubernetes = Kubernetes::builder().start().await.unwrap();
    let api = kubernetes.api();
    assert!(!api.serves(GROUP).await.unwrap());
    api.define_multicluster(GROUP, &VERSIONS[..1]).await.unwrap();
    api.service_export("default", "web", &json!({})).await.unwrap();
    let (old, new) = (
        service_exports_path("default"),
        "/apis/multicluster.x-k8s.io/v1beta1/serviceexports",
    );
    assert_eq!(refusal(api.get(new).await), 404);
    api.define_multicluster(GROUP, &VERSIONS).await.unwrap();
    let uids = async |path: &str| {
        let objects = api.list(path).await.unwrap();
        objects
            .iter()
            .map(|object| object["metadata"]["uid"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!((uids(&old).await.len(), uids(new).await), (1, uids(&old).await));

    for plural in ["serviceexports", "serviceimports"] {
        api.undefine(GROUP, plural).await.unwrap();
    }
    assert_eq!(refusal(api.get(&old).await), 404);
    api.define_multicluster(GROUP, &VERSIONS).await.unwrap();
    assert_eq!(uids(new).await.len(), 0);
}

#[tokio::test]
async fn properties_and_imported_slices_are_what_they_are_in_a_clusterset() {
    let clusters = Clusterset::start(1).await.unwrap();
    let api = clusters[0].api();
    for (version, id) in VERSIONS.iter().zip(["a", "b"]) {
        api.cluster_property(version, CLUSTER_ID, id).await.unwrap();
        let path = format!("/apis/about.k8s.io/v1beta1/clusterproperties/{CLUSTER_ID}");
        assert_eq!(api.get(&path).await.unwrap()["spec"]["value"], id);
    }
    assert_eq!(refusal(api.cluster_property("v1beta1", "empty", "").await), 422);

    let slice = json!({ "endpoints": [{ "addresses": ["10.0.0.1"] }], "ports": [{ "port": 80 }] });
    api.imported_slice("default", "web-a", "web", "a", &slice)
        .await
        .unwrap();
    api.endpoint_slice("default", "web-1", "web", &slice)
        .await
        .unwrap();
    let list = endpoint_slices_path("default");
    // Existence alone, as consumers of imports ask for it.
    let imported = api
        .list(&format!("{list}?labelSelector={SERVICE_NAME}"))
        .await
        .unwrap();
    assert_eq!(super::names(&imported), ["web-a"]);
    assert_eq!(imported[0]["metadata"]["labels"].as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn contexts_of_one_file_are_the_clusters_of_a_clusterset() {
    let clusters = Clusterset::start(2).await.unwrap();
    let files = [0, 1].map(|index| clusters[index].kubeconfig(ADMIN).unwrap());
    for (index, file) in files.iter().enumerate() {
        let external = Kubernetes::external_context(file, Some("test")).await.unwrap();
        assert_eq!(external.url(), clusters[index].url());
    }
    let unknown = Kubernetes::external_context(&files[0], Some("other")).await;
    let error = unknown.unwrap_err().to_string();
    assert!(error.ends_with("it has no context `other`"), "{error}");

    let namespace = clusters.new_namespace("same").await.unwrap();
    for cluster in clusters.iter() {
        let path = format!("/api/v1/namespaces/{}", namespace.name());
        cluster.new_api().unwrap().get(&path).await.unwrap();
    }
}
