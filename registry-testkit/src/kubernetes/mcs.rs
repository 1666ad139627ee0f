//! Multi-Cluster Services ([KEP-1645]): the definitions of their custom resources, and calls that write them.
//!
//! The schemas are structural and as strict as those of the API: what a real cluster prunes is pruned here, what it
//! refuses is refused. Nobody reconciles: there is no status and no import that a test did not write.
//!
//! [KEP-1645]: https://github.com/kubernetes/enhancements/tree/master/keps/sig-multicluster/1645-multi-cluster-services-api

use std::time::Duration;

use serde_json::{Value, json};

use super::KubernetesApi;
use crate::{Error, wait};

/// The group of ServiceExports and ServiceImports.
pub const GROUP: &str = "multicluster.x-k8s.io";

/// The group of ClusterProperties.
pub const ABOUT_GROUP: &str = "about.k8s.io";

/// The name of the ClusterProperty that holds the id of a cluster.
pub const CLUSTER_ID: &str = "cluster.clusterset.k8s.io";

/// The label of an imported slice that names its service.
pub const SERVICE_NAME: &str = "multicluster.kubernetes.io/service-name";

/// The label of an imported slice that names the cluster that it came from.
pub const SOURCE_CLUSTER: &str = "multicluster.kubernetes.io/source-cluster";

/// The versions of both APIs, the oldest first; clusters in the field often serve the first alone.
pub const VERSIONS: [&str; 2] = ["v1alpha1", "v1beta1"];

/// Who approved these APIs; groups below `k8s.io` are refused without it.
const APPROVAL: &str = "https://github.com/kubernetes/enhancements/pull/1646";

/// How long a definition may take to go, with all objects of it.
const GONE: Duration = Duration::from_secs(60);

/// The path of a namespace's ServiceExports, in the version that every cluster serves.
#[must_use]
pub fn service_exports_path(namespace: &str) -> String {
    collection(GROUP, namespace, "serviceexports")
}

/// The path of a namespace's ServiceImports, in the version that every cluster serves.
#[must_use]
pub fn service_imports_path(namespace: &str) -> String {
    collection(GROUP, namespace, "serviceimports")
}

/// The path of the definition of `serviceexports`, `serviceimports` or `clusterproperties` of a group.
#[must_use]
pub fn definition_path(group: &str, plural: &str) -> String {
    format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.{group}")
}

/// The definition of ServiceExports in a group that serves these [versions](VERSIONS); the last one is stored.
#[must_use]
pub fn service_export_definition(group: &str, versions: &[&str]) -> Value {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": { "exportedLabels": texts, "exportedAnnotations": texts },
            },
            "status": { "type": "object", "properties": { "conditions": conditions() } },
        },
    });
    let names = json!({
        "plural": "serviceexports", "singular": "serviceexport", "kind": "ServiceExport", "shortNames": ["svcex"],
    });
    definition(group, versions, "Namespaced", &names, &schema)
}

/// The definition of ServiceImports in a group that serves these [versions](VERSIONS); the last one is stored.
#[must_use]
pub fn service_import_definition(group: &str, versions: &[&str]) -> Value {
    let port = json!({
        "type": "object",
        "required": ["port"],
        "properties": {
            "name": { "type": "string" },
            "protocol": { "type": "string", "default": "TCP" },
            "appProtocol": { "type": "string" },
            "port": { "type": "integer", "format": "int32", "minimum": 1, "maximum": 65535 },
        },
    });
    let timeout = json!({ "type": "integer", "format": "int32" });
    let affinity = json!({
        "type": "object",
        "properties": {
            "clientIP": { "type": "object", "properties": { "timeoutSeconds": timeout } },
        },
    });
    let two = json!({ "type": "array", "maxItems": 2, "items": { "type": "string" }, "x-kubernetes-list-type": "atomic" });
    let clusters = json!({
        "type": "array",
        "items": {
            "type": "object", "required": ["cluster"], "properties": { "cluster": { "type": "string" } },
        },
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["cluster"],
    });
    let schema = json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": { "type": "string", "enum": ["ClusterSetIP", "Headless"] },
                    "ips": two,
                    "ipFamilies": two,
                    "ports": { "type": "array", "items": port, "x-kubernetes-list-type": "atomic" },
                    "sessionAffinity": { "type": "string" },
                    "sessionAffinityConfig": affinity,
                    "internalTrafficPolicy": { "type": "string" },
                    "trafficDistribution": { "type": "string" },
                },
            },
            "status": {
                "type": "object",
                "properties": { "clusters": clusters, "conditions": conditions() },
            },
        },
    });
    let names = json!({
        "plural": "serviceimports", "singular": "serviceimport", "kind": "ServiceImport", "shortNames": ["svcim"],
    });
    definition(group, versions, "Namespaced", &names, &schema)
}

/// The definition of ClusterProperties that serves these [versions](VERSIONS); the last one is stored.
#[must_use]
pub fn cluster_property_definition(versions: &[&str]) -> Value {
    let value = json!({ "type": "string", "minLength": 1, "maxLength": 128_000 });
    let schema = json!({
        "type": "object",
        "required": ["spec"],
        "properties": {
            "spec": { "type": "object", "required": ["value"], "properties": { "value": value } },
            "status": { "type": "object" },
        },
    });
    let names =
        json!({ "plural": "clusterproperties", "singular": "clusterproperty", "kind": "ClusterProperty" });
    definition(ABOUT_GROUP, versions, "Cluster", &names, &schema)
}

/// The standard conditions of a status, at most one of each type.
fn conditions() -> Value {
    let condition = json!({
        "type": "object",
        "required": ["lastTransitionTime", "message", "reason", "status", "type"],
        "properties": {
            "type": { "type": "string", "maxLength": 316 },
            "status": { "type": "string", "enum": ["True", "False", "Unknown"] },
            "reason": { "type": "string", "minLength": 1, "maxLength": 1024 },
            "message": { "type": "string", "maxLength": 32_768 },
            "lastTransitionTime": { "type": "string", "format": "date-time" },
            "observedGeneration": { "type": "integer", "format": "int64", "minimum": 0 },
        },
    });
    json!({
        "type": "array",
        "items": condition,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
    })
}

fn definition(group: &str, versions: &[&str], scope: &str, names: &Value, schema: &Value) -> Value {
    let served: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({
                "name": version,
                "served": true,
                "storage": versions.last() == Some(version),
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema },
            })
        })
        .collect();
    let plural = names["plural"].as_str().unwrap_or_default();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{plural}.{group}"),
            "annotations": { "api-approved.kubernetes.io": APPROVAL },
        },
        "spec": { "group": group, "scope": scope, "names": names, "versions": served },
    })
}

fn collection(group: &str, namespace: &str, plural: &str) -> String {
    format!("/apis/{group}/{}/namespaces/{namespace}/{plural}", VERSIONS[0])
}

// === impl KubernetesApi ===

impl KubernetesApi {
    /// Installs the definitions of ServiceExports and ServiceImports in a group, or makes them serve these versions.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`] and [`definition`](Self::definition).
    pub async fn define_multicluster(&self, group: &str, versions: &[&str]) -> Result<(), Error> {
        let (exports, imports) = (
            service_export_definition(group, versions),
            service_import_definition(group, versions),
        );
        tokio::try_join!(self.definition(&exports), self.definition(&imports)).map(drop)
    }

    /// Creates a ServiceExport with this `spec`, or gives it that `spec`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn service_export(&self, namespace: &str, name: &str, spec: &Value) -> Result<Value, Error> {
        self.custom(GROUP, namespace, "ServiceExport", name, spec).await
    }

    /// Creates a ServiceImport with this `spec`, or gives it that `spec`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn service_import(&self, namespace: &str, name: &str, spec: &Value) -> Result<Value, Error> {
        self.custom(GROUP, namespace, "ServiceImport", name, spec).await
    }

    /// Creates a ServiceExport or ServiceImport of a group, or gives it that `spec`.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn custom(
        &self,
        group: &str,
        namespace: &str,
        kind: &str,
        name: &str,
        spec: &Value,
    ) -> Result<Value, Error> {
        let plural = format!("{}s", kind.to_lowercase());
        let object = json!({
            "apiVersion": format!("{group}/{}", VERSIONS[0]),
            "kind": kind,
            "metadata": { "name": name },
            "spec": spec,
        });
        let path = format!("{}/{name}", collection(group, namespace, &plural));
        self.apply(&path, &object).await
    }

    /// Creates a slice that was imported for a service from a cluster, or replaces it. What is given is merged into
    /// an empty slice of IPv4 addresses, as for [`endpoint_slice`](Self::endpoint_slice).
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn imported_slice(
        &self,
        namespace: &str,
        name: &str,
        service: &str,
        cluster: &str,
        slice: &Value,
    ) -> Result<Value, Error> {
        let mut labels = json!({
            SERVICE_NAME: service,
            SOURCE_CLUSTER: cluster,
            "endpointslice.kubernetes.io/managed-by": "test",
        });
        for (key, value) in slice["metadata"]["labels"].as_object().into_iter().flatten() {
            labels[key] = value.clone();
        }
        let mut slice = slice.clone();
        slice["metadata"]["labels"] = labels;
        self.endpoint_slice(namespace, name, "", &slice).await
    }

    /// Says what a cluster is called in its clusterset: a ClusterProperty, in a version that is served.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn cluster_property(&self, version: &str, name: &str, value: &str) -> Result<Value, Error> {
        let object = json!({
            "apiVersion": format!("{ABOUT_GROUP}/{version}"),
            "kind": "ClusterProperty",
            "metadata": { "name": name },
            "spec": { "value": value },
        });
        let path = format!("/apis/{ABOUT_GROUP}/{version}/clusterproperties/{name}");
        self.apply(&path, &object).await
    }

    /// Takes a definition away, with all objects of it, and waits until it is served no more.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`]; [`Error::Deadline`] when it is still served after 60 s.
    pub async fn undefine(&self, group: &str, plural: &str) -> Result<(), Error> {
        let path = definition_path(group, plural);
        self.delete(&path).await?;
        // The resource is served for a moment longer than its definition, or shorter.
        let list = format!("/apis/{group}/{}/{plural}?limit=1", VERSIONS[0]);
        for path in [&path, &list] {
            let look = || async move {
                let answer = self.answer(path, &[]).await.ok()?;
                (answer.status == 404).then_some(())
            };
            wait::until_some(format!("the end of {path}"), GONE, look).await?;
        }
        Ok(())
    }

    /// Whether any version of a group is served.
    ///
    /// # Errors
    ///
    /// See [`KubernetesApi`].
    pub async fn serves(&self, group: &str) -> Result<bool, Error> {
        match self.get(&format!("/apis/{group}")).await {
            Ok(_) => Ok(true),
            Err(Error::Status { status: 404, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_of_a_definition_is_stored() {
        for (versions, stored) in [(&VERSIONS[..1], "v1alpha1"), (&VERSIONS[..], "v1beta1")] {
            let definition = service_import_definition(GROUP, versions);
            let all = definition["spec"]["versions"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            let named: Vec<&Value> = all
                .iter()
                .filter(|version| version["storage"] == true)
                .map(|version| &version["name"])
                .collect();
            assert_eq!((all.len(), named), (versions.len(), vec![&json!(stored)]));
        }
    }

    #[test]
    fn paths_are_those_of_the_api() {
        let path = service_exports_path("demo");
        assert_eq!(
            path,
            "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/demo/serviceexports"
        );
    }
}
