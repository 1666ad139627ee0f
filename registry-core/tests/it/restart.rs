//! What was known before a restart.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use registry_core::{
    Control, Discovery, ErrorKind, EventStream, Guard, Phase, RegistryError, RegistryOptions, RegistryStatus,
    ServiceRecord, ServiceRegistry, StaticRegistry, async_trait,
};

use crate::engine::{endpoint, record};

/// A registry that cannot be reached.
struct Down;

#[async_trait]
impl ServiceRegistry for Down {
    fn kind(&self) -> &'static str {
        "static"
    }

    async fn watch(&self, _: Control) -> Result<EventStream, RegistryError> {
        Err(RegistryError::new(ErrorKind::Unreachable, "down"))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// The same registry for another target.
struct Elsewhere(Down);

#[async_trait]
impl ServiceRegistry for Elsewhere {
    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn target(&self) -> String {
        "elsewhere".to_owned()
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        self.0.watch(control).await
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        self.0.probe().await
    }
}

/// A registry that says once what there is, and keeps what it was told of its own services at each watch.
#[derive(Default)]
struct Asking(Mutex<Vec<bool>>);

#[async_trait]
impl ServiceRegistry for Asking {
    fn kind(&self) -> &'static str {
        "static"
    }

    async fn watch(&self, control: Control) -> Result<EventStream, RegistryError> {
        self.0.lock().unwrap().push(control.knows_services());
        // It ends when all was told, and is watched again.
        let stream = StaticRegistry::new(services(20)).watch(control).await?;
        Ok(Box::pin(stream.take(1)))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

fn services(endpoints: u8) -> Vec<ServiceRecord> {
    vec![record("web", (0..endpoints).map(|n| endpoint(n, 80)))]
}

fn start(dir: &Path, registry: Arc<dyn ServiceRegistry>) -> Discovery {
    let options = RegistryOptions {
        guard: Some(Guard {
            hold: Duration::from_secs(600),
            ..Guard::default()
        }),
        ..RegistryOptions::default()
    };
    let builder = Discovery::builder().state_dir(dir);
    builder
        .add("a".parse().unwrap(), registry, options)
        .start()
        .unwrap()
}

/// A discovery that knew twenty endpoints and was ended.
async fn ended(dir: &Path) {
    let discovery = start(dir, Arc::new(StaticRegistry::new(services(20))));
    discovery.ready().await;
    discovery.shutdown().await;
}

fn status(discovery: &Discovery) -> RegistryStatus {
    discovery.status().remove(0)
}

fn endpoints(discovery: &Discovery) -> usize {
    let snapshot = discovery.snapshot();
    snapshot
        .get("web.static")
        .map_or(0, |service| service.endpoints().len())
}

/// The files of the states that are kept.
fn states(dir: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(dir).unwrap();
    let paths = files.map(|file| file.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "state"))
        .collect()
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting)
        .await
        .expect(what);
}

#[tokio::test]
async fn a_backend_can_ask_whether_services_of_its_own_are_known() {
    let dir = tempfile::tempdir().unwrap();
    for restored in [false, true] {
        let asking = Arc::new(Asking::default());
        let discovery = start(dir.path(), asking.clone());
        until("two watches", || asking.0.lock().unwrap().len() >= 2).await;
        discovery.shutdown().await;
        assert_eq!(asking.0.lock().unwrap()[..2], [restored, true]);
    }
}

#[tokio::test]
async fn pain_3_a_start_without_the_registry_serves_what_was_known_marked_stale() {
    let dir = tempfile::tempdir().unwrap();
    ended(dir.path()).await;
    let discovery = start(dir.path(), Arc::new(Down));
    // From the first moment on: nothing has run yet.
    assert!(discovery.readiness().ready);
    assert_eq!(endpoints(&discovery), 20);
    discovery.ready().await;
    let status = status(&discovery);
    assert_eq!((status.phase, status.restored), (Phase::Stale, true));
    assert!(status.age.is_some() && status.last_confirmed.is_some() && status.saved.is_some());
    assert!(discovery.readiness().awaited.is_empty());
    discovery.shutdown().await;
    let again = start(dir.path(), Arc::new(Down));
    again.ready().await;
    assert_eq!(
        endpoints(&again),
        20,
        "what was not heard again is not forgotten either"
    );
    again.shutdown().await;
}

#[tokio::test]
async fn the_first_revision_with_a_service_has_all_of_it() {
    let dir = tempfile::tempdir().unwrap();
    ended(dir.path()).await;
    let discovery = start(dir.path(), Arc::new(StaticRegistry::new(services(20))));
    assert_eq!(endpoints(&discovery), 20, "before anything was heard");
    discovery.ready().await;
    until("synced", || status(&discovery).phase == Phase::Synced).await;
    assert_eq!((endpoints(&discovery), status(&discovery).restored), (20, false));
    discovery.shutdown().await;
}

#[tokio::test]
async fn what_the_registry_says_after_the_start_is_measured_by_what_was_known() {
    for (left, expected) in [(14, (14, None)), (6, (20, Some(14)))] {
        let dir = tempfile::tempdir().unwrap();
        ended(dir.path()).await;
        let discovery = start(dir.path(), Arc::new(StaticRegistry::new(services(left))));
        until("synced", || status(&discovery).phase == Phase::Synced).await;
        let held = status(&discovery).held.map(|held| held.endpoints);
        assert_eq!((endpoints(&discovery), held), expected, "{left} of 20 left");
        discovery.shutdown().await;
        // What is held back is known, too.
        let discovery = start(dir.path(), Arc::new(Down));
        assert_eq!(endpoints(&discovery), expected.0);
        discovery.shutdown().await;
    }
}

#[tokio::test]
async fn what_was_known_of_another_target_or_is_damaged_is_reported_and_not_used() {
    let dir = tempfile::tempdir().unwrap();
    ended(dir.path()).await;
    let discovery = start(dir.path(), Arc::new(Elsewhere(Down)));
    assert_eq!(endpoints(&discovery), 0);
    let error = status(&discovery).save_error.unwrap();
    assert!(error.contains("elsewhere"), "{error}");
    discovery.shutdown().await;

    let file = states(dir.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let discovery = start(dir.path(), Arc::new(Down));
    assert_eq!(endpoints(&discovery), 0);
    let error = status(&discovery).save_error.unwrap();
    assert!(error.contains(file.to_str().unwrap()), "{error}");
    discovery.shutdown().await;
}

#[tokio::test]
async fn a_registry_that_is_removed_leaves_nothing_and_one_that_is_added_is_restored() {
    let dir = tempfile::tempdir().unwrap();
    ended(dir.path()).await;
    let discovery = Discovery::builder().state_dir(dir.path()).start().unwrap();
    let id = || "a".parse().unwrap();
    discovery
        .add(id(), Arc::new(Down), RegistryOptions::default())
        .await
        .unwrap();
    until("restored", || endpoints(&discovery) == 20).await;
    discovery.remove(id()).await.unwrap();
    until("its file is gone", || states(dir.path()).is_empty()).await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn changes_are_written_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let registry = StaticRegistry::new(services(20));
    let handle = registry.handle();
    let discovery = start(dir.path(), Arc::new(registry));
    discovery.ready().await;
    until("written", || status(&discovery).saved.is_some()).await;
    let first = status(&discovery).saved;
    handle.set(services(21));
    until("written again", || status(&discovery).saved > first).await;
    // As a killed process leaves it.
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir.path()).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.path().join(file.file_name())).unwrap();
    }
    let successor = start(copy.path(), Arc::new(Down));
    assert_eq!(endpoints(&successor), 21);
    successor.shutdown().await;
    discovery.shutdown().await;
}

#[tokio::test]
async fn what_is_known_is_written_while_a_changed_setting_waits_for_the_first_answer() {
    let dir = tempfile::tempdir().unwrap();
    let registry = StaticRegistry::new(services(20));
    let handle = registry.handle();
    let discovery = start(dir.path(), Arc::new(registry));
    discovery.ready().await;
    until("written", || status(&discovery).saved.is_some()).await;
    handle.set(services(21));
    until("one more", || endpoints(&discovery) == 21).await;
    let id = "a".parse().unwrap();
    let same_target: Arc<dyn ServiceRegistry> = Arc::new(Down);
    discovery
        .replace(id, Some(same_target), RegistryOptions::default())
        .await
        .unwrap();
    discovery.shutdown().await;

    let successor = start(dir.path(), Arc::new(Down));
    assert_eq!(endpoints(&successor), 21);
    successor.shutdown().await;
}
