//! How long clusters are warming: an Envoy waits for endpoints that nobody sends for 15 s.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::fleet::Fleet;
use crate::daemon::http;

/// Envoy's patience is 15 s: whoever came close to it had no endpoints.
const LONGEST: Duration = Duration::from_secs(12);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(25);

/// Looks at the proxies of a fleet all the time.
pub(crate) struct Warmth {
    stop: Arc<AtomicBool>,
    watched: Vec<(String, JoinHandle<Vec<Duration>>)>,
}

impl Warmth {
    pub(crate) fn watch(fleet: &Fleet) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let watched = fleet.proxies.iter().map(|proxy| {
            let url = format!(
                "{}/stats?format=json&filter=^cluster_manager.warming_clusters$",
                proxy.envoy.admin_url().unwrap()
            );
            (proxy.name.clone(), tokio::spawn(watch(url, stop.clone())))
        });
        Self {
            watched: watched.collect(),
            stop,
        }
    }

    /// Ends, and fails where some cluster may have waited for its endpoints in vain. Returns the longest time in which some
    /// cluster was warming.
    pub(crate) async fn assert_brief(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let mut longest = Duration::ZERO;
        for (name, watched) in self.watched {
            for time in watched.await.unwrap() {
                assert!(time < LONGEST, "{name}: {time:?}");
                longest = longest.max(time);
            }
        }
        longest
    }
}

/// For how long it was warm each time.
async fn watch(url: String, stop: Arc<AtomicBool>) -> Vec<Duration> {
    let http = http();
    let mut times = Vec::new();
    let mut since = None;
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        let body = http.get(&url).send().await.unwrap().bytes().await.unwrap();
        let body: Value = serde_json::from_slice(&body).unwrap();
        let warming = body["stats"][0]["value"].as_u64().expect("a number of clusters");
        if warming > 0 {
            since.get_or_insert(asked);
        } else if let Some(since) = since.take() {
            times.push(asked - since);
        }
        sleep(PAUSE).await;
    }
    times.extend(since.map(|since: Instant| since.elapsed()));
    times
}
