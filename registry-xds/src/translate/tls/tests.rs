use common_tls_context::ValidationContextType;
use registry_core::EndpointBuilder;

use super::*;
use crate::translate::tests::{endpoint, meta, port, service, unpack};

fn sds() -> UpstreamTlsSource {
    UpstreamTlsSource::Sds {
        cluster: "spire_agent".to_owned(),
        certificate: "default".to_owned(),
        validation: "ROOTCA".to_owned(),
    }
}

fn files() -> UpstreamTlsSource {
    UpstreamTlsSource::Files {
        certificate: "/tls/cert.pem".into(),
        key: "/tls/key.pem".into(),
        ca: "/tls/ca.pem".into(),
    }
}

fn provider() -> UpstreamTlsSource {
    UpstreamTlsSource::Provider {
        instance: "mesh".to_owned(),
    }
}

fn config(rules: impl IntoIterator<Item = (UpstreamTlsSource, &'static [&'static str])>) -> XdsConfig {
    let rules = rules.into_iter().map(|(source, identities)| UpstreamTls {
        hosts: "*.static".to_owned(),
        source,
        identities: identities.iter().map(ToString::to_string).collect(),
        server_name: None,
    });
    XdsConfig {
        upstream_tls: rules.collect(),
        ..XdsConfig::default()
    }
}

fn context(
    endpoints: impl IntoIterator<Item = EndpointBuilder>,
    kind: Kind,
    config: &XdsConfig,
) -> Result<UpstreamTlsContext, String> {
    let service = service(meta("web", [port("http:80/http")]), endpoints);
    let socket = Tls::of(&service, kind, config)?
        .unwrap()
        .socket(Protocol::Http)
        .unwrap();
    let Some(transport_socket::ConfigType::TypedConfig(any)) = socket.config_type else {
        panic!("{socket:?}")
    };
    Ok(unpack(&any))
}

fn with_identity(address: &str, identity: &str) -> EndpointBuilder {
    endpoint(address, "http", 80).identity(identity)
}

fn typed_names(validation: &CertificateValidationContext) -> Vec<(i32, string_matcher::MatchPattern)> {
    validation
        .match_typed_subject_alt_names
        .iter()
        .map(|name| {
            let pattern = name.matcher.clone().unwrap().match_pattern.unwrap();
            (name.san_type, pattern)
        })
        .collect()
}

#[test]
fn identities_of_endpoints_are_checked_whatever_characters_are_in_them() {
    use subject_alt_name_matcher::SanType;
    let endpoints = [
        with_identity("10.0.0.1", "spiffe://mesh/web"),
        with_identity("10.0.0.2", "spiffe://mesh/web"),
        with_identity("10.0.0.3", "web.mesh.internal"),
        with_identity("10.0.0.4", "*"),
        endpoint("10.0.0.5", "http", 80),
    ];
    let context = context(endpoints, Kind::Envoy, &config([(sds(), &[][..])])).unwrap();
    assert_eq!(context.sni, "web.static");
    let common = context.common_tls_context.unwrap();
    assert_eq!(common.alpn_protocols, ["http/1.1"]);
    let [certificate] = &common.tls_certificate_sds_secret_configs[..] else {
        panic!("{common:?}")
    };
    assert_eq!(certificate.name, "default");
    let Some(ValidationContextType::CombinedValidationContext(combined)) = common.validation_context_type
    else {
        panic!("no combined validation")
    };
    assert_eq!(
        combined.validation_context_sds_secret_config.unwrap().name,
        "ROOTCA"
    );
    let exact =
        |type_: SanType, text: &str| (type_.into(), string_matcher::MatchPattern::Exact(text.to_owned()));
    assert_eq!(
        typed_names(&combined.default_validation_context.unwrap()),
        [
            exact(SanType::Dns, "*"),
            exact(SanType::Uri, "spiffe://mesh/web"),
            exact(SanType::Dns, "web.mesh.internal"),
        ]
    );
}

/// Envoy's validator of SPIFFE takes a list without URIs for none at all.
#[test]
fn names_that_an_agents_validator_overlooks_are_accompanied_by_one_that_nobody_has() {
    use subject_alt_name_matcher::SanType;
    let of = |source, identities| {
        let endpoints = [endpoint("10.0.0.1", "http", 80)];
        let context = context(endpoints, Kind::Envoy, &config([(source, identities)])).unwrap();
        match context.common_tls_context.unwrap().validation_context_type {
            Some(ValidationContextType::CombinedValidationContext(combined)) => {
                typed_names(&combined.default_validation_context.unwrap())
            }
            Some(ValidationContextType::ValidationContext(validation)) => typed_names(&validation),
            other => panic!("{other:?}"),
        }
    };
    let names = of(sds(), &["web.mesh.internal"]);
    assert_eq!(names.len(), 2, "{names:?}");
    assert_eq!(names[0].0, i32::from(SanType::Dns));
    let nobody = string_matcher::MatchPattern::SafeRegex(RegexMatcher {
        regex: NOTHING.to_owned(),
        ..RegexMatcher::default()
    });
    assert_eq!(names[1], (SanType::Uri.into(), nobody));
    // Any certificate is good where that was said, and files have no such validator.
    assert_eq!(of(sds(), &["*"]), []);
    assert_eq!(of(files(), &["web.mesh.internal"]).len(), 1);
}

#[test]
fn patterns_of_the_operator_outweigh_what_registries_say() {
    use string_matcher::MatchPattern::{Exact, Prefix, SafeRegex, Suffix};
    let patterns = &[
        "spiffe://mesh/*",
        "*.internal",
        "spiffe://mesh/a",
        "spiffe://*/ns/a.b/*",
    ];
    let endpoints = [with_identity("10.0.0.1", "spiffe://other/web")];
    let context = context(endpoints, Kind::Envoy, &config([(files(), &patterns[..])])).unwrap();
    let common = context.common_tls_context.unwrap();
    assert_eq!(common.tls_certificates.len(), 1);
    let Some(ValidationContextType::ValidationContext(validation)) = common.validation_context_type else {
        panic!("no validation")
    };
    assert!(validation.trusted_ca.is_some());
    let names: Vec<_> = typed_names(&validation)
        .into_iter()
        .map(|(_, pattern)| pattern)
        .collect();
    assert_eq!(
        names,
        [
            Suffix(".internal".to_owned()),
            SafeRegex(RegexMatcher {
                regex: r"spiffe\:\/\/.*\/ns\/a\.b\/.*".to_owned(),
                ..RegexMatcher::default()
            }),
            Prefix("spiffe://mesh/".to_owned()),
            Exact("spiffe://mesh/a".to_owned()),
        ]
    );
}

#[test]
#[allow(deprecated, reason = "gRPC reads no other")]
fn grpc_gets_provider_instances_and_names_in_the_field_that_it_reads() {
    let endpoints = [with_identity("10.0.0.1", "spiffe://mesh/web")];
    let rules = config([(sds(), &[][..]), (provider(), &[][..])]);
    let context = context(endpoints, Kind::Grpc, &rules).unwrap();
    let common = context.common_tls_context.unwrap();
    let instance = common.tls_certificate_provider_instance.unwrap();
    assert_eq!(instance.instance_name, "mesh");
    assert!(common.tls_certificate_sds_secret_configs.is_empty());
    let Some(ValidationContextType::ValidationContext(validation)) = common.validation_context_type else {
        panic!("no validation")
    };
    assert_eq!(validation.ca_certificate_provider_instance, Some(instance));
    assert_eq!(validation.match_subject_alt_names.len(), 1);
    assert!(validation.match_typed_subject_alt_names.is_empty());
}

#[test]
fn a_service_that_should_have_tls_is_never_served_in_plain() {
    let endpoint = || [endpoint("10.0.0.1", "http", 80)];
    assert!(context(endpoint(), Kind::Grpc, &config([(sds(), &[][..])])).is_err());
    assert!(context(endpoint(), Kind::Envoy, &config([(provider(), &[][..])])).is_err());
    // Names that cannot be checked are not the same as none.
    let bad = [with_identity("10.0.0.1", &"x".repeat(3000))];
    assert!(context(bad, Kind::Envoy, &config([(sds(), &[][..])])).is_err());
    let unknown = context(endpoint(), Kind::Envoy, &config([(sds(), &[][..])])).unwrap();
    assert!(unknown.common_tls_context.is_some());
}

#[test]
fn what_speaks_tls_itself_is_passed_through() {
    let service = service(meta("web", [port("https:443/https")]), []);
    let config = config([(sds(), &[][..])]);
    let tls = Tls::of(&service, Kind::Envoy, &config).unwrap().unwrap();
    assert_eq!(tls.socket(Protocol::Tls), None);
    assert!(tls.socket(Protocol::Tcp).is_some());
}
