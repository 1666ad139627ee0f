//! Documents in files: how changes are noticed, and what becomes of files that are broken or gone.

use std::path::PathBuf;
use std::time::Duration;

use registry_core::ServiceRegistry;
use registry_remote::{HttpSdConfig, HttpSdRegistry};
use tempfile::TempDir;

use super::watching::{Watching, config};

fn one(service: &str, target: &str) -> String {
    format!(r#"[{{"targets": ["{target}"], "labels": {{"job": "{service}"}}}}]"#)
}

struct Dir(TempDir);

impl Dir {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn at(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes beside and renames, as a script should.
    fn replace(&self, name: &str, text: &str) {
        let beside = self.at(&format!("{name}.new"));
        std::fs::write(&beside, text).unwrap();
        std::fs::rename(beside, self.at(name)).unwrap();
    }

    fn remove(&self, name: &str) {
        std::fs::remove_file(self.at(name)).unwrap();
    }

    fn config(&self, names: &[&str]) -> HttpSdConfig {
        HttpSdConfig {
            files: names.iter().map(|name| self.at(name)).collect(),
            ..config()
        }
    }
}

#[tokio::test]
async fn a_file_that_is_replaced_is_read_and_one_that_is_not_is_confirmed() {
    let dir = Dir::new();
    dir.replace("targets.json", &one("web", "a:1"));
    let mut watching = Watching::listed(dir.config(&["targets.json"])).await;
    watching.until_ids(&["web a:1"]).await;
    for _ in 0..3 {
        assert_eq!(watching.next().await, "confirmed");
    }
    dir.replace("targets.json", &one("web", "a:2"));
    watching.until_ids(&["web a:2"]).await;
    let listings = watching.log.iter().filter(|word| **word == "listed");
    assert_eq!(listings.count(), 2, "{:?}", watching.log);
    watching.ask(true);
    let before = watching.log.len();
    watching
        .until("an answer", |seen| seen.log[before..].contains(&"listed"))
        .await;
}

#[tokio::test]
async fn a_file_that_is_broken_or_gone_keeps_what_it_said_and_others_go_on() {
    let dir = Dir::new();
    dir.replace("a.json", &one("web", "a:1"));
    dir.replace("b.yaml", "- targets: ['b:1']\n  labels: { job: web }\n");
    let mut watching = Watching::listed(dir.config(&["a.json", "b.yaml"])).await;
    watching.until_ids(&["web a:1", "web b:1"]).await;

    dir.replace("a.json", &one("web", "a:x"));
    watching
        .until_trouble("a.json: [0].targets[0]: found \"a:x\", expected a port")
        .await;
    dir.replace("b.yaml", "- targets: ['b:2']\n  labels: { job: web }\n");
    watching.until_ids(&["web a:1", "web b:2"]).await;
    assert!(watching.trouble.is_some());

    dir.remove("a.json");
    watching
        .until_trouble("a.json cannot be read: No such file")
        .await;
    std::fs::create_dir(dir.at("a.json")).unwrap();
    watching
        .until_trouble("a.json cannot be read: found no regular file")
        .await;
    watching.until_ids(&["web a:1", "web b:2"]).await;
    std::fs::remove_dir(dir.at("a.json")).unwrap();
    dir.replace("a.json", &one("db", "a:3"));
    watching.until_ids(&["db a:3", "web b:2"]).await;
    watching.until("mended", |seen| seen.trouble.is_none()).await;
}

#[tokio::test]
async fn what_went_while_another_file_was_broken_is_gone_when_that_is_as_it_was() {
    let dir = Dir::new();
    dir.replace("a.json", &one("web", "a:1"));
    dir.replace("b.json", &one("db", "b:1"));
    let mut watching = Watching::listed(dir.config(&["a.json", "b.json"])).await;
    dir.replace("a.json", "[");
    watching.until_trouble("a.json").await;
    dir.replace("b.json", &one("cache", "b:1"));
    watching.until_ids(&["cache b:1", "db b:1", "web a:1"]).await;
    dir.replace("a.json", &one("web", "a:1"));
    watching.until_ids(&["cache b:1", "web a:1"]).await;
    assert_eq!(watching.trouble, None);
}

#[tokio::test]
async fn nothing_is_listed_before_every_file_could_be_read() {
    let dir = Dir::new();
    dir.replace("a.json", &one("web", "a:1"));
    let mut watching = Watching::open(dir.config(&["a.json", "b.json"])).await;
    watching.until_trouble("b.json cannot be read").await;
    for _ in 0..3 {
        assert_eq!(watching.next().await, "degraded");
    }
    dir.replace("b.json", "[]");
    watching.until_ids(&["web a:1"]).await;
    assert_eq!(*watching.log.last().unwrap(), "listed");
}

#[tokio::test]
async fn nothing_is_listed_before_every_pattern_could_be_listed() {
    let dir = Dir::new();
    dir.replace("a.json", &one("web", "a:1"));
    let mut watching = Watching::open(dir.config(&["a.json", "sd/*.json"])).await;
    watching.until_trouble("sd/*.json cannot be read").await;
    for _ in 0..3 {
        assert_eq!(watching.next().await, "degraded");
    }
    std::fs::create_dir(dir.at("sd")).unwrap();
    dir.replace("sd/b.json", &one("web", "b:1"));
    watching.until_ids(&["web a:1", "web b:1"]).await;
    assert_eq!(watching.log.iter().filter(|word| **word != "degraded").count(), 1);
}

#[tokio::test]
async fn files_of_a_pattern_come_and_go_and_their_last_one_does_not() {
    let dir = Dir::new();
    let mut watching = Watching::open(dir.config(&["sd-*.json"])).await;
    watching
        .until_trouble("sd-*.json cannot be read: found no file of that pattern")
        .await;
    dir.replace("sd-a.json", &one("web", "a:1"));
    dir.replace("other.json", &one("web", "x:1"));
    watching.until_ids(&["web a:1"]).await;
    dir.replace("sd-b.json", &one("web", "b:1"));
    watching.until_ids(&["web a:1", "web b:1"]).await;
    dir.remove("sd-a.json");
    watching.until_ids(&["web b:1"]).await;
    dir.remove("sd-b.json");
    watching.until_trouble("found no file of that pattern").await;
    watching.until_ids(&["web b:1"]).await;
    dir.replace("sd-b.json", "[]");
    watching.until_ids(&[]).await;
}

#[tokio::test]
async fn a_file_that_is_too_large_is_refused_and_so_is_an_empty_one() {
    let dir = Dir::new();
    dir.replace("a.yml", "- targets: ['a:1']\n  labels: { job: web }\n");
    let mut config = dir.config(&["a.yml"]);
    config.http.max_body_bytes = 100;
    let mut watching = Watching::listed(config).await;
    dir.replace("a.yml", &format!("- targets: ['a:1']\n# {}\n", "x".repeat(100)));
    watching
        .until_trouble("a.yml is larger than max_body_bytes = 100")
        .await;
    dir.replace("a.yml", "");
    watching.until_trouble("a.yml: unexpected end of file").await;
    watching.until_ids(&["web a:1"]).await;
}

#[tokio::test]
async fn the_probe_reads_all_files() {
    let dir = Dir::new();
    dir.replace("a.json", &one("web", "a:1"));
    let mut config = dir.config(&["a.json", "b.json"]);
    config.interval = Duration::from_secs(30);
    let registry = HttpSdRegistry::try_new(config).unwrap();
    let error = registry.probe().await.unwrap_err().report();
    assert!(error.contains("b.json cannot be read"), "{error}");
    dir.replace("b.json", "[]");
    registry.probe().await.unwrap();
}
