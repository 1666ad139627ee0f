//! Commands, their answers and their exit codes.

use std::net::TcpListener;

use serde_json::Value;

use crate::daemon::{Daemon, SERVICES, errors, output, printed};

const CONFIG: &str = "\
registries:
  - { name: vms, hostname: \"{name}.mesh.internal\", file: { path: vms.yaml } }
http: { listen: \"127.0.0.1:0\" }
";

async fn daemon() -> Daemon {
    let daemon = Daemon::start(&[("registryd.yaml", CONFIG), ("vms.yaml", SERVICES)]).await;
    daemon.service("payments.mesh.internal").await;
    daemon
}

#[tokio::test]
async fn sigterm_ends_it_with_open_watches() {
    for signal in ["TERM", "INT"] {
        let daemon = daemon().await;
        let mut watch = daemon.watch().await;
        assert!(watch.chunk().await.expect("a watch").is_some());
        daemon.signal(signal);
        assert_eq!(daemon.ended().await, Some(0), "{signal}");
    }
}

#[tokio::test]
async fn a_busy_port_is_a_clear_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(
        directory.path().join("c.yaml"),
        CONFIG.replace("127.0.0.1:0", &address),
    )
    .unwrap();
    let output = output(directory.path(), &["run", "--config", "c.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        errors(&output),
        format!("error: http.listen: cannot listen on {address}: Address already in use (os error 98)\n")
    );
}

#[tokio::test]
async fn services_endpoints_and_registries_are_shown() {
    let daemon = daemon().await;
    let ask = |arguments: &[&str]| {
        let arguments: Vec<&str> = arguments
            .iter()
            .copied()
            .chain(["--server", daemon.url()])
            .collect();
        let output = output(daemon.directory(), &arguments);
        (output.status.code(), printed(&output), errors(&output))
    };
    let (code, table, _) = ask(&["get", "services"]);
    assert_eq!(code, Some(0));
    let lines: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(
        lines[0],
        ["HOSTNAME", "PORTS", "ENDPOINTS", "SOURCES", "CONFLICTS"]
    );
    assert_eq!(lines[2], ["payments.mesh.internal", "http:80", "1/1", "vms", "-"]);

    let (_, table, _) = ask(&["get", "services", "--host", "inventory.*"]);
    assert!(
        table.contains("inventory") && !table.contains("payments"),
        "{table}"
    );

    let (_, table, _) = ask(&["get", "endpoints", "payments.mesh.internal"]);
    assert!(table.contains("10.0.0.7   http:8080   unknown"), "{table}");

    let (_, json, _) = ask(&["get", "service", "payments.mesh.internal", "--output", "json"]);
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["endpoints"][0]["address"], "10.0.0.7");

    let (_, yaml, _) = ask(&["get", "endpoints", "payments.mesh.internal", "-o", "yaml"]);
    assert!(yaml.contains("address: \"10.0.0.7\""), "{yaml}");

    let (code, table, _) = ask(&["status"]);
    assert_eq!(code, Some(0));
    assert!(
        table.starts_with("ready\n\nNAME") && table.contains("\nvms "),
        "{table}"
    );

    let (code, _, message) = ask(&["get", "service", "paymnts.mesh.internal"]);
    assert_eq!(code, Some(1));
    assert_eq!(
        message,
        "error: service \"paymnts.mesh.internal\": there is none of this name, did you mean \"payments.mesh.internal\"\n"
    );
}

#[test]
fn a_daemon_that_does_not_run_is_a_failure_and_a_wrong_command_wrong_input() {
    let directory = tempfile::tempdir().unwrap();
    let at = |arguments: &[&str]| output(directory.path(), arguments);
    let refused = at(&["status", "--server", "http://127.0.0.1:1"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        errors(&refused).ends_with("does registryd run there?\n"),
        "{}",
        errors(&refused)
    );
    for wrong in [
        &["status", "--server", "127.0.0.1:7380"][..],
        &["status", "--token-file", "none"],
        &["run", "--config", "none.yaml"],
        &["check", "--config", "none.yaml"],
        &["frobnicate"],
    ] {
        let output = at(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {}", errors(&output));
        assert!(errors(&output).starts_with("error: "), "{}", errors(&output));
    }
}

#[test]
fn check_fails_where_a_required_registry_cannot_be_reached() {
    let directory = tempfile::tempdir().unwrap();
    let config = "registries:\n  - { name: dc1, consul: { address: \"http://127.0.0.1:1\" } }\n";
    std::fs::write(directory.path().join("required.yaml"), config).unwrap();
    let optional = config.replace("dc1,", "dc1, required: false,");
    std::fs::write(directory.path().join("optional.yaml"), optional).unwrap();
    for (file, code) in [("required.yaml", 1), ("optional.yaml", 0)] {
        let output = output(directory.path(), &["check", "--config", file]);
        assert_eq!(output.status.code(), Some(code), "{}", errors(&output));
        let table = printed(&output);
        assert!(
            table.starts_with("NAME   KIND     REQUIRED   RESULT\ndc1 "),
            "{table}"
        );
        assert!(table.contains("127.0.0.1:1"), "{table}");
    }
    let offline = output(
        directory.path(),
        &["check", "--offline", "--config", "required.yaml"],
    );
    assert_eq!(
        (offline.status.code(), printed(&offline)),
        (Some(0), "required.yaml: fine, 1 registry\n".to_owned())
    );
}

#[test]
fn the_built_in_sample_is_unpacked_and_fine() {
    let directory = tempfile::tempdir().unwrap();
    let checked = output(directory.path(), &["check", "--offline"]);
    assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
    assert_eq!(printed(&checked), "built-in configuration: fine, 2 registries\n");
    let services = directory.path().join("state/registryd/sample/vms.yaml");
    let text = std::fs::read_to_string(&services).unwrap();
    assert!(text.contains("payments"));

    // What somebody wrote there stays.
    std::fs::write(&services, SERVICES).unwrap();
    assert_eq!(
        output(directory.path(), &["check", "--offline"]).status.code(),
        Some(0)
    );
    assert_eq!(std::fs::read_to_string(&services).unwrap(), SERVICES);

    // Where there is a configuration of the user's it goes before the sample.
    let own = directory.path().join("config/registryd");
    std::fs::create_dir_all(&own).unwrap();
    std::fs::write(own.join("registryd.yaml"), "registries: 1\n").unwrap();
    assert_eq!(
        output(directory.path(), &["check", "--offline"]).status.code(),
        Some(2)
    );
}

#[test]
fn the_defaults_are_a_configuration_and_the_schema_knows_its_fields() {
    let directory = tempfile::tempdir().unwrap();
    let defaults = output(directory.path(), &["config", "defaults"]);
    assert_eq!(defaults.status.code(), Some(0));
    std::fs::write(directory.path().join("registryd.yaml"), &defaults.stdout).unwrap();
    std::fs::write(directory.path().join("vms.yaml"), SERVICES).unwrap();
    let checked = output(
        directory.path(),
        &["check", "--offline", "--config", "registryd.yaml"],
    );
    assert_eq!(checked.status.code(), Some(0), "{}", errors(&checked));
    let shown = output(
        directory.path(),
        &["config", "show", "--config", "registryd.yaml"],
    );
    assert_eq!(printed(&shown), printed(&defaults));

    let schema = output(directory.path(), &["config", "schema"]);
    let schema: Value = serde_json::from_slice(&schema.stdout).expect("JSON");
    assert_eq!(schema["additionalProperties"], false);
    assert_eq!(schema["properties"]["start_deadline"]["default"], "30s");
    let xds = &schema["$defs"]["XdsConfig"]["properties"];
    assert_eq!(xds["max_connection_age"]["default"], "30m");
    assert!(
        printed(&defaults).contains("\nxds:\n  listen: 127.0.0.1:7381\n"),
        "{}",
        printed(&defaults)
    );
    let registry = &schema["$defs"]["RegistryConfig"];
    let kinds = [
        "file",
        "consul",
        "nomad",
        "eureka",
        "kubernetes",
        "mcs",
        "http_sd",
        "registryd",
    ];
    let one_of = kinds.map(|kind| serde_json::json!({ "required": [kind] }));
    assert_eq!(registry["oneOf"], Value::from(one_of.to_vec()));
    assert!(registry["properties"]["port_number"]["description"].is_string());
}
