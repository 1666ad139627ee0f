//! Changes of valid files arrive, by whatever way they are made.

use std::time::Duration;

use registry_core::ServiceRegistry;
use registry_file::FileConfig;

use crate::support::{Dir, by_notification, by_poll, one};

#[tokio::test]
async fn the_first_word_is_everything() {
    let dir = Dir::new();
    dir.make_dir("d/sub");
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    dir.write(
        "d/b.json",
        r#"{"services": [{"name": "b", "endpoints": [{"address": "10.0.0.2"}]}]}"#,
    );
    dir.write("d/c.yml", "services: []\n");
    dir.write("d/.hidden.yaml", "no services at all");
    dir.write("d/README.md", "no services at all");
    dir.write("d/sub/e.yaml", "no services at all");
    dir.write("vms.yaml", &one("v", "10.0.0.3"));
    let config = FileConfig {
        path: None,
        paths: vec![
            "d".into(),
            "./vms.yaml".into(),
            "vms.yaml".into(),
            "d/a.yaml".into(),
        ],
        ..by_notification("")
    };
    let mut seen = dir.watch(config).await;
    seen.batch().await;
    assert_eq!(seen.log, ["init registry", "done registry"]);
    let ids: Vec<&String> = seen.services.keys().collect();
    assert_eq!(
        ids,
        ["d/a.yaml/default/a", "d/b.json/default/b", "vms.yaml/default/v"]
    );
    assert!(seen.degraded.is_empty(), "{:?}", seen.degraded);
}

#[tokio::test]
async fn a_file_written_in_place_is_read_again() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.until_at("vms.yaml/default/a", "10.0.0.1").await;
    dir.write("vms.yaml", &one("a", "10.0.0.2"));
    seen.until_at("vms.yaml/default/a", "10.0.0.2").await;
    assert!(
        seen.log.contains(&"done group vms.yaml".to_owned()),
        "{:?}",
        seen.log
    );
}

#[tokio::test]
async fn a_file_replaced_by_rename_is_read_again_and_again() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.until_at("vms.yaml/default/a", "10.0.0.1").await;
    for last in 2..6 {
        let address = format!("10.0.0.{last}");
        dir.replace("vms.yaml", &one("a", &address));
        seen.until_at("vms.yaml/default/a", &address).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_volume_whose_data_link_is_swapped_is_read_again() {
    let dir = Dir::new();
    for (version, address) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2"), ("..3", "10.0.0.3")] {
        dir.make_dir(version);
        dir.write(&format!("{version}/vms.yaml"), &one("a", address));
    }
    dir.link("..1", "..data");
    dir.link("..data/vms.yaml", "vms.yaml");
    let swap = |version: &str| {
        dir.link(version, "..data_tmp");
        std::fs::rename(dir.at("..data_tmp"), dir.at("..data")).unwrap();
    };
    let mut file = dir.watch(by_notification("vms.yaml")).await;
    let mut directory = dir.watch(by_notification(".")).await;
    file.until_at("vms.yaml/default/a", "10.0.0.1").await;
    directory.until_at("vms.yaml/default/a", "10.0.0.1").await;
    for (version, address) in [("..2", "10.0.0.2"), ("..3", "10.0.0.3")] {
        swap(version);
        file.until_at("vms.yaml/default/a", address).await;
        directory.until_at("vms.yaml/default/a", address).await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_target_of_a_link_in_another_directory_is_watched_too() {
    let dir = Dir::new();
    dir.make_dir("far");
    dir.make_dir("near");
    dir.write("far/real.yaml", &one("a", "10.0.0.1"));
    dir.link("../far/real.yaml", "near/vms.yaml");
    let mut seen = dir.watch(by_notification("near/vms.yaml")).await;
    seen.until_at("near/vms.yaml/default/a", "10.0.0.1").await;
    dir.replace("far/real.yaml", &one("a", "10.0.0.2"));
    seen.until_at("near/vms.yaml/default/a", "10.0.0.2").await;
}

#[tokio::test]
async fn files_come_to_a_directory_and_go() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("d")).await;
    seen.until_at("d/a.yaml/default/a", "10.0.0.1").await;

    dir.replace("d/b.yaml", &one("b", "10.0.0.2"));
    seen.until_at("d/b.yaml/default/b", "10.0.0.2").await;
    dir.remove("d/a.yaml");
    seen.until("a is gone", |seen| {
        !seen.services.contains_key("d/a.yaml/default/a")
    })
    .await;
    assert!(seen.is_at("d/b.yaml/default/b", "10.0.0.2"));
    assert!(
        !seen.log.iter().any(|event| event.starts_with("degraded")),
        "{:?}",
        seen.log
    );
}

#[tokio::test]
async fn many_rapid_writes_end_in_the_last_content() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.until_at("vms.yaml/default/a", "10.0.0.1").await;
    for round in 0..300_u32 {
        let text = one("a", &format!("10.1.{}.{}", round / 200, round % 200 + 1));
        if round % 3 == 0 {
            dir.replace("vms.yaml", &text);
        } else {
            dir.write("vms.yaml", &text);
        }
        if round % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }
    dir.write("vms.yaml", &one("a", "10.9.9.9"));
    seen.until_at("vms.yaml/default/a", "10.9.9.9").await;
}

#[tokio::test]
async fn the_poll_confirms_what_did_not_change_and_says_nothing_else() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_poll("vms.yaml")).await;
    for _ in 0..5 {
        seen.batch().await;
    }
    // The same content once more is no change, whatever its time of change.
    dir.replace("vms.yaml", &one("a", "10.0.0.1"));
    for _ in 0..5 {
        seen.batch().await;
    }
    assert_eq!(seen.log[..2], ["init registry", "done registry"]);
    assert!(
        seen.log[2..].iter().all(|event| event == "confirmed registry"),
        "{:?}",
        seen.log
    );
}

#[tokio::test]
async fn a_wish_is_granted_with_everything() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    dir.write("d/b.yaml", "services: [");
    let mut seen = dir.watch(by_notification("d")).await;
    seen.batch().await;
    seen.services.clear();
    seen.resync().await;
    assert!(seen.is_at("d/a.yaml/default/a", "10.0.0.1"));
    assert!(seen.trouble("d/b.yaml").is_some());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_dropped_watch_leaves_nothing_behind() {
    use std::os::unix::fs::MetadataExt;

    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let inode = format!(" ino:{:x} ", std::fs::metadata(dir.path()).unwrap().ino());
    // The kernel lists what every inotify instance of this process watches.
    let watched = || {
        std::fs::read_dir("/proc/self/fdinfo")
            .unwrap()
            .flatten()
            .any(|entry| {
                std::fs::read_to_string(entry.path()).is_ok_and(|info| {
                    info.lines()
                        .any(|line| line.starts_with("inotify") && line.contains(&inode))
                })
            })
    };
    assert!(!watched());
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.batch().await;
    assert!(watched(), "the directory of the file is watched");
    drop(seen);
    let gone = async {
        while watched() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    // The instance is closed by the thread behind it as its last act.
    tokio::time::timeout(crate::support::DEADLINE, gone)
        .await
        .unwrap();
}

#[test]
fn its_settings_tell_kind_name_and_bound() {
    let registry = Dir::new().registry(by_poll("vms.yaml"));
    assert_eq!(registry.kind(), "file");
    assert_eq!(registry.default_hostname(), "{name}.{namespace}.file");
    assert_eq!(registry.freshness_bound(), Duration::from_millis(300));
}
