//! Sets of members, from the fleet to whoever applies them and back.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_fleet_is_synced_when_its_first_members_are_applied() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    stage.list(&[secret(
        "a",
        "2026-01-01T00:00:00Z",
        &[("value", &kubeconfig("a"))],
    )]);
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["a"]);
    assert!(stage.silent().await, "the set is not applied yet");
    set.done();
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
    stage.tell(vec![Told::Confirmed]);
    assert_eq!(stage.said().await, "confirmed registry");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_is_dropped_is_handed_out_again() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    stage.list(&[secret(
        "a",
        "2026-01-01T00:00:00Z",
        &[("value", &kubeconfig("a"))],
    )]);
    let first = stage.set(&mut members).await;
    let registry = first.members[0].registry.clone();
    drop(first);
    let second = stage.set(&mut members).await;
    assert!(Arc::ptr_eq(&registry, &second.members[0].registry));
    // While the next one is already waited for, too.
    let dropping = async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        drop(second);
        std::future::pending::<()>().await;
    };
    let third = tokio::select! {
        third = stage.set(&mut members) => third,
        () = dropping => unreachable!(),
    };
    third.done();
    assert_eq!(stage.said().await, "init registry");
    assert!(
        tokio::time::timeout(LONG, members.next()).await.is_err(),
        "an applied set is not handed out again"
    );
}

#[tokio::test(start_paused = true)]
async fn nobody_is_waited_for_where_nobody_takes_members() {
    let (mut stage, members) = Stage::new(Some("value"));
    stage.list(&[]);
    assert!(stage.silent().await);
    drop(members);
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
}

#[tokio::test(start_paused = true)]
async fn a_slow_taker_gets_only_the_newest_set() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    let secret = |name: &str| secret(name, "2026-01-01T00:00:00Z", &[("value", &kubeconfig(name))]);
    stage.list(&[secret("a")]);
    stage.tell(vec![Told::Changed(secret("b"))]);
    stage.tell(vec![Told::Changed(secret("c"))]);
    assert!(stage.silent().await);
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["a", "b", "c"]);
    let another = tokio::time::timeout(Duration::from_secs(5), members.next()).await;
    assert!(another.is_err());
    // An older set that is applied later says nothing of a newer one.
    stage.tell(vec![Told::Changed(secret("d"))]);
    assert!(stage.silent().await);
    set.done();
    assert!(stage.silent().await);
    let set = stage.set(&mut members).await;
    assert_eq!(names(&set), ["a", "b", "c", "d"]);
    set.done();
    assert_eq!(stage.said().await, "init registry");
}

#[tokio::test(start_paused = true)]
async fn a_set_that_nobody_applies_is_said_and_does_not_stop_the_watch() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    stage.list(&[]);
    let set = stage.set(&mut members).await;
    assert!(stage.silent_for(Duration::from_secs(31)).await);
    stage.tell(vec![Told::Confirmed]);
    let late = "degraded registry: the clusters that were found are not in use yet";
    assert_eq!(stage.said().await, late);
    set.done();
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
    stage.tell(vec![Told::Confirmed]);
    assert_eq!(stage.said().await, "confirmed registry");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_opened_again_begins_with_what_is_known_and_hands_out_nothing_new() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    let a = secret("a", "2026-01-01T00:00:00Z", &[("value", &kubeconfig("a"))]);
    stage.list(std::slice::from_ref(&a));
    stage.set(&mut members).await.done();
    assert_eq!(stage.said().await, "init registry");

    let mut stage = stage.reopen();
    stage.tell(vec![Told::Failed(Arc::new(RegistryError::new(
        ErrorKind::Unreachable,
        "refused",
    )))]);
    assert_eq!(stage.said().await, "degraded registry: refused");
    stage.list(&[a]);
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
    assert!(tokio::time::timeout(LONG, members.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wish_is_granted_with_a_listing_that_was_read_after_it() {
    let (mut stage, mut members) = Stage::new(Some("value"));
    stage.list(&[]);
    stage.set(&mut members).await.done();
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
    stage.control.request_resync(registry_core::Resync {
        scope: Scope::Registry,
        strong: false,
    });
    assert!(stage.silent().await);
    stage.asked.try_recv().expect("the feed is asked to list again");
    stage.tell(vec![Told::Confirmed]);
    assert!(stage.silent().await, "a confirmation is no listing");
    stage.list(&[]);
    assert_eq!(stage.said().await, "init registry");
    assert_eq!(stage.said().await, "done registry");
}

#[tokio::test(start_paused = true)]
async fn members_end_with_their_fleet() {
    let (stage, mut members) = Stage::new(None);
    drop(stage);
    assert!(members.next().await.is_none());
}

#[tokio::test]
async fn settings_that_make_no_fleet_name_their_field() {
    let directory = || Some(PathBuf::from("clusters"));
    for (config, said) in [
        (
            KubernetesConfig::default(),
            "directory: found neither it nor `secrets`, expected one of the two",
        ),
        (
            KubernetesConfig {
                directory: directory(),
                context: Some("c".to_owned()),
                ..KubernetesConfig::default()
            },
            "context: found beside `directory`, whose kubeconfigs name their contexts themselves",
        ),
        (
            KubernetesConfig {
                directory: directory(),
                cluster: Some("c".to_owned()),
                ..KubernetesConfig::default()
            },
            "cluster: found beside `directory` or `secrets`, expected it to be left out: each member has its own",
        ),
    ] {
        assert_eq!(Fleet::try_new(config).unwrap_err().to_string(), said);
    }
}
