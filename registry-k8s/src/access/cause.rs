//! Why a connection failed, in words that tell one cause from another.

use std::error::Error as StdError;
use std::io;

use registry_core::short;
use rustls::{AlertDescription, CertificateError};

/// What went wrong below HTTP.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cause {
    pub(super) text: String,
    /// The server refused our certificate, or wants one: other credentials may help.
    pub(super) is_refused_certificate: bool,
}

impl Cause {
    /// Looks through the causes from the outside to the inside: the outer ones say what was tried, the innermost why it
    /// failed.
    pub(super) fn of(error: &(dyn StdError + 'static)) -> Self {
        let mut texts: Vec<String> = Vec::new();
        let mut resolving = false;
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(tls) = tls(error) {
                return Self::of_tls(tls);
            }
            if let Some(error) = error.downcast_ref::<io::Error>() {
                match error.kind() {
                    io::ErrorKind::TimedOut => return Self::plain("no connection in time"),
                    io::ErrorKind::ConnectionRefused => return Self::plain("connection refused"),
                    io::ErrorKind::ConnectionReset => return Self::plain("connection reset"),
                    _ => {}
                }
            }
            let text = error.to_string();
            resolving |= text == "dns error";
            texts.push(text);
            next = error.source();
        }
        if resolving {
            let why = texts.pop().unwrap_or_default();
            return Self::plain(format!("the name cannot be resolved: {why}"));
        }
        // Wrappers repeat what they wrap; the plainest text of each is that of the innermost which says it.
        let mut told: Vec<&str> = Vec::new();
        for (i, text) in texts.iter().enumerate() {
            let repeats = texts
                .get(i + 1)
                .is_some_and(|inner| text.contains(inner.as_str()));
            if !repeats && !text.starts_with("client error (") {
                told.push(text);
            }
        }
        Self::plain(told.join(": "))
    }

    fn of_tls(error: &rustls::Error) -> Self {
        use CertificateError as Certificate;
        let text = match error {
            rustls::Error::InvalidCertificate(why) => match why {
                Certificate::UnknownIssuer => {
                    "the certificate of the server is of an issuer that is not trusted here".to_owned()
                }
                // Each cluster has an authority of its own, and most are called alike.
                Certificate::BadSignature => {
                    "the certificate of the server is of an issuer that is trusted here by name, \
                    but has another key"
                        .to_owned()
                }
                Certificate::Expired | Certificate::ExpiredContext { .. } => {
                    "the certificate of the server has expired".to_owned()
                }
                Certificate::NotValidYet | Certificate::NotValidYetContext { .. } => {
                    "the certificate of the server is not valid yet".to_owned()
                }
                Certificate::NotValidForName | Certificate::NotValidForNameContext { .. } => {
                    format!("the certificate of the server is for another name: {why}")
                }
                _ => format!("the certificate of the server is not valid: {why}"),
            },
            rustls::Error::InvalidMessage(_) => {
                "found what is no TLS, expected it; a server or proxy that speaks plain HTTP there needs an http URL"
                    .to_owned()
            }
            rustls::Error::AlertReceived(alert) => format!("the server refused the handshake ({alert:?})"),
            other => other.to_string(),
        };
        let is_refused_certificate = matches!(
            error,
            rustls::Error::AlertReceived(
                AlertDescription::BadCertificate
                    | AlertDescription::CertificateExpired
                    | AlertDescription::CertificateRequired
                    | AlertDescription::CertificateRevoked
                    | AlertDescription::CertificateUnknown
                    | AlertDescription::DecryptError
                    | AlertDescription::UnknownCA
                    | AlertDescription::UnsupportedCertificate
            )
        );
        Self {
            text: short(&format!("TLS: {text}"), 400),
            is_refused_certificate,
        }
    }

    fn plain(text: impl AsRef<str>) -> Self {
        Self {
            text: short(text.as_ref(), 400),
            is_refused_certificate: false,
        }
    }
}

/// The error of TLS in this one. An `io::Error` shows the text of what it wraps, but is not that for those who ask.
fn tls<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e rustls::Error> {
    error.downcast_ref().or_else(|| {
        let inner = error.downcast_ref::<io::Error>()?.get_ref()?;
        let inner: &(dyn StdError + 'static) = inner;
        tls(inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<dyn StdError + Send + Sync>>);

    fn text(error: impl StdError + 'static) -> String {
        Cause::of(&error).text
    }

    #[test]
    fn causes_are_told_apart() {
        let io = |kind| Layer("client error (Connect)", Some(io::Error::from(kind).into()));
        assert_eq!(text(io(io::ErrorKind::ConnectionRefused)), "connection refused");
        assert_eq!(text(io(io::ErrorKind::TimedOut)), "no connection in time");
        let lookup = Layer("failed to lookup address information", None);
        let dns = Layer(
            "client error (Connect)",
            Some(Layer("dns error", Some(lookup.into())).into()),
        );
        assert_eq!(
            text(dns),
            "the name cannot be resolved: failed to lookup address information"
        );
        let wrapped = Layer(
            "ServiceError: tunnel failed",
            Some(Layer("tunnel failed", None).into()),
        );
        assert_eq!(text(wrapped), "tunnel failed");
    }

    #[test]
    fn a_handshake_says_who_refused_whom() {
        let tls = |error| {
            Layer(
                "client error (Connect)",
                Some(io::Error::other(io::Error::other::<rustls::Error>(error)).into()),
            )
        };
        let issuer = tls(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let issuer = Cause::of(&issuer);
        assert_eq!(
            issuer.text,
            "TLS: the certificate of the server is of an issuer that is not trusted here"
        );
        assert!(!issuer.is_refused_certificate);
        let expired = text(tls(rustls::Error::InvalidCertificate(CertificateError::Expired)));
        assert_eq!(expired, "TLS: the certificate of the server has expired");
        let name = text(tls(rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName,
        )));
        assert!(
            name.starts_with("TLS: the certificate of the server is for another name"),
            "{name}"
        );
        let plain = text(tls(rustls::Error::InvalidMessage(
            rustls::InvalidMessage::InvalidContentType,
        )));
        assert!(plain.starts_with("TLS: found what is no TLS"), "{plain}");
        let refused = Cause::of(&tls(rustls::Error::AlertReceived(
            AlertDescription::CertificateRequired,
        )));
        assert_eq!(
            refused.text,
            "TLS: the server refused the handshake (CertificateRequired)"
        );
        assert!(refused.is_refused_certificate);
    }
}
