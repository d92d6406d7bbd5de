//! A certificate authority for backends and for gateways without a controlplane.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;

/// A root and its key.
#[derive(Debug)]
pub struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A chain and its key, both PEM.
#[derive(Debug, Clone)]
pub struct IssuedCertificate {
    /// The chain, leaf first.
    pub chain: String,
    /// The key, PKCS#8.
    pub key: String,
}

impl Authority {
    /// Creates a root and its key.
    pub fn new() -> Result<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.distinguished_name = named("webgateway test CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        let root = params.self_signed(&key)?.pem();
        Ok(Self { root, issuer: Issuer::new(params, key) })
    }

    /// Returns the root certificate, PEM.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// Issues a certificate for these names.
    pub fn issue(&self, names: &[&str]) -> Result<IssuedCertificate> {
        self.sign(leaf(names)?)
    }

    /// Issues a certificate for these names with this validity period.
    pub fn issue_for(&self, names: &[&str], valid: Range<OffsetDateTime>) -> Result<IssuedCertificate> {
        let mut params = leaf(names)?;
        (params.not_before, params.not_after) = (valid.start, valid.end);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Result<IssuedCertificate> {
        let key = KeyPair::generate()?;
        let chain = params.signed_by(&key, &self.issuer)?.pem();
        Ok(IssuedCertificate { chain, key: key.serialize_pem() })
    }
}

impl IssuedCertificate {
    /// Returns the configuration of a TLS server with this certificate.
    pub fn server(&self, alpn: &[&str]) -> Result<Arc<ServerConfig>> {
        let chain = CertificateDer::pem_slice_iter(self.chain.as_bytes()).collect::<Result<Vec<_>, _>>()?;
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes())?;
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = alpn.iter().map(|p| p.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// Returns the parameters of a leaf certificate. Its subject is its first host: OpenSSL takes a certificate whose
/// subject and issuer are the same for self-signed.
fn leaf(names: &[&str]) -> Result<CertificateParams> {
    let mut params = CertificateParams::new(names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>())?;
    params.distinguished_name = named(names.first().copied().unwrap_or("webgateway test leaf"));
    Ok(params)
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::CommonName, name);
    named
}

/// Parses root certificates from PEM.
pub fn roots(pem: &str) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for root in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        store.add(root?)?;
    }
    Ok(store)
}
