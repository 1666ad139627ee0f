//! What happens in Eureka, as the daemon's clients see it.

use registry_testkit::eureka::{Eureka, Instance};
use serde_json::json;

use crate::daemon::{Daemon, errors, output, printed};
use crate::stream::{Stream, statuses};

const HOST: &str = "orders.eureka";

/// A daemon's configuration, with these URLs, that polls often.
fn config(urls: &[&str]) -> String {
    format!(
        "\
http: {{ listen: \"127.0.0.1:0\" }}
log: {{ level: trace }}
registries:
  - name: legacy
    eureka:
      urls: {urls:?}
      interval: 200ms
"
    )
}

#[tokio::test]
async fn every_step_shows_in_the_api_and_on_the_watch_in_order() {
    let eureka = Eureka::war().start().await.unwrap();
    let api = eureka.api();
    let other = Instance::new("other", "other-1").ip("10.9.0.1");
    api.register(&other).await.unwrap();
    let daemon = Daemon::start(&[("registryd.yaml", &config(&[eureka.base_url()]))]).await;
    let quiet = daemon.service("other.eureka").await["revision"].clone();
    let mut watch = Stream::open(daemon.url()).await;

    let order = Instance::new("orders", "orders-1")
        .ip("10.0.0.7")
        .port(8080)
        .zone("eu-1a")
        .metadata("version", "v1")
        .vip("orders-vip");
    api.register(&order).await.unwrap();
    let shown = watch.until(HOST, |service| statuses(service) == ["UP"]).await;
    let endpoint = &shown["endpoints"][0];
    assert_eq!(endpoint["address"], "10.0.0.7");
    assert_eq!(endpoint["ports"], json!({ "http": 8080 }));
    assert_eq!(endpoint["health"], "healthy");
    assert_eq!(endpoint["locality"]["zone"], "eu-1a");
    assert_eq!(endpoint["labels"]["version"], "v1");
    assert_eq!(endpoint["sources"][0]["registry"], "legacy");
    assert_eq!(
        daemon.service(HOST).await["hash"],
        shown["hash"],
        "the API agrees with the watch"
    );
    assert_eq!(
        daemon.service("orders-vip").await["hostname"],
        HOST,
        "its VIP names are aliases"
    );

    for (word, health) in [
        ("OUT_OF_SERVICE", "draining"),
        ("DOWN", "unhealthy"),
        ("UP", "healthy"),
    ] {
        api.set_status("orders", "orders-1", word).await.unwrap();
        let shown = watch.until(HOST, |service| statuses(service) == [word]).await;
        assert_eq!(shown["endpoints"][0]["health"], health, "{word}");
    }
    api.set_metadata("orders", "orders-1", &[("version", "v2")])
        .await
        .unwrap();
    watch
        .until(HOST, |service| {
            service["endpoints"][0]["labels"]["version"] == "v2"
        })
        .await;

    api.cancel("orders", "orders-1").await.unwrap();
    while watch.next().await.data["removed"] != json!([HOST]) {}
    daemon.gone(HOST).await;
    assert_eq!(
        daemon.service("other.eureka").await["revision"],
        quiet,
        "nothing else changed"
    );
}

#[tokio::test]
async fn check_says_of_a_server_that_it_is_fine_and_of_a_wrong_base_what_is_wrong() {
    let eureka = Eureka::war().start().await.unwrap();
    let directory = tempfile::tempdir().unwrap();
    let check = |url: &str| {
        std::fs::write(directory.path().join("registryd.yaml"), config(&[url])).unwrap();
        output(directory.path(), &["check", "--config", "registryd.yaml"])
    };
    let fine = check(eureka.base_url());
    assert_eq!(fine.status.code(), Some(0), "{}", errors(&fine));
    let table = printed(&fine);
    assert!(table.contains("legacy   eureka   yes        fine\n"), "{table}");
    // Netflix' servers have no such path.
    let wrong = check(eureka.base_url().strip_suffix("/v2").unwrap());
    assert_eq!(wrong.status.code(), Some(1), "{}", printed(&wrong));
    let table = printed(&wrong);
    assert!(table.contains("404"), "{table}");
    assert!(table.contains("/eureka/v2"), "what it may be instead: {table}");
}

#[tokio::test]
async fn acceptance_19_no_password_of_a_url_is_in_anything_that_is_told() {
    // In front of the server one that nobody can reach, so that there are errors to tell.
    let eureka = Eureka::war().start().await.unwrap();
    let order = Instance::new("orders", "orders-1").ip("10.0.0.7");
    eureka.api().register(&order).await.unwrap();
    let with_password = |url: &str| url.replace("://", "://me:s3cret@");
    let urls = [
        with_password("http://127.0.0.1:1/eureka"),
        with_password(eureka.base_url()),
    ];
    let config = config(&[&urls[0], &urls[1]]);
    let daemon = Daemon::start(&[("registryd.yaml", &config)]).await;
    daemon.service(HOST).await;
    // Another configuration, and one that cannot be used.
    daemon.write("registryd.yaml", &config.replace("200ms", "300ms"));
    daemon.signal("HUP");
    daemon.wait_for_log(0, "the configuration was applied").await;
    let from = daemon.log().len();
    daemon.write("registryd.yaml", &config.replace("/eureka/v2", "/eureka/v2/apps"));
    daemon.signal("HUP");
    daemon
        .wait_for_log(from, "the configuration was not applied")
        .await;
    daemon.write("registryd.yaml", &config);

    let mut told = vec![("log".to_owned(), daemon.log())];
    for path in [
        "/v1/registries",
        "/v1/registries/legacy",
        "/v1/services",
        &format!("/v1/services/{HOST}"),
    ] {
        told.push((path.to_owned(), daemon.get(path).await.1.to_string()));
    }
    let metrics = reqwest::get(format!("{}/metrics", daemon.url())).await.unwrap();
    told.push(("metrics".to_owned(), metrics.text().await.unwrap()));
    for command in [
        &["status"][..],
        &["get", "services"],
        &["get", "endpoints", HOST],
        &["status", "--output", "json"],
    ] {
        told.push((command.join(" "), daemon.ask(command).1));
    }
    for command in [&["config", "show"][..], &["check"]] {
        let arguments = [command, &["--config", "registryd.yaml"]].concat();
        let output = output(daemon.directory(), &arguments);
        assert_eq!(output.status.code(), Some(0), "{}", errors(&output));
        told.push((command.join(" "), printed(&output) + &errors(&output)));
    }
    told.extend(daemon.wait("state on disk", async || state(&daemon)).await);
    for (what, text) in &told {
        // Neither as it is nor as it is sent: base64 of `me:s3cret`.
        for secret in ["s3cret", "bWU6czNjcmV0"] {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    }
    let shown = &told.iter().find(|(what, _)| what == "config show").unwrap().1;
    assert!(shown.contains("http://***@127.0.0.1:1/eureka"), "{shown}");
}

/// What is kept on disk, once there is something of a registry.
fn state(daemon: &Daemon) -> Option<Vec<(String, String)>> {
    let mut files = Vec::new();
    let mut directories = vec![daemon.path("lib")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).ok()? {
            let path = entry.ok()?.path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).ok()?;
            files.push((
                path.display().to_string(),
                String::from_utf8_lossy(&bytes).into_owned(),
            ));
        }
    }
    files
        .iter()
        .any(|(_, text)| text.contains("orders"))
        .then_some(files)
}
