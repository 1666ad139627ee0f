use std::path::PathBuf;

use registry_k8s::{KubernetesConfig, SecretsConfig};

use super::*;
use crate::build::Registries;

fn cluster(name: &str) -> ClusterConfig {
    ClusterConfig {
        name: name.to_owned(),
        context: Some(name.to_owned()),
        ..ClusterConfig::default()
    }
}

fn of(clusters: &[ClusterConfig]) -> McsConfig {
    McsConfig {
        clusters: clusters.to_vec(),
        ..McsConfig::default()
    }
}

fn with(kubernetes: KubernetesConfig) -> McsConfig {
    McsConfig {
        kubernetes,
        ..of(&[cluster("a"), cluster("b")])
    }
}

fn importing(import: KubernetesConfig) -> McsConfig {
    McsConfig {
        import: Some(import),
        ..McsConfig::default()
    }
}

fn path(text: &str) -> Option<PathBuf> {
    Some(PathBuf::from(text))
}

fn secrets() -> KubernetesConfig {
    let selector = "istio/multiCluster=true".to_owned();
    KubernetesConfig {
        secrets: Some(SecretsConfig {
            namespace: "clusters".to_owned(),
            selector,
            key: None,
        }),
        ..KubernetesConfig::default()
    }
}

fn directory() -> KubernetesConfig {
    KubernetesConfig {
        directory: path("clusters.d"),
        ..KubernetesConfig::default()
    }
}

#[test]
fn each_mode_by_itself_is_fine() {
    for (config, mode) in [
        (of(&[cluster("a")]), Mode::Clusters),
        (of(&[cluster("a"), cluster("b")]), Mode::Clusters),
        (
            McsConfig {
                kubernetes: directory(),
                ..McsConfig::default()
            },
            Mode::Fleet,
        ),
        (
            McsConfig {
                kubernetes: secrets(),
                ..McsConfig::default()
            },
            Mode::Fleet,
        ),
        (importing(KubernetesConfig::default()), Mode::Import),
    ] {
        assert!(config.validate().is_ok(), "{config:?}");
        assert_eq!(config.mode(), mode);
    }
}

#[test]
fn wrong_settings_name_their_field_and_what_was_expected() {
    let base = KubernetesConfig::default;
    let settings = |change: fn(&mut McsConfig)| {
        let mut config = of(&[cluster("a"), cluster("b")]);
        change(&mut config);
        config
    };
    for (config, expected) in [
        (McsConfig::default(), "clusters: found no cluster, expected"),
        (settings(|c| c.groups.clear()), "groups: found no group, expected"),
        (
            settings(|c| c.groups.push("Not a group".to_owned())),
            "groups[1]: found \"Not a group\", expected a group",
        ),
        (
            settings(|c| c.groups.push(c.groups[0].clone())),
            "groups[1]: found \"multicluster.x-k8s.io\" twice, expected it once",
        ),
        (settings(|c| c.domain.clear()), "domain: found \"\", expected"),
        (
            settings(|c| c.domain = ".local".to_owned()),
            "domain: found \".local\", expected",
        ),
        (
            settings(|c| c.domain = "Clusterset.local".to_owned()),
            "domain: found \"Clusterset.local\", expected a DNS name in lower case",
        ),
        (
            settings(|c| c.domain = vec!["a"; 80].join(".")),
            "domain: found \"a.a.",
        ),
        (with(directory()), "kubernetes.directory: found beside `clusters`"),
        (with(secrets()), "kubernetes.secrets: found beside `clusters`"),
        (
            settings(|c| c.import = Some(KubernetesConfig::default())),
            "import: found beside `clusters`",
        ),
        (
            McsConfig {
                kubernetes: KubernetesConfig {
                    page_size: 7,
                    ..base()
                },
                ..importing(base())
            },
            "import: found beside `kubernetes`",
        ),
        (
            importing(directory()),
            "import: directory: found where one cluster is expected",
        ),
        (
            importing(secrets()),
            "import: secrets: found where one cluster is expected",
        ),
        (
            importing(KubernetesConfig {
                cluster: Some("a".to_owned()),
                ..base()
            }),
            "import.cluster: found a name, expected it to be left out",
        ),
        (
            importing(KubernetesConfig {
                cluster_domain: "b.local".to_owned(),
                ..base()
            }),
            "import.cluster_domain: found \"b.local\", expected it to be left out",
        ),
        (
            with(KubernetesConfig {
                cluster: Some("a".to_owned()),
                ..base()
            }),
            "kubernetes.cluster: found \"a\" for all clusters, expected",
        ),
        (
            with(KubernetesConfig {
                context: Some("c".to_owned()),
                ..base()
            }),
            "clusters[0].context: found beside `kubernetes.context`",
        ),
        (
            with(KubernetesConfig {
                page_size: 0,
                ..base()
            }),
            "kubernetes: page_size: found 0",
        ),
        (
            settings(|c| c.clusters[1].name.clear()),
            "clusters[1].name: found \"\", expected",
        ),
        (
            settings(|c| c.clusters[1].name = "x".repeat(62)),
            "clusters[1].name: found \"xxx",
        ),
        (
            settings(|c| {
                c.clusters[0].name = "EU_1".to_owned();
                c.clusters[1].name = "eu-1".to_owned();
            }),
            "clusters[1].name: found \"eu-1\", which is the registry name of clusters[0] (\"EU_1\") too",
        ),
        (
            settings(|c| c.clusters[1].cluster = Some("Not one".to_owned())),
            "clusters[1].cluster: found \"Not one\", expected the id of a cluster",
        ),
        (
            settings(|c| {
                for cluster in &mut c.clusters {
                    cluster.cluster = Some("eu".to_owned());
                }
            }),
            "clusters[1].cluster: found \"eu\", which is the id of clusters[0] too",
        ),
        (
            settings(|c| c.clusters[1].context = Some("a".to_owned())),
            "clusters[1]: found the kubeconfig and context of clusters[0]",
        ),
        (
            settings(|c| c.clusters[1].in_cluster = true),
            "clusters[1]: in_cluster: found beside `context`",
        ),
        (
            settings(|c| {
                c.kubernetes.kubeconfig = path("all");
                c.clusters[1].kubeconfig = path("own");
            }),
            "clusters[1].kubeconfig: found beside `kubernetes.kubeconfig`",
        ),
    ] {
        let error = config.validate().unwrap_err().to_string();
        assert!(error.starts_with(expected), "{error}\n{expected}");
        assert!(config.build().is_err());
    }
}

#[test]
fn a_cluster_has_its_own_settings_and_else_those_of_all() {
    let mut config = of(&[cluster("a"), cluster("b")]);
    config.kubernetes.kubeconfig = path("all");
    config.kubernetes.network = "flat".to_owned();
    config.kubernetes.page_size = 7;
    config.clusters[1].network = Some("b".to_owned());
    let [a, b] = [0, 1].map(|index: usize| config.of_cluster(&config.clusters[index]));
    assert_eq!((a.network.as_str(), b.network.as_str()), ("flat", "b"));
    for (settings, context) in [(a, "a"), (b, "b")] {
        assert_eq!(settings.kubeconfig, path("all"));
        assert_eq!(settings.context.as_deref(), Some(context));
        assert_eq!(settings.page_size, 7);
    }
}

#[test]
fn a_fingerprint_stands_for_all_that_a_member_is() {
    let prints = |config: &McsConfig| -> Vec<u128> {
        let Registries::Clusters(members) = config.build().unwrap() else {
            panic!("expected clusters");
        };
        members.iter().map(|member| member.fingerprint).collect()
    };
    let base = of(&[cluster("a"), cluster("b")]);
    let before = prints(&base);
    assert_eq!(before, prints(&base));
    assert_ne!(before[0], before[1]);
    let changes: [fn(&mut McsConfig); 4] = [
        |c| c.groups.push("net.gke.io".to_owned()),
        |c| c.domain = "set.example".to_owned(),
        |c| c.kubernetes.page_size = 7,
        |c| c.kubernetes.network = "flat".to_owned(),
    ];
    for change in changes {
        let mut config = base.clone();
        change(&mut config);
        let after = prints(&config);
        assert!(before.iter().all(|print| !after.contains(print)));
    }
    // What is one cluster's own leaves the others as they are, and so does one that comes.
    let mut config = base.clone();
    config.clusters[1].cluster = Some("eu".to_owned());
    config.clusters.insert(0, cluster("c"));
    let after = prints(&config);
    assert_eq!(after[1], before[0]);
    assert!(!before.contains(&after[2]));
}

#[test]
fn imports_do_without_nodes() {
    let config = importing(KubernetesConfig::default());
    assert!(matches!(config.build(), Ok(Registries::Import(_))));
    assert!(!McsConfig::of_imports(&KubernetesConfig::default()).nodes);
}
