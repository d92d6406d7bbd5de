//! A node's private key, the certificate signing request for it, and the certificate issued for that.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use webgateway_proto::model::{NodeName, RemoteAddress};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// The identity of a node that has joined.
pub(crate) struct Identity {
    /// The name under which the node was invited.
    pub name: NodeName,
    /// The address of the controlplane that the node joined.
    pub address: RemoteAddress,
    /// The private key, in PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// The certificate chain in DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The CA certificates by which the node verifies the controlplane, in DER.
    pub roots: Vec<CertificateDer<'static>>,
    /// The time at which the certificate is renewed, in Unix seconds.
    pub renew_at: i64,
    /// The time at which the certificate expires, in Unix seconds.
    pub not_after: i64,
}

/// The certificate that the controlplane issued cannot be used.
#[derive(Debug, Error)]
pub enum NodeCertificateError {
    /// The response has no certificate, or no CA certificate.
    #[error("the controlplane returned no certificate for this node, or none of its CA")]
    Missing,
    /// The leaf is not an X.509 certificate in DER.
    #[error("the certificate that the controlplane issued for this node cannot be parsed")]
    Malformed,
    /// The leaf has another public key than the request.
    #[error("the certificate that the controlplane issued is not for this node's key")]
    KeyMismatch,
    /// The leaf has expired, or its validity has not begun.
    #[error("the new certificate is not valid at this machine's time: check the clock")]
    Clock,
}

/// The controlplane's response to a certificate signing request.
#[derive(Debug)]
pub(crate) struct IssuedCertificate {
    /// The name under which the node was invited.
    pub name: NodeName,
    /// The certificate chain in DER, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The CA certificates by which the node verifies the controlplane, in DER.
    pub roots: Vec<CertificateDer<'static>>,
}

/// A new private key and the certificate signing request for it.
pub(crate) struct CertificateRequest {
    key: KeyPair,
    /// The certificate signing request, in PKCS#10 DER.
    pub csr: Vec<u8>,
}

impl CertificateRequest {
    /// Generates a P-256 key and a request without a subject.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // The controlplane takes the node's name from the invitation or the current certificate.
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// Combines the key with the certificate issued for it into an identity, at `now` (Unix seconds).
    pub(crate) fn into_identity(
        self,
        issued: IssuedCertificate,
        address: RemoteAddress,
        now: i64,
    ) -> Result<Identity, NodeCertificateError> {
        let IssuedCertificate { name, chain, roots } = issued;
        let leaf = chain.first().filter(|_| !roots.is_empty()).ok_or(NodeCertificateError::Missing)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| NodeCertificateError::Malformed)?;
        if parsed.public_key().raw != self.key.subject_public_key_info() {
            return Err(NodeCertificateError::KeyMismatch);
        }
        let (not_before, not_after) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        if !(not_before..not_after).contains(&now) {
            return Err(NodeCertificateError::Clock);
        }
        Ok(Identity {
            name,
            address,
            key: Zeroizing::new(self.key.serialize_der()),
            renew_at: renew_at(now, not_after),
            not_after,
            chain,
            roots,
        })
    }
}

/// Returns the time after two thirds of the remaining validity.
fn renew_at(now: i64, not_after: i64) -> i64 {
    now + (not_after - now) * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issued_certificate_must_have_this_key_and_be_valid_now() {
        let authority = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut root = CertificateParams::default();
        root.distinguished_name.push(rcgen::DnType::CommonName, "CA");
        let (root, issuer) = (root.self_signed(&authority).unwrap(), rcgen::Issuer::new(root, authority));
        let certificate = |key: &KeyPair| {
            let mut params = CertificateParams::default();
            params.not_before = time::OffsetDateTime::from_unix_timestamp(1000).unwrap();
            params.not_after = time::OffsetDateTime::from_unix_timestamp(4000).unwrap();
            params.signed_by(key, &issuer).unwrap().der().clone()
        };
        let issued = |leaf: CertificateDer<'static>| IssuedCertificate {
            name: "fra".parse().unwrap(),
            chain: vec![leaf],
            roots: vec![root.der().clone()],
        };
        let address: RemoteAddress = "control.example:1".parse().unwrap();
        let request = CertificateRequest::generate().unwrap();
        let leaf = certificate(&request.key);
        let identity = request.into_identity(issued(leaf.clone()), address.clone(), 1000).unwrap();
        assert_eq!((identity.not_after, identity.renew_at), (4000, 3000));

        let other = CertificateRequest::generate().unwrap();
        let error = other.into_identity(issued(leaf), address.clone(), 1000).err().unwrap();
        assert!(matches!(error, NodeCertificateError::KeyMismatch));
        for now in [999, 4000] {
            let request = CertificateRequest::generate().unwrap();
            let leaf = certificate(&request.key);
            let error = request.into_identity(issued(leaf), address.clone(), now).err().unwrap();
            assert!(matches!(error, NodeCertificateError::Clock));
        }
        let empty = IssuedCertificate { chain: vec![], ..issued(certificate(&KeyPair::generate().unwrap())) };
        let error =
            CertificateRequest::generate().unwrap().into_identity(empty, address, 1000).err().unwrap();
        assert!(matches!(error, NodeCertificateError::Missing));
    }
}
