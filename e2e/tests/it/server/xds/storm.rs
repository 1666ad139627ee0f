//! Requests without a pause, of which every single one has to be answered with 200.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use registry_testkit::upstream::{Load, LoadOptions};
use registry_testkit::wrk::{self, Wrk};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::fleet::Fleet;

/// How long one run of `wrk` takes. There is one after the other, as nobody knows how long a test does.
const RUN: Duration = Duration::from_secs(2);

/// Connections of `wrk` to each proxy. It leaves nobody any time, so there are few.
const CONNECTIONS: u32 = 2;

/// Load on all proxies of a fleet.
pub(crate) struct Storm {
    start: Instant,
    stop: Arc<AtomicBool>,
    loads: Vec<(String, Load)>,
    runs: Vec<(String, JoinHandle<Vec<wrk::Report>>)>,
}

impl Storm {
    /// Begins: four keep-alive clients for each proxy, which divide the URLs (host and path) among them, and `wrk` at the
    /// first of these.
    pub(crate) fn start(fleet: &Fleet, urls: &[(&str, &str)]) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut loads, mut runs) = (Vec::new(), Vec::new());
        for proxy in &fleet.proxies {
            for (host, path) in urls {
                let options = LoadOptions {
                    path: (*path).to_owned(),
                    connections: (4 / urls.len()).max(1),
                    pause: Duration::from_millis(2),
                    timeout: Duration::from_secs(30),
                    ..LoadOptions::new(proxy.address, *host)
                };
                loads.push((format!("{} {host}{path}", proxy.name), Load::start(&options)));
            }
            let (host, path) = urls[0];
            let options = wrk::Options {
                host: Some(host.to_owned()),
                connections: CONNECTIONS,
                timeout: Duration::from_secs(30),
                ..wrk::Options::new(format!("http://{}{path}", proxy.address), RUN)
            };
            let stop = stop.clone();
            let run = async move {
                let mut reports = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    reports.push(Wrk::start(&options).unwrap().report().await.unwrap());
                }
                reports
            };
            runs.push((format!("{} wrk", proxy.name), tokio::spawn(run)));
        }
        Self {
            start: Instant::now(),
            stop,
            loads,
            runs,
        }
    }

    /// Ends, and fails where anything but 200 was answered, or nothing. Returns how many requests there were.
    pub(crate) async fn assert_calm(self, fleet: &Fleet) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let mut requests = 0;
        let mut troubles = Vec::new();
        for (name, load) in self.loads {
            let report = load.stop().await;
            requests += report.requests;
            // Whoever was not asked was not tested.
            assert!(report.requests > 0, "{name}");
            if report.failures() > 0 {
                let first: Vec<_> = report.troubles.iter().take(20).collect();
                let first = first
                    .iter()
                    .map(|trouble| format!("{:?} {}", trouble.at - self.start, trouble.what));
                troubles.push(format!(
                    "{name}: {} of {}: {:#?}",
                    report.failures(),
                    report.requests,
                    first.collect::<Vec<_>>()
                ));
            }
        }
        for (name, run) in self.runs {
            let reports = run.await.unwrap();
            assert!(!reports.is_empty(), "{name}");
            for report in reports {
                requests += report.requests;
                if report.failures() > 0 {
                    troubles.push(format!("{name}: {report:?}"));
                }
            }
        }
        assert!(
            troubles.is_empty(),
            "{}\n{}",
            troubles.join("\n"),
            fleet.daemon.last_words()
        );
        requests
    }
}
