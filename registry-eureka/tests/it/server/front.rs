//! A real server behind a proxy, which sees what the registry asks for.

use registry_testkit::eureka::Eureka;
use registry_testkit::{FaultProxy, wait};
use tokio::time::Instant;

use crate::support::DEADLINE;

/// What a registry asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fetch {
    Full,
    Delta,
}

/// A way to a server.
#[derive(Debug)]
pub(super) struct Front {
    pub(super) proxy: FaultProxy,
    base_path: String,
}

// === impl Front ===

impl Front {
    pub(super) async fn of(eureka: &Eureka) -> Self {
        Self {
            proxy: FaultProxy::start_compressed(eureka.address().into())
                .await
                .unwrap(),
            base_path: eureka.base_path(),
        }
    }

    /// The base URL by this way.
    pub(super) fn url(&self) -> String {
        format!("{}{}", self.proxy.url(), self.base_path)
    }

    /// Closes this way: who goes it is reset at once. Or opens it again.
    pub(super) fn refuse(&self, on: bool) {
        self.proxy.refuse(on);
        if on {
            self.proxy.reset_all();
        }
    }

    /// What was asked for since then, with the status of the answer where there was one.
    pub(super) fn fetches_since(&self, since: Instant) -> Vec<(Fetch, Option<u16>)> {
        let requests = self.proxy.requests().into_iter();
        let requests = requests.filter(|request| request.at >= since);
        let fetch = |path: &str| {
            if path.ends_with("/apps/delta") {
                Fetch::Delta
            } else {
                assert!(path.ends_with("/apps"), "{path}");
                Fetch::Full
            }
        };
        requests
            .map(|request| (fetch(request.path()), request.status))
            .collect()
    }

    /// Waits until so many answers of that kind and status were given since then.
    pub(super) async fn until_answers(&self, since: Instant, count: usize, wanted: (Fetch, u16)) {
        let what = format!("{count} answers {wanted:?}");
        let found = wait::until(what, DEADLINE, async || {
            let fetches = self.fetches_since(since).into_iter();
            let answers = fetches.filter(|(fetch, status)| (*fetch, *status) == (wanted.0, Some(wanted.1)));
            (answers.count() >= count).then_some(())
        });
        if let Err(error) = found.await {
            panic!("{error}; {:?}", self.fetches_since(since));
        }
    }
}
