//! What an operator may set.

use std::path::PathBuf;
use std::time::Duration;

use registry_core::duration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Settings of one Kubernetes registry: one cluster, or with `directory` or `secrets` one for each that is found there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct KubernetesConfig {
    /// The kubeconfig to use. Without it: $KUBECONFIG, then ~/.kube/config, then the service account of the pod that
    /// this runs in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; its current one unless set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<String>,
    /// Whether to use the service account of the pod that this runs in, and no kubeconfig.
    pub in_cluster: bool,
    /// A directory of kubeconfigs, each of which is a cluster and a registry of its own, named after its file. Files that
    /// come and go make registries come and go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<PathBuf>,
    /// Secrets that hold kubeconfigs, in the cluster that the fields above lead to. Each kubeconfig is a cluster and a
    /// registry of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets: Option<SecretsConfig>,
    /// The name of the cluster, for localities and templates (`{cluster}`); the name of the context unless set, the
    /// member's name for `directory` and `secrets`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// The network in which addresses of pods are valid. Clusters whose addresses overlap need different ones.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub network: String,
    /// The DNS domain of the cluster, for hostnames of services.
    pub cluster_domain: String,
    /// The namespaces to watch, each by itself; all of them with one watch where this is empty.
    pub namespaces: Vec<String>,
    /// Watches the namespaces that have these labels, each by itself, such as `discovery=enabled,team in (a, b)`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<String>,
    /// Most namespaces that `namespace_selector` may select: each costs two connections.
    pub max_namespaces: usize,
    /// Whether to watch the metadata of Nodes, which alone know the region of an endpoint.
    pub nodes: bool,
    /// Whether to take endpoints that are host names (`addressType: FQDN`), which kube-proxy leaves out.
    pub fqdn: bool,
    /// How long the server keeps a watch open before it is opened anew where it was. It bounds how long a dead
    /// connection stays unnoticed: by ten seconds more.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub watch_timeout: Duration,
    /// How long the removal of an endpoint waits for the same endpoint to turn up in another slice.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub removal_delay: Duration,
    /// Whether to ask for objects one by one when listing, which needs less memory of the server than pages, and a third
    /// more processor time here. Servers that do not know that (before 1.32) are asked for pages all the same.
    pub streaming_lists: bool,
    /// Objects of one page of a list.
    pub page_size: u32,
    /// How long the head of an answer may take.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub request_timeout: Duration,
    /// How long a connection may take.
    #[serde(with = "duration")]
    #[schemars(with = "duration::Text")]
    pub connect_timeout: Duration,
    /// Bytes of one page of a list.
    pub max_page_bytes: usize,
    /// Bytes of one object.
    pub max_object_bytes: usize,
    /// Whether answers may be compressed. It saves network and costs processor time on both sides.
    pub compression: bool,
}

/// Which Secrets hold kubeconfigs of further clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretsConfig {
    /// The namespace of the Secrets.
    pub namespace: String,
    /// Labels that they have, such as `istio/multiCluster=true`.
    pub selector: String,
    /// The key of the kubeconfig: each Secret is then one cluster, named after the Secret. Without it every key is a
    /// cluster of that name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Default for KubernetesConfig {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            context: None,
            in_cluster: false,
            directory: None,
            secrets: None,
            cluster: None,
            network: String::new(),
            cluster_domain: "cluster.local".to_owned(),
            namespaces: Vec::new(),
            namespace_selector: None,
            max_namespaces: 100,
            nodes: true,
            fqdn: true,
            watch_timeout: Duration::from_secs(30),
            removal_delay: Duration::from_millis(100),
            streaming_lists: false,
            page_size: 500,
            request_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            max_page_bytes: 256 << 20,
            max_object_bytes: 16 << 20,
            compression: true,
        }
    }
}

impl KubernetesConfig {
    /// How old the last word on the whole cluster may be: each watch speaks at least when its server ends it.
    pub(crate) fn freshness_bound(&self) -> Duration {
        self.watch_timeout + Duration::from_secs(15)
    }

    /// True where this leads to several clusters.
    pub fn is_fleet(&self) -> bool {
        self.directory.is_some() || self.secrets.is_some()
    }

    /// What is wrong with the settings, if anything.
    ///
    /// # Errors
    ///
    /// Names the field, what was found and what was expected.
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |field, problem: String| Err(Error::Config { field, problem });
        let beside = |other: &str| format!("found beside `{other}`, expected one of the two");
        if self.in_cluster && self.kubeconfig.is_some() {
            return wrong("in_cluster", beside("kubeconfig"));
        }
        if self.in_cluster && self.context.is_some() {
            return wrong("in_cluster", beside("context"));
        }
        if self.directory.is_some() {
            let others = [
                ("kubeconfig", self.kubeconfig.is_some()),
                ("in_cluster", self.in_cluster),
                ("secrets", self.secrets.is_some()),
            ];
            if let Some((other, _)) = others.into_iter().find(|(_, set)| *set) {
                return wrong("directory", beside(other));
            }
        }
        if self.is_fleet() && self.cluster.is_some() {
            return wrong(
                "cluster",
                "found beside `directory` or `secrets`, expected it to be left out: each member has its own"
                    .to_owned(),
            );
        }
        if !self.namespaces.is_empty() && self.namespace_selector.is_some() {
            return wrong("namespace_selector", beside("namespaces"));
        }
        for (i, namespace) in self.namespaces.iter().enumerate() {
            if !is_label(namespace) {
                return wrong(
                    "namespaces",
                    format!("found {namespace:?}, expected the name of a namespace, such as `default`"),
                );
            }
            if self.namespaces[..i].contains(namespace) {
                return wrong(
                    "namespaces",
                    format!("found {namespace:?} twice, expected it once"),
                );
            }
        }
        if let Some(secrets) = &self.secrets {
            if !is_label(&secrets.namespace) {
                return wrong(
                    "secrets.namespace",
                    format!("found {:?}, expected the name of a namespace", secrets.namespace),
                );
            }
            if secrets.selector.trim().is_empty() {
                return wrong(
                    "secrets.selector",
                    "found no label, expected one such as `istio/multiCluster=true`".to_owned(),
                );
            }
        }
        if self.cluster_domain.is_empty() {
            return wrong(
                "cluster_domain",
                "found nothing, expected a domain such as `cluster.local`".to_owned(),
            );
        }
        let times = [
            (
                "watch_timeout",
                self.watch_timeout,
                Duration::from_secs(5),
                Duration::from_secs(290),
            ),
            (
                "removal_delay",
                self.removal_delay,
                Duration::ZERO,
                Duration::from_secs(10),
            ),
            (
                "request_timeout",
                self.request_timeout,
                Duration::from_millis(100),
                Duration::from_secs(120),
            ),
            (
                "connect_timeout",
                self.connect_timeout,
                Duration::from_millis(100),
                Duration::from_secs(120),
            ),
        ];
        for (field, found, least, most) in times {
            if found < least || found > most {
                let [found, least, most] = [found, least, most].map(duration::format);
                return wrong(field, format!("found {found}, expected {least} to {most}"));
            }
        }
        let sizes = [
            ("page_size", self.page_size as usize, 1, 10_000),
            ("max_namespaces", self.max_namespaces, 1, 10_000),
            ("max_page_bytes", self.max_page_bytes, 1 << 20, 4 << 30),
            ("max_object_bytes", self.max_object_bytes, 1 << 16, 1 << 30),
        ];
        for (field, found, least, most) in sizes {
            if found < least || found > most {
                return wrong(field, format!("found {found}, expected {least} to {most}"));
            }
        }
        Ok(())
    }
}

/// A DNS label, as names of namespaces are: RFC 1123.
fn is_label(text: &str) -> bool {
    let inner = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_settings_name_their_field() {
        let base = KubernetesConfig::default;
        let path = || Some(PathBuf::from("x"));
        for (config, field) in [
            (
                KubernetesConfig {
                    in_cluster: true,
                    kubeconfig: path(),
                    ..base()
                },
                "in_cluster",
            ),
            (
                KubernetesConfig {
                    directory: path(),
                    kubeconfig: path(),
                    ..base()
                },
                "directory",
            ),
            (
                KubernetesConfig {
                    directory: path(),
                    cluster: Some("a".into()),
                    ..base()
                },
                "cluster",
            ),
            (
                KubernetesConfig {
                    namespaces: vec!["Not_One".into()],
                    ..base()
                },
                "namespaces",
            ),
            (
                KubernetesConfig {
                    namespaces: vec!["a".into(), "a".into()],
                    ..base()
                },
                "namespaces",
            ),
            (
                KubernetesConfig {
                    watch_timeout: Duration::from_secs(1),
                    ..base()
                },
                "watch_timeout",
            ),
            (
                KubernetesConfig {
                    page_size: 0,
                    ..base()
                },
                "page_size",
            ),
            (
                KubernetesConfig {
                    secrets: Some(SecretsConfig {
                        namespace: "a".into(),
                        selector: " ".into(),
                        key: None,
                    }),
                    ..base()
                },
                "secrets.selector",
            ),
        ] {
            let error = config.validate().unwrap_err().to_string();
            assert!(error.starts_with(field), "{error}");
        }
        assert!(base().validate().is_ok());
    }
}
