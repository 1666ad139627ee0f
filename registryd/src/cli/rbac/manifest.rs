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

/// One right: to list and to watch a kind of object, or to get a single one.
#[derive(Debug, Clone, Copy)]
struct Rule {
    why: &'static str,
    group: &'static str,
    resource: &'static str,
    single: Option<&'static str>,
}

const SERVICES: Rule = Rule {
    why: "Which services there are, with their names, ports and virtual addresses.",
    group: "",
    resource: "services",
    single: None,
};
const SLICES: Rule = Rule {
    why: "Their endpoints.",
    group: "discovery.k8s.io",
    resource: "endpointslices",
    single: None,
};
const NODES: Rule = Rule {
    why: "The region of an endpoint, which only the labels of its node tell; `nodes: false` does without.",
    group: "",
    resource: "nodes",
    single: None,
};
const NAMESPACES: Rule = Rule {
    why: "Which namespaces have the labels of `namespace_selector`.",
    group: "",
    resource: "namespaces",
    single: None,
};
const SECRETS: Rule = Rule {
    why: "The kubeconfigs of the clusters. Rights cannot be limited to labels: keep other Secrets elsewhere.",
    group: "",
    resource: "secrets",
    single: None,
};
const IDENTITY: Rule = Rule {
    why: "Whether it is still the same cluster, when its server was in trouble. It may be left out.",
    group: "",
    resource: "namespaces",
    single: Some("kube-system"),
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
        rules: &[Rule],
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
            let (why, group, resource) = (rule.why, rule.group, rule.resource);
            let verbs = match rule.single {
                Some(name) => format!("resourceNames: [{name}]\n    verbs: [get]"),
                None => "verbs: [list, watch]".to_owned(),
            };
            // Writing to a String does not fail.
            let _ = write!(
                role,
                "  # {why}\n  - apiGroups: [{group:?}]\n    resources: [{resource}]\n    {verbs}\n"
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
    registries: &[(&str, &KubernetesConfig)],
    account: &Account,
    with_secrets: bool,
    with_services: bool,
) -> String {
    let mut text = Text::default();
    account.documents(&mut text);
    for (id, config) in registries {
        // A name of a registry has no colon, so no two roles are called the same.
        let name = format!("{}:{}", account.name, id.replace('/', ":"));
        if let Some(secrets) = config.secrets.as_ref().filter(|_| with_secrets) {
            let comment = format!("# Registry {id}, where the Secrets of its clusters are.\n");
            let name = format!("{name}:secrets");
            text.role(&comment, &name, Some(&secrets.namespace), &[SECRETS], account);
        }
        if with_services {
            let comment = if config.is_fleet() {
                format!(
                    "# Registry {id}: all from here on, and the service account, is for each cluster that it leads to.\n"
                )
            } else {
                format!("# Registry {id}.\n")
            };
            services(&mut text, &comment, &name, config, account);
        }
    }
    text.0
}

/// The rights where services are.
fn services(text: &mut Text, comment: &str, name: &str, config: &KubernetesConfig, account: &Account) {
    let nodes = config.nodes.then_some(NODES);
    if config.namespaces.is_empty() {
        let selected = config.namespace_selector.as_ref().map(|_| NAMESPACES);
        let rules: Vec<Rule> = [SERVICES, SLICES]
            .into_iter()
            .chain(nodes)
            .chain(selected)
            .chain([IDENTITY])
            .collect();
        text.role(comment, name, None, &rules, account);
        return;
    }
    for (position, namespace) in config.namespaces.iter().enumerate() {
        let comment = if position == 0 { comment } else { "" };
        text.role(comment, name, Some(namespace), &[SERVICES, SLICES], account);
    }
    if let Some(nodes) = nodes {
        text.role("", &format!("{name}:cluster"), None, &[nodes, IDENTITY], account);
    }
}
