//! From when on what is known may be served.
//!
//! A server that starts again has what was on disk, and that is older than what its clients have: a killed one wrote it
//! down some seconds before its end. Endpoints that went meanwhile would come back, and requests with them. So what was
//! read from disk is not served before its registry was heard, which takes a moment; unless the registry cannot be
//! reached. Who has something keeps it meanwhile.

use std::time::Duration;

use registry_core::{DegradedScope, Discovery, RegistryStatus, Scope};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long a registry may take to be heard. A client of gRPC believes after 15 s that there is nothing.
const PATIENCE: Duration = Duration::from_secs(10);

/// The pause between two looks.
const PAUSE: Duration = Duration::from_millis(20);

/// Becomes true once the snapshot may be served; ends at `stop`, or when nobody wants to know.
pub(super) fn start(discovery: Discovery, stop: CancellationToken) -> watch::Receiver<bool> {
    let (tell, ready) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            () = tell.closed() => {}
            () = settled(&discovery) => {
                tell.send_replace(true);
            }
        }
    });
    ready
}

async fn settled(discovery: &Discovery) {
    discovery.ready().await;
    let start = Instant::now();
    let is_awaited = || discovery.status().iter().any(may_be_heard_soon);
    if !is_awaited() {
        return;
    }
    while is_awaited() && start.elapsed() < PATIENCE {
        sleep(PAUSE).await;
    }
    // What a registry said is in the snapshot a little later than in its status. Where nothing is published any more,
    // nothing newer comes.
    let _ = discovery.published().await;
}

/// True where what is known of a registry is from disk, and it did not fail in a row yet.
fn may_be_heard_soon(status: &RegistryStatus) -> bool {
    let failed = |part: &DegradedScope| part.scope == Scope::Registry && part.stale;
    status.restored && !status.degraded.iter().any(failed)
}
