//! Views of a running discovery: when they begin to speak, what they say, when they end.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use registry_core::Discovery;
use registry_testkit::scripted::{ScriptHandle, ScriptedRegistry, Step};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::super::Views;
use super::*;
use crate::node::Node;

const DEADLINE: Duration = Duration::from_secs(60);

type Slot = watch::Receiver<Option<Arc<ResourceSet>>>;

fn plain(name: &str) -> Draft {
    service(name)
        .label("ports", "80")
        .label("hosts", &format!("http.15001={name}"))
}

fn records(drafts: impl IntoIterator<Item = Draft>) -> Vec<ServiceRecord> {
    drafts.into_iter().map(|draft| draft.record()).collect()
}

fn optional() -> RegistryOptions {
    RegistryOptions {
        required: false,
        guard: None,
        ..RegistryOptions::default()
    }
}

/// A registry that says nothing before the test does, beside one that has `web`.
fn discover(late: RegistryOptions) -> (Discovery, ScriptHandle, ScriptHandle) {
    let web = ScriptedRegistry::new([Step::list(records([plain("web")]))]);
    let silent = ScriptedRegistry::new([]);
    let handles = (web.handle(), silent.handle());
    let options = RegistryOptions {
        guard: None,
        ..RegistryOptions::default()
    };
    let discovery = Discovery::builder()
        .registry_with("web", web, options)
        .unwrap()
        .registry_with("late", silent, late)
        .unwrap()
        .start_deadline(Duration::from_secs(5))
        .start()
        .unwrap();
    (discovery, handles.0, handles.1)
}

fn views_of(discovery: &Discovery, config: XdsConfig) -> (Views, CancellationToken) {
    let stop = CancellationToken::new();
    (
        Views::translating(discovery.clone(), config, stop.clone(), fake()),
        stop,
    )
}

/// Waits for a set of which something is true; only one that readers are told of counts.
async fn told(slot: &mut Slot, wanted: impl Fn(&ResourceSet) -> bool) -> Arc<ResourceSet> {
    let found = slot.wait_for(|set| set.as_ref().is_some_and(|set| wanted(set)));
    let found = timeout(DEADLINE, found)
        .await
        .expect("nobody was told")
        .expect("the view ended");
    found.clone().unwrap()
}

fn has(set: &ResourceSet, name: &str) -> bool {
    let name = names::cluster("80", "", &format!("{name}.scripted"));
    set.get(ResourceType::Cluster, &name).is_some()
}

#[tokio::test(start_paused = true)]
async fn nothing_is_served_before_discovery_is_ready() {
    let (discovery, _, late) = discover(RegistryOptions::default());
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let mut slot = views.watch(envoy());
    sleep(Duration::from_secs(600)).await;
    assert_eq!(discovery.snapshot().len(), 1, "one registry has spoken");
    assert!(
        slot.borrow_and_update().is_none(),
        "the other, which is required, has not"
    );
    assert!(views.look(&Node::default()).await.is_none());

    late.set(records([plain("api")]));
    let set = told(&mut slot, |_| true).await;
    assert!(has(&set, "web") && has(&set, "api") && set.is_complete());
    assert_eq!(set.revision(), discovery.snapshot().revision());
}

#[tokio::test(start_paused = true)]
async fn absences_are_in_doubt_until_an_optional_registry_has_spoken_though_it_has_nothing() {
    let (discovery, _, late) = discover(optional());
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let mut slot = views.watch(envoy());
    let set = told(&mut slot, |_| true).await;
    assert!(has(&set, "web") && !set.is_complete());
    assert!(set.is_undecided(ResourceType::Cluster, "outbound|80||api.scripted"));

    late.set([]);
    let known = told(&mut slot, ResourceSet::is_complete).await;
    assert_eq!(
        known.version(ResourceType::Cluster),
        set.version(ResourceType::Cluster)
    );
    assert!(!known.is_undecided(ResourceType::Cluster, "outbound|80||api.scripted"));
}

#[tokio::test(start_paused = true)]
async fn absences_are_meant_from_the_start_deadline_on_where_that_is_configured() {
    let (discovery, _, late) = discover(optional());
    let config = XdsConfig {
        serve_partial: true,
        ..XdsConfig::default()
    };
    let (views, _stop) = views_of(&discovery, config);
    let mut slot = views.watch(envoy());
    sleep(Duration::from_secs(3)).await;
    assert!(slot.borrow().is_none(), "the deadline has not passed");
    let set = told(&mut slot, |_| true).await;
    assert!(set.is_complete());
    // But nobody is told that a name does not exist which may yet come.
    let api = "outbound|80||api.scripted";
    assert!(!set.is_undecided(ResourceType::Cluster, api) && set.may_exist(ResourceType::Cluster, api));
    late.set([]);
    told(&mut slot, |set| !set.may_exist(ResourceType::Cluster, api)).await;
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_sleeps_finds_the_newest_set_alone() {
    let (discovery, web, late) = discover(optional());
    late.set([]);
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let mut slot = views.watch(envoy());
    told(&mut slot, |set| has(set, "web")).await;
    for n in 0..50 {
        web.set(records([plain("web"), plain(&format!("s{n}"))]));
        sleep(Duration::from_secs(1)).await;
    }
    assert!(slot.has_changed().unwrap());
    let set = slot.borrow_and_update().clone().unwrap();
    assert!(has(&set, "web") && has(&set, "s49"));
    assert_eq!(set.len(ResourceType::Cluster), 2);
    assert!(!slot.has_changed().unwrap(), "and no other after it");
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_a_change_that_is_not_theirs() {
    let (discovery, web, late) = discover(optional());
    late.set([]);
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let wants = View {
        services: vec!["web.*".into()],
        ..envoy()
    };
    let mut slot = views.watch(wants);
    told(&mut slot, ResourceSet::is_complete).await;
    let mut other = views.watch(envoy());
    told(&mut other, |_| true).await;
    web.set(records([plain("web"), plain("api")]));
    told(&mut other, |set| has(set, "api")).await;
    sleep(Duration::from_secs(1)).await;
    assert!(!slot.has_changed().unwrap());
    let set = slot.borrow().clone().unwrap();
    assert!(!has(&set, "api"));
    assert_eq!(
        set.revision(),
        discovery.snapshot().revision(),
        "it is as new all the same"
    );
}

#[tokio::test(start_paused = true)]
async fn thousands_of_services_at_once_go_the_same_way_as_one() {
    let (discovery, web, late) = discover(optional());
    late.set([]);
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let mut slot = views.watch(envoy());
    told(&mut slot, |set| has(set, "web")).await;
    web.set(records((0..2_000).map(|n| plain(&format!("s{n}")))));
    let set = told(&mut slot, |set| has(set, "s1999")).await;
    assert_eq!((set.len(ResourceType::Cluster), has(&set, "web")), (2_000, false));
    assert_eq!(hosts_of(&set, "http.15001").len(), 2_000);
    web.set([]);
    told(&mut slot, |set| set.len(ResourceType::Cluster) == 0).await;
}

#[tokio::test(start_paused = true)]
async fn a_view_outlives_a_reconnect_and_not_much_more() {
    let (discovery, _, late) = discover(optional());
    late.set([]);
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    let counting: Arc<Translate> = Arc::new(move |service, _, _| {
        counted.fetch_add(1, Ordering::Relaxed);
        translate(service)
    });
    let views = Views::translating(
        discovery,
        XdsConfig::default(),
        CancellationToken::new(),
        counting,
    );
    let mut slot = views.watch(envoy());
    told(&mut slot, |set| has(set, "web")).await;
    assert_eq!(made.load(Ordering::Relaxed), 1);

    drop(slot);
    sleep(Duration::from_secs(20)).await;
    let slot = views.watch(envoy());
    assert!(slot.borrow().is_some(), "it is warm");
    // Whoever comes and stays meanwhile is not disturbed by the time that the view was alone for before.
    sleep(Duration::from_secs(600)).await;
    assert!(slot.borrow().is_some() && slot.has_changed().is_ok());

    drop(slot);
    sleep(Duration::from_secs(60)).await;
    assert!(views.shared.slots().is_empty());
    let mut slot = views.watch(envoy());
    assert!(slot.borrow().is_none());
    told(&mut slot, |set| has(set, "web")).await;
    assert_eq!(made.load(Ordering::Relaxed), 2);
}

#[tokio::test(start_paused = true)]
async fn a_service_whose_translation_breaks_keeps_what_it_had_and_no_other_notices() {
    let (discovery, web, late) = discover(optional());
    late.set([]);
    let fragile: Arc<Translate> = Arc::new(|service, _, _| {
        assert!(service.labels().get("warn").is_none(), "as the test wants it");
        translate(service)
    });
    let views = Views::translating(discovery, XdsConfig::default(), CancellationToken::new(), fragile);
    let mut slot = views.watch(envoy());
    told(&mut slot, |set| has(set, "web")).await;
    web.set(records([plain("web").label("warn", "x"), plain("api")]));
    let set = told(&mut slot, |set| has(set, "api")).await;
    assert!(has(&set, "web"));
    let warned = views.warnings();
    assert_eq!((warned.len(), warned[0].hostname.as_str()), (1, "web.scripted"));

    web.set(records([plain("web").endpoints(2), plain("api")]));
    told(&mut slot, |now| {
        now.version(ResourceType::Endpoints) != set.version(ResourceType::Endpoints)
    })
    .await;
    assert!(views.warnings().is_empty());
}

#[tokio::test(start_paused = true)]
async fn other_settings_reach_each_view_as_one_set_that_keeps_what_is_equal() {
    let (discovery, _, late) = discover(optional());
    late.set(records([plain("api"), plain("db")]));
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let mut slot = views.watch(envoy());
    let before = told(&mut slot, |set| has(set, "web") && has(set, "api")).await;
    let config = XdsConfig {
        exclude_services: vec!["api.*".to_owned()],
        ..XdsConfig::default()
    };
    views.reconfigure(config.clone());
    let after = told(&mut slot, |set| !has(set, "api")).await;
    assert_eq!(*views.config(), config);
    assert_eq!(after.len(ResourceType::Cluster), 2);
    for type_ in [
        ResourceType::Cluster,
        ResourceType::Endpoints,
        ResourceType::Listener,
    ] {
        for resource in after.iter(type_) {
            assert!(Arc::ptr_eq(resource, before.get(type_, resource.name()).unwrap()));
        }
    }
    assert_eq!(hosts_of(&after, "http.15001").len(), 2);
    sleep(Duration::from_secs(60)).await;
    assert!(!slot.has_changed().unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_look_at_a_view_that_nobody_watches_leaves_none_behind() {
    let (discovery, _, late) = discover(optional());
    late.set(records([plain("odd").label("warn", "very")]));
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    discovery.ready().await;
    let (set, warned) = views.look(&Node::default()).await.unwrap();
    assert!(has(&set, "web") && has(&set, "odd"));
    assert_eq!((warned.len(), warned[0].problem.as_str()), (1, "very"));
    assert!(views.shared.slots().is_empty() && views.warnings().is_empty());

    let mut slot = views.watch(envoy());
    let watched = told(&mut slot, |set| has(set, "odd")).await;
    assert_eq!(views.warnings(), warned);
    let (looked, again) = views.look(&Node::default()).await.unwrap();
    assert!(Arc::ptr_eq(&looked, &watched));
    assert_eq!(again, warned);
}

#[tokio::test(start_paused = true)]
async fn views_end_when_they_are_told_to_and_not_with_their_discovery() {
    let (discovery, _, late) = discover(optional());
    late.set([]);
    let (views, stop) = views_of(&discovery, XdsConfig::default());
    let mut slot = views.watch(envoy());
    told(&mut slot, |set| has(set, "web")).await;
    discovery.shutdown().await;
    sleep(Duration::from_secs(60)).await;
    assert!(slot.has_changed().is_ok(), "what was known stays served");
    stop.cancel();
    let ended = timeout(DEADLINE, async { while slot.changed().await.is_ok() {} }).await;
    assert!(ended.is_ok());
}

#[tokio::test(start_paused = true)]
async fn more_kinds_of_nodes_than_fit_are_refused_and_those_that_are_there_are_not() {
    let (discovery, _, _late) = discover(optional());
    let (views, _stop) = views_of(&discovery, XdsConfig::default());
    let kind = |n: usize| View {
        services: vec![format!("s{n}").into()],
        ..envoy()
    };
    let all: Vec<Slot> = (0..super::super::MOST)
        .map(|n| views.admit(kind(n)).unwrap())
        .collect();
    assert!(views.admit(envoy()).is_none());
    assert!(views.admit(kind(7)).is_some());
    drop(all);
    // Views are kept for a while after their last reader.
    sleep(Duration::from_secs(60)).await;
    assert!(views.admit(envoy()).is_some());
}
