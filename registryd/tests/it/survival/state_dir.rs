//! Where state is kept.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{config, saved, services, shows};
use crate::daemon::{Daemon, errors, output};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[tokio::test]
async fn state_is_for_its_owner_alone_and_says_on_its_first_line_what_it_is() {
    let config = format!("{}state_dir: kept/here\n", config(""));
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", &services(3))]).await;
    saved(&daemon, "vms").await;
    let directory = daemon.path("kept/here");
    let file = directory.join("vms.state");
    assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));
    let bytes = std::fs::read(&file).expect("a file");
    let line = bytes.split(|byte| *byte == b'\n').next().expect("a line");
    let line: serde_json::Value = serde_json::from_slice(line).expect("JSON");
    assert_eq!(
        (
            &line["registry"],
            &line["kind"],
            &line["services"],
            &line["endpoints"]
        ),
        (&"vms".into(), &"file".into(), &1.into(), &3.into())
    );
    let labels = "{registry=\"vms\",kind=\"file\"}";
    let saved = daemon
        .metric(&format!(
            "registryd_registry_state_saved_timestamp_seconds{labels}"
        ))
        .await;
    assert!(saved.is_some_and(|saved| saved > 1.6e9), "{saved:?}");
    let failed = daemon
        .metric(&format!("registryd_registry_state_save_failed{labels}"))
        .await;
    assert_eq!(failed, Some(0.0));
}

#[test]
fn a_directory_that_was_named_and_cannot_be_used_is_told_with_its_cause() {
    let directory = tempfile::tempdir().unwrap();
    let config = format!("{}state_dir: vms.yaml/state\n", config(""));
    std::fs::write(directory.path().join("c.yaml"), config).unwrap();
    std::fs::write(directory.path().join("vms.yaml"), services(1)).unwrap();
    let output = output(directory.path(), &["run", "--config", "c.yaml"]);
    assert_eq!(output.status.code(), Some(1));
    let path = directory.path().join("vms.yaml/state");
    let path = path.display();
    assert_eq!(
        errors(&output),
        format!("error: state_dir: {path} cannot be used: Not a directory (os error 20)\n")
    );
}

#[tokio::test]
async fn two_daemons_do_not_share_a_directory() {
    let config = format!("{}state_dir: kept\n", config(""));
    let daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", &services(3))]).await;
    saved(&daemon, "vms").await;
    let second = output(daemon.directory(), &["run", "--config", "registryd.yaml"]);
    let path = daemon.path("kept");
    let message = format!(
        "error: state_dir: {} cannot be used: another registryd uses it\n",
        path.display()
    );
    assert_eq!((second.status.code(), errors(&second)), (Some(1), message));
}

#[tokio::test]
async fn nothing_is_kept_where_it_is_switched_off_and_a_change_needs_a_restart() {
    let off = format!("{}state_dir: off\n", config(""));
    let mut daemon = Daemon::start(&[("registryd.yaml", &off), ("vms.yaml", &services(3))]).await;
    shows(&daemon, "payments.vms", 3, 0).await;
    daemon.reload(&format!("{}state_dir: kept\n", config(""))).await;
    daemon
        .wait_for_log(0, "the change of `state_dir` needs a restart")
        .await;
    assert!(!daemon.path("kept").exists() && !daemon.path("lib").exists());
    daemon.kill();
    daemon.restart().await;
    saved(&daemon, "vms").await;
    assert!(daemon.path("kept/vms.state").exists());
}

#[tokio::test]
async fn a_damaged_file_is_reported_and_nothing_else_happens() {
    let config = format!("{}state_dir: kept\n", config(""));
    let mut daemon = Daemon::start(&[("registryd.yaml", &config), ("vms.yaml", &services(3))]).await;
    saved(&daemon, "vms").await;
    daemon.kill();
    let file = daemon.path("kept/vms.state");
    let mut bytes = std::fs::read(&file).expect("a file");
    let last = bytes.last_mut().expect("not empty");
    *last = !*last;
    std::fs::write(&file, bytes).expect("a file");
    std::fs::rename(daemon.path("vms.yaml"), daemon.path("away.yaml")).expect("a file");
    let from = daemon.log().len();
    daemon.restart().await;
    daemon.wait_for_log(from, "vms.state").await;
    let registry = daemon.registry("vms").await;
    assert_eq!(
        (&registry["phase"], &registry["restored"]),
        (&"connecting".into(), &false.into())
    );
    let why = registry["save_error"].as_str().expect("a reason");
    assert!(why.contains("vms.state") && why.contains("damaged"), "{why}");
    assert_eq!(daemon.get("/readyz").await.0, 503);
    std::fs::rename(daemon.path("away.yaml"), daemon.path("vms.yaml")).expect("a file");
    shows(&daemon, "payments.vms", 3, 0).await;
}
