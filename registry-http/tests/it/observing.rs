//! What the embedding backend is told, and what a client refuses to be built from.

use std::sync::{Arc, Mutex};

use registry_http::{Error, HttpClient, HttpConfig, Request};

use crate::local::{answer, init_tls, refused, serve};

#[tokio::test]
async fn each_attempt_is_observed() {
    init_tls();
    let alive = serve(|_| async { answer(404, "") }).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let client = HttpClient::builder(&[refused().await, alive.url()])
        .with_observer(Arc::new(move |seen| {
            notes
                .lock()
                .unwrap()
                .push((seen.base, seen.status.map(|status| status.as_u16()), seen.error));
        }))
        .build()
        .unwrap();
    client.send(&Request::get("/")).await.unwrap();
    assert_eq!(
        *seen.lock().unwrap(),
        [(0, None, Some("connect")), (1, Some(404), None)]
    );
}

#[test]
fn a_client_needs_valid_urls_and_values() {
    init_tls();
    let build = |urls: &[&str], config| HttpClient::try_new(urls, config, Default::default()).unwrap_err();
    for (urls, text) in [
        (&[][..], "at least one"),
        (&["http://ok", "ftp://bad"][..], "ftp://bad"),
        (&["http://h/?q=1"][..], "query"),
    ] {
        let error = build(urls, HttpConfig::default());
        assert!(
            matches!(error, Error::Config { .. }) && error.to_string().contains(text),
            "{error}"
        );
    }
    let zero = HttpConfig {
        max_connections: 0,
        ..HttpConfig::default()
    };
    assert!(
        build(&["http://ok"], zero)
            .to_string()
            .starts_with("max_connections")
    );
}
