//! The messages that this crate writes.

mod cluster;
mod core;
mod listener;
mod route;
mod tls;

use super::message::Message;

/// Those that stand in an `Any`.
static IN_ANY: [&Message; 14] = [
    &cluster::CLUSTER,
    &cluster::LOAD_ASSIGNMENT,
    &cluster::UPSTREAM_HTTP,
    &listener::HCM,
    &listener::HTTP_INSPECTOR,
    &listener::LISTENER,
    &listener::MONGO_PROXY,
    &listener::ORIGINAL_DST_FILTER,
    &listener::REDIS_PROXY,
    &listener::ROUTER,
    &listener::TCP_PROXY,
    &listener::TLS_INSPECTOR,
    &route::ROUTE_CONFIGURATION,
    &tls::UPSTREAM_TLS,
];

/// The message of that type URL.
pub(super) fn message(url: &str) -> Option<&'static Message> {
    let name = url.rsplit_once('/').map_or(url, |(_, name)| name);
    IN_ANY.into_iter().find(|message| message.name == name)
}
