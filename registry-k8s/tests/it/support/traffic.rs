//! What the registry asks its server for, as the proxy in between has logged it.

use registry_testkit::{FaultProxy, Logged, wait};

use super::DEADLINE;

/// Listings of everything of a kind (`services`), by a stream or by pages. A question of one object is none.
pub(crate) fn listings(proxy: &FaultProxy, plural: &str) -> usize {
    let requests = proxy.requests();
    requests
        .iter()
        .filter(|request| is_about(request, plural) && begins_listing(request))
        .count()
}

/// Watches of a kind from a version on.
pub(crate) fn watches(proxy: &FaultProxy, plural: &str) -> usize {
    let requests = proxy.requests();
    requests
        .iter()
        .filter(|request| is_about(request, plural) && is_watch(request))
        .count()
}

/// Requests of a kind.
pub(crate) fn of_kind(proxy: &FaultProxy, plural: &str) -> Vec<Logged> {
    let requests = proxy.requests().into_iter();
    requests.filter(|request| is_about(request, plural)).collect()
}

fn is_about(request: &Logged, plural: &str) -> bool {
    request.path().ends_with(&format!("/{plural}"))
}

pub(crate) fn is_stream(request: &Logged) -> bool {
    request.query("sendInitialEvents").is_some()
}

fn is_watch(request: &Logged) -> bool {
    request.query("watch").is_some() && !is_stream(request)
}

fn begins_listing(request: &Logged) -> bool {
    let first_page = !is_watch(request)
        && request.query("continue").is_none()
        && request.query("resourceVersion").is_none();
    is_stream(request) || first_page
}

/// Waits until the log is as wanted.
pub(crate) async fn until_requests(proxy: &FaultProxy, what: &str, wanted: impl Fn(&FaultProxy) -> bool) {
    let found = wait::until(what, DEADLINE, async || wanted(proxy).then_some(()));
    if let Err(error) = found.await {
        let requests = proxy.requests();
        let last: Vec<_> = requests.iter().rev().take(20).collect();
        panic!("{error}; the last requests: {last:#?}");
    }
}
