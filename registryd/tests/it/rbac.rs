//! Roles for Kubernetes, as they are printed: exactly the rights that a configuration needs, each with its reason.

use std::process::Output;

use serde_json::Value;

use crate::daemon::{errors, output, printed};

const CONFIG: &str = "\
registries:
  - name: vms
    file: { path: vms.yaml }
  - name: everywhere
    kubernetes: { context: a }
  - name: some/namespaces
    kubernetes: { context: b, namespaces: [shop, pay] }
  - name: bare
    kubernetes: { context: c, namespaces: [shop], nodes: false }
  - name: labelled
    kubernetes: { context: d, namespace_selector: \"discovery=enabled\" }
  - name: files
    kubernetes: { directory: clusters.d, nodes: false }
  - name: remote
    kubernetes:
      context: e
      nodes: false
      secrets: { namespace: clusters, selector: \"registryd/cluster=true\" }
  - name: set
    mcs: { clusters: [{ name: a, context: a, cluster: eu }, { name: b, context: b }] }
  - name: named
    mcs:
      clusters: [{ name: a, cluster: eu }]
      groups: [multicluster.x-k8s.io, net.gke.io]
      kubernetes: { namespaces: [shop, pay], nodes: false }
  - name: unnamed
    mcs:
      clusters: [{ name: a }]
      kubernetes: { namespaces: [shop], nodes: false }
  - name: found
    mcs:
      kubernetes:
        nodes: false
        secrets: { namespace: clusters, selector: \"registryd/cluster=true\" }
  - name: imports
    mcs: { import: { namespace_selector: \"discovery=enabled\" } }
";

fn rbac(arguments: &[&str]) -> Output {
    rbac_of("kubernetes", arguments)
}

fn rbac_of(kind: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("registryd.yaml"), CONFIG).unwrap();
    let all = [&["rbac", kind, "--config", "registryd.yaml"], arguments].concat();
    output(directory.path(), &all)
}

fn text(arguments: &[&str]) -> String {
    text_of("kubernetes", arguments)
}

fn text_of(kind: &str, arguments: &[&str]) -> String {
    let output = rbac_of(kind, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    printed(&output)
}

const ACCOUNT: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: registryd
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: registryd
  namespace: registryd
";

/// A role as it is printed with its binding.
fn role(comment: &str, name: &str, namespace: Option<&str>, rules: &[(&str, &str, &str)]) -> String {
    let scope = if namespace.is_some() { "" } else { "Cluster" };
    let place = namespace
        .map(|namespace| format!("  namespace: {namespace}\n"))
        .unwrap_or_default();
    let mut text = format!("---\n{comment}apiVersion: rbac.authorization.k8s.io/v1\nkind: {scope}Role\n");
    text += &format!("metadata:\n  name: \"{name}\"\n{place}rules:\n");
    for (why, group, resource) in rules {
        text += &format!("  # {why}\n  - apiGroups: [\"{group}\"]\n    resources: [{resource}]\n");
        text += match *why {
            why if why == IDENTITY.0 || why == UID.0 => {
                "    resourceNames: [kube-system]\n    verbs: [get]\n"
            }
            why if why == PROPERTY.0 => "    resourceNames: [cluster.clusterset.k8s.io]\n    verbs: [get]\n",
            _ => "    verbs: [list, watch]\n",
        };
    }
    text += &format!(
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {scope}RoleBinding\nmetadata:\n  name: \"{name}\"\n{place}"
    );
    text += &format!(
        "roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {scope}Role\n  name: \"{name}\"\n"
    );
    text + "subjects:\n  - kind: ServiceAccount\n    name: registryd\n    namespace: registryd\n"
}

const SERVICES: (&str, &str, &str) = (
    "Which services there are, with their names, ports and virtual addresses.",
    "",
    "services",
);
const SLICES: (&str, &str, &str) = ("Their endpoints.", "discovery.k8s.io", "endpointslices");
const NODES: (&str, &str, &str) = (
    "The region of an endpoint, which only the labels of its node tell; `nodes: false` does without.",
    "",
    "nodes",
);
const SECRETS: (&str, &str, &str) = (
    "The kubeconfigs of the clusters. Rights cannot be limited to labels: keep other Secrets elsewhere.",
    "",
    "secrets",
);
const IDENTITY: (&str, &str, &str) = (
    "Whether it is still the same cluster, when its server was in trouble. It may be left out.",
    "",
    "namespaces",
);
const EXPORTS: (&str, &str, &str) = (
    "Which services are exported, since when, and with which labels and annotations.",
    "multicluster.x-k8s.io",
    "serviceexports",
);
const EXPORTED: (&str, &str, &str) = (
    "The Services that are exported, with their names, ports and virtual addresses.",
    "",
    "services",
);
const PROPERTY: (&str, &str, &str) = (
    "Which id the cluster has in its clusterset; not needed where `cluster` says so.",
    "about.k8s.io",
    "clusterproperties",
);
const UID: (&str, &str, &str) = (
    "Its id where there is no such property, and whether it is still the same cluster after trouble.",
    "",
    "namespaces",
);
const EACH: &str = "all from here on, and the service account, is for each cluster that it leads to.";

#[test]
fn a_cluster_as_a_whole_needs_this_and_no_more() {
    let expected = "\
apiVersion: v1
kind: Namespace
metadata:
  name: registryd
---
apiVersion: v1
kind: ServiceAccount
metadata:
  name: registryd
  namespace: registryd
---
# Registry everywhere.
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: \"registryd:everywhere\"
rules:
  # Which services there are, with their names, ports and virtual addresses.
  - apiGroups: [\"\"]
    resources: [services]
    verbs: [list, watch]
  # Their endpoints.
  - apiGroups: [\"discovery.k8s.io\"]
    resources: [endpointslices]
    verbs: [list, watch]
  # The region of an endpoint, which only the labels of its node tell; `nodes: false` does without.
  - apiGroups: [\"\"]
    resources: [nodes]
    verbs: [list, watch]
  # Whether it is still the same cluster, when its server was in trouble. It may be left out.
  - apiGroups: [\"\"]
    resources: [namespaces]
    resourceNames: [kube-system]
    verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: \"registryd:everywhere\"
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: \"registryd:everywhere\"
subjects:
  - kind: ServiceAccount
    name: registryd
    namespace: registryd
";
    assert_eq!(text(&["everywhere"]), expected);
}

#[test]
fn namespaces_that_are_listed_get_a_role_each_and_nodes_a_cluster_role() {
    let name = "registryd:some:namespaces";
    let rules = [SERVICES, SLICES];
    let expected = [
        ACCOUNT.to_owned(),
        role("# Registry some/namespaces.\n", name, Some("shop"), &rules),
        role("", name, Some("pay"), &rules),
        role("", "registryd:some:namespaces:cluster", None, &[NODES, IDENTITY]),
    ];
    assert_eq!(text(&["some/namespaces"]), expected.concat());
    let expected = role("# Registry bare.\n", "registryd:bare", Some("shop"), &rules);
    assert_eq!(text(&["bare"]), format!("{ACCOUNT}{expected}"));
}

#[test]
fn namespaces_that_are_selected_have_to_be_seen() {
    let namespaces = (
        "Which namespaces have the labels of `namespace_selector`.",
        "",
        "namespaces",
    );
    let rules = [SERVICES, SLICES, NODES, namespaces, IDENTITY];
    let expected = role("# Registry labelled.\n", "registryd:labelled", None, &rules);
    assert_eq!(text(&["labelled"]), format!("{ACCOUNT}{expected}"));
}

#[test]
fn fleets_need_their_secrets_in_one_cluster_and_services_in_the_others() {
    let secrets = role(
        "# Registry remote, where the Secrets of its clusters are.\n",
        "registryd:remote:secrets",
        Some("clusters"),
        &[SECRETS],
    );
    let members = role(
        &format!("# Registry remote: {EACH}\n"),
        "registryd:remote",
        None,
        &[SERVICES, SLICES, IDENTITY],
    );
    assert_eq!(text(&["remote"]), format!("{ACCOUNT}{secrets}{members}"));
    assert_eq!(
        text(&["remote", "--part", "secrets"]),
        format!("{ACCOUNT}{secrets}")
    );
    assert_eq!(
        text(&["remote", "--part", "members"]),
        format!("{ACCOUNT}{members}")
    );
    let files = role(
        &format!("# Registry files: {EACH}\n"),
        "registryd:files",
        None,
        &[SERVICES, SLICES, IDENTITY],
    );
    assert_eq!(text(&["files"]), format!("{ACCOUNT}{files}"));
}

#[test]
fn exports_need_to_be_read_with_their_services_and_the_id_of_the_cluster() {
    let comment = |id: &str| format!("# Registry {id}: {EACH}\n");
    let rules = [EXPORTS, EXPORTED, SLICES, NODES, PROPERTY, UID];
    let expected = role(&comment("set"), "registryd:set", None, &rules);
    assert_eq!(text_of("mcs", &["set"]), format!("{ACCOUNT}{expected}"));

    // Where the configuration knows the id, nothing of the whole cluster is needed.
    let both = (EXPORTS.0, "multicluster.x-k8s.io\", \"net.gke.io", EXPORTS.2);
    let rules = [both, EXPORTED, SLICES];
    let expected = [
        ACCOUNT.to_owned(),
        role(&comment("named"), "registryd:named", Some("shop"), &rules),
        role("", "registryd:named", Some("pay"), &rules),
    ];
    assert_eq!(text_of("mcs", &["named"]), expected.concat());
    let expected = [
        ACCOUNT.to_owned(),
        role(
            &comment("unnamed"),
            "registryd:unnamed",
            Some("shop"),
            &[EXPORTS, EXPORTED, SLICES],
        ),
        role("", "registryd:unnamed:cluster", None, &[PROPERTY, UID]),
    ];
    assert_eq!(text_of("mcs", &["unnamed"]), expected.concat());
}

#[test]
fn clusters_of_a_set_that_are_found_by_secrets_need_these_too() {
    let secrets = role(
        "# Registry found, where the Secrets of its clusters are.\n",
        "registryd:found:secrets",
        Some("clusters"),
        &[SECRETS],
    );
    let members = role(
        &format!("# Registry found: {EACH}\n"),
        "registryd:found",
        None,
        &[EXPORTS, EXPORTED, SLICES, PROPERTY, UID],
    );
    assert_eq!(text_of("mcs", &["found"]), format!("{ACCOUNT}{secrets}{members}"));
    assert_eq!(
        text_of("mcs", &["found", "--part", "members"]),
        format!("{ACCOUNT}{members}")
    );
}

#[test]
fn imports_need_neither_services_nor_nodes() {
    let imports = (
        "Which services are imported, with their ports and virtual addresses.",
        "multicluster.x-k8s.io",
        "serviceimports",
    );
    let namespaces = (
        "Which namespaces have the labels of `namespace_selector`.",
        "",
        "namespaces",
    );
    let rules = [imports, SLICES, namespaces, IDENTITY];
    let expected = role("# Registry imports.\n", "registryd:imports", None, &rules);
    assert_eq!(text_of("mcs", &["imports"]), format!("{ACCOUNT}{expected}"));
}

#[test]
fn all_registries_share_one_account_and_no_role() {
    for kind in ["kubernetes", "mcs"] {
        share_one_account_and_no_role(&text_of(kind, &[]));
    }
}

fn share_one_account_and_no_role(all: &str) {
    let mut names = Vec::new();
    for document in all.split("---\n") {
        let document: Value =
            serde_saphyr::from_str(document).unwrap_or_else(|error| panic!("{error}\n{document}"));
        let of = |field: &str| {
            document["metadata"][field]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        names.push((document["kind"].to_string(), of("namespace"), of("name")));
        for rule in document["rules"].as_array().into_iter().flatten() {
            let verbs = match rule["resourceNames"].is_null() {
                true => serde_json::json!(["list", "watch"]),
                false => serde_json::json!(["get"]),
            };
            assert_eq!(rule["verbs"], verbs, "{document}");
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count, "{names:#?}");
    assert_eq!(all.matches("kind: ServiceAccount\nmetadata").count(), 1);
    assert!(!all.contains("vms"));
}

#[test]
fn the_account_may_be_another_one_and_get_a_token() {
    let text = text(&[
        "bare",
        "--service-account",
        "sd",
        "--namespace",
        "kube-system",
        "--token-secret",
    ]);
    let expected = "\
apiVersion: v1
kind: ServiceAccount
metadata:
  name: sd
  namespace: kube-system
---
# A token that does not expire. It is void when this Secret is deleted.
apiVersion: v1
kind: Secret
metadata:
  name: sd-token
  namespace: kube-system
  annotations:
    kubernetes.io/service-account.name: sd
type: kubernetes.io/service-account-token
---
# Registry bare.
";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.contains("  name: \"sd:bare\"\n"), "{text}");
    assert!(text.ends_with("  - kind: ServiceAccount\n    name: sd\n    namespace: kube-system\n"));
}

#[test]
fn what_cannot_be_meant_is_wrong_input() {
    for (arguments, message) in [
        (
            &["vms"][..],
            "registry \"vms\": expected one of kind kubernetes: everywhere, some/namespaces,",
        ),
        (
            &["--namespace", "A"],
            "--namespace: found \"A\", expected the name of a namespace",
        ),
        (
            &["--service-account", "-"],
            "--service-account: found \"-\", expected the name of",
        ),
    ] {
        let output = rbac(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(errors(&output).contains(message), "{}", errors(&output));
        assert!(output.stdout.is_empty());
    }
    let directory = tempfile::tempdir().unwrap();
    let sample = output(directory.path(), &["rbac", "kubernetes"]);
    assert_eq!(sample.status.code(), Some(2));
    assert_eq!(
        errors(&sample),
        "error: no registry of the configuration is of kind kubernetes\n"
    );
}
