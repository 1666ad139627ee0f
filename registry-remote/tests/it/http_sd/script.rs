//! The script of the documentation: a registry of one's own in ten lines.

use std::path::Path;
use std::process::Command;

use registry_remote::HttpSdConfig;

use super::watching::{Watching, config};

/// The first block of code of the page that is a script.
fn script() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/registries/http-sd.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once("```sh\n").expect("a script");
    let (script, _) = rest.split_once("```").unwrap();
    assert!(script.lines().count() <= 10, "it is called a script of ten lines");
    script.to_owned()
}

#[tokio::test]
async fn the_script_of_the_documentation_bridges_an_inventory() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("targets"), script()).unwrap();
    let run = |inventory: &str| {
        std::fs::write(at("inventory"), inventory).unwrap();
        let mut command = Command::new("sh");
        command
            .arg(at("targets"))
            .arg(at("inventory"))
            .arg(at("targets.json"));
        assert!(command.status().unwrap().success());
    };
    run("web 10.0.0.1:8080 eu-1a\nweb 10.0.0.2:8080 eu-1b\ndb db.example.com:5432 eu-1a\n");
    let mut watching = Watching::listed(HttpSdConfig {
        files: vec![at("targets.json")],
        ..config()
    })
    .await;
    watching
        .until_ids(&["db db.example.com:5432", "web 10.0.0.1:8080", "web 10.0.0.2:8080"])
        .await;
    let web = watching.records["web"].endpoints();
    let zones: Vec<&str> = web
        .iter()
        .map(|endpoint| endpoint.locality().zone.as_str())
        .collect();
    assert_eq!(zones.len(), 2);
    assert!(zones.contains(&"eu-1a") && zones.contains(&"eu-1b"), "{zones:?}");
    run("web 10.0.0.2:8080 eu-1b\n");
    watching.until_ids(&["web 10.0.0.2:8080"]).await;
    run("");
    watching.until_ids(&[]).await;
}
