use std::fs;
use std::time::{Duration, SystemTime};

use super::*;

fn one(address: &str) -> String {
    format!("services: [{{ name: a, endpoints: [{{ address: {address} }}] }}]")
}

fn told(look: &Look) -> Vec<(&str, &'static str)> {
    let word = |told: &Told| match told {
        Told::Services(_) => "services",
        Told::Recovered => "recovered",
        Told::Gone => "gone",
        Told::Failed { news: true, .. } => "failed",
        Told::Failed { news: false, .. } => "still failed",
    };
    look.told
        .iter()
        .map(|(group, told)| (group.as_str(), word(told)))
        .collect()
}

/// Files that nobody notifies of: what a look finds by itself, as at a poll.
#[test]
fn a_poll_alone_finds_changes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vms.yaml");
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    // The same length and the same time of change, as a careful copy leaves them.
    let write = |address: &str| {
        fs::write(&path, one(address)).unwrap();
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();
    };
    write("10.0.0.1");
    let mut files = Files::new(&FileConfig::new("vms.yaml"), dir.path(), PortDefaults::default());
    assert_eq!(told(&files.look(Reason::Everything)), [("vms.yaml", "services")]);
    let unchanged = files.look(Reason::Poll);
    assert_eq!(
        (told(&unchanged), unchanged.reads),
        (vec![], 0),
        "a settled file is not read again"
    );
    if cfg!(unix) {
        write("10.0.0.2");
        assert_eq!(told(&files.look(Reason::Poll)), [("vms.yaml", "services")]);
    }
}

#[test]
fn a_file_too_young_to_trust_its_stamp_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("vms.yaml"), one("10.0.0.1")).unwrap();
    let mut files = Files::new(&FileConfig::new("vms.yaml"), dir.path(), PortDefaults::default());
    files.look(Reason::Everything);
    let look = files.look(Reason::Change);
    assert_eq!((told(&look), look.reads), (vec![], 1));
}

#[test]
fn a_failure_is_news_once_and_said_again_only_at_a_poll() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vms.yaml");
    let mut files = Files::new(&FileConfig::new("vms.yaml"), dir.path(), PortDefaults::default());
    assert_eq!(told(&files.look(Reason::Everything)), [("vms.yaml", "failed")]);
    assert_eq!(told(&files.look(Reason::Change)), []);
    assert_eq!(told(&files.look(Reason::Poll)), [("vms.yaml", "still failed")]);
    fs::write(&path, "services: 7").unwrap();
    assert_eq!(told(&files.look(Reason::Change)), [("vms.yaml", "failed")]);
    assert_eq!(told(&files.look(Reason::Change)), []);
    fs::write(&path, one("10.0.0.1")).unwrap();
    assert_eq!(told(&files.look(Reason::Change)), [("vms.yaml", "services")]);
}

#[cfg(unix)]
#[test]
fn a_socket_in_place_of_a_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vms.yaml");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut files = Files::new(&FileConfig::new("vms.yaml"), dir.path(), PortDefaults::default());
    let errors = files.check();
    assert_eq!(
        errors[0].report(),
        "vms.yaml: cannot be read: found no regular file, expected a file"
    );
}
