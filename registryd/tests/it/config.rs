//! Wrong configurations and service files: each is refused with its place, and none stops a running daemon.

use crate::daemon::{DEADLINE, Daemon, SERVICES, errors, output};

/// A configuration and a file of services, one of which is wrong, and parts of the message for that.
struct Case {
    name: &'static str,
    config: &'static str,
    services: &'static str,
    message: &'static [&'static str],
}

const CONFIG: &str = "\
registries:
  - name: vms
    file: { path: vms.yaml, poll_interval: 100ms, debounce: 10ms }
http: { listen: \"127.0.0.1:0\" }
";

fn check(case: &Case) {
    let directory = tempfile::tempdir().expect("a writable directory");
    std::fs::write(directory.path().join("registryd.yaml"), case.config).expect("a writable directory");
    std::fs::write(directory.path().join("vms.yaml"), case.services).expect("a writable directory");
    let output = output(
        directory.path(),
        &["check", "--offline", "--config", "registryd.yaml"],
    );
    let errors = errors(&output);
    assert_eq!(output.status.code(), Some(2), "{errors}");
    let told = errors
        .lines()
        .any(|line| case.message.iter().all(|part| line.contains(part)));
    assert!(
        told,
        "expected a line with all of {:#?}, found:\n{errors}",
        case.message
    );
    assert!(output.stdout.is_empty());
    assert!(!errors.contains("s3cret"), "{errors}");
}

macro_rules! cases {
    ($($name:ident: $config:expr, $services:expr, $message:expr;)+) => {
        const CASES: &[Case] = &[$(Case {
            name: stringify!($name),
            config: $config,
            services: $services,
            message: &$message,
        }),+];

        $(#[test]
        fn $name() {
            let case = CASES.iter().find(|case| case.name == stringify!($name));
            check(case.unwrap());
        })+
    };
}

cases! {
    acceptance_7_unknown_field_at_the_top:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nhtpp: { listen: \"127.0.0.1:0\" }\n",
        SERVICES,
        ["registryd.yaml:3:1: htpp: found the unknown field \"htpp\", expected one of registries, merge, http", "did you mean \"http\"?"];
    acceptance_7_unknown_field_of_a_registry:
        "registries:\n  - name: vms\n    hostnam: x\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:5: registries[0].hostnam: found the unknown field \"hostnam\", expected one of name,", "did you mean \"hostname\"?"];
    acceptance_7_unknown_field_deep_inside:
        "registries:\n  - name: dc1\n    consul:\n      http:\n        tls: { ca_fil: a.pem }\n",
        SERVICES,
        ["registryd.yaml:5:16: registries[0].consul.http.tls.ca_fil: found the unknown field \"ca_fil\", expected one of", "did you mean \"ca_file\"?"];
    acceptance_7_field_of_a_later_version:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\ndns: { listen: \"127.0.0.1:0\" }\n",
        SERVICES,
        ["registryd.yaml:3:1: dns: found the unknown field \"dns\", expected one of"];
    xds_beyond_this_host_without_authentication:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds: { listen: \"0.0.0.0:7381\" }\n",
        SERVICES,
        ["registryd.yaml:3:16: xds.listen: found 0.0.0.0:7381, which other hosts can reach, without authentication, expected an address of this host such as 127.0.0.1:7381, or tls with client_ca, or insecure: true"];
    xds_with_tls_that_asks_nobody_for_a_certificate:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  listen: \"[::]:7381\"\n  tls: { certificate: a.pem, key: a.key }\n",
        SERVICES,
        ["registryd.yaml:4:11: xds.listen: found [::]:7381, which other hosts can reach, without authentication, expected"];
    xds_address_without_a_port:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  listen: localhost\n",
        SERVICES,
        ["registryd.yaml:4:11: xds.listen: found \"localhost\", expected an IP address and a port such as 127.0.0.1:7381"];
    xds_unknown_field:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  outbond: { listen: \"127.0.0.1:15001\" }\n",
        SERVICES,
        ["registryd.yaml:4:3: xds.outbond: found the unknown field \"outbond\", expected one of listen, insecure", "did you mean \"outbound\"?"];
    xds_local_port_that_is_none:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  local_ports: { cache.mesh.internal: redis }\n",
        SERVICES,
        ["registryd.yaml:4:39: xds.local_ports.cache.mesh.internal: found \"redis\", expected a port of this host such as 16379, or an IP address and a port"];
    xds_local_port_twice:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  local_ports:\n    a.mesh: 16379\n    \"b.mesh:6379\": \"127.0.0.1:16379\"\n",
        SERVICES,
        ["registryd.yaml:6:20: xds.local_ports.b.mesh:6379: found 127.0.0.1:16379, which a.mesh has already, expected an address and port"];
    xds_unknown_protocol:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  protocols:\n    - { hosts: \"*\", protocol: gprc }\n",
        SERVICES,
        ["registryd.yaml:5:31: xds.protocols[0].protocol: found \"gprc\", expected one of http, http2, grpc, tcp"];
    xds_route_to_a_subset_that_is_not_there:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  routes:\n    - hosts: web.mesh\n      routes:\n        - to: [{ subset: v2, weight: 1 }]\n",
        SERVICES,
        ["registryd.yaml:7:26: xds.routes[0].routes[0].to[0].subset: found \"v2\", expected nothing, as these hosts have no subsets"];
    xds_unknown_field_of_a_source_of_certificates:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nxds:\n  upstream_tls:\n    - hosts: \"*\"\n      source:\n        sds: { clustr: spire, certificate: a, validation: b }\n",
        SERVICES,
        ["registryd.yaml:7:16: xds.upstream_tls[0].source.sds.clustr: found the unknown field \"clustr\", expected one of cluster, certificate, validation"];
    acceptance_7_unknown_kind_of_registry:
        "registries:\n  - name: dc1\n    zookeeper: {}\n",
        SERVICES,
        ["registryd.yaml:3:5: registries[0].zookeeper: found the unknown field \"zookeeper\", expected one of name,", "consul"];
    acceptance_7_registry_without_a_kind:
        "registries:\n  - name: vms\n    required: false\n",
        SERVICES,
        ["registryd.yaml:2:5: registries[0]: found no kind of registry, expected exactly one of file, consul"];
    acceptance_7_registry_of_two_kinds:
        "registries:\n  - name: vms\n    file: { path: vms.yaml }\n    consul: {}\n",
        SERVICES,
        ["registryd.yaml:4:5: registries[0].consul: found the kinds file and consul, expected exactly one of file, consul"];
    acceptance_7_registry_without_a_name:
        "registries:\n  - file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:2:5: registries[0].name: found nothing, expected the field \"name\""];
    acceptance_7_bad_name:
        "registries:\n  - { name: \"My VMs\", file: { path: vms.yaml } }\n",
        SERVICES,
        ["registryd.yaml:2:13: registries[0].name: found \"My VMs\", expected a name of at most 63 lower-case letters"];
    acceptance_7_name_twice:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\n  - { name: vms, consul: {} }\n",
        SERVICES,
        ["registryd.yaml:3:13: registries[1].name: found the name \"vms\", which registry 1 has already, expected a name that no other"];
    acceptance_7_bad_hostname_template:
        "registries:\n  - name: vms\n    hostname: \"{name.mesh.internal\"\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name.mesh.internal\", expected a hostname template such as \"{name}.mesh.internal\" (\"{\" without \"}\" after it)"];
    acceptance_7_bad_alias:
        "registries:\n  - name: vms\n    aliases: [\"{name}.a\", \"{Name}.b\"]\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:27: registries[0].aliases[1]: found \"{Name}.b\", expected a hostname template"];
    acceptance_7_bad_range:
        "registries:\n  - name: vms\n    include: { cidrs: [10.0.0.0/8, 10.0.0.0/33] }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:36: registries[0].include.cidrs[1]: found \"10.0.0.0/33\", expected an IP address and a prefix length"];
    acceptance_7_port_out_of_range:
        "registries:\n  - name: vms\n    port_number: 70000\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:18: registries[0].port_number: found the number 70000, expected a whole number from 1 to 65535"];
    acceptance_7_word_for_a_truth_value:
        "registries:\n  - name: vms\n    required: sometimes\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].required: found \"sometimes\", expected true or false"];
    acceptance_7_mapping_for_a_list:
        "registries:\n  name: vms\n",
        SERVICES,
        ["registryd.yaml:1:1: registries: found a mapping, expected a list"];
    acceptance_7_duration_without_a_unit:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nstart_deadline: 30\n",
        SERVICES,
        ["registryd.yaml:3:17: start_deadline: found the number 30, expected a duration such as `30s`"];
    acceptance_7_duration_of_unknown_units:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\npublish_interval: 3 blinks\n",
        SERVICES,
        ["registryd.yaml:3:19: publish_interval: found \"3 blinks\", expected whole numbers with units"];
    acceptance_7_unknown_policy:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nmerge:\n  - { hosts: \"*\", policy: unoin }\n",
        SERVICES,
        ["registryd.yaml:4:27: merge[0].policy: found \"unoin\", expected one of union, fallback, exclusive, clusterset; did you mean \"union\"?"];
    acceptance_7_bad_pattern_of_hostnames:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nmerge:\n  - { hosts: \"*.Mesh\", policy: union }\n",
        SERVICES,
        ["registryd.yaml:4:14: merge[0].hosts: found \"*.Mesh\", expected a hostname in lower case"];
    acceptance_7_listener_that_all_can_reach:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nhttp: { listen: \"0.0.0.0:7380\" }\n",
        SERVICES,
        ["registryd.yaml:3:17: http.listen: found 0.0.0.0:7380, which other hosts can reach, without authentication, expected an address of this host"];
    acceptance_7_listener_without_a_port:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nhttp: { listen: 127.0.0.1 }\n",
        SERVICES,
        ["registryd.yaml:3:17: http.listen: found \"127.0.0.1\", expected an IP address and a port"];
    acceptance_7_token_file_that_is_missing:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nhttp:\n  token_file: none.token\n",
        SERVICES,
        ["registryd.yaml:4:15: http.token_file: found ", "none.token, which cannot be read", "expected a file that holds the token"];
    acceptance_7_variable_that_is_not_set:
        "registries:\n  - name: dc1\n    consul: { address: \"http://${NO_SUCH_VARIABLE}:8500\" }\n",
        SERVICES,
        ["registryd.yaml:3:24: registries[0].consul.address: found ${NO_SUCH_VARIABLE}, which the environment does not have, expected the variable"];
    acceptance_7_bad_level_of_the_log:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nlog: { level: chatty }\n",
        SERVICES,
        ["registryd.yaml:3:15: log.level: found \"chatty\", expected off, error, warn, info, debug or trace"];
    acceptance_7_file_registry_without_a_path:
        "registries:\n  - name: vms\n    file: {}\n",
        SERVICES,
        ["registryd.yaml:3:5: registries[0].file.path: found nothing, expected a file or directory"];
    acceptance_7_url_without_a_scheme:
        "registries:\n  - name: dc1\n    consul: { address: \"127.0.0.1:8500\" }\n",
        SERVICES,
        ["registryd.yaml:3:24: registries[0].consul.address: found a URL without http://", "expected http://127.0.0.1:8500"];
    eureka_with_one_url_that_is_no_list:
        "registries:\n  - name: old\n    eureka: { urls: \"http://me:s3cret@10.0.0.5:8761/eureka\" }\n",
        SERVICES,
        ["registryd.yaml:3:21: registries[0].eureka.urls: found \"http://***@10.0.0.5:8761/eureka\", expected a list"];
    eureka_with_the_url_of_a_request:
        "registries:\n  - name: old\n    eureka: { urls: [\"http://me:s3cret@10.0.0.5:8761/eureka/apps\"] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].eureka.urls: found \"http://10.0.0.5:8761/eureka/apps\", expected the base URL alone: \"http://10.0.0.5:8761/eureka\""];
    eureka_with_a_url_without_a_scheme:
        "registries:\n  - name: old\n    eureka: { zones: { a: [\"me:s3cret@10.0.0.5:8761/eureka\"] } }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].eureka.zones: found a URL without http://", "expected one such as http://127.0.0.1:8761/eureka"];
    eureka_with_two_credentials:
        "registries:\n  - name: old\n    eureka:\n      credentials: { token_file: a, token_env: B }\n",
        SERVICES,
        ["registries[0].eureka.credentials.token_file: found no value that can be used, expected one that can be (only one of token_file, token_env and basic may be set)"];
    eureka_with_half_a_certificate:
        "registries:\n  - name: old\n    eureka:\n      http: { tls: { client_cert_file: a.pem } }\n",
        SERVICES,
        ["registries[0].eureka.http.tls.client_key_file: found no value that can be used, expected one that can be (is needed beside tls.client_cert_file)"];
    eureka_with_polls_too_far_apart:
        "registries:\n  - name: old\n    eureka: { interval: 2m }\n",
        SERVICES,
        ["registryd.yaml:3:25: registries[0].eureka.interval: found 2m, expected at most half of `delta_retention`"];
    eureka_of_an_unknown_alignment:
        "registries:\n  - name: old\n    eureka: { alignment: off }\n",
        SERVICES,
        ["registryd.yaml:3:26: registries[0].eureka.alignment: found", "expected one of learn, fixed, never"];
    kubernetes_of_two_origins:
        "registries:\n  - name: eu\n    kubernetes: { in_cluster: true, kubeconfig: eu.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:31: registries[0].kubernetes.in_cluster: found beside `kubeconfig`, expected one of the two"];
    kubernetes_with_a_context_for_a_whole_directory:
        "registries:\n  - name: eu\n    kubernetes: { directory: eu.d, context: eu }\n",
        SERVICES,
        ["registryd.yaml:3:45: registries[0].kubernetes.context: found beside `directory`, whose kubeconfigs name their"];
    kubernetes_with_secrets_of_no_namespace:
        "registries:\n  - name: eu\n    kubernetes:\n      secrets: { namespace: \"A b\", selector: \"a=b\" }\n",
        SERVICES,
        ["registryd.yaml:4:29: registries[0].kubernetes.secrets.namespace: found \"A b\", expected the name of a namespace"];
    mcs_without_any_cluster:
        "registries:\n  - name: set\n    mcs: {}\n",
        SERVICES,
        ["registryd.yaml:3:5: registries[0].mcs.clusters: found no cluster, expected `clusters`, or `directory` or `secrets`"];
    mcs_with_two_clusters_of_one_name:
        "registries:\n  - name: set\n    mcs:\n      clusters:\n        - { name: EU_1, context: a }\n        - { name: eu-1, context: b }\n",
        SERVICES,
        ["registryd.yaml:6:19: registries[0].mcs.clusters[1].name: found \"eu-1\", which is the registry name of clusters[0]"];
    mcs_with_a_wrong_setting_of_all_clusters:
        "registries:\n  - name: set\n    mcs:\n      clusters: [{ name: a }]\n      kubernetes: { page_size: 0 }\n",
        SERVICES,
        ["registryd.yaml:5:32: registries[0].mcs.kubernetes.page_size: found 0, expected 1 to 10000"];
    mcs_with_a_name_for_each_cluster:
        "registries:\n  - name: set\n    hostname: \"{name}.{cluster}.set\"\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name}.{cluster}.set\", by which each cluster has a service of its own, expected a template without {cluster}"];
    mcs_with_a_name_for_each_network:
        "registries:\n  - name: set\n    hostname: \"{name}.{namespace}.{network}.set\"\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name}.{namespace}.{network}.set\", in which {network} may differ from cluster to cluster, expected a template without"];
    mcs_with_one_name_for_services_of_all_namespaces:
        "registries:\n  - name: set\n    hostname: \"{name}.set\"\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name}.set\", which has no {namespace}, expected {name} and {namespace} in it"];
    mcs_with_one_name_for_all_services:
        "registries:\n  - name: set\n    aliases: [all.set]\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].aliases[0]: found \"all.set\", which has no {name}, expected"];
    mcs_with_names_of_no_domain:
        "registries:\n  - name: set\n    hostname: \"{name}.{namespace}.\"\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name}.{namespace}.\", after whose variables there is no domain, expected one that ends in a domain"];
    mcs_with_a_hyphen_between_service_and_namespace:
        "registries:\n  - name: set\n    hostname: \"{name}-{namespace}.set\"\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name}-{namespace}.set\", between whose variables there is no dot, expected a dot there, as else service a-b of namespace c"];
    mcs_with_nothing_between_service_and_namespace:
        "registries:\n  - name: set\n    hostname: \"{name}{namespace}.set\"\n    mcs: { clusters: [{ name: a }] }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].hostname: found \"{name}{namespace}.set\", between whose variables there is no dot, expected a dot there"];
    mcs_with_an_alias_of_a_hyphen_between_service_and_namespace:
        "registries:\n  - name: set\n    aliases: [\"{name}.{namespace}.a\", \"{name}-{namespace}.b\"]\n    mcs: { kubernetes: { directory: eu.d } }\n",
        SERVICES,
        ["registryd.yaml:3:39: registries[0].aliases[1]: found \"{name}-{namespace}.b\", between whose variables there is no dot, expected a dot there"];
    mcs_with_an_alias_of_nothing_between_service_and_namespace:
        "registries:\n  - name: set\n    aliases: [\"{namespace}{name}.c\"]\n    mcs: { kubernetes: { directory: eu.d } }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].aliases[0]: found \"{namespace}{name}.c\", between whose variables there is no dot, expected a dot there"];
    mcs_with_an_alias_for_each_cluster:
        "registries:\n  - name: set\n    aliases: [\"{name}.{namespace}.a\", \"{name}.{cluster}\"]\n    mcs: { kubernetes: { directory: eu.d } }\n",
        SERVICES,
        ["registryd.yaml:3:39: registries[0].aliases[1]: found \"{name}.{cluster}\", by which each cluster"];
    mcs_with_a_kubeconfig_that_is_missing:
        "registries:\n  - name: set\n    mcs: { clusters: [{ name: a, kubeconfig: eu.yaml }] }\n",
        SERVICES,
        ["eu.yaml: cannot be read: No such file"];
    merge_by_a_policy_that_is_not_there:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nmerge: [{ hosts: \"*\", policy: cluster_set }]\n",
        SERVICES,
        ["found \"cluster_set\", expected one of union, fallback, exclusive, clusterset", "did you mean \"clusterset\"?"];
    kubernetes_with_a_kubeconfig_that_is_missing:
        "registries:\n  - name: eu\n    kubernetes: { kubeconfig: eu.yaml }\n",
        SERVICES,
        ["eu.yaml: cannot be read: "];
    clusters_whose_names_have_no_room:
        "registries:\n  - name: a-name-that-is-much-longer-than-forty-letters\n    kubernetes: { directory: eu.d }\n",
        SERVICES,
        ["registryd.yaml:2:11: registries[0].name: found a name of 45 characters, expected at most 40"];
    registry_that_is_called_like_a_member:
        "registries:\n  - { name: eu, kubernetes: { directory: eu.d } }\n  - { name: eu/a, file: { path: vms.yaml } }\n",
        SERVICES,
        ["registryd.yaml:3:13: registries[1].name: found the name \"eu/a\", as members of \"eu\" are called, expected a name that does not"];
    acceptance_7_key_twice:
        "registries:\n  - name: vms\n    file: { path: vms.yaml }\n    name: other\n",
        SERVICES,
        ["registryd.yaml:4:5: found the key \"name\" for the second time, expected each key once"];
    acceptance_7_no_yaml:
        "registries:\n  - name: [vms\n",
        SERVICES,
        ["registryd.yaml:", "found", "expected YAML"];
    acceptance_7_empty_configuration:
        "",
        SERVICES,
        ["registryd.yaml:1:1: found nothing, expected a mapping"];
    acceptance_7_no_registries:
        "registries: []\n",
        SERVICES,
        ["registryd.yaml:1:1: registries: found no registries, expected at least one"];
    pain_20_share_above_one:
        "registries:\n  - name: vms\n    guard: { share: 1.5 }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:21: registries[0].guard.share: found the number 1.5, expected a number from 0 to 1"];
    pain_20_share_below_zero:
        "registries:\n  - name: vms\n    guard: { share: -1 }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:21: registries[0].guard.share: found the number -1, expected a number from 0 to 1"];
    pain_20_share_in_per_cent:
        "registries:\n  - name: vms\n    guard: { share: 50% }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:21: registries[0].guard.share: found \"50%\", expected a number from 0 to 1"];
    pain_20_endpoints_below_zero:
        "registries:\n  - name: vms\n    guard: { endpoints: -1 }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:25: registries[0].guard.endpoints: found the number -1, expected a whole number from 0"];
    pain_20_unknown_field_of_the_guard:
        "registries:\n  - name: vms\n    guard: { shar: 0.5 }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:14: registries[0].guard.shar: found the unknown field \"shar\", expected one of share, endpoints, window, hold, per_service; did you mean \"share\"?"];
    pain_20_guard_that_is_switched_on:
        "registries:\n  - name: vms\n    guard: on\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:12: registries[0].guard: found true, expected a mapping such as `{ share: 0.5, hold: 60s }`, `auto` or `off`"];
    pain_20_guard_of_another_word:
        "registries:\n  - name: vms\n    guard: none\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:12: registries[0].guard: found \"none\", expected a mapping such as", "or `off`"];
    pain_20_window_without_a_unit:
        "registries:\n  - name: vms\n    guard: { window: 30 }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:22: registries[0].guard.window: found the number 30, expected a duration such as `30s`"];
    pain_20_window_of_nothing:
        "registries:\n  - name: vms\n    guard: { window: 0s }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:22: registries[0].guard.window: found 0s, expected 1s to 1h"];
    pain_20_hold_of_a_month:
        "registries:\n  - name: vms\n    guard: { hold: 30d }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:20: registries[0].guard.hold: found 30d, expected 0s to 1d"];
    pain_20_unknown_policy_of_outages:
        "registries:\n  - name: vms\n    outage: kepe\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:13: registries[0].outage: found \"kepe\", expected `keep`, `degrade`, `drop` or `{ keep_for: 10m }`"];
    pain_20_keep_for_without_a_time:
        "registries:\n  - name: vms\n    outage: keep_for\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:13: registries[0].outage: found \"keep_for\", expected `keep`,", "{ keep_for: 10m }"];
    pain_20_keep_for_without_a_unit:
        "registries:\n  - name: vms\n    outage: { keep_for: 10 }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:25: registries[0].outage.keep_for: found the number 10, expected a duration such as `30s`"];
    pain_20_unknown_field_of_an_outage:
        "registries:\n  - name: vms\n    outage: { keepfor: 10m }\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:15: registries[0].outage.keepfor: found the unknown field \"keepfor\", expected keep_for; did you mean \"keep_for\"?"];
    pain_20_outage_without_a_policy:
        "registries:\n  - name: vms\n    outage: {}\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registries[0].outage.keep_for: found nothing, expected the field \"keep_for\""];
    pain_20_compare_without_a_unit:
        "registries:\n  - name: vms\n    compare: 600\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:14: registries[0].compare: found the number 600, expected a duration such as `10m`, or `off`"];
    pain_20_compare_at_every_moment:
        "registries:\n  - name: vms\n    compare: 10ms\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:14: registries[0].compare: found 10ms, expected 1s to 7d"];
    pain_20_compare_of_unknown_units:
        "registries:\n  - name: vms\n    compare: 3 blinks\n    file: { path: vms.yaml }\n",
        SERVICES,
        ["registryd.yaml:3:14: registries[0].compare: found \"3 blinks\", expected whole numbers with units"];
    pain_20_directory_for_state_without_a_name:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nstate_dir:\n",
        SERVICES,
        ["registryd.yaml:3:1: state_dir: found nothing, expected a directory, `auto` or `off`"];
    pain_20_several_directories_for_state:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nstate_dir: [/var/lib/a, /var/lib/b]\n",
        SERVICES,
        ["registryd.yaml:3:1: state_dir: found a list, expected a directory, `auto` or `off`"];
    pain_20_guard_for_all_registries:
        "registries:\n  - { name: vms, file: { path: vms.yaml } }\nguard: { share: 0.5 }\n",
        SERVICES,
        ["registryd.yaml:3:1: guard: found the unknown field \"guard\", expected one of registries"];
    acceptance_7_services_unknown_field:
        CONFIG,
        "services:\n  - name: payments\n    endpoint: []\n",
        ["vms.yaml:3:5: services[0].endpoint: found", "expected"];
    acceptance_7_services_endpoint_without_an_address:
        CONFIG,
        "services:\n  - name: payments\n    endpoints:\n      - { ports: { http: 80 } }\n",
        ["vms.yaml:4:", "services[0].endpoints[0].address: found nothing, expected"];
    acceptance_7_services_port_out_of_range:
        CONFIG,
        "services:\n  - name: payments\n    ports: [{ name: http }]\n    endpoints:\n      - { address: 10.0.0.7, ports: { http: 80800 } }\n",
        ["vms.yaml:5:", "services[0].endpoints[0].ports.http: found", "80800", "expected"];
    acceptance_7_services_unknown_health:
        CONFIG,
        "services:\n  - name: payments\n    endpoints:\n      - { address: 10.0.0.7, health: fine }\n",
        ["vms.yaml:4:", "services[0].endpoints[0].health: found", "fine", "expected"];
    acceptance_7_services_name_twice:
        CONFIG,
        "services:\n  - name: payments\n  - name: payments\n",
        ["vms.yaml:3:", "services[1]", "found", "expected"];
    acceptance_7_services_no_yaml:
        CONFIG,
        "services:\n  - name: payments\n    labels: { a: [\n",
        ["vms.yaml:", "found a mistake in the syntax", "expected one document of YAML or JSON"];
    acceptance_7_services_empty_file:
        CONFIG,
        "",
        ["vms.yaml", "found an empty file, expected `services:`"];
}

#[tokio::test]
async fn acceptance_7_none_of_them_stops_a_running_daemon() {
    let mut daemon = Daemon::start(&[("registryd.yaml", CONFIG), ("vms.yaml", SERVICES)]).await;
    let before = daemon.service("payments.default.file").await;
    for case in CASES {
        let from = daemon.log().len();
        daemon.write("registryd.yaml", case.config);
        daemon.write("vms.yaml", case.services);
        daemon.signal("HUP");
        // A file of services is told of by its registry, in the log or in its status.
        daemon
            .wait(case.name, async || {
                let (_, registries) = daemon.get("/v1/registries").await;
                let status = registries.to_string().replace("\\\"", "\"");
                let log = daemon.log();
                let told = |text: &str| case.message.iter().all(|part| text.contains(part));
                let logged = log
                    .get(from..)?
                    .lines()
                    .any(|line| told(&line.replace("\\\"", "\"")));
                (logged || told(&status)).then_some(())
            })
            .await;
        let (status, now) = daemon.get("/v1/services/payments.default.file").await;
        assert_eq!(status, 200, "{}: {now}", case.name);
        assert_eq!(
            (&now["revision"], &now["endpoints"]),
            (&before["revision"], &before["endpoints"]),
            "{}",
            case.name
        );
        assert_eq!(daemon.get("/readyz").await.0, 200, "{}", case.name);
        assert!(daemon.runs(), "{}\n{}", case.name, daemon.log());
    }
    // It was listening all the time: the next good file counts.
    daemon.write("vms.yaml", &SERVICES.replace("10.0.0.7", "10.0.0.99"));
    daemon
        .reload(&CONFIG.replace("name: vms", "name: vms\n    required: false"))
        .await;
    daemon
        .wait("the new endpoint", async || {
            let (_, service) = daemon.get("/v1/services/payments.default.file").await;
            (service["endpoints"][0]["address"] == "10.0.0.99").then_some(())
        })
        .await;
    daemon.signal("TERM");
    let ended = tokio::time::timeout(DEADLINE, daemon.ended()).await;
    assert_eq!(ended.ok().flatten(), Some(0));
}
