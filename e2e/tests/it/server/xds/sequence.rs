//! What a client sees that asks for a service all the time: it is not there, then it is, then it is not (acceptance 5).

use std::time::Duration;

use registry_testkit::consul::Consul;
use registry_testkit::upstream::{Kind, Upstream};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::backends::{fill, registry};
use super::fleet::{BOTH, Fleet, Proxy};
use crate::daemon::{DEADLINE, Daemon, http};

/// How often each proxy is asked.
const PAUSE: Duration = Duration::from_millis(5);

/// How often the service comes and goes.
const ROUNDS: usize = 5;

/// Which statuses followed each other at one proxy for one host.
struct Followed {
    name: String,
    statuses: watch::Receiver<Vec<u16>>,
}

impl Followed {
    /// Asks all the time, for as long as anybody wants to know.
    fn start(proxy: &Proxy, host: &'static str) -> Self {
        let (told, statuses) = watch::channel(Vec::new());
        let url = format!("http://{}/", proxy.address);
        let http = http();
        tokio::spawn(async move {
            while !told.is_closed() {
                let request = http.get(&url).header("host", host).timeout(DEADLINE);
                let status = match request.send().await {
                    Ok(response) => {
                        let status = response.status().as_u16();
                        // An answer that breaks off is none.
                        response.bytes().await.map_or(0, |_| status)
                    }
                    Err(_) => 0,
                };
                told.send_if_modified(|statuses| {
                    let news = statuses.last() != Some(&status);
                    statuses.extend(news.then_some(status));
                    news
                });
                sleep(PAUSE).await;
            }
        });
        Self {
            name: format!("{} {host}", proxy.name),
            statuses,
        }
    }

    /// Waits until exactly these have followed each other.
    async fn until(&mut self, expected: &[u16], daemon: &Daemon) {
        let reached = self
            .statuses
            .wait_for(|statuses| statuses.len() >= expected.len());
        let seen = tokio::time::timeout(DEADLINE, reached).await;
        let seen = seen.map(|seen| seen.unwrap().clone());
        assert_eq!(
            seen.as_deref(),
            Ok(expected),
            "{}\n{}",
            self.name,
            daemon.last_words()
        );
    }
}

/// Waits until all of them have seen one more, which is `status`.
async fn until_status(followed: &mut [Followed], expected: &mut Vec<u16>, status: u16, daemon: &Daemon) {
    expected.push(status);
    for followed in followed {
        followed.until(expected, daemon).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acceptance_5_a_service_is_404_then_200_then_404_and_never_503() {
    let consul = Consul::builder().start().await.unwrap();
    let api = consul.api();
    fill(api, 30).await;
    let upstream = Upstream::start("one", Kind::Http).await.unwrap();
    let mut fleet = Fleet::new();
    let file = |services: &str| {
        format!(
            "services:\n  - name: constant\n    endpoints: [{{ address: 127.1.1.1, port: 9 }}]\n{services}"
        )
    };
    let service = format!(
        "  - name: filed\n    ports: [{{ name: http, number: 80 }}]\n    endpoints: [{{ address: 127.0.0.1, ports: {{ http: {} }} }}]\n",
        upstream.port()
    );
    fleet.daemon.write("vms.yaml", &file(""));
    let config = format!(
        "{}registries:\n{}  - {{ name: vms, hostname: \"{{name}}.mesh.internal\", guard: off, file: {{ path: vms.yaml, poll_interval: 1s }} }}\n",
        fleet.head(""),
        registry("consul", consul.url(), "")
    );
    fleet.start(&config).await;
    fleet.add(&BOTH).await;
    fleet.ready().await;

    let follow = |host| -> Vec<Followed> {
        let proxies = fleet.proxies.iter();
        proxies.map(|proxy| Followed::start(proxy, host)).collect()
    };
    let mut listed = follow("listed.mesh.internal");
    let mut filed = follow("filed.mesh.internal");
    let (mut in_consul, mut in_file) = (Vec::new(), Vec::new());
    let daemon = &fleet.daemon;
    until_status(&mut listed, &mut in_consul, 404, daemon).await;
    until_status(&mut filed, &mut in_file, 404, daemon).await;
    let (mut comes, mut goes) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for id in ["listed-1", "listed-2"] {
            let instance =
                json!({ "Name": "listed", "ID": id, "Address": "127.0.0.1", "Port": upstream.port() });
            api.register(&instance).await.unwrap();
        }
        until_status(&mut listed, &mut in_consul, 200, daemon).await;
        comes = comes.max(start.elapsed());
        daemon.write("vms.yaml", &file(&service));
        until_status(&mut filed, &mut in_file, 200, daemon).await;

        let start = Instant::now();
        for id in ["listed-1", "listed-2"] {
            api.deregister(id).await.unwrap();
        }
        until_status(&mut listed, &mut in_consul, 404, daemon).await;
        goes = goes.max(start.elapsed());
        daemon.write("vms.yaml", &file(""));
        until_status(&mut filed, &mut in_file, 404, daemon).await;
    }
    println!("{ROUNDS} rounds: it comes within {comes:.2?} and goes within {goes:.2?}");
    fleet.assert_content().await;
    // Nothing came after the end.
    for (followed, expected) in [(&mut listed, &in_consul), (&mut filed, &in_file)] {
        for followed in followed {
            followed.until(expected, daemon).await;
        }
    }
}
