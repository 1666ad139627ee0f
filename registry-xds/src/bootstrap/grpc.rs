//! Bootstraps of gRPC: a file or text of JSON, named by `GRPC_XDS_BOOTSTRAP` or held by `GRPC_XDS_BOOTSTRAP_CONFIG`.

use super::Bootstrap;
use super::document::Document;
use Document::{List, Map};

pub(super) fn document(bootstrap: &Bootstrap) -> Document {
    let servers = bootstrap.servers.iter().map(|server| {
        Map(vec![
            ("server_uri", server.as_str().into()),
            ("channel_creds", List(vec![credentials(bootstrap)])),
            ("server_features", List(vec!["xds_v3".into()])),
        ])
    });
    Map(vec![
        ("xds_servers", List(servers.collect())),
        ("node", bootstrap.node()),
    ])
}

/// gRFC A65: the name that the server's certificate has to have is always that of `server_uri`.
fn credentials(bootstrap: &Bootstrap) -> Document {
    let Some(ca) = &bootstrap.tls_ca else {
        return Map(vec![("type", "insecure".into())]);
    };
    let file = |path: &std::path::Path| Document::from(&*path.to_string_lossy());
    let mut config = vec![("ca_certificate_file", file(ca))];
    if let Some((certificate, key)) = &bootstrap.tls_client {
        config.push(("certificate_file", file(certificate)));
        config.push(("private_key_file", file(key)));
    }
    Map(vec![("type", "tls".into()), ("config", Map(config))])
}
