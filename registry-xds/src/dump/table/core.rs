//! What several of the others are made of.

use crate::dump::message::Shape::{
    Any, Bool, Double, Duration, Enum, Map, Nested, Signed, Struct, Text, Unsigned, Wrapper,
};
use crate::dump::message::{Message, many, one};

pub(in crate::dump) static ADDRESS: Message = Message {
    name: "envoy.config.core.v3.Address",
    fields: &[
        one(1, "socket_address", Nested(&SOCKET_ADDRESS)),
        one(2, "pipe", Nested(&PIPE)),
    ],
};

pub(in crate::dump) static SOCKET_ADDRESS: Message = Message {
    name: "envoy.config.core.v3.SocketAddress",
    fields: &[
        one(1, "protocol", Enum(&[(0, "TCP"), (1, "UDP")])),
        one(2, "address", Text),
        one(3, "port_value", Unsigned),
        one(4, "named_port", Text),
        one(5, "resolver_name", Text),
        one(6, "ipv4_compat", Bool),
    ],
};

pub(in crate::dump) static PIPE: Message = Message {
    name: "envoy.config.core.v3.Pipe",
    fields: &[one(1, "path", Text), one(2, "mode", Unsigned)],
};

pub(in crate::dump) static CONFIG_SOURCE: Message = Message {
    name: "envoy.config.core.v3.ConfigSource",
    fields: &[
        one(1, "path", Text),
        one(2, "api_config_source", Nested(&API_CONFIG_SOURCE)),
        one(3, "ads", Nested(&EMPTY_ADS)),
        one(4, "initial_fetch_timeout", Duration),
        one(5, "self", Nested(&EMPTY_SELF)),
        one(
            6,
            "resource_api_version",
            Enum(&[(0, "AUTO"), (1, "V2"), (2, "V3")]),
        ),
        one(8, "path_config_source", Nested(&PATH_CONFIG_SOURCE)),
    ],
};

pub(in crate::dump) static PATH_CONFIG_SOURCE: Message = Message {
    name: "envoy.config.core.v3.PathConfigSource",
    fields: &[
        one(1, "path", Text),
        one(2, "watched_directory", Nested(&WATCHED_DIRECTORY)),
    ],
};

pub(in crate::dump) static WATCHED_DIRECTORY: Message = Message {
    name: "envoy.config.core.v3.WatchedDirectory",
    fields: &[one(1, "path", Text)],
};

pub(in crate::dump) static API_CONFIG_SOURCE: Message = Message {
    name: "envoy.config.core.v3.ApiConfigSource",
    fields: &[
        one(
            1,
            "api_type",
            Enum(&[
                (0, "DEPRECATED_AND_UNAVAILABLE_DO_NOT_USE"),
                (1, "REST"),
                (2, "GRPC"),
                (3, "DELTA_GRPC"),
                (5, "AGGREGATED_GRPC"),
                (6, "AGGREGATED_DELTA_GRPC"),
            ]),
        ),
        many(2, "cluster_names", Text),
        many(4, "grpc_services", Nested(&GRPC_SERVICE)),
        one(7, "set_node_on_first_message_only", Bool),
        one(
            8,
            "transport_api_version",
            Enum(&[(0, "AUTO"), (1, "V2"), (2, "V3")]),
        ),
    ],
};

pub(in crate::dump) static GRPC_SERVICE: Message = Message {
    name: "envoy.config.core.v3.GrpcService",
    fields: &[
        one(1, "envoy_grpc", Nested(&ENVOY_GRPC)),
        one(3, "timeout", Duration),
    ],
};

pub(in crate::dump) static ENVOY_GRPC: Message = Message {
    name: "envoy.config.core.v3.GrpcService.EnvoyGrpc",
    fields: &[one(1, "cluster_name", Text), one(2, "authority", Text)],
};

pub(in crate::dump) static EMPTY_ADS: Message = Message {
    name: "envoy.config.core.v3.AggregatedConfigSource",
    fields: &[],
};

pub(in crate::dump) static EMPTY_SELF: Message = Message {
    name: "envoy.config.core.v3.SelfConfigSource",
    fields: &[one(
        1,
        "transport_api_version",
        Enum(&[(0, "AUTO"), (1, "V2"), (2, "V3")]),
    )],
};

pub(in crate::dump) static DATA_SOURCE: Message = Message {
    name: "envoy.config.core.v3.DataSource",
    fields: &[
        one(1, "filename", Text),
        one(3, "inline_string", Text),
        one(4, "environment_variable", Text),
        one(5, "watched_directory", Nested(&WATCHED_DIRECTORY)),
    ],
};

pub(in crate::dump) static LOCALITY: Message = Message {
    name: "envoy.config.core.v3.Locality",
    fields: &[
        one(1, "region", Text),
        one(2, "zone", Text),
        one(3, "sub_zone", Text),
    ],
};

pub(in crate::dump) static METADATA: Message = Message {
    name: "envoy.config.core.v3.Metadata",
    fields: &[one(1, "filter_metadata", Map(&Struct))],
};

pub(in crate::dump) static TRANSPORT_SOCKET: Message = Message {
    name: "envoy.config.core.v3.TransportSocket",
    fields: &[one(1, "name", Text), one(3, "typed_config", Any)],
};

pub(in crate::dump) static TYPED_EXTENSION: Message = Message {
    name: "envoy.config.core.v3.TypedExtensionConfig",
    fields: &[one(1, "name", Text), one(2, "typed_config", Any)],
};

pub(in crate::dump) static HTTP_OPTIONS: Message = Message {
    name: "envoy.config.core.v3.HttpProtocolOptions",
    fields: &[
        one(1, "idle_timeout", Duration),
        one(2, "max_headers_count", Wrapper(&Unsigned)),
        one(3, "max_connection_duration", Duration),
        one(4, "max_stream_duration", Duration),
        one(6, "max_requests_per_connection", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static HTTP1_OPTIONS: Message = Message {
    name: "envoy.config.core.v3.Http1ProtocolOptions",
    fields: &[
        one(1, "allow_absolute_url", Wrapper(&Bool)),
        one(2, "accept_http_10", Bool),
        one(5, "enable_trailers", Bool),
    ],
};

pub(in crate::dump) static HTTP2_OPTIONS: Message = Message {
    name: "envoy.config.core.v3.Http2ProtocolOptions",
    fields: &[
        one(2, "max_concurrent_streams", Wrapper(&Unsigned)),
        one(3, "initial_stream_window_size", Wrapper(&Unsigned)),
        one(4, "initial_connection_window_size", Wrapper(&Unsigned)),
        one(5, "allow_connect", Bool),
        one(15, "connection_keepalive", Nested(&KEEPALIVE)),
    ],
};

pub(in crate::dump) static KEEPALIVE: Message = Message {
    name: "envoy.config.core.v3.KeepaliveSettings",
    fields: &[
        one(1, "interval", Duration),
        one(2, "timeout", Duration),
        one(4, "connection_idle_interval", Duration),
    ],
};

pub(in crate::dump) static TCP_KEEPALIVE: Message = Message {
    name: "envoy.config.core.v3.TcpKeepalive",
    fields: &[
        one(1, "keepalive_probes", Wrapper(&Unsigned)),
        one(2, "keepalive_time", Wrapper(&Unsigned)),
        one(3, "keepalive_interval", Wrapper(&Unsigned)),
    ],
};

pub(in crate::dump) static RUNTIME_PERCENT: Message = Message {
    name: "envoy.config.core.v3.RuntimeFractionalPercent",
    fields: &[
        one(1, "default_value", Nested(&FRACTION)),
        one(2, "runtime_key", Text),
    ],
};

pub(in crate::dump) static FRACTION: Message = Message {
    name: "envoy.type.v3.FractionalPercent",
    fields: &[
        one(1, "numerator", Unsigned),
        one(
            2,
            "denominator",
            Enum(&[(0, "HUNDRED"), (1, "TEN_THOUSAND"), (2, "MILLION")]),
        ),
    ],
};

pub(in crate::dump) static PERCENT: Message = Message {
    name: "envoy.type.v3.Percent",
    fields: &[one(1, "value", Double)],
};

pub(in crate::dump) static INT64_RANGE: Message = Message {
    name: "envoy.type.v3.Int64Range",
    fields: &[one(1, "start", Signed), one(2, "end", Signed)],
};

pub(in crate::dump) static STRING_MATCHER: Message = Message {
    name: "envoy.type.matcher.v3.StringMatcher",
    fields: &[
        one(1, "exact", Text),
        one(2, "prefix", Text),
        one(3, "suffix", Text),
        one(5, "safe_regex", Nested(&REGEX_MATCHER)),
        one(6, "ignore_case", Bool),
        one(7, "contains", Text),
    ],
};

pub(in crate::dump) static REGEX_MATCHER: Message = Message {
    name: "envoy.type.matcher.v3.RegexMatcher",
    fields: &[one(2, "regex", Text)],
};
