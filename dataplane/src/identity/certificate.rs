//! A node's key and certificate: the request for it, and what comes of it.

use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use thiserror::Error;
use webgateway_proto::model::{NodeName, RemoteAddress};
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

/// A node that has joined.
pub(crate) struct Identity {
    /// The name it was invited by.
    pub name: NodeName,
    /// Where it joined.
    pub address: RemoteAddress,
    /// Its private key, PKCS#8 DER.
    pub key: Zeroizing<Vec<u8>>,
    /// Its certificate, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whom it trusts to be the controlplane.
    pub roots: Vec<CertificateDer<'static>>,
    /// When it is to be renewed, in Unix seconds.
    pub renew_at: i64,
    /// When its certificate ends, in Unix seconds.
    pub not_after: i64,
}

/// A certificate that cannot be used.
#[derive(Debug, Error)]
pub enum NodeCertificateError {
    /// None, or no root.
    #[error("the controlplane gave no certificate, or no CA with it")]
    None,
    /// It is none.
    #[error("the controlplane's certificate for this node cannot be read")]
    Unreadable,
    /// It is for another key.
    #[error("the controlplane's certificate is not for this node's key")]
    OtherKey,
    /// It has ended, or not begun.
    #[error("the new certificate is not valid at this machine's time: check the clock")]
    Clock,
}

/// What the controlplane gave for a request.
#[derive(Debug)]
pub(crate) struct IssuedCertificate {
    /// The name it was invited by.
    pub name: NodeName,
    /// Its certificate, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Whom it is to trust.
    pub roots: Vec<CertificateDer<'static>>,
}

/// A new key, and a request for a certificate of it.
pub(crate) struct CertificateRequest {
    key: KeyPair,
    /// PKCS#10 DER.
    pub csr: Vec<u8>,
}

impl CertificateRequest {
    /// Makes a key.
    pub(crate) fn generate() -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        // The controlplane names the node.
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key)?.der().to_vec();
        Ok(Self { key, csr })
    }

    /// What this node is with what it was given, at the time `now`.
    pub(crate) fn granted(
        self,
        granted: IssuedCertificate,
        address: RemoteAddress,
        now: i64,
    ) -> Result<Identity, NodeCertificateError> {
        let IssuedCertificate { name, chain, roots } = granted;
        let leaf = chain.first().filter(|_| !roots.is_empty()).ok_or(NodeCertificateError::None)?;
        let (_, parsed) = X509Certificate::from_der(leaf).map_err(|_| NodeCertificateError::Unreadable)?;
        if parsed.public_key().raw != self.key.subject_public_key_info() {
            return Err(NodeCertificateError::OtherKey);
        }
        let (begins, ends) =
            (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        if !(begins..ends).contains(&now) {
            return Err(NodeCertificateError::Clock);
        }
        Ok(Identity {
            name,
            address,
            key: Zeroizing::new(self.key.serialize_der()),
            renew_at: renew_at(now, ends),
            not_after: ends,
            chain,
            roots,
        })
    }
}

/// Two thirds of what is left.
fn renew_at(now: i64, ends: i64) -> i64 {
    now + (ends - now) * 2 / 3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_must_be_for_this_key_and_this_time() {
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
        let granted = |leaf: CertificateDer<'static>| IssuedCertificate {
            name: "fra".parse().unwrap(),
            chain: vec![leaf],
            roots: vec![root.der().clone()],
        };
        let address: RemoteAddress = "control.example:1".parse().unwrap();
        let request = CertificateRequest::generate().unwrap();
        let leaf = certificate(&request.key);
        let identity = request.granted(granted(leaf.clone()), address.clone(), 1000).unwrap();
        assert_eq!((identity.not_after, identity.renew_at), (4000, 3000));

        let other = CertificateRequest::generate().unwrap();
        let refused = other.granted(granted(leaf), address.clone(), 1000).err().unwrap();
        assert!(matches!(refused, NodeCertificateError::OtherKey));
        for now in [999, 4000] {
            let request = CertificateRequest::generate().unwrap();
            let leaf = certificate(&request.key);
            let refused = request.granted(granted(leaf), address.clone(), now).err().unwrap();
            assert!(matches!(refused, NodeCertificateError::Clock));
        }
        let none = IssuedCertificate { chain: vec![], ..granted(certificate(&KeyPair::generate().unwrap())) };
        let refused = CertificateRequest::generate().unwrap().granted(none, address, 1000).err().unwrap();
        assert!(matches!(refused, NodeCertificateError::None));
    }
}
