//! The Nomad registry: against a server that plays Nomad, and what a healthy server can show also against a real one,
//! where `REGISTRY_TEST_NOMAD_ADDR` names it.

mod captures;
mod conformance;
mod cuts;
mod events;
mod indexes;
mod life;
mod limits;
mod opinions;
mod rights;
mod trouble;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use registry_consul::{NomadConfig, NomadRegistry};
use registry_core::{Discovery, ErrorKind, Guard, RegistryOptions, Snapshot};
use registry_testkit::nomad::{Job, NomadPlay, Registration, Settings, World};
use registry_testkit::wait;
use tempfile::TempDir;
use tokio::sync::RwLock;

use crate::support::{DEADLINE, ready, until};

/// What drains the only node of a real server holds it for itself, all others share it.
static NODE: RwLock<()> = RwLock::const_new(());

/// Settings for short tests.
fn config(url: &str) -> NomadConfig {
    registry_testkit::init_tls();
    let mut config = NomadConfig {
        address: Some(url.to_owned()),
        wait: Duration::from_secs(2),
        list_interval: Duration::from_millis(100),
        ..NomadConfig::default()
    };
    config.http.request_timeout = Duration::from_secs(10);
    config
}

/// A discovery of that one registry, which believes any loss that the registry tells. Its hostnames are
/// `<service>.<namespace>`.
fn discover(config: NomadConfig) -> Discovery {
    discover_guarded(config, None)
}

/// The same with a guard against losses.
fn discover_guarded(config: NomadConfig, guard: Option<Guard>) -> Discovery {
    let options = RegistryOptions {
        hostname: Some("{name}.{namespace}".parse().unwrap()),
        guard,
        compare: None,
        ..RegistryOptions::default()
    };
    let registry = NomadRegistry::try_new(config).unwrap();
    Discovery::builder()
        .registry_with("nomad", registry, options)
        .unwrap()
        .start()
        .unwrap()
}

/// A play with these services in the namespace `default`, each with so many instances.
async fn play(services: &[(&str, u8)]) -> NomadPlay {
    play_with(Settings::default(), services).await
}

async fn play_with(settings: Settings, services: &[(&str, u8)]) -> NomadPlay {
    let play = NomadPlay::start_with(settings).await.unwrap();
    for (name, count) in services {
        play.register(&instances(name, *count));
    }
    play
}

/// So many instances in the namespace `default`, numbered from 1.
fn instances(service: &str, count: u8) -> Vec<Registration> {
    (1..=count)
        .map(|number| Registration::new(service, number))
        .collect()
}

/// All that is published: `<address>:<port> <raw status>` by hostname, sorted.
type Shown = BTreeMap<String, BTreeSet<String>>;

fn shown(snapshot: &Snapshot) -> Shown {
    let services = snapshot.services().map(|service| {
        let endpoints = service.endpoints().iter().map(|endpoint| {
            let claim = endpoint.claims().next().unwrap();
            let ports = registry_testkit::witness::ports(endpoint);
            format!("{}:{ports} {}", endpoint.address(), claim.status)
        });
        (service.hostname().to_string(), endpoints.collect())
    });
    services.collect()
}

fn line(registration: &Registration, status: &str) -> String {
    format!("{}:{} {status}", registration.address, registration.port)
}

/// What a play holds, as it has to be published where nothing more is known of it.
fn truth(play: &NomadPlay) -> Shown {
    let services = play.services().into_iter().map(|((namespace, name), held)| {
        let lines = held.iter().map(|one| line(one, "registered"));
        (format!("{name}.{namespace}"), lines.collect())
    });
    services.collect()
}

/// Waits until exactly this is published.
async fn until_shown(what: &str, discovery: &Discovery, wanted: &Shown) -> Arc<Snapshot> {
    let what = format!("{what}: {wanted:?}");
    until(&what, discovery, |snapshot| shown(snapshot) == *wanted).await
}

/// Waits until what a play holds is published, and nothing else.
async fn until_true(what: &str, discovery: &Discovery, play: &NomadPlay) {
    until_shown(what, discovery, &truth(play)).await;
}

/// A discovery that has listed everything of a play, whose event streams are served.
async fn synced(play: &NomadPlay, config: NomadConfig) -> Discovery {
    let streams = if config.events { config.namespaces.len() } else { 0 };
    let discovery = discover(config);
    ready(&discovery).await;
    until_streams(play, streams).await;
    until_true("at the start", &discovery, play).await;
    discovery
}

async fn until_streams(play: &NomadPlay, count: usize) {
    let opened = wait::until(format!("{count} event streams"), DEADLINE, async || {
        (play.streams() == count).then_some(())
    });
    opened.await.unwrap();
}

/// Requests of a play whose path starts so, from the one with that number on.
fn requests_from(play: &NomadPlay, first: usize, path: &str) -> usize {
    let requests = play.requests();
    let rest = requests.iter().skip(first);
    rest.filter(|request| request.path().starts_with(path)).count()
}

/// Scopes that are degraded, each with the kind of its error.
fn degraded(discovery: &Discovery) -> BTreeMap<String, ErrorKind> {
    let status = discovery.status();
    let degraded = status.iter().flat_map(|status| &status.degraded);
    degraded.map(|held| (held.scope.to_string(), held.kind)).collect()
}

async fn until_degraded(discovery: &Discovery, scope: &str, kind: ErrorKind) {
    until(&format!("{scope} degraded by {kind:?}"), discovery, |_| {
        degraded(discovery).get(scope) == Some(&kind)
    })
    .await;
}

async fn until_healthy(discovery: &Discovery) {
    until("nothing degraded", discovery, |_| degraded(discovery).is_empty()).await;
}

async fn pause(seconds: f64) {
    tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
}

// === worlds ===

/// Settings for services of this prefix in a world, and what has to live as long.
fn world_config(world: &dyn World, prefix: &str) -> (NomadConfig, TempDir) {
    token_config(world, prefix, world.token())
}

fn token_config(world: &dyn World, prefix: &str, token: Option<&str>) -> (NomadConfig, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(world.api().url());
    config.services = vec![format!("{prefix}*")];
    if let Some(token) = token {
        let file = folder.path().join("token");
        std::fs::write(&file, token).unwrap();
        config.token_file = Some(file);
    }
    (config, folder)
}

/// Waits until the instances of these jobs that the server itself lists are published with that status, and nothing else;
/// each has to have so many.
async fn until_jobs(what: &str, discovery: &Discovery, world: &dyn World, jobs: &[(&Job, usize, &str)]) {
    let mut wanted = Shown::new();
    for (job, count, status) in jobs {
        let held = world.api().instances(job.namespace(), job.name()).await.unwrap();
        assert_eq!(held.len(), *count, "{what}: {}", job.name());
        if !held.is_empty() {
            let lines = held.iter().map(|one| line(one, status)).collect();
            wanted.insert(format!("{}.{}", job.name(), job.namespace()), lines);
        }
    }
    until_shown(what, discovery, &wanted).await;
}
