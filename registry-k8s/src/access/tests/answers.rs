//! What is asked, and what is made of answers.

use super::*;

/// `{"kind":"ServiceList","items":[]}`, compressed.
const GZIPPED: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xab\x56\xca\xce\xcc\x4b\x51\xb2\x52\x0a\
    \x4e\x2d\x2a\xcb\x4c\x4e\xf5\xc9\x2c\x2e\x51\xd2\x51\xca\x2c\x49\xcd\x2d\x56\xb2\
    \x8a\x8e\xad\x05\x00\xbd\x51\x9c\x00\x21\x00\x00\x00";

#[tokio::test]
async fn requests_say_what_is_wanted_in_which_form() {
    let server = Server::plain(|_| Reply::ok("{}")).await;
    let text = kubeconfig(&format!("{}/k8s/one/", server.url()), "", "token: t");
    for (form, watch) in [
        (Form::Object, false),
        (Form::Metadata, false),
        (Form::Metadata, true),
    ] {
        let api = of_text(text.clone(), LAZY);
        let ask = Ask {
            form,
            watch,
            ..get("/api/v1/nodes?limit=5")
        };
        assert_eq!(read(api.get(ask).await.ok().unwrap()).await.unwrap(), "{}");
    }
    let raw = KubernetesConfig {
        compression: false,
        ..config()
    };
    let origin = Origin::Text {
        kubeconfig: Arc::new(text.into()),
        place: "x".to_owned(),
        trusted: false,
    };
    let api = ApiServer::with(&raw, origin, nothing(), LAZY, PATIENCE);
    assert!(api.get(get("/version")).await.is_ok());
    let heads = server.heads();
    for head in &heads {
        assert!(head.contains("\r\nauthorization: bearer t\r\n"), "{head}");
        assert!(head.contains("\r\nuser-agent: registryd/"), "{head}");
    }
    let [object, list, watch, raw] = &heads[..] else {
        panic!("{heads:?}")
    };
    assert!(
        object.starts_with("get /k8s/one/api/v1/nodes?limit=5 http/1.1\r\n"),
        "{object}"
    );
    assert!(object.contains("\r\naccept: application/json\r\n"), "{object}");
    assert!(object.contains("\r\naccept-encoding: gzip\r\n"), "{object}");
    assert!(
        list.contains("as=partialobjectmetadatalist;g=meta.k8s.io;v=v1,application/json\r\n"),
        "{list}"
    );
    assert!(
        watch.contains("as=partialobjectmetadata;g=meta.k8s.io;v=v1,application/json\r\n"),
        "{watch}"
    );
    assert!(watch.contains("\r\naccept-encoding: identity\r\n"), "{watch}");
    assert!(!raw.contains("gzip"), "{raw}");
}

#[tokio::test]
async fn a_compressed_list_is_read() {
    let server = Server::plain(|_| Reply::of("200 OK", "Content-Encoding: gzip\r\n", GZIPPED)).await;
    let api = of_text(kubeconfig(&server.url(), "", ""), LAZY);
    let text = text_of(&api, "/api/v1/services").await;
    assert_eq!(text.as_deref(), Ok(r#"{"kind":"ServiceList","items":[]}"#));
}

#[tokio::test]
async fn a_server_that_is_busy_says_for_how_long() {
    let server = Server::plain(|head| {
        let after = if head.starts_with("get /seconds") {
            "7".to_owned()
        } else {
            "Sun, 06 Nov 2130 08:49:37 GMT".to_owned()
        };
        Reply::of(
            "429 Too Many Requests",
            &format!("Retry-After: {after}\r\n"),
            "slow down",
        )
    })
    .await;
    let api = of_text(kubeconfig(&server.url(), "", ""), EAGER);
    let seconds = refusal(&api, get("/seconds")).await;
    assert_eq!(seconds.error.retry_after(), Some(Duration::from_secs(7)));
    assert_eq!(seconds.class, Class::Trouble);
    let expected = format!("GET {}/seconds: 429 slow down", server.url());
    assert_eq!(seconds.error.report(), expected);
    let date = refusal(&api, get("/date")).await;
    // A hundred years are cut to what any server is granted.
    assert_eq!(date.error.retry_after(), Some(Duration::from_secs(600)));
    assert_eq!(server.heads().len(), 2, "nothing was asked again behind our back");
}

#[tokio::test]
async fn only_so_much_of_an_error_is_read() {
    let head = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 100000000000\r\n\r\n";
    let server = Server::plain(|_| Reply::Endless(head.to_vec())).await;
    let api = of_text(kubeconfig(&server.url(), "", ""), LAZY);
    let refusal = refusal(&api, get("/x")).await;
    let text = refusal.error.report();
    assert!(text.contains("/x: 500 xxxx") && text.len() < 1000, "{text}");
    server.has_open(0).await;
}

#[tokio::test]
async fn an_error_whose_text_never_comes_is_an_error_nonetheless() {
    let server =
        Server::plain(|_| Reply::Hang(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 9\r\n\r\nno".to_vec()))
            .await;
    let api = of_text(kubeconfig(&server.url(), "", ""), LAZY);
    let refusal = refusal(&api, get("/x")).await;
    assert_eq!(refusal.class, Class::Forbidden);
    assert!(
        refusal.error.report().ends_with("/x: 403 no"),
        "{}",
        refusal.error.report()
    );
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let server = Server::plain(|_| Reply::of("302 Found", "Location: /login\r\n", "")).await;
    let api = of_text(kubeconfig(&server.url(), "", "token: t"), LAZY);
    let refusal = refusal(&api, get("/x")).await;
    assert!(
        refusal.error.report().contains("/x: 302"),
        "{}",
        refusal.error.report()
    );
    assert_eq!(refusal.class, Class::Trouble);
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn a_head_that_never_comes_costs_the_patience_and_the_idle_connections() {
    let server = Server::plain(|head| {
        if head.starts_with("get /silence") {
            Reply::Hang(Vec::new())
        } else {
            Reply::ok("{}")
        }
    })
    .await;
    let api = of_text(kubeconfig(&server.url(), "", ""), EAGER);
    for _ in 0..2 {
        assert!(text_of(&api, "/").await.is_ok());
    }
    assert_eq!(server.connections(), 1, "connections are used again");
    // Two at once, so that one of them leaves the idle connection alone.
    let silence = || Ask {
        patience: Duration::from_millis(300),
        ..get("/silence")
    };
    let (first, _) = tokio::join!(refusal(&api, silence()), refusal(&api, silence()));
    assert_eq!(first.class, Class::Trouble);
    assert_eq!(first.error.kind(), ErrorKind::Unreachable);
    let expected = format!("GET {}/silence: no answer within 300ms", server.url());
    assert_eq!(first.error.report(), expected);
    server.has_open(0).await;
    assert!(text_of(&api, "/").await.is_ok());
}

#[tokio::test]
async fn a_body_that_breaks_off_says_so() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let server = Server::plain(|_| Reply::Cut(head.as_bytes().to_vec())).await;
        let api = of_text(kubeconfig(&server.url(), "", ""), LAZY);
        let mut body = api.get(get("/x")).await.ok().unwrap();
        assert_eq!(body.next().await.unwrap().unwrap(), "half");
        let error = body.next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable);
        let start = format!("GET {}/x: the answer broke off: ", server.url());
        assert!(error.report().starts_with(&start), "{}", error.report());
        assert!(body.next().await.is_none());
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_any_more_closes_its_connection() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n";
    let server = Server::plain(|_| Reply::Hang(head.to_vec())).await;
    let api = of_text(kubeconfig(&server.url(), "", ""), LAZY);
    assert_eq!(api.connections(), 0);
    let mut body = api.get(get("/x")).await.ok().unwrap();
    assert_eq!(body.next().await.unwrap().unwrap(), "half");
    assert_eq!(api.connections(), 1);
    server.has_open(1).await;
    drop(body);
    server.has_open(0).await;
    assert_eq!(api.connections(), 0);
}

#[tokio::test]
async fn connections_that_fail_say_why() {
    let closed = {
        let server = Server::plain(|_| Reply::ok("")).await;
        server.url()
    };
    // Longer than any label of a name: known to be wrong without asking anybody.
    let nowhere = format!("http://{}.invalid:6443", "n".repeat(64));
    let mute = Server::plain(|_| Reply::Cut(Vec::new())).await;
    for (url, expected) in [
        (closed.as_str(), "connection refused"),
        (nowhere.as_str(), "the name cannot be resolved: "),
        (&mute.url(), "connection closed before message completed"),
    ] {
        let api = of_text(kubeconfig(url, "", ""), LAZY);
        let refusal = refusal(&api, get("/x")).await;
        assert_eq!(
            (refusal.class, refusal.error.kind()),
            (Class::Trouble, ErrorKind::Unreachable)
        );
        let text = refusal.error.report();
        assert!(
            text.starts_with(&format!("GET {url}/x: ")) && text.contains(expected),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_cluster_is_named_after_its_context() {
    let api = of_text(kubeconfig("https://10.0.0.1:6443", "", ""), LAZY);
    assert_eq!(api.cluster_name().await.unwrap(), "here");
    assert_eq!(api.target(), "https://10.0.0.1:6443/");
    let gone = of_file(Path::new("/nowhere/config"), LAZY);
    let error = gone.cluster_name().await.unwrap_err().to_string();
    assert!(error.starts_with("/nowhere/config: cannot be read: "), "{error}");
    assert_eq!(gone.target(), "/nowhere/config");
}
