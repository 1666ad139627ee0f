//! What is made of what a feed of Secrets says.

use super::*;

const NEW_YEAR: &str = "2026-01-01T00:00:00Z";
const SPRING: &str = "2026-03-20T00:00:00Z";

/// A fleet that has these Secrets, and whose members were applied.
async fn synced(key: Option<&str>, secrets: &[Bytes]) -> (Stage, Members) {
    let (mut stage, mut members) = Stage::new(key);
    stage.list(secrets);
    stage.set(&mut members).await.done();
    while stage.said().await != "done registry" {}
    (stage, members)
}

fn one(name: &str) -> Bytes {
    secret(
        name,
        NEW_YEAR,
        &[("value", &kubeconfig(name)), ("other", "beside")],
    )
}

#[tokio::test(start_paused = true)]
async fn with_a_key_each_secret_is_a_member_of_its_name() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    stage.list(&[
        one("west"),
        one("east"),
        secret("odd", NEW_YEAR, &[("config", "x"), ("ca", "y")]),
    ]);
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["east", "west"]);
    set.done();
    let missing = "degraded group odd: Secret control/odd, key value: found no such key among `ca`, `config`, \
                   expected a kubeconfig there";
    assert_eq!(stage.said().await, missing);
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
    assert_eq!(
        stage.said().await,
        missing,
        "a listing clears what was degraded, so it is said again"
    );
}

#[tokio::test(start_paused = true)]
async fn without_a_key_each_value_is_a_member_of_its_keys_name() {
    let (mut stage, mut members) = Stage::new(None);
    let (east, west, north) = (kubeconfig("east"), kubeconfig("west"), kubeconfig("north"));
    stage.list(&[
        secret("one", NEW_YEAR, &[("west", &west), ("east", &east)]),
        secret("two", NEW_YEAR, &[("north", &north)]),
        secret("zero", NEW_YEAR, &[]),
    ]);
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["east", "north", "west"]);
    let empty =
        "degraded group Secret control/zero: Secret control/zero: found no data, expected kubeconfigs";
    assert_eq!(stage.said().await, empty);
}

#[tokio::test(start_paused = true)]
async fn of_two_secrets_with_the_same_name_the_oldest_gets_it_in_any_order() {
    let old = secret("z", NEW_YEAR, &[("east", &kubeconfig("old"))]);
    let new = secret("a", SPRING, &[("east", &kubeconfig("new"))]);
    let mut fingerprints = Vec::new();
    for order in [[old.clone(), new.clone()], [new, old]] {
        let (mut stage, mut members) = Stage::new(None);
        stage.list(&order);
        let set = stage.set(&mut members).await;
        assert_eq!(names(&set), ["east"]);
        fingerprints.push(set.members[0].fingerprint);
        assert_eq!(
            stage.said().await,
            "degraded group east: Secret control/a, key east: Secret control/z, key east has the same name, and comes \
             first"
        );
        // With the first one gone the name is free for the other.
        stage.tell(vec![Told::Removed(secret("z", NEW_YEAR, &[]))]);
        let set = stage.set(&mut members).await;
        assert_ne!(set.members[0].fingerprint, fingerprints[0]);
        assert_eq!(stage.said().await, "init group east");
        assert_eq!(stage.said().await, "done group east");
    }
    assert_eq!(fingerprints[0], fingerprints[1]);
}

#[tokio::test(start_paused = true)]
async fn single_words_add_change_and_remove_members() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a"), one("b")]).await;
    stage.tell(vec![Told::Changed(one("c"))]);
    assert_eq!(names(&stage.set(&mut members).await), ["a", "b", "c"]);
    stage.tell(vec![Told::Removed(one("a"))]);
    assert_eq!(names(&stage.set(&mut members).await), ["b", "c"]);
    // All at once, too: the server says so in so many words.
    stage.tell(vec![Told::Removed(one("b")), Told::Removed(one("c"))]);
    assert_eq!(names(&stage.set(&mut members).await), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_complete_listing_removes_what_it_lacks_and_one_that_breaks_off_nothing() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a"), one("b")]).await;
    let refused = || Told::Failed(Arc::new(RegistryError::new(ErrorKind::Unreachable, "refused")));
    stage.tell(vec![Told::Begin, Told::Listed(one("a")), refused()]);
    assert_eq!(stage.said().await, "degraded registry: refused");
    stage.tell(vec![Told::Begin, Told::Listed(one("a"))]);
    assert!(stage.silent().await);
    stage.list(&[one("a")]);
    assert_eq!(names(&stage.set(&mut members).await), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_listing_without_any_of_the_members_is_asked_for_again_before_it_is_believed() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a"), one("b")]).await;
    stage.list(&[]);
    let doubted =
        "degraded registry: 2 of 2 clusters are missing at once; they are kept until that is so for 30s";
    assert_eq!(stage.said().await, doubted);
    stage.asked.try_recv().expect_err("it is too early to ask again");
    assert!(stage.silent_for(Duration::from_secs(29)).await);
    stage.asked.try_recv().expect_err("it is too early to ask again");
    assert!(stage.silent_for(Duration::from_secs(2)).await);
    stage.asked.try_recv().expect("the feed is asked to list again");
    stage.list(&[]);
    assert_eq!(names(&stage.set(&mut members).await), [""; 0]);
    assert_eq!(stage.said().await, "confirmed registry");
}

#[tokio::test(start_paused = true)]
async fn a_kubeconfig_that_breaks_is_degraded_and_its_member_stays() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a"), one("b")]).await;
    for (broken, said) in [
        (
            "hunter2: [",
            "degraded group a: Secret control/a, key value: found something else at line 1, column 10, expected a kubeconfig in YAML",
        ),
        (
            "",
            "degraded group a: Secret control/a, key value: found nothing, expected a kubeconfig",
        ),
    ] {
        stage.tell(vec![Told::Changed(secret("a", NEW_YEAR, &[("value", broken)]))]);
        assert_eq!(stage.said().await, said);
        assert_eq!(stage.said().await, "confirmed registry");
        // Said once: it is no news at the next word.
        stage.tell(vec![Told::Changed(one("b"))]);
        assert_eq!(stage.said().await, "confirmed registry");
    }
    stage.tell(vec![Told::Changed(one("a"))]);
    assert_eq!(stage.said().await, "init group a");
    assert_eq!(stage.said().await, "done group a");
    assert!(
        tokio::time::timeout(LONG, members.next()).await.is_err(),
        "nothing changed"
    );
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_which_rights_are_missing() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a")]).await;
    let forbidden = RegistryError::new(
        ErrorKind::Denied,
        "GET /api/v1/namespaces/control/secrets: 403 forbidden",
    )
    .with_retry_after(Some(Duration::from_secs(30)));
    stage.tell(vec![Told::Failed(Arc::new(forbidden))]);
    let Event::Degraded { scope, error } = stage.batch().await.remove(0) else {
        panic!("it is an error")
    };
    assert_eq!(scope, Scope::Registry);
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
    assert_eq!(
        error.report(),
        "kubeconfigs in Secrets: expected the rights to `list` and to `watch` `secrets` in the namespace control: GET \
         /api/v1/namespaces/control/secrets: 403 forbidden"
    );
    assert!(
        tokio::time::timeout(LONG, members.next()).await.is_err(),
        "all members stay"
    );
}

#[tokio::test(start_paused = true)]
async fn while_an_object_of_a_listing_is_unreadable_nothing_is_removed_and_it_is_listed_again() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a"), one("b")]).await;
    let odd = Bytes::from_static(br#"{"metadata":{"name":7},"data":{"value":"aHVudGVyMg=="}}"#);
    stage.list(&[one("c"), odd]);
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["a", "b", "c"]);
    set.done();
    let said = "degraded registry: Secrets of namespace control: found an object that is no Secret, at line 1, column \
                21 of it";
    assert_eq!(stage.said().await, said);
    stage.tell(vec![Told::Confirmed]);
    assert_eq!(stage.said().await, said, "it is not forgotten");
    assert!(stage.silent_for(Duration::from_secs(61)).await);
    stage.asked.try_recv().expect("the feed is asked to list again");
    stage.list(&[one("c")]);
    stage.set(&mut members).await.done();
    assert_eq!(stage.control.meter().skipped(), 1);
}

#[tokio::test(start_paused = true)]
async fn more_members_than_there_may_be_change_nothing_for_those_there_are() {
    let (mut stage, mut members) = synced(Some("value"), &[one("a")]).await;
    let many: Vec<Bytes> = (0..1001)
        .map(|i| secret(&format!("c{i:04}"), NEW_YEAR, &[("value", "x")]))
        .collect();
    stage.list(&many);
    let mut said = stage.said().await;
    while !said.starts_with("degraded registry") {
        said = stage.said().await;
    }
    assert!(
        said.contains("found more than 1000 kubeconfigs") && said.ends_with("c1000 is left out"),
        "{said}"
    );
    assert!(
        tokio::time::timeout(LONG, members.next()).await.is_err(),
        "nothing changed"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_secret_is_shown() {
    let (stage, mut members) = synced(Some("value"), &[one("a")]).await;
    stage.tell(vec![Told::Changed(one("b"))]);
    let mut stage = stage;
    let set = stage.set(&mut members).await;
    let shown = format!("{set:?} {members:?} {:?} {:?}", stage.fleet, set.members[0]);
    assert!(shown.contains("\"b\"") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test(start_paused = true)]
async fn a_secret_may_not_reach_into_this_machine_and_a_file_may() {
    let reaching = kubeconfig("a").replace("token: hunter2", "exec: { command: ./login, apiVersion: v1 }");
    let (mut stage, mut members) = Stage::new(Some("value"));
    stage.list(&[secret("a", NEW_YEAR, &[("value", &reaching)])]);
    assert_eq!(names(&stage.set(&mut members).await), [""; 0]);
    let said = stage.said().await;
    assert!(
        said.starts_with("degraded group a: Secret control/a, key value: user.exec: found"),
        "{said}"
    );

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), &reaching).unwrap();
    let candidate = directory::find(dir.path()).unwrap().remove(0);
    let file = candidate.found.clone().unwrap();
    let base = dir.path().to_owned();
    member(
        &KubernetesConfig::default(),
        &Make::services(),
        Some(&base),
        &candidate,
        &file,
    )
    .expect("the file is trusted");
}

/// An API server that has one page of Secrets, and whose watches say nothing.
#[derive(Debug)]
struct OnePage {
    page: Bytes,
    asked: std::sync::Mutex<Vec<String>>,
}

#[async_trait]
impl Transport for OnePage {
    async fn get(&self, ask: Ask) -> Result<crate::transport::Body, crate::transport::Refusal> {
        self.asked.lock().unwrap().push(ask.path.clone());
        if ask.watch {
            return Ok(Box::pin(futures_util::stream::pending()));
        }
        let page = self.page.clone();
        Ok(Box::pin(futures_util::stream::once(async move { Ok(page) })))
    }
}

#[tokio::test(start_paused = true)]
async fn secrets_are_listed_by_namespace_and_labels_in_small_pages() {
    let items: Vec<serde_json::Value> = [one("a"), one("b")]
        .iter()
        .map(|secret| serde_json::from_slice(secret).unwrap())
        .collect();
    let page = json!({ "kind": "SecretList", "apiVersion": "v1", "metadata": { "resourceVersion": "9" }, "items": items });
    let server = Arc::new(OnePage {
        page: page.to_string().into(),
        asked: std::sync::Mutex::default(),
    });
    let (stage, mut members) = Stage::new(Some("value"));
    let config = KubernetesConfig {
        streaming_lists: false,
        ..KubernetesConfig::default()
    };
    let feed = secrets::feed(server.clone(), &stage.config, &config, stage.control.clone());
    let secrets = Secrets::new(Box::new(feed), stage.config.clone(), stage.control.clone());
    let source = Source::Secrets(secrets);
    let mut stage = Stage {
        watch: events(Session::new(
            stage.fleet.shared.clone(),
            source,
            stage.control.clone(),
        )),
        ..stage
    };
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["a", "b"]);
    set.done();
    assert_eq!(stage.said().await, "init registry");
    let asked = server.asked.lock().unwrap()[0].clone();
    let (path, query) = asked.split_once('?').unwrap();
    assert_eq!(path, "/api/v1/namespaces/control/secrets");
    let mut query: Vec<&str> = query.split('&').collect();
    query.sort_unstable();
    assert_eq!(query, ["labelSelector=clusters%3Dyes", "limit=50"]);
}
