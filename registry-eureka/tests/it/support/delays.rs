//! How soon what a server's cache shows is published.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use registry_core::Discovery;
use registry_eureka::{Alignment, EurekaConfig};
use registry_testkit::eureka::{Eureka, EurekaApi, Instance};
use registry_testkit::wait;
use tokio::time::Instant;

use super::{DEADLINE, config, discover, endpoint, ready};

const APP: &str = "t16-orders";

/// A server whose cache is renewed with that period, and a discovery for each way of placing polls, all of them equally far
/// apart.
pub(crate) struct Race {
    server: Eureka,
    period: Duration,
    pub(crate) learning: Discovery,
    pub(crate) fixed: Discovery,
    pub(crate) unaligned: Discovery,
}

/// Of one change: how long after it each discovery published it, and how long after the server's own answers showed it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Delays {
    pub(crate) server: Duration,
    pub(crate) learning: Duration,
    pub(crate) fixed: Duration,
    pub(crate) unaligned: Option<Duration>,
}

impl Delays {
    /// Of which the server's cache is not guilty.
    pub(crate) fn own(&self, of: impl Fn(&Self) -> Duration) -> Duration {
        of(self).saturating_sub(self.server)
    }
}

impl Race {
    pub(crate) async fn start(period: Duration) -> Self {
        let server = Eureka::war().read_only_cache(true).cache_update_interval(period);
        let server = server.start().await.unwrap();
        let with = |alignment| {
            discover(EurekaConfig {
                interval: period,
                cache_interval: period,
                alignment,
                ..config(server.base_url())
            })
        };
        // Polls that are not aligned stay where the second one is: half an interval to a whole one after the first, and so
        // nowhere near the moment at which the cache is renewed, which is at the multiples of the period since 1970.
        let passed = passed(period);
        let (from, to) = (period.mul_f64(0.7), period.mul_f64(0.9));
        if passed < from {
            tokio::time::sleep(from - passed).await;
        } else if passed > to {
            tokio::time::sleep(period + from - passed).await;
        }
        let race = Self {
            learning: with(Alignment::Learn),
            fixed: with(Alignment::Fixed),
            unaligned: with(Alignment::Never),
            server,
            period,
        };
        for discovery in [&race.learning, &race.fixed, &race.unaligned] {
            ready(discovery).await;
        }
        race
    }

    /// Changes something in the period of the cache of that number, counted from the present one, and waits for it. The
    /// next one may be made meanwhile: it is shown when the cache is renewed the next time.
    pub(crate) async fn change(&self, number: u16) -> Delays {
        self.change_within(number, true).await
    }

    /// The same without the polls that are not aligned.
    pub(crate) async fn aligned_change(&self, number: u16) -> Delays {
        self.change_within(number, false).await
    }

    async fn change_within(&self, number: u16, also_unaligned: bool) -> Delays {
        let rest = self.period - passed(self.period);
        // So that changes come at all times between two lines.
        let place = self.period.mul_f64(f64::from(number % 5) * 0.15);
        if let Some(periods) = number.checked_sub(1) {
            tokio::time::sleep(rest + self.period * u32::from(periods) + place).await;
        }
        let id = format!("orders-{number}");
        let api = self.server.api();
        let start = Instant::now();
        api.register(&Instance::new(APP, id.as_str()).port(8000 + number))
            .await
            .unwrap();
        let (server, learning, fixed, unaligned) = tokio::join!(
            shown_after(start, api, &id),
            published_after(start, &self.learning, &id),
            published_after(start, &self.fixed, &id),
            async {
                let late = async || published_after(start, &self.unaligned, &id).await;
                if also_unaligned { Some(late().await) } else { None }
            },
        );
        Delays {
            server,
            learning,
            fixed,
            unaligned,
        }
    }

    pub(crate) async fn end(self) {
        self.learning.shutdown().await;
        self.fixed.shutdown().await;
        self.unaligned.shutdown().await;
    }
}

/// How much of the present period of a server's cache has passed.
fn passed(period: Duration) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Duration::from_secs_f64(now.as_secs_f64() % period.as_secs_f64())
}

/// When the answer that is polled for shows that instance, whoever asks.
async fn shown_after(start: Instant, api: &EurekaApi, id: &str) -> Duration {
    wait::until(format!("{id} in the server's answers"), DEADLINE, async || {
        let answer = api.answer("/apps/delta", "application/json").await.ok()?;
        answer.body.contains(&format!("{id:?}")).then_some(())
    })
    .await
    .unwrap();
    start.elapsed()
}

async fn published_after(start: Instant, discovery: &Discovery, id: &str) -> Duration {
    let mut changes = discovery.changes();
    let seen = async {
        while endpoint(&discovery.snapshot(), APP, id).is_none() {
            changes.next().await.unwrap();
        }
    };
    // Two periods of half a minute, and what a busy machine takes.
    tokio::time::timeout(2 * DEADLINE, seen).await.unwrap();
    start.elapsed()
}

/// The middle one.
pub(crate) fn median(mut delays: Vec<Duration>) -> Duration {
    delays.sort_unstable();
    delays[delays.len() / 2]
}
