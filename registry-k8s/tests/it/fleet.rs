//! A directory of kubeconfigs, as its user sees it.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use registry_core::{Control, Event, EventStream, ServiceRegistry};
use registry_k8s::{Fleet, KubernetesConfig, Member, MemberSet, Members};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(60);

/// A fleet whose watch is read all the time, and what it said.
struct Watched {
    watch: EventStream,
    members: Members,
    said: Vec<String>,
}

impl Watched {
    async fn new(directory: &Path) -> Self {
        Self::of(config(directory)).await
    }

    async fn of(config: KubernetesConfig) -> Self {
        let (fleet, members) = Fleet::try_new(config).unwrap();
        let control = Control::new("clusters".parse().unwrap(), Default::default());
        Self {
            watch: fleet.watch(control).await.unwrap(),
            members,
            said: Vec::new(),
        }
    }

    /// The next set, at once applied.
    async fn set(&mut self) -> Vec<Member> {
        let taking = tokio::time::timeout(DEADLINE, self.members.next());
        tokio::pin!(taking);
        let set: MemberSet = loop {
            tokio::select! {
                set = &mut taking => break set.expect("a set in time").expect("the fleet is there"),
                batch = self.watch.next() => self.said.extend(batch.unwrap().unwrap().iter().map(shown)),
            }
        };
        let members = set.members.clone();
        set.done();
        members
    }

    /// Waits until it says something that begins so.
    async fn says(&mut self, beginning: &str) -> String {
        let reading = async {
            loop {
                if let Some(at) = self.said.iter().position(|said| said.starts_with(beginning)) {
                    return self.said.drain(..=at).next_back().unwrap();
                }
                let batch = self.watch.next().await.unwrap().unwrap();
                self.said.extend(batch.iter().map(shown));
            }
        };
        let read = tokio::time::timeout(DEADLINE, reading).await;
        read.unwrap_or_else(|_| panic!("{beginning}: not said in time"))
    }
}

fn shown(event: &Event) -> String {
    match event {
        Event::Init(scope) => format!("init {scope}"),
        Event::InitDone { scope, .. } => format!("done {scope}"),
        Event::Confirmed(scope) => format!("confirmed {scope}"),
        Event::Degraded { scope, error } => format!("degraded {scope}: {}", error.report()),
        other => panic!("a fleet has no services: {other:?}"),
    }
}

fn config(directory: &Path) -> KubernetesConfig {
    KubernetesConfig {
        directory: Some(directory.to_owned()),
        ..KubernetesConfig::default()
    }
}

fn kubeconfig(cluster: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{ name: c, context: {{ cluster: k, user: u }} }}]\n\
         clusters: [{{ name: k, cluster: {{ server: \"https://{cluster}.example:6443\" }} }}]\n\
         users: [{{ name: u, user: {{ token: hunter2 }} }}]\n"
    )
}

/// As careful programs write.
fn replace(directory: &Path, file: &str, content: &str) {
    let passing = directory.join(format!("{file}.tmp"));
    fs::write(&passing, content).unwrap();
    fs::rename(passing, directory.join(file)).unwrap();
}

fn names(members: &[Member]) -> Vec<&str> {
    members.iter().map(|member| member.name.as_str()).collect()
}

fn three() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["a.yaml", "b.kubeconfig", "c"] {
        fs::write(dir.path().join(file), kubeconfig(file)).unwrap();
    }
    dir
}

#[tokio::test]
async fn each_file_is_a_member_and_passing_ones_are_none() {
    let dir = three();
    for file in [".hidden", "a.yaml~", "b.tmp", ".c.swp", "d.swp"] {
        fs::write(dir.path().join(file), "no kubeconfig").unwrap();
    }
    fs::create_dir(dir.path().join("folder.yaml")).unwrap();
    fs::write(dir.path().join("e.prod.yml"), kubeconfig("e")).unwrap();
    fs::write(dir.path().join("f.conf"), kubeconfig("f")).unwrap();
    let mut watched = Watched::new(dir.path()).await;
    assert_eq!(names(&watched.set().await), ["a", "b", "c", "e.prod", "f"]);
    watched.says("done registry").await;
    watched.says("confirmed registry").await;
    assert_eq!(watched.said, [""; 0]);
}

#[tokio::test]
async fn files_come_change_and_go() {
    let dir = three();
    let mut watched = Watched::new(dir.path()).await;
    let before = watched.set().await;
    fs::write(dir.path().join("d.yaml"), kubeconfig("d")).unwrap();
    let after = watched.set().await;
    assert_eq!(names(&after), ["a", "b", "c", "d"]);
    assert!(Arc::ptr_eq(&before[0].registry, &after[0].registry));

    replace(dir.path(), "a.yaml", &kubeconfig("elsewhere"));
    let changed = watched.set().await;
    assert_eq!(names(&changed), ["a", "b", "c", "d"]);
    assert!(!Arc::ptr_eq(&before[0].registry, &changed[0].registry));
    assert_ne!(before[0].fingerprint, changed[0].fingerprint);
    assert!(Arc::ptr_eq(&before[1].registry, &changed[1].registry));

    fs::remove_file(dir.path().join("b.kubeconfig")).unwrap();
    assert_eq!(names(&watched.set().await), ["a", "c", "d"]);
}

#[tokio::test]
async fn a_broken_file_is_named_and_keeps_its_member() {
    let dir = three();
    let mut watched = Watched::new(dir.path()).await;
    let before = watched.set().await;
    replace(dir.path(), "a.yaml", "users: [ hunter2");
    let said = watched.says("degraded group a").await;
    let place = dir.path().join("a.yaml").display().to_string();
    assert!(
        said.contains(&format!("{place}: found something else at line 1")) && !said.contains("hunter2"),
        "{said}"
    );
    replace(dir.path(), "a.yaml", &"#".repeat((1 << 20) + 1));
    let said = watched.says("degraded group a").await;
    let large =
        format!("degraded group a: {place}: found 1048577 bytes, expected a kubeconfig of at most 1048576");
    assert_eq!(said, large);
    replace(dir.path(), "a.yaml", &kubeconfig("a.yaml"));
    watched.says("done group a").await;

    // What comes next has the same registry: it never went.
    fs::write(dir.path().join("d.yaml"), kubeconfig("d")).unwrap();
    let after = watched.set().await;
    assert_eq!(names(&after), ["a", "b", "c", "d"]);
    assert!(Arc::ptr_eq(&before[0].registry, &after[0].registry));
}

#[cfg(unix)]
#[tokio::test]
async fn the_volume_of_a_config_map_is_swapped_as_a_whole() {
    use std::os::unix::fs::symlink;

    let dir = tempfile::tempdir().unwrap();
    let version = |name: &str, clusters: &[&str]| {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        for cluster in clusters {
            fs::write(
                folder.join(format!("{cluster}.yaml")),
                kubeconfig(&format!("{cluster}-{name}")),
            )
            .unwrap();
        }
    };
    version("..one", &["a", "b", "c"]);
    symlink("..one", dir.path().join("..data")).unwrap();
    for cluster in ["a", "b", "c"] {
        symlink(
            format!("..data/{cluster}.yaml"),
            dir.path().join(format!("{cluster}.yaml")),
        )
        .unwrap();
    }
    let mut watched = Watched::new(dir.path()).await;
    let before = watched.set().await;
    assert_eq!(names(&before), ["a", "b", "c"]);

    version("..two", &["a", "b"]);
    symlink("..two", dir.path().join("..new")).unwrap();
    fs::rename(dir.path().join("..new"), dir.path().join("..data")).unwrap();
    let after = watched.set().await;
    assert_eq!(
        names(&after),
        ["a", "b", "c"],
        "a link that leads nowhere removes nothing"
    );
    assert!(
        before[..2]
            .iter()
            .zip(&after)
            .all(|(before, after)| before.fingerprint != after.fingerprint)
    );
    watched.says("degraded group c").await;
    fs::remove_file(dir.path().join("c.yaml")).unwrap();
    assert_eq!(names(&watched.set().await), ["a", "b"]);
}

#[tokio::test]
async fn a_directory_that_is_missing_is_said_and_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("clusters");
    let mut watched = Watched::new(&path).await;
    let said = watched.says("degraded registry").await;
    assert!(
        said.contains(&format!(
            "{}: expected a directory of kubeconfigs",
            path.display()
        )),
        "{said}"
    );

    fs::create_dir(&path).unwrap();
    fs::write(path.join("a.yaml"), kubeconfig("a")).unwrap();
    assert_eq!(names(&watched.set().await), ["a"]);
    watched.says("done registry").await;

    fs::rename(&path, dir.path().join("away")).unwrap();
    watched.says("degraded registry").await;
    fs::rename(dir.path().join("away"), &path).unwrap();
    fs::write(path.join("b.yaml"), kubeconfig("b")).unwrap();
    assert_eq!(names(&watched.set().await), ["a", "b"]);
}

#[tokio::test]
async fn two_files_of_the_same_name_are_one_member_and_a_problem() {
    let dir = three();
    fs::write(dir.path().join("a.conf"), kubeconfig("first")).unwrap();
    let mut watched = Watched::new(dir.path()).await;
    assert_eq!(names(&watched.set().await), ["a", "b", "c"]);
    let said = watched.says("degraded group a").await;
    assert!(
        said.contains("a.yaml") && said.ends_with("a.conf is named \"a\" as well, and comes first"),
        "{said}"
    );
}

#[tokio::test]
async fn more_files_than_there_may_be_change_nothing() {
    let dir = three();
    let mut watched = Watched::new(dir.path()).await;
    watched.set().await;
    for i in 0..1000 {
        fs::write(dir.path().join(format!("more-{i}")), "x").unwrap();
    }
    let said = watched.says("degraded registry").await;
    assert!(said.contains("found more than 1000 files"), "{said}");
    for i in 0..1000 {
        fs::remove_file(dir.path().join(format!("more-{i}"))).unwrap();
    }
    fs::write(dir.path().join("d"), kubeconfig("d")).unwrap();
    assert_eq!(names(&watched.set().await), ["a", "b", "c", "d"]);
}

#[tokio::test]
async fn a_probe_names_the_first_kubeconfig_that_cannot_be_used() {
    let dir = three();
    let (fleet, _members) = Fleet::try_new(config(dir.path())).unwrap();
    fleet.probe().await.unwrap();
    fs::write(dir.path().join("b.kubeconfig"), "{}").unwrap();
    let said = fleet.probe().await.unwrap_err().report();
    assert!(
        said.ends_with("b.kubeconfig: current-context: found none, and no `context` is configured, expected one, but there are none"),
        "{said}"
    );
    let (fleet, _members) = Fleet::try_new(config(&dir.path().join("missing"))).unwrap();
    fleet.probe().await.unwrap_err();
}

#[tokio::test]
async fn fingerprints_are_the_same_in_another_fleet_and_tell_settings_apart() {
    let dir = three();
    let first = Watched::new(dir.path()).await.set().await;
    let again = Watched::new(dir.path()).await.set().await;
    let fingerprints =
        |members: &[Member]| -> Vec<u128> { members.iter().map(|member| member.fingerprint).collect() };
    assert_eq!(fingerprints(&first), fingerprints(&again));
    let other = KubernetesConfig {
        network: "other".to_owned(),
        ..config(dir.path())
    };
    let other = Watched::of(other).await.set().await;
    assert_eq!(names(&first), names(&other));
    assert!(
        first
            .iter()
            .zip(&other)
            .all(|(first, other)| first.fingerprint != other.fingerprint)
    );
}
