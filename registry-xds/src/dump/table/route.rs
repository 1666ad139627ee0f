//! Routes.

use super::core::{DATA_SOURCE, INT64_RANGE, METADATA, REGEX_MATCHER, RUNTIME_PERCENT, STRING_MATCHER};
use crate::dump::message::Shape::{Any, Bool, Duration, Enum, Nested, Signed, Text, Unsigned, Wrapper};
use crate::dump::message::{Message, many, one};

pub(in crate::dump) static ROUTE_CONFIGURATION: Message = Message {
    name: "envoy.config.route.v3.RouteConfiguration",
    fields: &[
        one(1, "name", Text),
        many(2, "virtual_hosts", Nested(&VIRTUAL_HOST)),
        many(3, "internal_only_headers", Text),
        one(7, "validate_clusters", Wrapper(&Bool)),
        one(10, "most_specific_header_mutations_wins", Bool),
        one(11, "max_direct_response_body_size_bytes", Wrapper(&Unsigned)),
        one(14, "ignore_port_in_host_matching", Bool),
    ],
};

pub(in crate::dump) static VIRTUAL_HOST: Message = Message {
    name: "envoy.config.route.v3.VirtualHost",
    fields: &[
        one(1, "name", Text),
        many(2, "domains", Text),
        many(3, "routes", Nested(&ROUTE)),
        one(
            4,
            "require_tls",
            Enum(&[(0, "NONE"), (1, "EXTERNAL_ONLY"), (2, "ALL")]),
        ),
        one(14, "include_request_attempt_count", Bool),
        one(16, "retry_policy", Nested(&RETRY_POLICY)),
    ],
};

pub(in crate::dump) static ROUTE: Message = Message {
    name: "envoy.config.route.v3.Route",
    fields: &[
        one(1, "match", Nested(&ROUTE_MATCH)),
        one(2, "route", Nested(&ROUTE_ACTION)),
        one(3, "redirect", Nested(&REDIRECT)),
        one(4, "metadata", Nested(&METADATA)),
        one(7, "direct_response", Nested(&DIRECT_RESPONSE)),
        one(14, "name", Text),
        one(19, "stat_prefix", Text),
    ],
};

pub(in crate::dump) static ROUTE_MATCH: Message = Message {
    name: "envoy.config.route.v3.RouteMatch",
    fields: &[
        one(1, "prefix", Text),
        one(2, "path", Text),
        one(4, "case_sensitive", Wrapper(&Bool)),
        many(6, "headers", Nested(&HEADER_MATCHER)),
        many(7, "query_parameters", Nested(&QUERY_MATCHER)),
        one(8, "grpc", Nested(&GRPC_MATCH)),
        one(9, "runtime_fraction", Nested(&RUNTIME_PERCENT)),
        one(10, "safe_regex", Nested(&REGEX_MATCHER)),
        one(14, "path_separated_prefix", Text),
    ],
};

pub(in crate::dump) static GRPC_MATCH: Message = Message {
    name: "envoy.config.route.v3.RouteMatch.GrpcRouteMatchOptions",
    fields: &[],
};

pub(in crate::dump) static HEADER_MATCHER: Message = Message {
    name: "envoy.config.route.v3.HeaderMatcher",
    fields: &[
        one(1, "name", Text),
        one(4, "exact_match", Text),
        one(6, "range_match", Nested(&INT64_RANGE)),
        one(7, "present_match", Bool),
        one(8, "invert_match", Bool),
        one(9, "prefix_match", Text),
        one(13, "string_match", Nested(&STRING_MATCHER)),
        one(14, "treat_missing_header_as_empty", Bool),
    ],
};

pub(in crate::dump) static QUERY_MATCHER: Message = Message {
    name: "envoy.config.route.v3.QueryParameterMatcher",
    fields: &[
        one(1, "name", Text),
        one(5, "string_match", Nested(&STRING_MATCHER)),
        one(6, "present_match", Bool),
    ],
};

pub(in crate::dump) static ROUTE_ACTION: Message = Message {
    name: "envoy.config.route.v3.RouteAction",
    fields: &[
        one(1, "cluster", Text),
        one(2, "cluster_header", Text),
        one(3, "weighted_clusters", Nested(&WEIGHTED_CLUSTER)),
        one(5, "prefix_rewrite", Text),
        one(6, "host_rewrite_literal", Text),
        one(7, "auto_host_rewrite", Wrapper(&Bool)),
        one(8, "timeout", Duration),
        one(9, "retry_policy", Nested(&RETRY_POLICY)),
        one(11, "priority", Enum(&[(0, "DEFAULT"), (1, "HIGH")])),
        many(15, "hash_policy", Nested(&HASH_POLICY)),
        one(
            20,
            "cluster_not_found_response_code",
            Enum(&[
                (0, "SERVICE_UNAVAILABLE"),
                (1, "NOT_FOUND"),
                (2, "INTERNAL_SERVER_ERROR"),
            ]),
        ),
        one(24, "idle_timeout", Duration),
        many(25, "upgrade_configs", Nested(&ROUTE_UPGRADE)),
        one(36, "max_stream_duration", Nested(&MAX_STREAM)),
        one(38, "append_x_forwarded_host", Bool),
    ],
};

pub(in crate::dump) static MAX_STREAM: Message = Message {
    name: "envoy.config.route.v3.RouteAction.MaxStreamDuration",
    fields: &[
        one(1, "max_stream_duration", Duration),
        one(2, "grpc_timeout_header_max", Duration),
        one(3, "grpc_timeout_header_offset", Duration),
    ],
};

pub(in crate::dump) static ROUTE_UPGRADE: Message = Message {
    name: "envoy.config.route.v3.RouteAction.UpgradeConfig",
    fields: &[one(1, "upgrade_type", Text), one(2, "enabled", Wrapper(&Bool))],
};

pub(in crate::dump) static HASH_POLICY: Message = Message {
    name: "envoy.config.route.v3.RouteAction.HashPolicy",
    fields: &[
        one(1, "header", Nested(&HASH_HEADER)),
        one(2, "cookie", Nested(&HASH_COOKIE)),
        one(3, "connection_properties", Nested(&HASH_CONNECTION)),
        one(4, "terminal", Bool),
    ],
};

pub(in crate::dump) static HASH_HEADER: Message = Message {
    name: "envoy.config.route.v3.RouteAction.HashPolicy.Header",
    fields: &[one(1, "header_name", Text)],
};

pub(in crate::dump) static HASH_CONNECTION: Message = Message {
    name: "envoy.config.route.v3.RouteAction.HashPolicy.ConnectionProperties",
    fields: &[one(1, "source_ip", Bool)],
};

pub(in crate::dump) static HASH_COOKIE: Message = Message {
    name: "envoy.config.route.v3.RouteAction.HashPolicy.Cookie",
    fields: &[
        one(1, "name", Text),
        one(2, "ttl", Duration),
        one(3, "path", Text),
    ],
};

pub(in crate::dump) static WEIGHTED_CLUSTER: Message = Message {
    name: "envoy.config.route.v3.WeightedCluster",
    fields: &[
        many(1, "clusters", Nested(&CLUSTER_WEIGHT)),
        one(2, "runtime_key_prefix", Text),
        one(3, "total_weight", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static CLUSTER_WEIGHT: Message = Message {
    name: "envoy.config.route.v3.WeightedCluster.ClusterWeight",
    fields: &[one(1, "name", Text), one(2, "weight", Wrapper(&Unsigned))],
};

pub(in crate::dump) static RETRY_POLICY: Message = Message {
    name: "envoy.config.route.v3.RetryPolicy",
    fields: &[
        one(1, "retry_on", Text),
        one(2, "num_retries", Wrapper(&Unsigned)),
        one(3, "per_try_timeout", Duration),
        one(4, "retry_priority", Nested(&RETRY_PRIORITY)),
        many(5, "retry_host_predicate", Nested(&RETRY_PREDICATE)),
        one(6, "host_selection_retry_max_attempts", Signed),
        many(7, "retriable_status_codes", Unsigned),
        one(8, "retry_back_off", Nested(&RETRY_BACK_OFF)),
        many(9, "retriable_headers", Nested(&HEADER_MATCHER)),
        one(13, "per_try_idle_timeout", Duration),
    ],
};

pub(in crate::dump) static RETRY_PREDICATE: Message = Message {
    name: "envoy.config.route.v3.RetryPolicy.RetryHostPredicate",
    fields: &[one(1, "name", Text), one(3, "typed_config", Any)],
};

pub(in crate::dump) static RETRY_PRIORITY: Message = Message {
    name: "envoy.config.route.v3.RetryPolicy.RetryPriority",
    fields: &[one(1, "name", Text), one(3, "typed_config", Any)],
};

pub(in crate::dump) static RETRY_BACK_OFF: Message = Message {
    name: "envoy.config.route.v3.RetryPolicy.RetryBackOff",
    fields: &[
        one(1, "base_interval", Duration),
        one(2, "max_interval", Duration),
    ],
};

pub(in crate::dump) static DIRECT_RESPONSE: Message = Message {
    name: "envoy.config.route.v3.DirectResponseAction",
    fields: &[one(1, "status", Unsigned), one(2, "body", Nested(&DATA_SOURCE))],
};

pub(in crate::dump) static REDIRECT: Message = Message {
    name: "envoy.config.route.v3.RedirectAction",
    fields: &[
        one(1, "host_redirect", Text),
        one(2, "path_redirect", Text),
        one(
            3,
            "response_code",
            Enum(&[
                (0, "MOVED_PERMANENTLY"),
                (1, "FOUND"),
                (2, "SEE_OTHER"),
                (3, "TEMPORARY_REDIRECT"),
                (4, "PERMANENT_REDIRECT"),
            ]),
        ),
        one(4, "https_redirect", Bool),
        one(7, "scheme_redirect", Text),
        one(8, "port_redirect", Unsigned),
    ],
};
