//! Small messages that larger ones are put together from.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::google::protobuf::{Any, BoolValue, Duration as ProtoDuration, UInt32Value};
use prost::{Message, Name};

pub(crate) fn any<M: Message + Name>(message: &M) -> Any {
    Any {
        type_url: M::type_url(),
        value: message.encode_to_vec(),
    }
}

#[allow(clippy::unnecessary_wraps, reason = "every field that takes one is optional")]
pub(crate) fn number(value: u32) -> Option<UInt32Value> {
    Some(UInt32Value { value })
}

#[allow(clippy::unnecessary_wraps, reason = "every field that takes one is optional")]
pub(crate) fn yes() -> Option<BoolValue> {
    Some(BoolValue { value: true })
}

/// A span of time; one longer than protobuf allows is the longest one.
pub(crate) fn duration(value: Duration) -> ProtoDuration {
    /// 10 000 years, by the definition of `google.protobuf.Duration`.
    const LONGEST: u64 = 315_576_000_000;
    ProtoDuration {
        seconds: i64::try_from(value.as_secs().min(LONGEST)).unwrap_or(i64::MAX),
        nanos: i32::try_from(value.subsec_nanos()).unwrap_or(0),
    }
}

pub(crate) fn socket(host: String, port: u16) -> core::Address {
    core::Address {
        address: Some(core::address::Address::SocketAddress(core::SocketAddress {
            address: host,
            port_specifier: Some(core::socket_address::PortSpecifier::PortValue(port.into())),
            ..core::SocketAddress::default()
        })),
    }
}

pub(crate) fn socket_of(address: SocketAddr) -> core::Address {
    socket(address.ip().to_string(), address.port())
}

pub(crate) fn pipe(path: &str) -> core::Address {
    core::Address {
        address: Some(core::address::Address::Pipe(core::Pipe {
            path: path.to_owned(),
            mode: 0,
        })),
    }
}

/// Over the stream that the resource itself came by.
///
/// Its bytes never change: Envoy forgets a route configuration whose source differs in anything, and answers 404 until
/// it has it again (envoyproxy/envoy#32283).
pub(crate) fn ads() -> core::ConfigSource {
    core::ConfigSource {
        resource_api_version: core::ApiVersion::V3.into(),
        config_source_specifier: Some(core::config_source::ConfigSourceSpecifier::Ads(
            core::AggregatedConfigSource {},
        )),
        ..core::ConfigSource::default()
    }
}
