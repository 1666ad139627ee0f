//! Bootstraps of gRPC: a file or text of JSON, named by `GRPC_XDS_BOOTSTRAP` or held by `GRPC_XDS_BOOTSTRAP_CONFIG`.

use super::document::Document;
use super::{Bootstrap, CertificateProvider};
use Document::{List, Map, Named};

pub(super) fn document(bootstrap: &Bootstrap, providers: &[CertificateProvider]) -> Document {
    let servers = bootstrap.servers.iter().map(|server| {
        Map(vec![
            ("server_uri", server.as_str().into()),
            ("channel_creds", List(vec![credentials(bootstrap)])),
            ("server_features", List(vec!["xds_v3".into()])),
        ])
    });
    let mut root = vec![
        ("xds_servers", List(servers.collect())),
        ("node", bootstrap.node()),
    ];
    if !providers.is_empty() {
        let named = providers
            .iter()
            .map(|provider| (provider.instance.clone(), files(provider)));
        root.push(("certificate_providers", Named(named.collect())));
    }
    Map(root)
}

/// gRFC A29: the one plugin that all libraries have.
fn files(provider: &CertificateProvider) -> Document {
    let config = vec![
        ("certificate_file", file(&provider.certificate)),
        ("private_key_file", file(&provider.key)),
        ("ca_certificate_file", file(&provider.ca)),
    ];
    Map(vec![
        ("plugin_name", "file_watcher".into()),
        ("config", Map(config)),
    ])
}

fn file(path: &std::path::Path) -> Document {
    Document::from(&*path.to_string_lossy())
}

/// gRFC A65: the name that the server's certificate has to have is always that of `server_uri`.
fn credentials(bootstrap: &Bootstrap) -> Document {
    let Some(ca) = &bootstrap.tls_ca else {
        return Map(vec![("type", "insecure".into())]);
    };
    let mut config = vec![("ca_certificate_file", file(ca))];
    if let Some((certificate, key)) = &bootstrap.tls_client {
        config.push(("certificate_file", file(certificate)));
        config.push(("private_key_file", file(key)));
    }
    Map(vec![("type", "tls".into()), ("config", Map(config))])
}
