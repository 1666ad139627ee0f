//! Roles as YAML for `kubectl`, each rule with the reason for it.

use std::fmt::Write as _;

use registry_k8s::KubernetesConfig;

/// Who gets the rights.
#[derive(Debug)]
pub(super) struct Account {
    namespace: String,
    name: String,
    token: bool,
}

/// What a registry reads of its clusters, and by which settings.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading<'a> {
    pub(super) settings: &'a KubernetesConfig,
    pub(super) what: What,
    /// Groups of the API of Multi-Cluster Services.
    #[cfg_attr(not(feature = "mcs"), allow(dead_code, reason = "no kind needs it"))]
    pub(super) groups: &'a [String],
    /// True where there may be several clusters, all of which grant the same.
    pub(super) several: bool,
}

/// What a registry reads of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Its services.
    Services,
    /// What it exports to its clusterset, and which cluster it is where the configuration does not say so.
    #[cfg(feature = "mcs")]
    Exports { identified: bool },
    /// What it imports from its clusterset.
    #[cfg(feature = "mcs")]
    Imports,
}

/// One right: to list and to watch a kind of object, or to get a single one.
#[derive(Debug, Clone, Copy)]
struct Rule<'a> {
    why: &'static str,
    groups: Groups<'a>,
    resource: &'static str,
    single: Option<&'static str>,
}

#[derive(Debug, Clone, Copy)]
enum Groups<'a> {
    One(&'static str),
    #[cfg_attr(not(feature = "mcs"), allow(dead_code, reason = "no kind needs it"))]
    Configured(&'a [String]),
}

const SERVICES: Rule<'_> = Rule {
    why: "Which services there are, with their names, ports and virtual addresses.",
    groups: Groups::One(""),
    resource: "services",
    single: None,
};
const SLICES: Rule<'_> = Rule {
    why: "Their endpoints.",
    groups: Groups::One("discovery.k8s.io"),
    resource: "endpointslices",
    single: None,
};
const NODES: Rule<'_> = Rule {
    why: "The region of an endpoint, which only the labels of its node tell; `nodes: false` does without.",
    groups: Groups::One(""),
    resource: "nodes",
    single: None,
};
const NAMESPACES: Rule<'_> = Rule {
    why: "Which namespaces have the labels of `namespace_selector`.",
    groups: Groups::One(""),
    resource: "namespaces",
    single: None,
};
const SECRETS: Rule<'_> = Rule {
    why: "The kubeconfigs of the clusters. Rights cannot be limited to labels: keep other Secrets elsewhere.",
    groups: Groups::One(""),
    resource: "secrets",
    single: None,
};
const IDENTITY: Rule<'_> = Rule {
    why: "Whether it is still the same cluster, when its server was in trouble. It may be left out.",
    groups: Groups::One(""),
    resource: "namespaces",
    single: Some("kube-system"),
};
#[cfg(feature = "mcs")]
const PROPERTY: Rule<'_> = Rule {
    why: "Which id the cluster has in its clusterset; not needed where `cluster` says so.",
    groups: Groups::One("about.k8s.io"),
    resource: "clusterproperties",
    single: Some("cluster.clusterset.k8s.io"),
};
#[cfg(feature = "mcs")]
const UID: Rule<'_> = Rule {
    why: "Its id where there is no such property, and whether it is still the same cluster after trouble.",
    ..IDENTITY
};
#[cfg(feature = "mcs")]
const EXPORTED: Rule<'_> = Rule {
    why: "The Services that are exported, with their names, ports and virtual addresses.",
    ..SERVICES
};

// === impl Account ===

impl Account {
    /// The account of that name.
    ///
    /// # Errors
    ///
    /// Where it cannot be called so.
    pub(super) fn new(namespace: &str, name: &str, token: bool) -> Result<Self, String> {
        let label = |text: &str, most: usize, dots: bool| {
            let inner =
                |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-' || dots && c == b'.';
            let end = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
            (1..=most).contains(&text.len())
                && text.bytes().all(inner)
                && text.starts_with(end)
                && text.ends_with(end)
        };
        if !label(namespace, 63, false) {
            return Err(format!(
                "--namespace: found {namespace:?}, expected the name of a namespace"
            ));
        }
        // Names of roles begin with it.
        if !label(name, 100, true) {
            return Err(format!(
                "--service-account: found {name:?}, expected the name of a service account"
            ));
        }
        Ok(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            token,
        })
    }

    /// The account itself, as it has to be in each cluster.
    fn documents(&self, text: &mut Text) {
        let Self {
            namespace,
            name,
            token,
        } = self;
        // These are there, and have owners of their own.
        if namespace != "default" && !namespace.starts_with("kube-") {
            text.document(&format!(
                "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {namespace}\n"
            ));
        }
        text.document(&format!(
            "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: {name}\n  namespace: {namespace}\n"
        ));
        if *token {
            text.document(&format!(
                "# A token that does not expire. It is void when this Secret is deleted.\n\
                 apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}-token\n  namespace: {namespace}\n  \
                 annotations:\n    kubernetes.io/service-account.name: {name}\n\
                 type: kubernetes.io/service-account-token\n"
            ));
        }
    }
}

/// Documents of one YAML file.
#[derive(Debug, Default)]
struct Text(String);

impl Text {
    fn document(&mut self, document: &str) {
        if !self.0.is_empty() {
            self.0.push_str("---\n");
        }
        self.0.push_str(document);
    }

    /// A role and who has it, in one namespace or in all.
    fn role(
        &mut self,
        comment: &str,
        name: &str,
        namespace: Option<&str>,
        rules: &[Rule<'_>],
        account: &Account,
    ) {
        let scope = if namespace.is_some() { "" } else { "Cluster" };
        let place = namespace.map_or_else(String::new, |namespace| format!("  namespace: {namespace}\n"));
        let head = |kind: &str| {
            format!(
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: {scope}{kind}\nmetadata:\n  name: {name:?}\n{place}"
            )
        };
        let mut role = format!("{comment}{}rules:\n", head("Role"));
        for rule in rules {
            let (why, resource) = (rule.why, rule.resource);
            let groups = match rule.groups {
                Groups::One(group) => format!("{group:?}"),
                Groups::Configured(groups) => {
                    let groups: Vec<String> = groups.iter().map(|group| format!("{group:?}")).collect();
                    groups.join(", ")
                }
            };
            let verbs = match rule.single {
                Some(name) => format!("resourceNames: [{name}]\n    verbs: [get]"),
                None => "verbs: [list, watch]".to_owned(),
            };
            // Writing to a String does not fail.
            let _ = write!(
                role,
                "  # {why}\n  - apiGroups: [{groups}]\n    resources: [{resource}]\n    {verbs}\n"
            );
        }
        self.document(&role);
        let Account {
            namespace,
            name: subject,
            ..
        } = account;
        self.document(&format!(
            "{}roleRef:\n  apiGroup: rbac.authorization.k8s.io\n  kind: {scope}Role\n  name: {name:?}\nsubjects:\n  \
             - kind: ServiceAccount\n    name: {subject}\n    namespace: {namespace}\n",
            head("RoleBinding")
        ));
    }
}

/// The rights that these registries need: in the cluster where Secrets lead to further ones, and in those where services
/// are.
pub(super) fn of(
    registries: &[(&str, Reading<'_>)],
    account: &Account,
    with_secrets: bool,
    with_services: bool,
) -> String {
    let mut text = Text::default();
    account.documents(&mut text);
    for (id, reading) in registries {
        // A name of a registry has no colon, so no two roles are called the same.
        let name = format!("{}:{}", account.name, id.replace('/', ":"));
        if let Some(secrets) = reading.settings.secrets.as_ref().filter(|_| with_secrets) {
            let comment = format!("# Registry {id}, where the Secrets of its clusters are.\n");
            let name = format!("{name}:secrets");
            text.role(&comment, &name, Some(&secrets.namespace), &[SECRETS], account);
        }
        if with_services {
            let comment = if reading.several {
                format!(
                    "# Registry {id}: all from here on, and the service account, is for each cluster that it leads to.\n"
                )
            } else {
                format!("# Registry {id}.\n")
            };
            services(&mut text, &comment, &name, reading, account);
        }
    }
    text.0
}

/// The rights where services are.
fn services(text: &mut Text, comment: &str, name: &str, reading: &Reading<'_>, account: &Account) {
    let config = reading.settings;
    let objects = reading.objects();
    let cluster = reading.cluster();
    if config.namespaces.is_empty() {
        let selected = config.namespace_selector.as_ref().map(|_| NAMESPACES);
        let nodes = reading.nodes();
        let rules: Vec<Rule<'_>> = objects
            .into_iter()
            .chain(nodes)
            .chain(selected)
            .chain(cluster)
            .collect();
        text.role(comment, name, None, &rules, account);
        return;
    }
    for (position, namespace) in config.namespaces.iter().enumerate() {
        let comment = if position == 0 { comment } else { "" };
        text.role(comment, name, Some(namespace), &objects, account);
    }
    // Which cluster it is may stay unknown, unless endpoints are named after it.
    if reading.nodes().is_some() || cluster.len() > 1 {
        let rules: Vec<Rule<'_>> = reading.nodes().into_iter().chain(cluster).collect();
        text.role("", &format!("{name}:cluster"), None, &rules, account);
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// What it reads in namespaces.
    fn objects(&self) -> Vec<Rule<'a>> {
        match self.what {
            What::Services => vec![SERVICES, SLICES],
            #[cfg(feature = "mcs")]
            What::Exports { .. } => {
                let exports = Rule {
                    why: "Which services are exported, since when, and with which labels and annotations.",
                    groups: Groups::Configured(self.groups),
                    resource: "serviceexports",
                    single: None,
                };
                vec![exports, EXPORTED, SLICES]
            }
            #[cfg(feature = "mcs")]
            What::Imports => {
                let imports = Rule {
                    why: "Which services are imported, with their ports and virtual addresses.",
                    groups: Groups::Configured(self.groups),
                    resource: "serviceimports",
                    single: None,
                };
                vec![imports, SLICES]
            }
        }
    }

    /// What it reads of nodes.
    fn nodes(&self) -> Option<Rule<'a>> {
        #[cfg(feature = "mcs")]
        if self.what == What::Imports {
            return None;
        }
        self.settings.nodes.then_some(NODES)
    }

    /// What tells which cluster it is.
    fn cluster(&self) -> Vec<Rule<'a>> {
        match self.what {
            #[cfg(feature = "mcs")]
            What::Exports {
                identified: false, ..
            } => vec![PROPERTY, UID],
            _ => vec![IDENTITY],
        }
    }
}
