//! Checking files without watching them.

use registry_core::{ErrorKind, ServiceRegistry};
use registry_file::{FileConfig, FileRegistry};

use crate::support::{Dir, by_notification, one};

#[tokio::test]
async fn all_errors_of_all_files_are_told() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write(
        "d/a.yaml",
        "services:\n  - nam: a\n    endpoints: [{ address: 10.0.0.1, port: 0 }]\n",
    );
    dir.write("d/b.yaml", &one("b", "10.0.0.2"));
    dir.write("d/c.json", "{");
    let config = FileConfig {
        path: None,
        paths: vec!["d".into(), "missing.yaml".into(), "missing".into()],
        ..by_notification("")
    };
    let registry = dir.registry(config);
    let errors: Vec<String> = registry
        .check()
        .iter()
        .map(registry_file::Error::report)
        .collect();
    assert_eq!(errors.len(), 6, "{errors:#?}");
    assert!(
        errors[0].starts_with("missing: cannot be read: No such file"),
        "{errors:#?}"
    );
    assert!(
        errors[1].starts_with("d/a.yaml:2:5: services[0].nam: "),
        "{errors:#?}"
    );
    assert!(
        errors[2].starts_with("d/a.yaml:2:5: services[0].name: "),
        "{errors:#?}"
    );
    assert!(
        errors[3].starts_with("d/a.yaml:3:44: services[0].endpoints[0].port: found 0,"),
        "{errors:#?}"
    );
    assert!(errors[4].starts_with("d/c.json:"), "{errors:#?}");
    assert!(
        errors[5].starts_with("missing.yaml: cannot be read: No such file"),
        "{errors:#?}"
    );

    let error = registry.probe().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_probe_of_valid_files_succeeds() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    dir.registry(by_notification("vms.yaml")).probe().await.unwrap();
    dir.write("vms.yaml", "services: [{}]");
    let error = dir
        .registry(by_notification("vms.yaml"))
        .probe()
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert!(
        error.report().starts_with("vms.yaml:1:12: services[0].name:"),
        "{}",
        error.report()
    );
}

#[tokio::test]
async fn wrong_settings_are_told_by_all_ways_in() {
    let wrong = FileConfig::default();
    assert!(FileRegistry::try_new(wrong.clone()).is_err());
    let registry = FileRegistry::new(wrong);
    assert!(registry.check()[0].to_string().starts_with("path: found nothing"));
    assert_eq!(
        registry.probe().await.unwrap_err().kind(),
        ErrorKind::Configuration
    );
    let control = registry_core::Control::new("files".parse().unwrap(), Default::default());
    assert!(registry.watch(control).await.is_err());
}

#[test]
fn the_target_is_where_the_files_are() {
    let of = |paths: &[&str], base: &str| {
        let config = FileConfig {
            paths: paths.iter().map(Into::into).collect(),
            ..FileConfig::default()
        };
        FileRegistry::new(config).relative_to(base).target()
    };
    assert_eq!(of(&["vms.yaml"], "/etc/registryd"), "/etc/registryd/vms.yaml");
    assert_eq!(
        of(&["b", "/srv/a", "b"], "/etc"),
        of(&["/srv/a", "b"], "/etc"),
        "order and repetition do not matter"
    );
    assert_ne!(of(&["vms.yaml"], "/etc"), of(&["vms.yaml"], "/srv"));
}
