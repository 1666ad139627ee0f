use std::fs;

use super::*;

fn consul() -> Placement {
    Placement::Header(HeaderName::from_static("x-consul-token"))
}

async fn sent(credential: &Credential) -> String {
    let (name, value) = credential.header().await.unwrap().unwrap();
    format!("{name}: {}", value.to_str().unwrap())
}

#[tokio::test]
async fn each_source_and_placement_gives_its_header() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "s3cret\r\n").unwrap();
    assert_eq!(
        sent(&Credential::from_file(&path, consul())).await,
        "x-consul-token: s3cret"
    );
    assert_eq!(
        sent(&Credential::from_file(&path, Placement::Bearer)).await,
        "authorization: Bearer s3cret"
    );
    let basic = Credential::basic_from_file("user", &path);
    assert_eq!(sent(&basic).await, "authorization: Basic dXNlcjpzM2NyZXQ=");
    let literal = Credential::from_token("tok".to_owned().into(), Placement::Bearer);
    assert_eq!(sent(&literal).await, "authorization: Bearer tok");
    // Cargo sets it for test binaries.
    let env = Credential::from_env("CARGO_PKG_NAME", Placement::Bearer);
    assert_eq!(sent(&env).await, "authorization: Bearer registry-http");
    assert_eq!(Credential::none().header().await.unwrap(), None);
}

#[tokio::test]
async fn what_is_missing_empty_or_illegal_is_named_and_not_shown() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = dir.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    for (path, reason) in [
        (dir.path().join("absent"), "cannot be read"),
        (file("empty", b"\n"), "is empty"),
        (file("binary", b"hunter2\xff"), "is not text"),
        (
            file("two-lines", b"hunter2\nmore"),
            "characters that a header must not have",
        ),
    ] {
        let credential = Credential::from_file(&path, consul());
        let error = credential.check().await.unwrap_err();
        let text = format!("{error} {error:?} {credential:?}");
        assert!(error.to_string().contains(reason), "{text}");
        assert!(error.to_string().contains(&path.display().to_string()), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!((error.kind(), error.is_retryable()), ("credential", true));
    }
    let error = Credential::from_env("REGISTRY_HTTP_NO_SUCH", consul())
        .check()
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "credential: environment variable REGISTRY_HTTP_NO_SUCH is not set"
    );
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_read_again_after_the_check_interval_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    let credential = Credential::from_file(&path, Placement::Bearer);
    assert_eq!(sent(&credential).await, "authorization: Bearer one");
    fs::write(dir.path().join("new"), "two").unwrap();
    fs::rename(dir.path().join("new"), &path).unwrap();
    assert_eq!(sent(&credential).await, "authorization: Bearer one");
    tokio::time::advance(CHECK_EVERY).await;
    assert_eq!(sent(&credential).await, "authorization: Bearer two");
}

#[tokio::test(start_paused = true)]
async fn a_file_that_breaks_keeps_the_last_good_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    let credential = Credential::from_file(&path, Placement::Bearer);
    assert_eq!(sent(&credential).await, "authorization: Bearer one");
    for broken in [Some(""), None] {
        match broken {
            Some(content) => fs::write(&path, content).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        tokio::time::advance(CHECK_EVERY).await;
        assert_eq!(sent(&credential).await, "authorization: Bearer one");
    }
    fs::write(&path, "three").unwrap();
    tokio::time::advance(CHECK_EVERY).await;
    assert_eq!(sent(&credential).await, "authorization: Bearer three");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_reads_at_once_and_says_whether_the_value_differs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    fs::write(&path, "one").unwrap();
    let credential = Credential::from_file(&path, Placement::Bearer);
    let before = Instant::now();
    let (_, value) = credential.header().await.unwrap().unwrap();
    assert!(!credential.renewed(Some(&value), before).await);
    tokio::time::advance(Duration::from_millis(1)).await;
    fs::write(&path, "two").unwrap();
    let sent_at = Instant::now();
    assert!(credential.renewed(Some(&value), sent_at).await);
    assert_eq!(sent(&credential).await, "authorization: Bearer two");
}

#[test]
fn configuration_names_what_cannot_stand_together() {
    let parse = |text: &str| serde_json::from_str::<CredentialConfig>(text).unwrap();
    assert!(parse("{}").credential(Placement::Bearer).unwrap().is_none());
    let two = parse(r#"{ "token_file": "a", "token_env": "B" }"#).credential(Placement::Bearer);
    assert!(two.unwrap_err().to_string().contains("only one of"));
    let half = parse(r#"{ "basic": { "username": "u" } }"#).credential(Placement::Bearer);
    assert!(half.unwrap_err().to_string().contains("password_file"));
    assert!(serde_json::from_str::<CredentialConfig>(r#"{ "token": "x" }"#).is_err());
}
