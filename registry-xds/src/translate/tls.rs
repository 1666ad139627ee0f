//! TLS from proxies to endpoints.
//!
//! Of the rules whose pattern fits the hostname the first counts whose certificates this kind of client can have: SDS and
//! files are Envoy's, provider instances are gRPC's. Where a rule fits and none can be used the service is not served at
//! all: it is never spoken to in plain by mistake. Ports that speak TLS themselves are passed through.

use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::{
    ApiConfigSource, ApiVersion, ConfigSource, DataSource, GrpcService, TransportSocket, api_config_source,
    config_source, data_source, grpc_service, transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateProviderPluginInstance, CertificateValidationContext, CommonTlsContext, SdsSecretConfig,
    SubjectAltNameMatcher, TlsCertificate, UpstreamTlsContext, common_tls_context, subject_alt_name_matcher,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{RegexMatcher, StringMatcher, string_matcher};
use registry_core::{Pattern, Service};

use super::{check, proto};
use crate::config::{UpstreamTls, UpstreamTlsSource, XdsConfig};
use crate::node::Kind;
use crate::protocol::Protocol;

/// The longest server name that Envoy takes.
const LONGEST_SNI: usize = 255;

/// A regular expression that no text matches.
const NOTHING: &str = r"[^\s\S]";

/// An identity that is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Identity<'a> {
    /// A registry's word: itself, whatever characters are in it.
    Exact(&'a str),
    /// The operator's word, in which `*` stands for any run of characters.
    Pattern(&'a str),
}

/// What TLS to a service is made of; `None` where it is spoken to in plain.
#[derive(Debug)]
pub(crate) struct Tls<'a> {
    rule: &'a UpstreamTls,
    /// Of which an endpoint has to prove one; empty where any certificate is good.
    identities: Vec<Identity<'a>>,
    server_name: &'a str,
}

impl<'a> Tls<'a> {
    /// What the configuration says of a service.
    ///
    /// # Errors
    ///
    /// Why the service must not be served.
    pub(crate) fn of(
        service: &'a Service,
        kind: Kind,
        config: &'a XdsConfig,
    ) -> Result<Option<Self>, String> {
        let mut fitting = config
            .upstream_tls
            .iter()
            .filter(|rule| Pattern::new(&rule.hosts).matches(service.hostname()))
            .peekable();
        if fitting.peek().is_none() {
            return Ok(None);
        }
        let is_for = |rule: &&UpstreamTls| match rule.source {
            UpstreamTlsSource::Sds { .. } | UpstreamTlsSource::Files { .. } => kind == Kind::Envoy,
            UpstreamTlsSource::Provider { .. } => kind == Kind::Grpc,
        };
        let Some(rule) = fitting.find(is_for) else {
            return Err(match kind {
                Kind::Envoy => "upstream_tls has certificates for gRPC alone: not served to Envoy",
                Kind::Grpc => "upstream_tls has no provider of certificates for gRPC: not served to it",
            }
            .to_owned());
        };
        let server_name = rule.server_name.as_deref().unwrap_or(service.hostname());
        if server_name.len() > LONGEST_SNI {
            return Err(format!(
                "a server name of {} bytes: not served",
                server_name.len()
            ));
        }
        Ok(Some(Self {
            rule,
            identities: identities(rule, service)?,
            server_name,
        }))
    }

    /// The transport of a port's cluster.
    pub(crate) fn socket(&self, protocol: Protocol) -> Option<TransportSocket> {
        if protocol == Protocol::Tls {
            return None;
        }
        let context = UpstreamTlsContext {
            common_tls_context: Some(self.common(protocol)),
            sni: self.server_name.to_owned(),
            ..UpstreamTlsContext::default()
        };
        Some(TransportSocket {
            name: "envoy.transport_sockets.tls".to_owned(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(proto::any(&context))),
        })
    }

    fn common(&self, protocol: Protocol) -> CommonTlsContext {
        use common_tls_context::ValidationContextType;
        let alpn: &[&str] = match protocol {
            Protocol::Http => &["http/1.1"],
            Protocol::Http2 | Protocol::Grpc => &["h2"],
            _ => &[],
        };
        let alpn_protocols = alpn.iter().map(ToString::to_string).collect();
        match &self.rule.source {
            UpstreamTlsSource::Sds {
                cluster,
                certificate,
                validation,
            } => CommonTlsContext {
                alpn_protocols,
                tls_certificate_sds_secret_configs: vec![secret(cluster, certificate)],
                validation_context_type: Some(ValidationContextType::CombinedValidationContext(
                    common_tls_context::CombinedCertificateValidationContext {
                        default_validation_context: Some(self.names_for_any_validator()),
                        validation_context_sds_secret_config: Some(secret(cluster, validation)),
                        ..Default::default()
                    },
                )),
                ..CommonTlsContext::default()
            },
            UpstreamTlsSource::Files { certificate, key, ca } => CommonTlsContext {
                alpn_protocols,
                tls_certificates: vec![TlsCertificate {
                    certificate_chain: Some(file(certificate)),
                    private_key: Some(file(key)),
                    ..TlsCertificate::default()
                }],
                validation_context_type: Some(ValidationContextType::ValidationContext(
                    CertificateValidationContext {
                        trusted_ca: Some(file(ca)),
                        ..self.typed_names()
                    },
                )),
                ..CommonTlsContext::default()
            },
            UpstreamTlsSource::Provider { instance } => {
                let instance = || {
                    Some(CertificateProviderPluginInstance {
                        instance_name: instance.clone(),
                        certificate_name: String::new(),
                    })
                };
                CommonTlsContext {
                    tls_certificate_provider_instance: instance(),
                    validation_context_type: Some(ValidationContextType::ValidationContext(
                        CertificateValidationContext {
                            ca_certificate_provider_instance: instance(),
                            ..self.plain_names()
                        },
                    )),
                    ..CommonTlsContext::default()
                }
            }
        }
    }

    fn typed_names(&self) -> CertificateValidationContext {
        let matchers = self.identities.iter().map(|identity| SubjectAltNameMatcher {
            san_type: identity.san_type().into(),
            matcher: Some(identity.matcher()),
            ..SubjectAltNameMatcher::default()
        });
        CertificateValidationContext {
            match_typed_subject_alt_names: matchers.collect(),
            ..CertificateValidationContext::default()
        }
    }

    /// An agent may have its authorities checked by Envoy's validator of SPIFFE, as SPIRE does. That one knows URIs alone and
    /// leaves other names out; where none is left any certificate of the trust domain would be good.
    fn names_for_any_validator(&self) -> CertificateValidationContext {
        use subject_alt_name_matcher::SanType;
        let mut names = self.typed_names();
        let matchers = &mut names.match_typed_subject_alt_names;
        let is_uri = |matcher: &SubjectAltNameMatcher| matcher.san_type() == SanType::Uri;
        if !matchers.is_empty() && !matchers.iter().any(is_uri) {
            matchers.push(SubjectAltNameMatcher {
                san_type: SanType::Uri.into(),
                matcher: Some(by_regex(NOTHING.to_owned())),
                ..SubjectAltNameMatcher::default()
            });
        }
        names
    }

    /// gRPC reads this field alone (gRFC A29), and would overlook the newer one: any certificate would be good.
    #[allow(deprecated, reason = "gRPC reads no other")]
    fn plain_names(&self) -> CertificateValidationContext {
        CertificateValidationContext {
            match_subject_alt_names: self.identities.iter().map(Identity::matcher).collect(),
            ..CertificateValidationContext::default()
        }
    }
}

/// Which identities are good for a service: what the configuration says, else what its endpoints say, of any health, so
/// that health changes no cluster. Sorted.
fn identities<'a>(rule: &'a UpstreamTls, service: &'a Service) -> Result<Vec<Identity<'a>>, String> {
    if rule.identities.iter().any(|identity| identity == "*") {
        return Ok(Vec::new());
    }
    let said: BTreeSet<Identity<'_>> = if rule.identities.is_empty() {
        let endpoints = service.endpoints().iter();
        let said = endpoints.map(|endpoint| endpoint.identity().as_str());
        said.filter(|identity| !identity.is_empty())
            .map(Identity::Exact)
            .collect()
    } else {
        let said = rule.identities.iter();
        said.map(|identity| Identity::Pattern(identity)).collect()
    };
    let nothing_said = said.is_empty();
    let good: Vec<Identity<'_>> = said
        .into_iter()
        .filter(|identity| check::identity(identity.text()))
        .collect();
    if good.is_empty() && !nothing_said {
        // An empty list would mean that any will do.
        return Err("none of its identities can be one: not served".to_owned());
    }
    Ok(good)
}

impl<'a> Identity<'a> {
    fn text(&self) -> &'a str {
        match self {
            Self::Exact(text) | Self::Pattern(text) => text,
        }
    }

    fn san_type(&self) -> subject_alt_name_matcher::SanType {
        use subject_alt_name_matcher::SanType;
        if self.text().contains([':', '/']) {
            SanType::Uri
        } else {
            SanType::Dns
        }
    }

    fn matcher(&self) -> StringMatcher {
        use string_matcher::MatchPattern;
        let text = self.text();
        let stars = match self {
            Self::Exact(_) => 0,
            Self::Pattern(pattern) => pattern.matches('*').count(),
        };
        let pattern = match (stars, text.strip_suffix('*'), text.strip_prefix('*')) {
            (0, ..) => MatchPattern::Exact(text.to_owned()),
            (1, Some(start), _) => MatchPattern::Prefix(start.to_owned()),
            (1, _, Some(end)) => MatchPattern::Suffix(end.to_owned()),
            _ => return by_regex(regex(text)),
        };
        StringMatcher {
            match_pattern: Some(pattern),
            ..StringMatcher::default()
        }
    }
}

fn by_regex(regex: String) -> StringMatcher {
    StringMatcher {
        match_pattern: Some(string_matcher::MatchPattern::SafeRegex(RegexMatcher {
            regex,
            ..RegexMatcher::default()
        })),
        ..StringMatcher::default()
    }
}

/// As a regular expression of RE2, which Envoy and gRPC match against the whole of a text.
fn regex(identity: &str) -> String {
    let mut regex = String::with_capacity(identity.len() * 2);
    for c in identity.chars() {
        match c {
            '*' => regex.push_str(".*"),
            c if c.is_ascii_punctuation() => regex.extend(['\\', c]),
            c => regex.push(c),
        }
    }
    regex
}

fn secret(cluster: &str, name: &str) -> SdsSecretConfig {
    let service = GrpcService {
        target_specifier: Some(grpc_service::TargetSpecifier::EnvoyGrpc(
            grpc_service::EnvoyGrpc {
                cluster_name: cluster.to_owned(),
                ..grpc_service::EnvoyGrpc::default()
            },
        )),
        ..GrpcService::default()
    };
    SdsSecretConfig {
        name: name.to_owned(),
        sds_config: Some(ConfigSource {
            resource_api_version: ApiVersion::V3.into(),
            config_source_specifier: Some(config_source::ConfigSourceSpecifier::ApiConfigSource(
                ApiConfigSource {
                    api_type: api_config_source::ApiType::Grpc.into(),
                    transport_api_version: ApiVersion::V3.into(),
                    set_node_on_first_message_only: true,
                    grpc_services: vec![service],
                    ..ApiConfigSource::default()
                },
            )),
            ..ConfigSource::default()
        }),
    }
}

fn file(path: &std::path::Path) -> DataSource {
    DataSource {
        specifier: Some(data_source::Specifier::Filename(
            path.to_string_lossy().into_owned(),
        )),
        ..DataSource::default()
    }
}

#[cfg(test)]
mod tests;
