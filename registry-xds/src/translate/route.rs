//! Virtual hosts and their routes.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::route::v3 as proto_route;
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use prost::Message;
use proto_route::route_action::{
    ClusterSpecifier, HashPolicy, HostRewriteSpecifier, MaxStreamDuration, hash_policy,
};
use proto_route::{
    HeaderMatcher, RetryPolicy, Route, RouteAction, RouteMatch, WeightedCluster, header_matcher, route,
    route_match, weighted_cluster,
};
use registry_core::{Pattern, Resolution, Str};

use super::endpoints::Weights;
use super::{Context, Port, VirtualHost, check, cluster, proto};
use crate::config::{Destination, PathMatch, RouteConfig};
use crate::node::Kind;
use crate::protocol::Protocol;

/// How long a request may take, the time that the response streams included; Envoy's own default, stated so that it is
/// seen. Upgraded connections, WebSockets among them, have no such end.
const HTTP_TIMEOUT: Duration = Duration::from_secs(15);

/// The virtual host of a port, in a route configuration.
pub(crate) fn virtual_host(
    routes: &Str,
    name: &str,
    domains: impl IntoIterator<Item = String>,
    messages: Vec<Route>,
) -> VirtualHost {
    let mut seen = BTreeSet::new();
    let domains = domains.into_iter().filter(|domain| seen.insert(domain.clone()));
    VirtualHost {
        routes: routes.clone(),
        name: name.into(),
        domains: domains.map(Str::from).collect(),
        body: Bytes::from(
            proto_route::VirtualHost {
                routes: messages,
                ..proto_route::VirtualHost::default()
            }
            .encode_to_vec(),
        ),
    }
}

/// The routes of a port: what the configuration says, then everything else to all endpoints.
pub(crate) fn routes(context: &Context<'_>, port: &Port<'_>, warnings: &mut Vec<String>) -> Vec<Route> {
    let rule = context
        .config
        .routes
        .iter()
        .find(|rule| Pattern::new(&rule.hosts).matches(context.service.hostname()));
    let configured = rule.map_or(&[][..], |rule| &rule.routes);
    let mut routes = Vec::with_capacity(configured.len() + 1);
    for config in configured {
        match matching(config, context.view.kind) {
            Ok(matching) => {
                let to = destinations(&config.to, context, port, warnings);
                routes.push(to_clusters(context, port, matching, to, config));
            }
            Err(problem) => warnings.push(format!("a route is left out: {problem}")),
        }
    }
    let all = vec![(cluster::name(context, port, ""), 1)];
    let rest = RouteConfig::default();
    routes.push(to_clusters(
        context,
        port,
        any_path(context.view.kind),
        all,
        &rest,
    ));
    routes
}

/// The routes of a port to one cluster alone.
pub(crate) fn routes_to(context: &Context<'_>, port: &Port<'_>, cluster: String) -> Vec<Route> {
    let matching = any_path(context.view.kind);
    let to = vec![(cluster, 1)];
    vec![to_clusters(context, port, matching, to, &RouteConfig::default())]
}

fn any_path(kind: Kind) -> RouteMatch {
    let prefix = match kind {
        Kind::Envoy => "/",
        Kind::Grpc => "",
    };
    RouteMatch {
        path_specifier: Some(route_match::PathSpecifier::Prefix(prefix.to_owned())),
        ..RouteMatch::default()
    }
}

fn matching(config: &RouteConfig, kind: Kind) -> Result<RouteMatch, String> {
    let good = |name: &str| {
        !name.is_empty()
            && name
                .bytes()
                .all(|c| c.is_ascii_alphanumeric() || b":!#$%&'*+-.^_`|~".contains(&c))
    };
    let mut headers = Vec::with_capacity(config.headers.len());
    for (name, value) in &config.headers {
        if !good(name) {
            return Err(format!("{:?} is no name of a header", check::short(name)));
        }
        let exact = StringMatcher {
            match_pattern: Some(string_matcher::MatchPattern::Exact(value.clone())),
            ..StringMatcher::default()
        };
        headers.push(HeaderMatcher {
            name: name.to_ascii_lowercase(),
            header_match_specifier: Some(header_matcher::HeaderMatchSpecifier::StringMatch(exact)),
            ..HeaderMatcher::default()
        });
    }
    let path = match &config.path {
        None => any_path(kind).path_specifier,
        Some(PathMatch::Prefix(prefix)) => Some(route_match::PathSpecifier::Prefix(prefix.clone())),
        Some(PathMatch::Exact(path)) => Some(route_match::PathSpecifier::Path(path.clone())),
    };
    Ok(RouteMatch {
        path_specifier: path,
        headers,
        ..RouteMatch::default()
    })
}

/// Clusters and their weights, at least one. What names a subset that there is not goes to all endpoints: that is better
/// than to no cluster.
fn destinations(
    to: &[Destination],
    context: &Context<'_>,
    port: &Port<'_>,
    warnings: &mut Vec<String>,
) -> Vec<(String, u32)> {
    let mut clusters: Vec<(String, u32)> = Vec::with_capacity(to.len().max(1));
    for Destination { subset, weight } in to.iter().filter(|destination| destination.weight > 0) {
        let is_known = subset.is_empty() || context.subsets.iter().any(|known| known.name == *subset);
        let subset = if is_known {
            subset.as_str()
        } else {
            let subset = check::short(subset);
            warnings.push(format!(
                "a route leads to subset {subset:?}, which it does not have"
            ));
            ""
        };
        clusters.push((cluster::name(context, port, subset), *weight));
    }
    if clusters.is_empty() {
        clusters.push((cluster::name(context, port, ""), 1));
    }
    clusters
}

fn to_clusters(
    context: &Context<'_>,
    port: &Port<'_>,
    matching: RouteMatch,
    mut clusters: Vec<(String, u32)>,
    config: &RouteConfig,
) -> Route {
    let specifier = if clusters.len() == 1 {
        ClusterSpecifier::Cluster(clusters.remove(0).0)
    } else {
        let total = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
        let weights = Weights::new(total, clusters.len());
        let clusters = clusters
            .into_iter()
            .map(|(name, weight)| weighted_cluster::ClusterWeight {
                name,
                weight: proto::number(weights.of(weight.into())),
                ..weighted_cluster::ClusterWeight::default()
            });
        ClusterSpecifier::WeightedClusters(WeightedCluster {
            clusters: clusters.collect(),
            ..WeightedCluster::default()
        })
    };
    let action = RouteAction {
        cluster_specifier: Some(specifier),
        ..match context.view.kind {
            Kind::Envoy => for_envoy(context, port, config),
            Kind::Grpc => for_grpc(config),
        }
    };
    Route {
        r#match: Some(matching),
        action: Some(route::Action::Route(action)),
        ..Route::default()
    }
}

fn for_envoy(context: &Context<'_>, port: &Port<'_>, config: &RouteConfig) -> RouteAction {
    let is_grpc = port.protocol == Protocol::Grpc;
    let default = if is_grpc { Duration::ZERO } else { HTTP_TIMEOUT };
    let timeout = config.timeout.unwrap_or(default);
    // A stream may be silent for as long as its ends like, and says itself by when it wants an answer.
    let endless = is_grpc && timeout.is_zero();
    let zero = || Some(proto::duration(Duration::ZERO));
    let source_ip = || HashPolicy {
        policy_specifier: Some(hash_policy::PolicySpecifier::ConnectionProperties(
            hash_policy::ConnectionProperties { source_ip: true },
        )),
        terminal: false,
    };
    RouteAction {
        timeout: Some(proto::duration(timeout)),
        idle_timeout: endless.then(zero).flatten(),
        max_stream_duration: endless.then(|| MaxStreamDuration {
            grpc_timeout_header_max: zero(),
            ..MaxStreamDuration::default()
        }),
        retry_policy: retries(config, "connect-failure,refused-stream"),
        hash_policy: context.is_sticky().then(source_ip).into_iter().collect(),
        // A host outside knows itself by its own name alone.
        host_rewrite_specifier: (context.service.resolution() == Resolution::Dns)
            .then(|| proto::yes().map(HostRewriteSpecifier::AutoHostRewrite))
            .flatten(),
        ..RouteAction::default()
    }
}

/// gRPC has timeouts and retries alone, and the former under another name (gRFC A31, A44).
fn for_grpc(config: &RouteConfig) -> RouteAction {
    RouteAction {
        max_stream_duration: config.timeout.map(|timeout| MaxStreamDuration {
            max_stream_duration: Some(proto::duration(timeout)),
            ..MaxStreamDuration::default()
        }),
        retry_policy: retries(config, "unavailable"),
        ..RouteAction::default()
    }
}

fn retries(config: &RouteConfig, on: &str) -> Option<RetryPolicy> {
    (config.retries > 0).then(|| RetryPolicy {
        retry_on: on.to_owned(),
        num_retries: proto::number(config.retries),
        ..RetryPolicy::default()
    })
}

#[cfg(test)]
mod tests;
