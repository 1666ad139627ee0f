//! A real Envoy with nothing but a bootstrap that was printed for it.

use std::time::Duration;

use registry_testkit::envoy::{Envoy, Options, Version};
use registry_testkit::ports;
use serde_json::Value;

use crate::daemon::{DEADLINE, Daemon, SERVICES, output, printed};

/// Prints a bootstrap in a directory with `registryd.yaml`.
fn bootstrap(directory: &std::path::Path, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["bootstrap", "envoy", "--config", "registryd.yaml"]
        .iter()
        .chain(arguments)
        .copied()
        .collect();
    let output = output(directory, &arguments);
    assert!(output.status.success(), "{output:?}");
    printed(&output)
}

/// Facts §9.1: whatever is printed, both versions take it.
#[tokio::test]
async fn number_1_every_bootstrap_is_valid() {
    let directory = tempfile::tempdir().unwrap();
    let config = "registries: [{ name: vms, file: { path: vms.yaml } }]\nxds: {}\n";
    std::fs::write(directory.path().join("registryd.yaml"), config).unwrap();
    let own = rcgen::generate_simple_self_signed(vec!["xds.mesh".to_owned()]).unwrap();
    let path = |name: &str, text: String| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let certificate = &path("a.pem", own.cert.pem());
    let (ca, key) = (certificate, &path("a.key", own.signing_key.serialize_pem()));
    for arguments in [
        &[][..],
        &["--sotw"],
        &["--format", "json", "--no-admin", "--node-id", "vm-1: \"a\""],
        &[
            "--server",
            "localhost:7381",
            "--server",
            "127.0.0.2:7382",
            "--server",
            "[::1]:7381",
        ],
        &[
            "--region",
            "eu",
            "--zone",
            "a",
            "--sub-zone",
            "b",
            "--network",
            "dc1",
            "--service",
            "*.mesh",
            "--service",
            "a.b",
        ],
        &["--tls-ca", ca],
        &[
            "--tls-ca",
            ca,
            "--tls-cert",
            certificate,
            "--tls-key",
            key,
            "--server",
            "xds.mesh:7381",
        ],
        &["--tls-ca", ca, "--tls-name", "xds.mesh", "--admin-port", "15099"],
    ] {
        let printed = bootstrap(directory.path(), arguments);
        for version in [Version::V1_40, Version::V1_36] {
            if let Err(said) = Envoy::validate(&printed, version).await {
                panic!("{version:?} {arguments:?}: {said}\n{printed}");
            }
        }
    }
}

/// Whatever was asked for is there, nothing was refused, and the daemon says so. The one thing that is not as on a
/// user's machine is where it listens.
#[tokio::test]
async fn an_envoy_with_a_printed_bootstrap_gets_everything_and_is_seen() {
    for (protocol, api) in [("--delta", "delta"), ("--sotw", "sotw")] {
        let port = ports::free(1).unwrap()[0];
        let config = format!(
            "registries:\n  - {{ name: vms, hostname: \"{{name}}.mesh.internal\", file: {{ path: vms.yaml }} }}\n\
             http: {{ listen: \"127.0.0.1:0\" }}\n\
             xds: {{ listen: \"127.0.0.1:0\", outbound: {{ listen: \"127.0.0.1:{port}\" }} }}\n"
        );
        let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", SERVICES)]).await;
        let server = daemon.xds().await;
        let arguments = [
            protocol,
            "--server",
            &server,
            "--no-admin",
            "--node-id",
            "vm-1",
            "--region",
            "eu",
            "--service",
            "payments.*",
        ];
        let printed = bootstrap(daemon.directory(), &arguments);
        let mut envoy = Envoy::start(&printed, &Options::default()).await.unwrap();
        envoy.ready(DEADLINE).await.unwrap();

        let client = daemon
            .wait("an Envoy that has taken everything", async || {
                let (_, clients) = daemon.get("/v1/xds/clients").await;
                let client = clients["clients"].as_array()?.first()?.clone();
                let settled = |type_: &str| {
                    let of = &client["types"][type_];
                    of["sent"].is_string() && of["pending"] == false
                };
                ["cds", "eds", "lds", "rds"]
                    .iter()
                    .all(|type_| settled(type_))
                    .then_some(client)
            })
            .await;
        assert_eq!(client["node"]["id"], "vm-1");
        assert_eq!(client["node"]["locality"]["region"], "eu");
        assert!(
            client["node"]["user_agent"]
                .as_str()
                .unwrap()
                .starts_with("envoy 1.40"),
            "{client}"
        );
        assert_eq!(
            (&client["kind"], &client["variant"]),
            (&Value::from("envoy"), &Value::from(api))
        );
        assert_eq!(client["view"]["services"], Value::from(vec!["payments.*"]));
        assert_eq!(client["types"]["cds"]["wildcard"], true);
        assert_eq!(client["types"]["eds"]["names"], 1);
        for type_ in ["cds", "eds", "lds", "rds"] {
            let of = &client["types"][type_];
            assert_eq!(
                (&of["nacks"], &of["last_nack"]),
                (&Value::from(0), &Value::Null),
                "{of}"
            );
            assert!(
                of["responses"].as_u64() > Some(0) && of["last_sent"].is_string(),
                "{of}"
            );
        }
        let hosts = envoy.hosts().await.unwrap();
        assert!(
            hosts.contains_key("outbound|80||payments.mesh.internal"),
            "{hosts:?}"
        );
        let streams = format!("registryd_xds_streams{{protocol=\"{api}\",kind=\"envoy\"}}");
        assert_eq!(daemon.metric(&streams).await, Some(1.0));
        assert!(daemon.metric("registryd_xds_sent_bytes_total").await > Some(100.0));
        assert!(
            daemon
                .metric("registryd_xds_resources_sent_total{type=\"lds\"}")
                .await
                > Some(0.0)
        );
        let (_, table) = daemon.ask(&["xds", "clients"]);
        assert!(
            table
                .lines()
                .nth(1)
                .is_some_and(|row| row.starts_with("vm-1   envoy   envoy 1.40")),
            "{table}"
        );

        // The daemon ends in order while it is connected.
        daemon.signal("TERM");
        assert_eq!(daemon.ended().await, Some(0), "{api}");
        assert!(envoy.is_ready().await.unwrap());
        tokio::time::timeout(Duration::from_secs(60), envoy.terminate())
            .await
            .unwrap()
            .unwrap();
    }
}
