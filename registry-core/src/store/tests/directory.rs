//! The directory: whose it is, who may look into it, and what is left behind.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use super::*;

#[cfg(unix)]
#[test]
fn nobody_but_the_owner_may_look() {
    use std::os::unix::fs::PermissionsExt;

    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("lib/registryd");
    let store = Store::open(&directory).unwrap();
    store.save(&id(), &small()).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(directory.parent().unwrap()), 0o700);
    assert_eq!(mode(&store.path(&id())), 0o600);
    assert_eq!(mode(&directory.join(".lock")), 0o600);
}

#[test]
fn a_directory_that_cannot_be_is_named() {
    let parent = tempfile::tempdir().unwrap();
    let path = parent.path().join("file");
    fs::write(&path, "").unwrap();
    for path in [path.clone(), path.join("below")] {
        let error = Store::open(&path).unwrap_err();
        assert!(matches!(error, StoreError::Directory { .. }), "{error}");
        assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    }
}

#[test]
fn a_directory_has_one_user_at_a_time() {
    let (directory, store) = store();
    let clone = store.clone();
    drop(store);
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    assert!(
        error
            .to_string()
            .contains(&directory.path().display().to_string()),
        "{error}"
    );
    drop(clone);
    Store::open(directory.path()).unwrap();
}

const HOLD: &str = "REGISTRY_CORE_TEST_HOLD_DIRECTORY";

/// Not a test but the other process of the one below, when it is told which directory to hold.
#[test]
fn holds_the_directory_that_it_is_told_to() {
    let Some(directory) = std::env::var_os(HOLD) else {
        return;
    };
    let _store = Store::open(Path::new(&directory)).unwrap();
    println!("held");
    // Until this process is killed, or the one that started it is gone.
    std::io::stdin().read_line(&mut String::new()).ok();
}

#[test]
fn the_lock_of_a_killed_process_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let mut holder = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "store::tests::directory::holds_the_directory_that_it_is_told_to",
            "--nocapture",
        ])
        .env(HOLD, directory.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stdout.take().unwrap()).lines();
    let held = lines.map_while(Result::ok).any(|line| line.ends_with("held"));
    assert!(held, "the other process ended before it held the directory");
    let error = Store::open(directory.path()).unwrap_err();
    assert!(matches!(error, StoreError::InUse { .. }), "{error}");
    holder.kill().unwrap();
    holder.wait().unwrap();
    Store::open(directory.path()).unwrap();
}

#[test]
fn what_a_killed_writer_left_goes_and_nothing_else() {
    let (directory, store) = store();
    store.save(&id(), &small()).unwrap();
    let put = |name: &str| fs::write(directory.path().join(name), "half").unwrap();
    put("consul-dc1.state.3.tmp");
    put("notes.txt");
    put("notes.tmp");
    let names = || {
        let mut names: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    };
    drop(store);
    let store = Store::open(directory.path()).unwrap();
    assert_eq!(names(), [".lock", "consul-dc1.state", "notes.tmp", "notes.txt"]);
    assert_same(&load(&store).unwrap().unwrap(), &small());
}

#[test]
fn a_save_that_fails_leaves_the_last_one_and_no_other_file() {
    let (directory, store) = store();
    store.save(&id(), &small()).unwrap();
    let unsayable = Saved {
        target: "x".repeat(2 << 20),
        ..saved(Vec::new())
    };
    let error = store.save(&id(), &unsayable).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    assert_same(&load(&store).unwrap().unwrap(), &small());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn saves_of_several_threads_end_in_one_of_them() {
    let (directory, store) = store();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..8).for_each(|_| store.save(&id(), &small()).unwrap()));
        }
    });
    assert_same(&load(&store).unwrap().unwrap(), &small());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}
