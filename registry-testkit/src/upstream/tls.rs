//! Certificates for tests, and the server side of TLS.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose, SanType,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::{Error, init_tls};

/// Issues certificates that nobody else trusts.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate with its key, as texts in PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when the library fails.
    pub fn new() -> Result<Self, Error> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().map_err(failed)?;
        let issuer = CertifiedIssuer::self_signed(params, key).map_err(failed)?;
        Ok(Self { issuer })
    }

    /// Its own certificate, in PEM.
    #[must_use]
    pub fn certificate(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for the names: host names, IP addresses and, such as `spiffe://example/web`, URIs. It is for
    /// servers and clients alike.
    ///
    /// # Errors
    ///
    /// [`Error::Tls`] when one of the names is none.
    pub fn issue(&self, names: &[&str]) -> Result<Identity, Error> {
        let (uris, hosts): (Vec<&str>, Vec<&str>) = names.iter().partition(|name| name.contains("://"));
        let hosts: Vec<String> = hosts.into_iter().map(str::to_owned).collect();
        let mut params = CertificateParams::new(hosts).map_err(failed)?;
        for uri in uris {
            let uri = uri.try_into().map_err(failed)?;
            params.subject_alt_names.push(SanType::URI(uri));
        }
        // Certificates of SPIFFE have to say so; others may.
        params.key_usages.push(KeyUsagePurpose::DigitalSignature);
        // Authorities of tests all have the same name.
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        Ok(Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }

    /// What a client that trusts it alone goes by.
    pub(super) fn client(&self) -> Result<rustls::ClientConfig, Error> {
        init_tls();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(self.issuer.der().clone()).map_err(failed)?;
        let config = rustls::ClientConfig::builder().with_root_certificates(roots);
        Ok(config.with_no_client_auth())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

/// The side of a server that shows the identity and asks for none.
pub(super) fn acceptor(identity: &Identity) -> Result<TlsAcceptor, Error> {
    init_tls();
    let certificate = CertificateDer::from_pem_slice(identity.certificate.as_bytes()).map_err(failed)?;
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(failed)?;
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .map_err(failed)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Tls {
        source: Box::new(error),
    }
}
