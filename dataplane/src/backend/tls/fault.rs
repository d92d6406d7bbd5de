//! The reasons why a TLS handshake with a backend fails.

use std::io;

use rustls::{AlertDescription, CertificateError, Error};
use thiserror::Error as ThisError;

/// The reason why a TLS handshake with a backend failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ThisError)]
pub(crate) enum TlsFault {
    /// The certificate has expired.
    #[error("its certificate has expired")]
    Expired,
    /// The validity of the certificate has not begun.
    #[error("its certificate is not valid yet")]
    NotYetValid,
    /// No trusted CA has issued the certificate.
    #[error("its certificate was not issued by a trusted CA")]
    UnknownIssuer,
    /// The certificate is for other names.
    #[error("its certificate is for another name")]
    WrongName,
    /// The certificate was revoked.
    #[error("its certificate was revoked")]
    Revoked,
    /// The certificate is unusable for another reason.
    #[error("its certificate is invalid")]
    InvalidCertificate,
    /// The backend ended the handshake with an alert (RFC 8446 §6).
    #[error("it refused the TLS handshake with the alert {0:?}")]
    Alert(AlertDescription),
    /// The backend does not speak HTTP/2 over TLS.
    #[error("it does not offer HTTP/2 over TLS (ALPN h2)")]
    NoHttp2,
    /// The backend sent something else than TLS.
    #[error("it does not speak TLS")]
    NotTls,
    /// The backend closed the connection.
    #[error("it closed the connection during the TLS handshake")]
    Closed,
    /// The handshake took too long.
    #[error("the TLS handshake timed out")]
    Timeout,
    /// This node knows no public CAs.
    #[error("this node has no certificates of public CAs")]
    NoRoots,
    /// The handshake violates the protocol, or has no version or algorithm that both sides support.
    #[error("the TLS handshake failed")]
    Protocol,
}

impl TlsFault {
    /// Returns the proxy error type of RFC 9209 §2.3.
    #[must_use]
    pub(crate) const fn proxy_error(self) -> &'static str {
        match self {
            Self::Expired
            | Self::NotYetValid
            | Self::UnknownIssuer
            | Self::WrongName
            | Self::Revoked
            | Self::InvalidCertificate => "tls_certificate_error",
            Self::Alert(_) => "tls_alert_received",
            Self::NoHttp2 | Self::NotTls | Self::Closed | Self::Protocol => "tls_protocol_error",
            Self::Timeout => "connection_timeout",
            Self::NoRoots => "proxy_configuration_error",
        }
    }

    /// Returns the word for the fault in the `details` of Proxy-Status (RFC 9209 §2.1.5).
    #[must_use]
    pub(crate) const fn details(self) -> &'static str {
        match self {
            Self::Expired => "certificate expired",
            Self::NotYetValid => "certificate not yet valid",
            Self::UnknownIssuer => "unknown issuer",
            Self::WrongName => "wrong name",
            Self::Revoked => "certificate revoked",
            Self::InvalidCertificate => "invalid certificate",
            Self::Alert(AlertDescription::NoApplicationProtocol) => "no_application_protocol",
            Self::Alert(AlertDescription::HandshakeFailure) => "handshake_failure",
            Self::Alert(AlertDescription::UnrecognisedName) => "unrecognized_name",
            Self::Alert(AlertDescription::ProtocolVersion) => "protocol_version",
            Self::Alert(AlertDescription::CertificateRequired) => "certificate_required",
            Self::Alert(AlertDescription::InternalError) => "internal_error",
            Self::Alert(_) => "TLS alert",
            Self::NoHttp2 => "ALPN h2 not negotiated",
            Self::NotTls => "not TLS",
            Self::Closed => "connection closed",
            Self::Timeout => "TLS handshake timeout",
            Self::NoRoots => "no public CAs",
            Self::Protocol => "TLS handshake failed",
        }
    }

    /// Returns whether this node is at fault, not the backend.
    #[must_use]
    pub(crate) const fn is_own(self) -> bool {
        matches!(self, Self::NoRoots)
    }
}

impl From<&io::Error> for TlsFault {
    fn from(error: &io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match tls {
            Some(Error::InvalidCertificate(certificate)) => certificate.into(),
            Some(Error::NoCertificatesPresented) => Self::InvalidCertificate,
            Some(Error::AlertReceived(alert)) => Self::Alert(*alert),
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            Some(_) => Self::Protocol,
            None => Self::Closed,
        }
    }
}

impl From<&CertificateError> for TlsFault {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownIssuer,
            // The self-signed certificates that common tools create are CA certificates.
            CertificateError::Other(other)
                if other.0.downcast_ref() == Some(&webpki::Error::CaUsedAsEndEntity) =>
            {
                Self::UnknownIssuer
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongName
            }
            CertificateError::Revoked => Self::Revoked,
            _ => Self::InvalidCertificate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_the_tls_library_are_told_apart() {
        let certificate = |error| Error::InvalidCertificate(error);
        for (error, fault, proxy_error) in [
            (certificate(CertificateError::Expired), TlsFault::Expired, "tls_certificate_error"),
            (certificate(CertificateError::NotValidYet), TlsFault::NotYetValid, "tls_certificate_error"),
            (certificate(CertificateError::UnknownIssuer), TlsFault::UnknownIssuer, "tls_certificate_error"),
            (certificate(CertificateError::NotValidForName), TlsFault::WrongName, "tls_certificate_error"),
            (
                certificate(CertificateError::BadEncoding),
                TlsFault::InvalidCertificate,
                "tls_certificate_error",
            ),
            (Error::NoCertificatesPresented, TlsFault::InvalidCertificate, "tls_certificate_error"),
            (
                Error::AlertReceived(AlertDescription::NoApplicationProtocol),
                TlsFault::Alert(AlertDescription::NoApplicationProtocol),
                "tls_alert_received",
            ),
            (
                Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType),
                TlsFault::NotTls,
                "tls_protocol_error",
            ),
            (Error::General("x".into()), TlsFault::Protocol, "tls_protocol_error"),
        ] {
            let found = TlsFault::from(&io::Error::new(io::ErrorKind::InvalidData, error.clone()));
            assert_eq!((found, found.proxy_error()), (fault, proxy_error), "{error}");
        }
        let closed = io::Error::from(io::ErrorKind::UnexpectedEof);
        assert_eq!(TlsFault::from(&closed), TlsFault::Closed);
    }
}
