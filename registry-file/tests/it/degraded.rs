//! What cannot be read or understood keeps what it said, and leaves the others alone.

use registry_core::Scope;

use crate::support::{Dir, by_notification, by_poll, one};

#[tokio::test]
async fn a_broken_file_keeps_its_content_and_others_go_on() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    dir.write("d/b.yaml", &one("b", "10.0.0.2"));
    let mut seen = dir.watch(by_notification("d")).await;
    seen.batch().await;

    dir.replace(
        "d/a.yaml",
        "services:\n  - name: a\n    endpoints: [{ address: nope nope }]\n",
    );
    let why = seen.until_trouble("d/a.yaml").await;
    assert!(
        why.starts_with("d/a.yaml:3:28: services[0].endpoints[0].address: found \"nope nope\""),
        "{why}"
    );
    assert!(seen.is_at("d/a.yaml/default/a", "10.0.0.1"));
    assert_eq!(seen.trouble("d/b.yaml"), None);

    dir.replace("d/b.yaml", &one("b", "10.0.0.3"));
    seen.until_at("d/b.yaml/default/b", "10.0.0.3").await;
    assert!(seen.trouble("d/a.yaml").is_some());

    dir.replace("d/a.yaml", &one("a", "10.0.0.4"));
    seen.until_at("d/a.yaml/default/a", "10.0.0.4").await;
    assert!(seen.degraded.is_empty(), "{:?}", seen.degraded);
}

#[tokio::test]
async fn a_file_broken_from_the_start_is_unread_and_others_are_told() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write("d/a.yaml", "services:\n\t- x");
    dir.write("d/b.yaml", &one("b", "10.0.0.2"));
    let mut seen = dir.watch(by_notification("d")).await;
    seen.batch().await;
    assert!(seen.is_at("d/b.yaml/default/b", "10.0.0.2"));
    assert!(seen.trouble("d/a.yaml").is_some());
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    seen.until_at("d/a.yaml/default/a", "10.0.0.1").await;
}

#[tokio::test]
async fn a_half_written_file_is_read_when_it_is_complete() {
    let dir = Dir::new();
    let whole = one("a", "10.0.0.2");
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.batch().await;
    for half in ["", &whole[..whole.len() - 8]] {
        dir.write("vms.yaml", half);
        let text = half.to_owned();
        seen.until("half of a file is refused", move |seen| {
            seen.trouble("vms.yaml")
                .is_some_and(|why| why.contains("empty file") == text.is_empty())
        })
        .await;
        assert!(seen.is_at("vms.yaml/default/a", "10.0.0.1"));
    }
    dir.write("vms.yaml", &whole);
    seen.until_at("vms.yaml/default/a", "10.0.0.2").await;
    assert!(seen.degraded.is_empty());
}

#[tokio::test]
async fn a_file_that_was_broken_and_is_as_before_is_confirmed() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.batch().await;
    dir.write("vms.yaml", "services: 7");
    seen.until_trouble("vms.yaml").await;
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    seen.until("it is well again", |seen| seen.degraded.is_empty())
        .await;
    assert!(
        seen.log.contains(&"confirmed group vms.yaml".to_owned()),
        "{:?}",
        seen.log
    );
    assert!(
        !seen.log.contains(&"init group vms.yaml".to_owned()),
        "{:?}",
        seen.log
    );
}

#[tokio::test]
async fn a_missing_file_is_degraded_until_it_is_created() {
    let dir = Dir::new();
    let mut seen = dir.watch(by_notification("deep/er/vms.yaml")).await;
    seen.batch().await;
    assert_eq!(seen.log, ["init registry", "done registry"]);
    let why = seen.trouble("deep/er/vms.yaml").unwrap();
    assert!(
        why.starts_with("deep/er/vms.yaml: cannot be read: No such file"),
        "{why}"
    );

    dir.make_dir("deep/er");
    dir.write("deep/er/vms.yaml", &one("a", "10.0.0.1"));
    seen.until_at("deep/er/vms.yaml/default/a", "10.0.0.1").await;
    assert!(seen.degraded.is_empty(), "{:?}", seen.degraded);
}

#[tokio::test]
async fn a_configured_file_that_vanishes_keeps_its_content() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.batch().await;
    dir.remove("vms.yaml");
    seen.until_trouble("vms.yaml").await;
    assert!(seen.is_at("vms.yaml/default/a", "10.0.0.1"));
    seen.resync().await;
    assert!(
        seen.is_at("vms.yaml/default/a", "10.0.0.1"),
        "nor does a complete listing remove it"
    );
    dir.write("vms.yaml", &one("a", "10.0.0.2"));
    seen.until_at("vms.yaml/default/a", "10.0.0.2").await;
}

#[tokio::test]
async fn a_directory_in_place_of_a_file_says_nothing() {
    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    dir.make_dir("d");
    dir.write("d/b.yaml", &one("b", "10.0.0.2"));
    let config = registry_file::FileConfig {
        path: None,
        paths: vec!["vms.yaml".into(), "d".into()],
        ..by_notification("")
    };
    let mut seen = dir.watch(config).await;
    seen.batch().await;
    for (file, service, address) in [
        ("vms.yaml", "vms.yaml/default/a", "10.0.0.1"),
        ("d/b.yaml", "d/b.yaml/default/b", "10.0.0.2"),
    ] {
        dir.remove(file);
        dir.make_dir(file);
        seen.until("a directory is refused", |seen| {
            seen.trouble(file)
                .is_some_and(|why| why.contains("found a directory, expected a file"))
        })
        .await;
        assert!(seen.is_at(service, address));
        std::fs::remove_dir(dir.at(file)).unwrap();
        dir.replace(file, &one("c", "10.0.0.9"));
        let (group, service) = (file.to_owned(), service.to_owned());
        seen.until("the file is back", |seen| {
            seen.trouble(&group).is_none() && !seen.services.contains_key(&service)
        })
        .await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn a_file_that_may_not_be_read_keeps_its_content() {
    use std::os::unix::fs::PermissionsExt;

    let dir = Dir::new();
    dir.write("vms.yaml", &one("a", "10.0.0.1"));
    let allow = |mode| std::fs::set_permissions(dir.at("vms.yaml"), PermissionsExt::from_mode(mode)).unwrap();
    allow(0o000);
    let permitted = std::fs::read(dir.at("vms.yaml")).is_ok();
    allow(0o644);
    let mut seen = dir.watch(by_notification("vms.yaml")).await;
    seen.batch().await;
    allow(0o000);
    // Nothing is forbidden to root; the test of a directory in place of a file shows the same for it.
    if !permitted {
        let why = seen.until_trouble("vms.yaml").await;
        assert!(why.contains("ermission denied"), "{why}");
    }
    assert!(seen.is_at("vms.yaml/default/a", "10.0.0.1"));
    allow(0o644);
    dir.write("vms.yaml", &one("a", "10.0.0.2"));
    seen.until_at("vms.yaml/default/a", "10.0.0.2").await;
}

#[tokio::test]
async fn a_directory_that_vanishes_keeps_its_files_until_it_is_back() {
    let dir = Dir::new();
    dir.make_dir("d");
    dir.write("d/a.yaml", &one("a", "10.0.0.1"));
    dir.write("d/b.yaml", &one("b", "10.0.0.2"));
    let mut seen = dir.watch(by_notification("d")).await;
    seen.batch().await;

    std::fs::rename(dir.at("d"), dir.at("away")).unwrap();
    seen.until("both are degraded", |seen| {
        seen.trouble("d/a.yaml").is_some() && seen.trouble("d/b.yaml").is_some()
    })
    .await;
    assert_eq!(seen.services.len(), 2);
    seen.resync().await;
    assert_eq!(seen.services.len(), 2);

    dir.make_dir("new");
    dir.write("new/b.yaml", &one("b", "10.0.0.3"));
    std::fs::rename(dir.at("new"), dir.at("d")).unwrap();
    seen.until_at("d/b.yaml/default/b", "10.0.0.3").await;
    seen.until("a is gone", |seen| seen.services.len() == 1).await;
    seen.until("nothing is degraded", |seen| seen.degraded.is_empty())
        .await;

    // The watch is of the new directory now.
    dir.replace("d/b.yaml", &one("b", "10.0.0.4"));
    seen.until_at("d/b.yaml/default/b", "10.0.0.4").await;
}

#[tokio::test]
async fn a_path_that_was_never_seen_removes_nothing() {
    let dir = Dir::new();
    let mut seen = dir.watch(by_notification("services.d")).await;
    // As restored from an earlier run.
    seen.services
        .insert("services.d/a.yaml/default/a".into(), vec!["10.0.0.1".into()]);
    seen.batch().await;
    assert_eq!(seen.services.len(), 1);
    assert!(
        seen.degraded.contains_key(&Scope::Registry),
        "{:?}",
        seen.degraded
    );

    dir.make_dir("services.d");
    seen.until("its absence is known", |seen| {
        seen.services.is_empty() && seen.degraded.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_failure_that_stays_is_said_at_every_poll() {
    let dir = Dir::new();
    dir.write("vms.yaml", "services: 7");
    let mut seen = dir.watch(by_poll("vms.yaml")).await;
    let times =
        |seen: &crate::support::Watching, what: &str| seen.log.iter().filter(|event| *event == what).count();
    seen.until("three times", |seen| times(seen, "degraded group vms.yaml") >= 3)
        .await;
    assert!(times(&seen, "confirmed registry") >= 3, "{:?}", seen.log);
}

#[tokio::test]
async fn sizes_and_encodings_are_checked() {
    let dir = Dir::new();
    dir.make_dir("d");
    let big = format!(
        "{}# {}
",
        one("a", "10.0.0.1"),
        "x".repeat(1000)
    );
    dir.write("d/big.yaml", &big);
    std::fs::write(dir.at("d/latin.yaml"), b"services:\n  - name: caf\xe9\n").unwrap();
    let config = registry_file::FileConfig {
        max_file_bytes: 1000,
        ..by_notification("d")
    };
    let mut seen = dir.watch(config).await;
    seen.batch().await;
    let expected = format!("d/big.yaml: found {} bytes, expected at most 1000", big.len());
    assert_eq!(seen.trouble("d/big.yaml"), Some(expected.as_str()));
    assert_eq!(
        seen.trouble("d/latin.yaml"),
        Some("d/latin.yaml:2:14: found bytes that are not UTF-8, expected text")
    );
}

#[tokio::test]
async fn what_stands_in_place_of_a_directory_before_it_is_there_decides_nothing() {
    let dir = Dir::new();
    dir.write("services.d", "not of services");
    let mut seen = dir.watch(by_poll("services.d")).await;
    seen.until_trouble("services.d").await;
    dir.remove("services.d");
    dir.make_dir("services.d");
    dir.write("services.d/a.yaml", &one("a", "10.0.0.1"));
    seen.until_at("services.d/a.yaml/default/a", "10.0.0.1").await;
    let mended = |seen: &crate::support::Watching| seen.degraded.is_empty();
    seen.until("nothing is in trouble", mended).await;
}
