//! The backend of a third party, in a discovery as any other.
#![allow(
    clippy::unwrap_used,
    reason = "a test may panic, also in what its cases share"
)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use examples::HostFiles;
use registry_core::{
    Control, Discovery, ErrorKind, Event, Phase, PortDefaults, Resync, Scope, ServiceRegistry,
};

fn write(directory: &Path, host: &str, text: &str) {
    // As editors do it: a reader sees the old file or the new one.
    let new = directory.join(format!("{host}.new"));
    fs::write(&new, text).unwrap();
    fs::rename(&new, directory.join(format!("{host}.host"))).unwrap();
}

/// Starts a discovery over the directory, and waits for the first listing.
async fn discover(directory: &Path) -> Discovery {
    let hosts = HostFiles::new(directory).with_interval(Duration::from_secs(1));
    let discovery = Discovery::builder()
        .registry("hosts", hosts)
        .unwrap()
        .start()
        .unwrap();
    discovery.ready().await;
    discovery
}

fn addresses(discovery: &Discovery, hostname: &str) -> Vec<String> {
    let snapshot = discovery.snapshot();
    let service = snapshot.get(hostname).expect(hostname);
    let mut addresses: Vec<String> = service
        .endpoints()
        .iter()
        .map(|e| e.address().to_string())
        .collect();
    addresses.sort();
    addresses
}

#[tokio::test(start_paused = true)]
async fn acceptance_8_a_third_party_backend_runs_in_a_discovery() {
    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "web-1",
        "address 10.0.0.7\npayments http 8080\npayments admin 9090\n",
    );
    write(
        directory.path(),
        "web-2",
        "# the second\naddress 10.0.0.8\npayments http 8080 # plain\n",
    );
    fs::write(directory.path().join("README"), "no host").unwrap();

    // Listing.
    let discovery = discover(directory.path()).await;
    assert_eq!(addresses(&discovery, "payments.hosts"), ["10.0.0.7", "10.0.0.8"]);
    let snapshot = discovery.snapshot();
    let payments = snapshot.get("payments.hosts").unwrap();
    let ports: Vec<&str> = payments.ports().iter().map(|port| port.name.as_str()).collect();
    assert_eq!(ports, ["admin", "http"]);
    let (_, first) = snapshot.find_address([10, 0, 0, 7].into()).next().unwrap();
    assert_eq!(
        (first.node().to_string(), first.ports().get("admin")),
        ("web-1".to_owned(), Some(9090))
    );
    assert_eq!(first.id().to_string(), "web-1/payments");

    // A look that finds nothing new publishes nothing.
    let mut changes = discovery.changes();
    let quiet = tokio::time::timeout(Duration::from_secs(10), changes.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");

    // Change: a host more, a host less.
    write(
        directory.path(),
        "web-3",
        "address 10.0.0.9\npayments http 8080\ninventory grpc 9000\n",
    );
    let delta = changes.next().await.unwrap();
    assert_eq!(delta.updated.len(), 2);
    assert_eq!(
        addresses(&discovery, "payments.hosts"),
        ["10.0.0.7", "10.0.0.8", "10.0.0.9"]
    );
    fs::remove_file(directory.path().join("web-3.host")).unwrap();
    let delta = changes.next().await.unwrap();
    assert_eq!(delta.removed, ["inventory.hosts"]);
    assert_eq!(addresses(&discovery, "payments.hosts"), ["10.0.0.7", "10.0.0.8"]);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn acceptance_8_an_error_keeps_everything_and_turns_the_registry_stale() {
    let directory = tempfile::tempdir().unwrap();
    let hosts = directory.path().join("hosts");
    fs::create_dir(&hosts).unwrap();
    write(&hosts, "web-1", "address 10.0.0.7\npayments http 8080\n");
    let discovery = discover(&hosts).await;
    let mut changes = discovery.changes();

    // A file that is broken, then a directory that is gone.
    write(&hosts, "web-2", "address 10.0.0.8\npayments http many\n");
    let delta = changes.next().await.unwrap();
    assert_eq!(delta.phases, [("hosts".parse().unwrap(), Some(Phase::Stale))]);
    assert!(delta.updated.is_empty() && delta.removed.is_empty(), "{delta:?}");
    assert_eq!(addresses(&discovery, "payments.hosts"), ["10.0.0.7"]);
    let error = discovery.status()[0].last_error.clone().unwrap();
    assert_eq!(error.kind, ErrorKind::Malformed);
    assert!(
        error
            .message
            .ends_with("web-2.host:2: found no port number, expected 1 to 65535"),
        "{}",
        error.message
    );

    let away = directory.path().join("away");
    fs::rename(&hosts, &away).unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(addresses(&discovery, "payments.hosts"), ["10.0.0.7"]);
    assert_eq!(discovery.status()[0].attempts, 1, "the watch goes on");

    // Mended: fresh again, with what changed in the meantime.
    fs::rename(&away, &hosts).unwrap();
    write(&hosts, "web-2", "address 10.0.0.8\npayments http 8080\n");
    changes.next().await.unwrap();
    assert_eq!(addresses(&discovery, "payments.hosts"), ["10.0.0.7", "10.0.0.8"]);
    assert_eq!(discovery.status()[0].phase, Phase::Synced);
    discovery.shutdown().await;
}

#[tokio::test(start_paused = true)]
async fn acceptance_8_a_resync_is_answered_in_the_same_stream() {
    use futures_util::StreamExt;

    let directory = tempfile::tempdir().unwrap();
    write(
        directory.path(),
        "web-1",
        "address 10.0.0.7\npayments http 8080\n",
    );
    let hosts = HostFiles::new(directory.path()).with_interval(Duration::from_secs(3600));
    let control = Control::new("hosts".parse().unwrap(), PortDefaults::default());
    let mut watch = hosts.watch(control.clone()).await.unwrap();
    watch.next().await.unwrap().unwrap();

    let start = tokio::time::Instant::now();
    let scope = Scope::Registry;
    control.request_resync(Resync { scope, strong: false });
    let batch = watch.next().await.unwrap().unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "not at the next interval"
    );
    assert!(
        matches!(
            batch.as_slice(),
            [Event::Init(Scope::Registry), Event::Apply { .. }, Event::InitDone { scope: Scope::Registry, unread }]
                if unread.is_empty()
        ),
        "{batch:?}"
    );
}

#[tokio::test]
async fn acceptance_8_a_probe_says_what_to_mend() {
    let directory = tempfile::tempdir().unwrap();
    assert!(HostFiles::new(directory.path()).probe().await.is_ok());
    let error = HostFiles::new(directory.path().join("none"))
        .probe()
        .await
        .unwrap_err();
    assert!(
        error.report().contains("none: cannot be read: No such file"),
        "{}",
        error.report()
    );
    for (text, problem) in [
        ("payments http 80\n", "a.host:1: found no line `address ADDRESS`"),
        (
            "address 1.2.3\n",
            "a.host:1: address \"1.2.3\": expected an IP address",
        ),
        (
            "address 10.0.0.1\n\npayments\n",
            "a.host:3: found \"payments\", expected",
        ),
    ] {
        write(directory.path(), "a", text);
        let error = HostFiles::new(directory.path())
            .probe()
            .await
            .unwrap_err()
            .report();
        assert!(error.contains(problem), "{error}");
    }
}
