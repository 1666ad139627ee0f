//! Policies of Consul and Nomad, as they are printed.

use std::process::Output;

use crate::daemon::{errors, output, printed};

const CONFIG: &str = "\
registries:
  - name: vms
    file: { path: vms.yaml }
  - name: consul-dc1
    consul: { services: [\"web-*\"] }
  - name: consul-dc2
    consul: {}
  - name: nomad
    nomad: { namespaces: [shop, billing] }
";

fn policy(config: Option<&str>, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let mut all = vec!["acl-policy"];
    all.extend(arguments);
    if let Some(config) = config {
        std::fs::write(directory.path().join("registryd.yaml"), config).unwrap();
        all.extend(["--config", "registryd.yaml"]);
    }
    output(directory.path(), &all)
}

fn text(config: Option<&str>, arguments: &[&str]) -> String {
    let output = policy(config, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
    printed(&output)
}

#[test]
fn every_registry_of_the_kind_gets_its_own_policy() {
    let all = text(Some(CONFIG), &["consul"]);
    let (first, second) = all.split_once("\n# registry consul-dc2\n").unwrap();
    assert!(first.starts_with("# registry consul-dc1\n"), "{all}");
    assert!(first.contains("service_prefix \"web-\" {"), "{all}");
    assert!(second.contains("service_prefix \"\" {"), "{all}");
    assert_eq!(
        text(Some(CONFIG), &["consul", "consul-dc2"]),
        format!("# registry consul-dc2\n{second}")
    );
    let nomad = text(Some(CONFIG), &["nomad"]);
    assert!(
        nomad.contains("namespace \"shop\" {\n  capabilities = [\"read-job\"]\n}\n"),
        "{nomad}"
    );
    assert!(nomad.contains("namespace \"billing\" {"), "{nomad}");
}

#[test]
fn without_a_configuration_the_policy_is_that_of_the_defaults() {
    let nomad = text(None, &["nomad"]);
    assert!(nomad.contains("namespace \"*\" {"), "{nomad}");
    assert!(text(None, &["consul"]).contains("node_prefix \"\" {"));
}

#[test]
fn a_registry_of_another_kind_is_refused_by_name() {
    for (config, arguments, expected) in [
        (
            CONFIG,
            ["nomad", "vms"].as_slice(),
            "registry \"vms\": expected one of kind nomad: nomad",
        ),
        (
            "registries: [{ name: vms, file: { path: vms.yaml } }]\n",
            ["consul"].as_slice(),
            "no registry of the configuration is of kind consul",
        ),
    ] {
        let output = policy(Some(config), arguments);
        assert_eq!(output.status.code(), Some(2), "{}", errors(&output));
        assert!(errors(&output).contains(expected), "{}", errors(&output));
    }
}
