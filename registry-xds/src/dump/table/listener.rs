//! Listeners and their filters.

use super::core::{
    ADDRESS, CONFIG_SOURCE, HTTP_OPTIONS, HTTP1_OPTIONS, HTTP2_OPTIONS, METADATA, TRANSPORT_SOCKET,
    TYPED_EXTENSION,
};
use super::route::ROUTE_CONFIGURATION;
use crate::dump::message::Shape::{Any, Bool, Duration, Enum, Nested, Text, Unsigned, Wrapper};
use crate::dump::message::{Message, many, one};

pub(in crate::dump) static LISTENER: Message = Message {
    name: "envoy.config.listener.v3.Listener",
    fields: &[
        one(1, "name", Text),
        one(2, "address", Nested(&ADDRESS)),
        many(3, "filter_chains", Nested(&FILTER_CHAIN)),
        one(4, "use_original_dst", Wrapper(&Bool)),
        one(5, "per_connection_buffer_limit_bytes", Wrapper(&Unsigned)),
        one(6, "metadata", Nested(&METADATA)),
        one(8, "drain_type", Enum(&[(0, "DEFAULT"), (1, "MODIFY_ONLY")])),
        many(9, "listener_filters", Nested(&LISTENER_FILTER)),
        one(10, "transparent", Wrapper(&Bool)),
        one(11, "freebind", Wrapper(&Bool)),
        one(15, "listener_filters_timeout", Duration),
        one(
            16,
            "traffic_direction",
            Enum(&[(0, "UNSPECIFIED"), (1, "INBOUND"), (2, "OUTBOUND")]),
        ),
        one(17, "continue_on_listener_filters_timeout", Bool),
        one(19, "api_listener", Nested(&API_LISTENER)),
        one(24, "tcp_backlog_size", Wrapper(&Unsigned)),
        one(25, "default_filter_chain", Nested(&FILTER_CHAIN)),
        one(26, "bind_to_port", Wrapper(&Bool)),
        one(28, "stat_prefix", Text),
        one(29, "enable_reuse_port", Wrapper(&Bool)),
        one(31, "ignore_global_conn_limit", Bool),
        many(33, "additional_addresses", Nested(&ADDITIONAL_LISTENER_ADDRESS)),
    ],
};

pub(in crate::dump) static ADDITIONAL_LISTENER_ADDRESS: Message = Message {
    name: "envoy.config.listener.v3.AdditionalAddress",
    fields: &[one(1, "address", Nested(&ADDRESS))],
};

pub(in crate::dump) static API_LISTENER: Message = Message {
    name: "envoy.config.listener.v3.ApiListener",
    fields: &[one(1, "api_listener", Any)],
};

pub(in crate::dump) static FILTER_CHAIN: Message = Message {
    name: "envoy.config.listener.v3.FilterChain",
    fields: &[
        one(1, "filter_chain_match", Nested(&FILTER_CHAIN_MATCH)),
        many(3, "filters", Nested(&FILTER)),
        one(5, "metadata", Nested(&METADATA)),
        one(6, "transport_socket", Nested(&TRANSPORT_SOCKET)),
        one(7, "name", Text),
        one(9, "transport_socket_connect_timeout", Duration),
    ],
};

pub(in crate::dump) static FILTER_CHAIN_MATCH: Message = Message {
    name: "envoy.config.listener.v3.FilterChainMatch",
    fields: &[
        many(3, "prefix_ranges", Nested(&CIDR)),
        one(4, "address_suffix", Text),
        one(5, "suffix_len", Wrapper(&Unsigned)),
        one(8, "destination_port", Wrapper(&Unsigned)),
        one(9, "transport_protocol", Text),
        many(10, "application_protocols", Text),
        many(11, "server_names", Text),
    ],
};

pub(in crate::dump) static CIDR: Message = Message {
    name: "envoy.config.core.v3.CidrRange",
    fields: &[
        one(1, "address_prefix", Text),
        one(2, "prefix_len", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static FILTER: Message = Message {
    name: "envoy.config.listener.v3.Filter",
    fields: &[one(1, "name", Text), one(4, "typed_config", Any)],
};

pub(in crate::dump) static LISTENER_FILTER: Message = Message {
    name: "envoy.config.listener.v3.ListenerFilter",
    fields: &[one(1, "name", Text), one(3, "typed_config", Any)],
};

pub(in crate::dump) static HCM: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    fields: &[
        one(
            1,
            "codec_type",
            Enum(&[(0, "AUTO"), (1, "HTTP1"), (2, "HTTP2"), (3, "HTTP3")]),
        ),
        one(2, "stat_prefix", Text),
        one(3, "rds", Nested(&RDS)),
        one(4, "route_config", Nested(&ROUTE_CONFIGURATION)),
        many(5, "http_filters", Nested(&HTTP_FILTER)),
        one(6, "add_user_agent", Wrapper(&Bool)),
        one(8, "http_protocol_options", Nested(&HTTP1_OPTIONS)),
        one(9, "http2_protocol_options", Nested(&HTTP2_OPTIONS)),
        one(10, "server_name", Text),
        one(12, "drain_timeout", Duration),
        one(14, "use_remote_address", Wrapper(&Bool)),
        one(15, "generate_request_id", Wrapper(&Bool)),
        one(
            16,
            "forward_client_cert_details",
            Enum(&[
                (0, "SANITIZE"),
                (1, "FORWARD_ONLY"),
                (2, "APPEND_FORWARD"),
                (3, "SANITIZE_SET"),
                (4, "ALWAYS_FORWARD_ONLY"),
            ]),
        ),
        one(18, "proxy_100_continue", Bool),
        one(19, "xff_num_trusted_hops", Unsigned),
        one(21, "skip_xff_append", Bool),
        one(22, "via", Text),
        many(23, "upgrade_configs", Nested(&UPGRADE)),
        one(24, "stream_idle_timeout", Duration),
        one(25, "internal_address_config", Nested(&INTERNAL_ADDRESS)),
        one(26, "delayed_close_timeout", Duration),
        one(28, "request_timeout", Duration),
        one(29, "max_request_headers_kb", Wrapper(&Unsigned)),
        one(30, "normalize_path", Wrapper(&Bool)),
        one(32, "preserve_external_request_id", Bool),
        one(33, "merge_slashes", Bool),
        one(
            34,
            "server_header_transformation",
            Enum(&[(0, "OVERWRITE"), (1, "APPEND_IF_ABSENT"), (2, "PASS_THROUGH")]),
        ),
        one(35, "common_http_protocol_options", Nested(&HTTP_OPTIONS)),
        one(37, "always_set_request_id_in_response", Bool),
        one(39, "strip_matching_host_port", Bool),
        one(40, "stream_error_on_invalid_http_message", Wrapper(&Bool)),
        one(41, "request_headers_timeout", Duration),
        one(42, "strip_any_host_port", Bool),
        one(
            45,
            "path_with_escaped_slashes_action",
            Enum(&[
                (0, "IMPLEMENTATION_SPECIFIC_DEFAULT"),
                (1, "KEEP_UNCHANGED"),
                (2, "REJECT_REQUEST"),
                (3, "UNESCAPE_AND_REDIRECT"),
                (4, "UNESCAPE_AND_FORWARD"),
            ]),
        ),
        many(46, "original_ip_detection_extensions", Nested(&TYPED_EXTENSION)),
        one(47, "strip_trailing_host_dot", Bool),
    ],
};

pub(in crate::dump) static INTERNAL_ADDRESS: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig",
    fields: &[
        one(1, "unix_sockets", Bool),
        many(2, "cidr_ranges", Nested(&CIDR)),
    ],
};

pub(in crate::dump) static UPGRADE: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.UpgradeConfig",
    fields: &[
        one(1, "upgrade_type", Text),
        many(2, "filters", Nested(&HTTP_FILTER)),
        one(3, "enabled", Wrapper(&Bool)),
    ],
};

pub(in crate::dump) static HTTP_FILTER: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.HttpFilter",
    fields: &[
        one(1, "name", Text),
        one(4, "typed_config", Any),
        one(6, "is_optional", Bool),
        one(7, "disabled", Bool),
    ],
};

pub(in crate::dump) static RDS: Message = Message {
    name: "envoy.extensions.filters.network.http_connection_manager.v3.Rds",
    fields: &[
        one(1, "config_source", Nested(&CONFIG_SOURCE)),
        one(2, "route_config_name", Text),
    ],
};

pub(in crate::dump) static ROUTER: Message = Message {
    name: "envoy.extensions.filters.http.router.v3.Router",
    fields: &[
        one(1, "dynamic_stats", Wrapper(&Bool)),
        one(2, "start_child_span", Bool),
        one(4, "suppress_envoy_headers", Bool),
        many(5, "strict_check_headers", Text),
        one(6, "respect_expected_rq_timeout", Bool),
        one(7, "suppress_grpc_request_failure_code_stats", Bool),
    ],
};

pub(in crate::dump) static TLS_INSPECTOR: Message = Message {
    name: "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    fields: &[
        one(1, "enable_ja3_fingerprinting", Wrapper(&Bool)),
        one(2, "initial_read_buffer_size", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static HTTP_INSPECTOR: Message = Message {
    name: "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    fields: &[],
};

pub(in crate::dump) static ORIGINAL_DST_FILTER: Message = Message {
    name: "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    fields: &[],
};

pub(in crate::dump) static TCP_PROXY: Message = Message {
    name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    fields: &[
        one(1, "stat_prefix", Text),
        one(2, "cluster", Text),
        one(3, "downstream_idle_timeout", Duration),
        one(4, "upstream_idle_timeout", Duration),
        one(7, "max_connect_attempts", Wrapper(&Unsigned)),
        one(8, "idle_timeout", Duration),
        one(9, "metadata_match", Nested(&METADATA)),
        one(10, "weighted_clusters", Nested(&TCP_WEIGHTED)),
        one(13, "max_downstream_connection_duration", Duration),
    ],
};

pub(in crate::dump) static TCP_WEIGHTED: Message = Message {
    name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster",
    fields: &[many(1, "clusters", Nested(&TCP_WEIGHT))],
};

pub(in crate::dump) static TCP_WEIGHT: Message = Message {
    name: "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.WeightedCluster.ClusterWeight",
    fields: &[one(1, "name", Text), one(2, "weight", Unsigned)],
};

pub(in crate::dump) static REDIS_PROXY: Message = Message {
    name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy",
    fields: &[
        one(1, "stat_prefix", Text),
        one(3, "settings", Nested(&REDIS_SETTINGS)),
        one(4, "latency_in_micros", Bool),
        one(5, "prefix_routes", Nested(&REDIS_ROUTES)),
    ],
};

pub(in crate::dump) static REDIS_SETTINGS: Message = Message {
    name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.ConnPoolSettings",
    fields: &[
        one(1, "op_timeout", Duration),
        one(2, "enable_hashtagging", Bool),
        one(3, "enable_redirection", Bool),
        one(4, "max_buffer_size_before_flush", Unsigned),
        one(5, "buffer_flush_timeout", Duration),
        one(6, "max_upstream_unknown_connections", Wrapper(&Unsigned)),
        one(
            7,
            "read_policy",
            Enum(&[
                (0, "MASTER"),
                (1, "PREFER_MASTER"),
                (2, "REPLICA"),
                (3, "PREFER_REPLICA"),
                (4, "ANY"),
                (5, "LOCAL_ZONE_AFFINITY"),
                (6, "LOCAL_ZONE_AFFINITY_REPLICAS_AND_PRIMARY"),
            ]),
        ),
        one(8, "enable_command_stats", Bool),
    ],
};

pub(in crate::dump) static REDIS_ROUTES: Message = Message {
    name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes",
    fields: &[
        many(1, "routes", Nested(&REDIS_ROUTE)),
        one(2, "case_insensitive", Bool),
        one(4, "catch_all_route", Nested(&REDIS_ROUTE)),
    ],
};

pub(in crate::dump) static REDIS_ROUTE: Message = Message {
    name: "envoy.extensions.filters.network.redis_proxy.v3.RedisProxy.PrefixRoutes.Route",
    fields: &[
        one(1, "prefix", Text),
        one(2, "remove_prefix", Bool),
        one(3, "cluster", Text),
    ],
};

pub(in crate::dump) static MONGO_PROXY: Message = Message {
    name: "envoy.extensions.filters.network.mongo_proxy.v3.MongoProxy",
    fields: &[
        one(1, "stat_prefix", Text),
        one(2, "access_log", Text),
        one(4, "emit_dynamic_metadata", Bool),
        many(5, "commands", Text),
    ],
};
