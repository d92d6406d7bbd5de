//! CA certificates that an owner trusts.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::{self, PemObject as _, SectionKind};
use thiserror::Error;
use webpki::anchor_from_trusted_cert;

/// The maximum number of CA certificates.
pub const MAX_CA_CERTIFICATES: usize = 16;
/// The maximum size of CA certificates in PEM, in bytes.
pub const MAX_CA_BYTES: usize = 64 * 1024;
/// The number of base64 characters in a line of PEM (RFC 7468 §2).
const PEM_LINE: usize = 64;

/// One to [`MAX_CA_CERTIFICATES`] CA certificates. Clones share them; they are compared by their digest.
#[derive(Clone)]
pub struct CaCertificates {
    certificates: Arc<[CertificateDer<'static>]>,
    /// The SHA-256 of all certificates.
    digest: [u8; 32],
}

/// A text that is not a list of CA certificates.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidCaError {
    /// The text is too long.
    #[error("has {0} bytes, at most {MAX_CA_BYTES} are allowed")]
    TooLong(usize),
    /// The text has no certificate.
    #[error("has no certificate: give one or more that begin with `-----BEGIN CERTIFICATE-----`")]
    Empty,
    /// There are too many certificates.
    #[error(
        "has more than {MAX_CA_CERTIFICATES} certificates: give only those of the CAs that issue the backends'"
    )]
    TooMany,
    /// A section of the PEM is malformed.
    #[error("is not valid PEM: {0}")]
    Pem(String),
    /// The text contains a private key.
    #[error("contains a private key: keep it secret, and give certificates only")]
    PrivateKey,
    /// The PEM contains something else than certificates.
    #[error("contains something else than certificates: give certificates only")]
    OtherKind,
    /// A certificate is malformed.
    #[error("has an invalid certificate, number {0}: {1}")]
    Certificate(usize, String),
}

impl CaCertificates {
    /// Parses certificates in PEM. Text around them is ignored, and duplicates are removed.
    pub fn parse(text: &str) -> Result<Self, InvalidCaError> {
        if text.len() > MAX_CA_BYTES {
            return Err(InvalidCaError::TooLong(text.len()));
        }
        let mut certificates: Vec<CertificateDer<'static>> = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes()) {
            let certificate = certificate_of(section)?;
            anchor_from_trusted_cert(&certificate)
                .map_err(|error| InvalidCaError::Certificate(certificates.len() + 1, error.to_string()))?;
            if !certificates.contains(&certificate) {
                certificates.push(certificate);
            }
            if certificates.len() > MAX_CA_CERTIFICATES {
                return Err(InvalidCaError::TooMany);
            }
        }
        if certificates.is_empty() {
            return Err(InvalidCaError::Empty);
        }
        Ok(Self::new(certificates.into()))
    }

    fn new(certificates: Arc<[CertificateDer<'static>]>) -> Self {
        let mut context = Context::new(&SHA256);
        // Each one begins with its length, as all DER does, so that the digest is unambiguous.
        certificates.iter().for_each(|certificate| context.update(certificate));
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self { certificates, digest }
    }

    /// Returns the certificates; never empty.
    #[must_use]
    pub fn as_slice(&self) -> &[CertificateDer<'static>] {
        &self.certificates
    }

    /// Returns the certificates in PEM.
    #[must_use]
    pub fn to_pem(&self) -> String {
        let mut pem = String::new();
        for certificate in self.certificates.iter() {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            let mut base64 = STANDARD.encode(certificate);
            while !base64.is_empty() {
                let rest = base64.split_off(base64.len().min(PEM_LINE));
                pem.push_str(&base64);
                pem.push('\n');
                base64 = rest;
            }
            pem.push_str("-----END CERTIFICATE-----\n");
        }
        pem
    }
}

fn certificate_of(
    section: Result<(SectionKind, Vec<u8>), pem::Error>,
) -> Result<CertificateDer<'static>, InvalidCaError> {
    match section.map_err(|error| InvalidCaError::Pem(error.to_string()))? {
        (SectionKind::Certificate, der) => Ok(der.into()),
        (SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _) => {
            Err(InvalidCaError::PrivateKey)
        }
        _ => Err(InvalidCaError::OtherKind),
    }
}

impl PartialEq for CaCertificates {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl Eq for CaCertificates {}

impl Hash for CaCertificates {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

impl fmt::Debug for CaCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CaCertificates").field(&self.certificates.len()).finish()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A self-signed certificate of openssl.
    pub(crate) const PEM: &str = include_str!("testdata/ca.pem");
    const OTHER: &str = include_str!("testdata/other.pem");

    #[test]
    fn certificates_are_parsed_in_any_wrapping_and_have_one() {
        let one = CaCertificates::parse(PEM).unwrap();
        assert_eq!(one.to_pem(), PEM);
        let crlf = PEM.replace('\n', "\r\n");
        let wide = PEM.replace("\n", "");
        let wide = wide.replace("CERTIFICATE-----M", "CERTIFICATE-----\nM").replace("-----END", "\n-----END");
        let commented = format!("subject=CN = x\n{PEM}\n# the end\n{PEM}");
        for text in [&crlf, &wide, &commented] {
            assert_eq!(CaCertificates::parse(text).unwrap(), one, "{text}");
        }
        let both = CaCertificates::parse(&format!("{PEM}{OTHER}")).unwrap();
        assert_eq!((both.as_slice().len(), both == one), (2, false));
        assert_eq!(CaCertificates::parse(&both.to_pem()).unwrap(), both);
    }

    #[test]
    fn anything_else_is_rejected_with_the_reason() {
        let begin = "-----BEGIN CERTIFICATE-----\n";
        let section =
            |kind: &str, base64: &str| format!("-----BEGIN {kind}-----\n{base64}\n-----END {kind}-----\n");
        let cut = &PEM[..PEM.len() / 2];
        let padded = format!("{}{PEM}", "x".repeat(MAX_CA_BYTES));
        for (text, reason) in [
            ("", "has no certificate"),
            ("/etc/ssl/ca.pem", "has no certificate"),
            ("MIIB", "has no certificate"),
            (cut, "is not valid PEM"),
            (&format!("{begin}!!!\n-----END CERTIFICATE-----"), "is not valid PEM"),
            (&section("CERTIFICATE", "MIIB"), "invalid certificate, number 1"),
            (&format!("{PEM}{}", section("CERTIFICATE", "AAAA")), "invalid certificate, number 2"),
            (&format!("{PEM}{}", section("PRIVATE KEY", "MIIB")), "private key"),
            (&format!("{}{PEM}", section("EC PRIVATE KEY", "MIIB")), "private key"),
            (&section("RSA PRIVATE KEY", "MIIB"), "private key"),
            (&section("X509 CRL", "MIIB"), "something else"),
            (&padded, "at most 65536"),
        ] {
            let error = CaCertificates::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
