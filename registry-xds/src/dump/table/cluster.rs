//! Clusters and their endpoints.

use super::core::{
    ADDRESS, CONFIG_SOURCE, FRACTION, HTTP_OPTIONS, HTTP1_OPTIONS, HTTP2_OPTIONS, LOCALITY, METADATA,
    PERCENT, TCP_KEEPALIVE, TRANSPORT_SOCKET, TYPED_EXTENSION,
};
use crate::dump::message::Shape::{Any, Bool, Duration, Enum, Map, Nested, Text, Unsigned, Wrapper};
use crate::dump::message::{Message, many, one};

pub(in crate::dump) static CLUSTER: Message = Message {
    name: "envoy.config.cluster.v3.Cluster",
    fields: &[
        one(1, "name", Text),
        one(
            2,
            "type",
            Enum(&[
                (0, "STATIC"),
                (1, "STRICT_DNS"),
                (2, "LOGICAL_DNS"),
                (3, "EDS"),
                (4, "ORIGINAL_DST"),
            ]),
        ),
        one(3, "eds_cluster_config", Nested(&EDS_CONFIG)),
        one(4, "connect_timeout", Duration),
        one(5, "per_connection_buffer_limit_bytes", Wrapper(&Unsigned)),
        one(
            6,
            "lb_policy",
            Enum(&[
                (0, "ROUND_ROBIN"),
                (1, "LEAST_REQUEST"),
                (2, "RING_HASH"),
                (3, "RANDOM"),
                (5, "MAGLEV"),
                (6, "CLUSTER_PROVIDED"),
                (7, "LOAD_BALANCING_POLICY_CONFIG"),
            ]),
        ),
        one(9, "max_requests_per_connection", Wrapper(&Unsigned)),
        one(10, "circuit_breakers", Nested(&CIRCUIT_BREAKERS)),
        one(16, "dns_refresh_rate", Duration),
        one(
            17,
            "dns_lookup_family",
            Enum(&[
                (0, "AUTO"),
                (1, "V4_ONLY"),
                (2, "V6_ONLY"),
                (3, "V4_PREFERRED"),
                (4, "ALL"),
            ]),
        ),
        one(19, "outlier_detection", Nested(&OUTLIER_DETECTION)),
        one(20, "cleanup_interval", Duration),
        one(23, "ring_hash_lb_config", Nested(&RING_HASH)),
        one(24, "transport_socket", Nested(&TRANSPORT_SOCKET)),
        one(25, "metadata", Nested(&METADATA)),
        one(27, "common_lb_config", Nested(&COMMON_LB)),
        one(28, "alt_stat_name", Text),
        one(30, "upstream_connection_options", Nested(&CONNECTION_OPTIONS)),
        one(31, "close_connections_on_host_health_failure", Bool),
        one(32, "ignore_health_on_host_removal", Bool),
        one(33, "load_assignment", Nested(&LOAD_ASSIGNMENT)),
        one(34, "original_dst_lb_config", Nested(&ORIGINAL_DST)),
        one(36, "typed_extension_protocol_options", Map(&Any)),
        one(37, "least_request_lb_config", Nested(&LEAST_REQUEST)),
        one(38, "cluster_type", Nested(&CUSTOM_CLUSTER)),
        one(39, "respect_dns_ttl", Bool),
        one(41, "load_balancing_policy", Nested(&LB_POLICY)),
        one(42, "lrs_server", Nested(&CONFIG_SOURCE)),
        one(52, "maglev_lb_config", Nested(&MAGLEV)),
        one(56, "round_robin_lb_config", Nested(&ROUND_ROBIN)),
    ],
};

pub(in crate::dump) static CUSTOM_CLUSTER: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.CustomClusterType",
    fields: &[one(1, "name", Text), one(2, "typed_config", Any)],
};

pub(in crate::dump) static EDS_CONFIG: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.EdsClusterConfig",
    fields: &[
        one(1, "eds_config", Nested(&CONFIG_SOURCE)),
        one(2, "service_name", Text),
    ],
};

pub(in crate::dump) static CIRCUIT_BREAKERS: Message = Message {
    name: "envoy.config.cluster.v3.CircuitBreakers",
    fields: &[many(1, "thresholds", Nested(&THRESHOLDS))],
};

pub(in crate::dump) static THRESHOLDS: Message = Message {
    name: "envoy.config.cluster.v3.CircuitBreakers.Thresholds",
    fields: &[
        one(1, "priority", Enum(&[(0, "DEFAULT"), (1, "HIGH")])),
        one(2, "max_connections", Wrapper(&Unsigned)),
        one(3, "max_pending_requests", Wrapper(&Unsigned)),
        one(4, "max_requests", Wrapper(&Unsigned)),
        one(5, "max_retries", Wrapper(&Unsigned)),
        one(6, "track_remaining", Bool),
        one(7, "max_connection_pools", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static OUTLIER_DETECTION: Message = Message {
    name: "envoy.config.cluster.v3.OutlierDetection",
    fields: &[
        one(1, "consecutive_5xx", Wrapper(&Unsigned)),
        one(2, "interval", Duration),
        one(3, "base_ejection_time", Duration),
        one(4, "max_ejection_percent", Wrapper(&Unsigned)),
        one(5, "enforcing_consecutive_5xx", Wrapper(&Unsigned)),
        one(6, "enforcing_success_rate", Wrapper(&Unsigned)),
        one(7, "success_rate_minimum_hosts", Wrapper(&Unsigned)),
        one(8, "success_rate_request_volume", Wrapper(&Unsigned)),
        one(9, "success_rate_stdev_factor", Wrapper(&Unsigned)),
        one(10, "consecutive_gateway_failure", Wrapper(&Unsigned)),
        one(11, "enforcing_consecutive_gateway_failure", Wrapper(&Unsigned)),
        one(12, "split_external_local_origin_errors", Bool),
        one(13, "consecutive_local_origin_failure", Wrapper(&Unsigned)),
        one(
            14,
            "enforcing_consecutive_local_origin_failure",
            Wrapper(&Unsigned),
        ),
        one(15, "enforcing_local_origin_success_rate", Wrapper(&Unsigned)),
        one(16, "failure_percentage_threshold", Wrapper(&Unsigned)),
        one(17, "enforcing_failure_percentage", Wrapper(&Unsigned)),
        one(
            18,
            "enforcing_failure_percentage_local_origin",
            Wrapper(&Unsigned),
        ),
        one(19, "failure_percentage_minimum_hosts", Wrapper(&Unsigned)),
        one(20, "failure_percentage_request_volume", Wrapper(&Unsigned)),
        one(21, "max_ejection_time", Duration),
        one(22, "max_ejection_time_jitter", Duration),
        one(23, "successful_active_health_check_uneject_host", Wrapper(&Bool)),
        many(24, "monitors", Nested(&TYPED_EXTENSION)),
        one(25, "always_eject_one_host", Wrapper(&Bool)),
        one(26, "detect_degraded_hosts", Wrapper(&Bool)),
    ],
};

pub(in crate::dump) static RING_HASH: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.RingHashLbConfig",
    fields: &[
        one(1, "minimum_ring_size", Wrapper(&Unsigned)),
        one(3, "hash_function", Enum(&[(0, "XX_HASH"), (1, "MURMUR_HASH_2")])),
        one(4, "maximum_ring_size", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static MAGLEV: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.MaglevLbConfig",
    fields: &[one(1, "table_size", Wrapper(&Unsigned))],
};

pub(in crate::dump) static ORIGINAL_DST: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.OriginalDstLbConfig",
    fields: &[
        one(1, "use_http_header", Bool),
        one(2, "http_header_name", Text),
        one(3, "upstream_port_override", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static LEAST_REQUEST: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.LeastRequestLbConfig",
    fields: &[one(1, "choice_count", Wrapper(&Unsigned))],
};

pub(in crate::dump) static ROUND_ROBIN: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.RoundRobinLbConfig",
    fields: &[],
};

pub(in crate::dump) static COMMON_LB: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.CommonLbConfig",
    fields: &[
        one(1, "healthy_panic_threshold", Nested(&PERCENT)),
        one(2, "zone_aware_lb_config", Nested(&ZONE_AWARE)),
        one(3, "locality_weighted_lb_config", Nested(&LOCALITY_WEIGHTED)),
        one(4, "update_merge_window", Duration),
        one(5, "ignore_new_hosts_until_first_hc", Bool),
        one(6, "close_connections_on_host_set_change", Bool),
        one(7, "consistent_hashing_lb_config", Nested(&CONSISTENT_HASHING)),
    ],
};

pub(in crate::dump) static ZONE_AWARE: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.CommonLbConfig.ZoneAwareLbConfig",
    fields: &[
        one(1, "routing_enabled", Nested(&PERCENT)),
        one(2, "min_cluster_size", Wrapper(&Unsigned)),
        one(3, "fail_traffic_on_panic", Bool),
    ],
};

pub(in crate::dump) static LOCALITY_WEIGHTED: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.CommonLbConfig.LocalityWeightedLbConfig",
    fields: &[],
};

pub(in crate::dump) static CONSISTENT_HASHING: Message = Message {
    name: "envoy.config.cluster.v3.Cluster.CommonLbConfig.ConsistentHashingLbConfig",
    fields: &[one(1, "use_hostname_for_hashing", Bool)],
};

pub(in crate::dump) static CONNECTION_OPTIONS: Message = Message {
    name: "envoy.config.cluster.v3.UpstreamConnectionOptions",
    fields: &[
        one(1, "tcp_keepalive", Nested(&TCP_KEEPALIVE)),
        one(2, "set_local_interface_name_on_upstream_connections", Bool),
    ],
};

pub(in crate::dump) static LB_POLICY: Message = Message {
    name: "envoy.config.cluster.v3.LoadBalancingPolicy",
    fields: &[many(1, "policies", Nested(&LB_POLICY_ENTRY))],
};

pub(in crate::dump) static LB_POLICY_ENTRY: Message = Message {
    name: "envoy.config.cluster.v3.LoadBalancingPolicy.Policy",
    fields: &[one(4, "typed_extension_config", Nested(&TYPED_EXTENSION))],
};

pub(in crate::dump) static LOAD_ASSIGNMENT: Message = Message {
    name: "envoy.config.endpoint.v3.ClusterLoadAssignment",
    fields: &[
        one(1, "cluster_name", Text),
        many(2, "endpoints", Nested(&LOCALITY_ENDPOINTS)),
        one(4, "policy", Nested(&ASSIGNMENT_POLICY)),
    ],
};

pub(in crate::dump) static ASSIGNMENT_POLICY: Message = Message {
    name: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy",
    fields: &[
        many(2, "drop_overloads", Nested(&DROP_OVERLOAD)),
        one(3, "overprovisioning_factor", Wrapper(&Unsigned)),
        one(4, "endpoint_stale_after", Duration),
        one(6, "weighted_priority_health", Bool),
    ],
};

pub(in crate::dump) static DROP_OVERLOAD: Message = Message {
    name: "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy.DropOverload",
    fields: &[
        one(1, "category", Text),
        one(2, "drop_percentage", Nested(&FRACTION)),
    ],
};

pub(in crate::dump) static LOCALITY_ENDPOINTS: Message = Message {
    name: "envoy.config.endpoint.v3.LocalityLbEndpoints",
    fields: &[
        one(1, "locality", Nested(&LOCALITY)),
        many(2, "lb_endpoints", Nested(&LB_ENDPOINT)),
        one(3, "load_balancing_weight", Wrapper(&Unsigned)),
        one(5, "priority", Unsigned),
        one(6, "proximity", Wrapper(&Unsigned)),
        one(9, "metadata", Nested(&METADATA)),
    ],
};

pub(in crate::dump) static LB_ENDPOINT: Message = Message {
    name: "envoy.config.endpoint.v3.LbEndpoint",
    fields: &[
        one(1, "endpoint", Nested(&ENDPOINT)),
        one(
            2,
            "health_status",
            Enum(&[
                (0, "UNKNOWN"),
                (1, "HEALTHY"),
                (2, "UNHEALTHY"),
                (3, "DRAINING"),
                (4, "TIMEOUT"),
                (5, "DEGRADED"),
            ]),
        ),
        one(3, "metadata", Nested(&METADATA)),
        one(4, "load_balancing_weight", Wrapper(&Unsigned)),
        one(5, "endpoint_name", Text),
    ],
};

pub(in crate::dump) static ENDPOINT: Message = Message {
    name: "envoy.config.endpoint.v3.Endpoint",
    fields: &[
        one(1, "address", Nested(&ADDRESS)),
        one(3, "hostname", Text),
        many(4, "additional_addresses", Nested(&ADDITIONAL_ADDRESS)),
    ],
};

pub(in crate::dump) static ADDITIONAL_ADDRESS: Message = Message {
    name: "envoy.config.endpoint.v3.Endpoint.AdditionalAddress",
    fields: &[one(1, "address", Nested(&ADDRESS))],
};

pub(in crate::dump) static UPSTREAM_HTTP: Message = Message {
    name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    fields: &[
        one(1, "common_http_protocol_options", Nested(&HTTP_OPTIONS)),
        one(
            2,
            "upstream_http_protocol_options",
            Nested(&UPSTREAM_HTTP_OPTIONS),
        ),
        one(3, "explicit_http_config", Nested(&EXPLICIT_HTTP)),
        one(4, "use_downstream_protocol_config", Nested(&DOWNSTREAM_HTTP)),
        one(5, "auto_config", Nested(&AUTO_HTTP)),
    ],
};

pub(in crate::dump) static UPSTREAM_HTTP_OPTIONS: Message = Message {
    name: "envoy.config.core.v3.UpstreamHttpProtocolOptions",
    fields: &[one(1, "auto_sni", Bool), one(2, "auto_san_validation", Bool)],
};

pub(in crate::dump) static EXPLICIT_HTTP: Message = Message {
    name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.ExplicitHttpConfig",
    fields: &[
        one(1, "http_protocol_options", Nested(&HTTP1_OPTIONS)),
        one(2, "http2_protocol_options", Nested(&HTTP2_OPTIONS)),
    ],
};

pub(in crate::dump) static DOWNSTREAM_HTTP: Message = Message {
    name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.UseDownstreamHttpConfig",
    fields: &[
        one(1, "http_protocol_options", Nested(&HTTP1_OPTIONS)),
        one(2, "http2_protocol_options", Nested(&HTTP2_OPTIONS)),
    ],
};

pub(in crate::dump) static AUTO_HTTP: Message = Message {
    name: "envoy.extensions.upstreams.http.v3.HttpProtocolOptions.AutoHttpConfig",
    fields: &[
        one(1, "http_protocol_options", Nested(&HTTP1_OPTIONS)),
        one(2, "http2_protocol_options", Nested(&HTTP2_OPTIONS)),
    ],
};
