//! The nodes' CA. Its key is sealed in the store; it signs certificates only for nodes and for the controlplane.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
    SerialNumber,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};
use zeroize::Zeroizing;

use crate::store::node_authority::{self, StoredNodeAuthority};
use crate::store::{Store, StoreError};
use webgateway_proto::feed::CONTROLPLANE_NAME;
use webgateway_proto::model::NodeName;
use webgateway_seal::SecretKey;

const ROOT_LIFETIME: Duration = Duration::days(3650);
/// The time by which `notBefore` lies in the past, because clocks differ.
const BACKDATE: Duration = Duration::hours(1);
/// The maximum size of a certificate request, in bytes. One for a P-256 key has about 250.
const MAX_CSR_SIZE: usize = 4096;
/// The prefix of a node's id in the URI of its certificate (RFC 9562 §4).
const MEMBER_URI_PREFIX: &str = "urn:uuid:";

/// The nodes' CA. Cheap to clone.
#[derive(Clone)]
pub(crate) struct NodeAuthority(Arc<AuthorityInner>);

struct AuthorityInner {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
}

/// An error while opening the CA or configuring TLS with it.
#[derive(Debug, Error)]
pub enum NodeAuthorityError {
    /// The store cannot be read or written.
    #[error("the nodes' CA: {0}")]
    Store(#[from] StoreError),
    /// The key or certificate cannot be generated, or is damaged in the store.
    #[error("the nodes' CA cannot be used: {0}")]
    Crypto(#[from] rcgen::Error),
    /// The CA cannot be used for TLS.
    #[error("the nodes' CA cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The CA cannot be used to verify client certificates.
    #[error("the nodes' CA cannot be used to verify nodes: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// The reason why a certificate request is rejected.
#[derive(Debug, Error)]
pub(crate) enum SignError {
    /// The request is malformed, or its signature does not match its key.
    #[error("the certificate request cannot be used: {0}")]
    Request(rcgen::Error),
    /// The request exceeds the maximum size.
    #[error("the certificate request is over {MAX_CSR_SIZE} bytes")]
    Size,
    /// The key is of another type than ECDSA P-256.
    #[error("the key in the certificate request is not an ECDSA P-256 key")]
    Key,
    /// The signing failed.
    #[error("the certificate cannot be signed: {0}")]
    Crypto(rcgen::Error),
}

/// The identity that a node's certificate states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NodeIdentity {
    /// The node's name.
    pub name: NodeName,
    /// The id under which the node is registered.
    pub member: Uuid,
}

/// A certificate issued to a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeCertificate {
    /// The certificate, DER.
    pub certificate: CertificateDer<'static>,
    /// The SHA-256 digest of the certificate.
    pub fingerprint: [u8; 32],
    /// The end of its validity.
    pub not_after: OffsetDateTime,
}

/// A certificate of the controlplane and its key.
pub(super) struct ServerPair {
    pub(super) certificate: CertificateDer<'static>,
    pub(super) key: PrivateKeyDer<'static>,
    pub(super) not_after: OffsetDateTime,
}

impl NodeAuthority {
    /// Loads the CA from the store and creates it on the first start.
    pub(crate) async fn open(
        store: &Store,
        key: &Arc<SecretKey>,
        now: OffsetDateTime,
    ) -> Result<Self, NodeAuthorityError> {
        let key = Arc::clone(key);
        let authority = store
            .write("node authority", move |tx| -> Result<_, NodeAuthorityError> {
                if let Some(authority) = node_authority::find(tx, &key)? {
                    return Ok(authority);
                }
                let authority = create(now)?;
                node_authority::put(tx, &authority, &key)?;
                Ok(authority)
            })
            .await?;
        let pkcs8 = PrivatePkcs8KeyDer::from(authority.key.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256)?;
        let root = CertificateDer::from(authority.certificate);
        let issuer = Issuer::from_ca_cert_der(&root, key)?;
        Ok(Self(Arc::new(AuthorityInner { issuer, root })))
    }

    /// Returns the root certificate.
    #[must_use]
    pub(crate) fn root(&self) -> &CertificateDer<'static> {
        &self.0.root
    }

    /// Returns the SHA-256 digest of the root certificate.
    #[must_use]
    pub(crate) fn fingerprint(&self) -> [u8; 32] {
        fingerprint(&self.0.root)
    }

    /// Signs a node's certificate request (PKCS#10 DER). Only the public key is taken from the request.
    pub(crate) fn sign(
        &self,
        csr: &[u8],
        node: &NodeIdentity,
        now: OffsetDateTime,
        lifetime: Duration,
    ) -> Result<NodeCertificate, SignError> {
        if csr.len() > MAX_CSR_SIZE {
            return Err(SignError::Size);
        }
        let csr = CertificateSigningRequestDer::from(csr);
        let request = CertificateSigningRequestParams::from_der(&csr).map_err(SignError::Request)?;
        if request.public_key.algorithm() != &PKCS_ECDSA_P256_SHA256 {
            return Err(SignError::Key);
        }
        let mut params = leaf_params(node.name.as_str(), now, lifetime);
        let uri =
            Ia5String::try_from(format!("{MEMBER_URI_PREFIX}{}", node.member)).map_err(SignError::Crypto)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let signed = params.signed_by(&request.public_key, &self.0.issuer).map_err(SignError::Crypto)?;
        let certificate = signed.der().clone();
        Ok(NodeCertificate {
            fingerprint: fingerprint(&certificate),
            certificate,
            not_after: params.not_after,
        })
    }

    /// Issues a certificate for the controlplane itself.
    pub(super) fn server(&self, now: OffsetDateTime, lifetime: Duration) -> Result<ServerPair, rcgen::Error> {
        let mut params = leaf_params(CONTROLPLANE_NAME, now, lifetime);
        params.subject_alt_names = vec![SanType::DnsName(CONTROLPLANE_NAME.try_into()?)];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &self.0.issuer)?.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        Ok(ServerPair { certificate, key, not_after: params.not_after })
    }
}

impl std::fmt::Debug for NodeAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeAuthority")
    }
}

/// Returns the node's id in a certificate. Does not verify the certificate.
#[must_use]
pub(crate) fn member(certificate: &CertificateDer<'_>) -> Option<Uuid> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::URI(uri) => Uuid::try_parse(uri.strip_prefix(MEMBER_URI_PREFIX)?).ok(),
        _ => None,
    })
}

fn create(now: OffsetDateTime) -> Result<StoredNodeAuthority, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = base_params("webgateway node CA", now, ROOT_LIFETIME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?.der().to_vec();
    Ok(StoredNodeAuthority { certificate, key: Zeroizing::new(key.serialize_der()) })
}

fn leaf_params(name: &str, now: OffsetDateTime, lifetime: Duration) -> CertificateParams {
    let mut params = base_params(name, now, lifetime);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    params
}

fn base_params(name: &str, now: OffsetDateTime, lifetime: Duration) -> CertificateParams {
    let now = now.replace_nanosecond(0).unwrap_or(now);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    // A positive number with 122 random bits (RFC 5280 §4.1.2.2).
    let mut serial = Uuid::new_v4().into_bytes();
    serial[0] &= 0x7f;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.not_before = now - BACKDATE;
    params.not_after = now + lifetime;
    params
}

fn fingerprint(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, certificate).as_ref());
    bytes
}

#[cfg(test)]
pub(crate) mod tests;
