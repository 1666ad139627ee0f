use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use registry_core::Event;

use super::*;

const PROPERTY: &str =
    r#"{"kind":"ClusterProperty","metadata":{"name":"cluster.clusterset.k8s.io"},"spec":{"value":"VALUE"}}"#;
const NAMESPACE: &str = r#"{"metadata":{"name":"kube-system","uid":"721ab723-13bc-11e5-aec2-42010af0021e"},"status":{"phase":"Active"}}"#;

/// What a cluster answers: a body, or a status.
type Answers = [(&'static str, Result<String, u16>)];

fn get(answers: &Answers, path: &str) -> Result<Answer, RegistryError> {
    let answer = answers.iter().find(|(held, _)| *held == path);
    let error = |kind, status| RegistryError::new(kind, format!("GET {path}: {status}"));
    match answer.map_or(&Err(404), |(_, answer)| answer) {
        Ok(body) => Ok(Answer::Found(body.clone().into())),
        Err(404) => Ok(Answer::Absent),
        Err(403) => Ok(Answer::Forbidden(error(ErrorKind::Denied, 403))),
        Err(401) => Err(error(ErrorKind::Denied, 401)),
        Err(status) => Err(error(ErrorKind::Unavailable, *status)),
    }
}

async fn id(answers: &Answers) -> Result<String, String> {
    let found = found("https://a", |path| async move { get(answers, path) }).await;
    found.map(Id::into_string).map_err(|error| error.report())
}

/// Answers one after the other, the last one for ever, and counts them.
struct Looks<T> {
    answers: Vec<Result<T, ErrorKind>>,
    looked: Arc<AtomicUsize>,
}

impl<T: Clone> Looks<T> {
    fn new(answers: &[Result<T, ErrorKind>]) -> Self {
        Self {
            answers: answers.to_vec(),
            looked: Arc::default(),
        }
    }

    fn next(&self) -> std::future::Ready<Result<T, RegistryError>> {
        let nth = self.looked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers.get(nth).or(self.answers.last()).unwrap().clone();
        std::future::ready(answer.map_err(|kind| RegistryError::new(kind, "no answer")))
    }
}

fn property(value: &str) -> Result<String, u16> {
    Ok(PROPERTY.replace("VALUE", value))
}

fn namespace() -> (&'static str, Result<String, u16>) {
    (KUBE_SYSTEM, Ok(NAMESPACE.to_owned()))
}

const UID: &str = "721ab723-13bc-11e5-aec2-42010af0021e";

#[tokio::test]
async fn the_property_goes_before_the_uid_and_its_newest_version_first() {
    let [beta, alpha] = PROPERTIES;
    assert_eq!(id(&[namespace()]).await.unwrap(), UID);
    assert_eq!(id(&[(alpha, property("a")), namespace()]).await.unwrap(), "a");
    let both = [(beta, property("b.example")), (alpha, property("a")), namespace()];
    assert_eq!(id(&both).await.unwrap(), "b.example");
}

#[tokio::test]
async fn a_refusal_is_no_absence() {
    let [beta, alpha] = PROPERTIES;
    let group = || (GROUP, Ok("{}".to_owned()));
    let denied = [(beta, Err(403)), group(), namespace()];
    let error = id(&denied).await.unwrap_err();
    assert!(
        error.contains("allow `get` of clusterproperties.about.k8s.io, or configure the id"),
        "{error}"
    );
    assert!(error.contains(beta), "{error}");
    let unknown = [(beta, Err(403)), (GROUP, Err(403)), namespace()];
    assert!(
        id(&unknown).await.is_err(),
        "whether there are properties is not known"
    );
    let absent = [(beta, Err(403)), (alpha, Err(403)), namespace()];
    assert_eq!(id(&absent).await.unwrap(), UID, "there is no such kind");
    let old = [(alpha, Err(403)), group(), namespace()];
    assert!(id(&old).await.is_err());

    for path in [beta, alpha, KUBE_SYSTEM] {
        for status in [503, 401] {
            let answers = [(path, Err(status)), namespace()];
            let error = id(&answers).await.unwrap_err();
            assert_eq!(error, format!("GET {path}: {status}"), "no right is missing");
        }
    }
    for status in [503, 401] {
        let unanswered = [(beta, Err(403)), (GROUP, Err(status)), namespace()];
        let error = id(&unanswered).await.unwrap_err();
        assert_eq!(error, format!("GET {GROUP}: {status}"));
    }
    let error = id(&[(KUBE_SYSTEM, Err(403))]).await.unwrap_err();
    assert!(
        error.contains("allow `get` of the namespace kube-system"),
        "{error}"
    );
    let error = id(&[]).await.unwrap_err();
    assert!(
        error.contains("GET /api/v1/namespaces/kube-system: 404"),
        "{error}"
    );
}

#[tokio::test]
async fn what_is_no_id_is_an_error_that_says_where_it_was_found() {
    let [beta, _] = PROPERTIES;
    let long = "x".repeat(64);
    for wrong in ["", "A", "a b", "-a", "a.b.c", "a..b", "a.", &long] {
        let error = id(&[(beta, property(wrong)), namespace()]).await.unwrap_err();
        let expected =
            format!("https://a: GET {beta}: spec.value: found {wrong:?}, expected the id of a cluster");
        assert!(error.starts_with(&expected), "{error}");
    }
    for right in ["a", "0-a", "eu-1.example"] {
        assert_eq!(id(&[(beta, property(right))]).await.unwrap(), right);
    }
    let label = "x".repeat(63);
    assert!(checked(&format!("{label}.{label}")).is_ok());
    for body in ["", "{}", r#"{"spec":{"value":7}}"#, "<html>"] {
        let error = id(&[(beta, Ok(body.to_owned())), namespace()]).await.unwrap_err();
        assert!(
            error.contains(&format!("GET {beta}: no answer that can be read")),
            "{error}"
        );
    }
}

fn same() -> Result<String, ErrorKind> {
    Ok("a".to_owned())
}

fn other() -> Result<String, ErrorKind> {
    Ok("b".to_owned())
}

#[tokio::test(start_paused = true)]
async fn another_id_counts_only_where_a_second_look_agrees() {
    let third = Ok("c".to_owned());
    let mut answers = vec![same(), other(), same(), other(), Err(ErrorKind::Unavailable)];
    answers.extend([other(), third.clone(), other(), same()]);
    let quiet = Looks::new(&answers);
    let looked = quiet.looked.clone();
    let change = changed("a".to_owned(), || quiet.next());
    let ended = tokio::time::timeout(LOOK * 20, change).await;
    assert!(
        ended.is_err(),
        "for a moment it looked like another one: {ended:?}"
    );
    assert!(looked.load(Ordering::Relaxed) > answers.len());

    let looks = Looks::new(&[other(), third]);
    let begun = tokio::time::Instant::now();
    let error = changed("a".to_owned(), || looks.next()).await.report();
    assert!(error.contains("has the id \"c\", and had \"a\""), "{error}");
    assert_eq!(looks.looked.load(Ordering::Relaxed), 3);
    let took = begun.elapsed();
    assert!(took >= FIRST_LOOK.mul_f64(0.8) + CERTAIN * 2, "{took:?}");
    assert!(took < FIRST_LOOK * 2 + CERTAIN * 2, "soon: {took:?}");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_is_another_one_for_a_moment_is_looked_for_again() {
    let property = || Ok(Id::Property("a".to_owned()));
    let uid = || Ok(Id::Uid(UID.to_owned()));
    for (last, answers, expected, looks, least) in [
        (None, vec![property()], "a", 1, Duration::ZERO),
        (Some("a"), vec![property()], "a", 1, Duration::ZERO),
        (Some(UID), vec![uid()], UID, 1, Duration::ZERO),
        (None, vec![uid(), property()], "a", 2, CERTAIN),
        (None, vec![uid(), uid()], UID, 2, CERTAIN),
        // Another one than the last watch had may be there for a moment, too.
        (Some("b"), vec![property(), property()], "a", 2, CERTAIN),
        (Some(UID), vec![property(), uid()], UID, 2, CERTAIN),
    ] {
        let answers = Looks::new(&answers);
        let begun = tokio::time::Instant::now();
        assert_eq!(settled(last, || answers.next()).await.unwrap(), expected);
        assert_eq!(answers.looked.load(Ordering::Relaxed), looks);
        assert!(begun.elapsed() >= least && begun.elapsed() < least + CERTAIN);
    }
    let answers = Looks::new(&[uid(), Err(ErrorKind::Unavailable)]);
    let error = settled(None, || answers.next()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_watch_ends_when_the_cluster_has_another_id_and_not_when_nobody_can_look() {
    let unreachable = Err(ErrorKind::Unreachable);
    let looks = Looks::new(&[same(), unreachable, other()]);
    let looked = looks.looked.clone();
    let change = changed("a".to_owned(), move || looks.next());
    let quiet = stream::once(async { Ok(vec![Event::Confirmed(registry_core::Scope::Registry)]) });
    let mut watch = ended_by(Box::pin(quiet.chain(stream::pending())), change);
    assert_eq!(watch.next().await.unwrap().unwrap().len(), 1);
    let begun = tokio::time::Instant::now();
    let error = watch.next().await.unwrap().unwrap_err().report();
    assert!(error.contains("has the id \"b\", and had \"a\""), "{error}");
    assert_eq!(looked.load(Ordering::Relaxed), 4);
    let took = begun.elapsed();
    assert!((FIRST_LOOK * 4..FIRST_LOOK * 7).contains(&took), "{took:?}");
    // Nothing more comes of it, and no panic.
    let more = tokio::time::timeout(Duration::from_secs(3600), watch.next()).await;
    assert!(more.is_err());
}
