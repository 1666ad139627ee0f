//! TLS.

use super::core::{CONFIG_SOURCE, DATA_SOURCE, STRING_MATCHER, WATCHED_DIRECTORY};
use crate::dump::message::Shape::{self, Bool, Enum, Nested, Text, Unsigned, Wrapper};
use crate::dump::message::{Message, many, one};

pub(in crate::dump) static UPSTREAM_TLS: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    fields: &[
        one(1, "common_tls_context", Nested(&COMMON_TLS)),
        one(2, "sni", Text),
        one(3, "allow_renegotiation", Bool),
        one(4, "max_session_keys", Wrapper(&Unsigned)),
        one(6, "auto_host_sni", Bool),
        one(7, "auto_sni_san_validation", Bool),
    ],
};

pub(in crate::dump) static COMMON_TLS: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext",
    fields: &[
        one(1, "tls_params", Nested(&TLS_PARAMETERS)),
        many(2, "tls_certificates", Nested(&TLS_CERTIFICATE)),
        one(3, "validation_context", Nested(&VALIDATION)),
        many(4, "alpn_protocols", Text),
        many(6, "tls_certificate_sds_secret_configs", Nested(&SDS_CONFIG)),
        one(7, "validation_context_sds_secret_config", Nested(&SDS_CONFIG)),
        one(8, "combined_validation_context", Nested(&COMBINED_VALIDATION)),
        one(
            14,
            "tls_certificate_provider_instance",
            Nested(&PROVIDER_INSTANCE),
        ),
    ],
};

const VERSION: Shape = Enum(&[
    (0, "TLS_AUTO"),
    (1, "TLSv1_0"),
    (2, "TLSv1_1"),
    (3, "TLSv1_2"),
    (4, "TLSv1_3"),
]);

pub(in crate::dump) static TLS_PARAMETERS: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.TlsParameters",
    fields: &[
        one(1, "tls_minimum_protocol_version", VERSION),
        one(2, "tls_maximum_protocol_version", VERSION),
        many(3, "cipher_suites", Text),
        many(4, "ecdh_curves", Text),
    ],
};

pub(in crate::dump) static TLS_CERTIFICATE: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.TlsCertificate",
    fields: &[
        one(1, "certificate_chain", Nested(&DATA_SOURCE)),
        one(2, "private_key", Nested(&DATA_SOURCE)),
        one(7, "watched_directory", Nested(&WATCHED_DIRECTORY)),
    ],
};

pub(in crate::dump) static SDS_CONFIG: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig",
    fields: &[one(1, "name", Text), one(2, "sds_config", Nested(&CONFIG_SOURCE))],
};

pub(in crate::dump) static PROVIDER_INSTANCE: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.CertificateProviderPluginInstance",
    fields: &[one(1, "instance_name", Text), one(2, "certificate_name", Text)],
};

pub(in crate::dump) static VALIDATION: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext",
    fields: &[
        one(1, "trusted_ca", Nested(&DATA_SOURCE)),
        many(2, "verify_certificate_hash", Text),
        many(3, "verify_certificate_spki", Text),
        one(8, "allow_expired_certificate", Bool),
        many(9, "match_subject_alt_names", Nested(&STRING_MATCHER)),
        one(
            10,
            "trust_chain_verification",
            Enum(&[(0, "VERIFY_TRUST_CHAIN"), (1, "ACCEPT_UNTRUSTED")]),
        ),
        one(11, "watched_directory", Nested(&WATCHED_DIRECTORY)),
        one(13, "ca_certificate_provider_instance", Nested(&PROVIDER_INSTANCE)),
        one(14, "only_verify_leaf_cert_crl", Bool),
        many(15, "match_typed_subject_alt_names", Nested(&SAN_MATCHER)),
    ],
};

pub(in crate::dump) static COMBINED_VALIDATION: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext",
    fields: &[
        one(1, "default_validation_context", Nested(&VALIDATION)),
        one(2, "validation_context_sds_secret_config", Nested(&SDS_CONFIG)),
    ],
};

pub(in crate::dump) static SAN_MATCHER: Message = Message {
    name: "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher",
    fields: &[
        one(
            1,
            "san_type",
            Enum(&[
                (0, "SAN_TYPE_UNSPECIFIED"),
                (1, "EMAIL"),
                (2, "DNS"),
                (3, "URI"),
                (4, "IP_ADDRESS"),
                (5, "OTHER_NAME"),
            ]),
        ),
        one(2, "matcher", Nested(&STRING_MATCHER)),
        one(3, "oid", Text),
    ],
};
