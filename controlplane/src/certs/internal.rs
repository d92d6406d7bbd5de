//! The internal CA for development. Its key is sealed in the store; its root certificate is a file beside the database.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData, SerialNumber,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use thiserror::Error;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;
use webgateway_seal::SecretKey;
use zeroize::Zeroizing;

use super::schedule::CertificateSpec;
use crate::store::certificates::{InternalAuthority, IssuedCertificate, authority, put_authority};
use crate::store::{Store, StoreError};

/// The issuer's name in the store.
pub(crate) const NAME: &str = "internal";
/// The name of the root certificate's file, beside the database.
pub(crate) const ROOT_FILE: &str = "internal-ca.pem";

const ROOT_LIFETIME: Duration = Duration::days(3650);
const LEAF_LIFETIME: Duration = Duration::days(90);
/// The time by which `notBefore` lies in the past, because clocks differ.
const BACKDATE: Duration = Duration::minutes(5);
/// The maximum length of a common name (RFC 5280, upper bound `ub-common-name`).
const MAX_COMMON_NAME: usize = 64;

/// The internal CA. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct InternalCa(Arc<Issuer<'static, KeyPair>>);

/// An error while opening the internal CA.
#[derive(Debug, Error)]
pub enum InternalCaError {
    /// The store cannot be read or written.
    #[error("the internal CA: {0}")]
    Store(#[from] StoreError),
    /// The key or certificate cannot be generated, or is damaged in the store.
    #[error("the internal CA cannot be used: {0}")]
    Crypto(#[from] rcgen::Error),
    /// The root certificate's file cannot be written.
    #[error("cannot write the internal CA's root to {}: {source}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
}

impl InternalCa {
    /// Loads the CA from the store, creates it on the first start, and writes its root certificate into `folder`.
    pub(crate) async fn open(
        store: &Store,
        key: &Arc<SecretKey>,
        folder: &Path,
        now: OffsetDateTime,
    ) -> Result<Self, InternalCaError> {
        let key = Arc::clone(key);
        let authority = store
            .write("internal ca", move |tx| -> Result<_, InternalCaError> {
                if let Some(authority) = authority(tx, &key)? {
                    return Ok(authority);
                }
                let authority = create(now)?;
                put_authority(tx, &authority, &key)?;
                Ok(authority)
            })
            .await?;
        let pkcs8 = PrivatePkcs8KeyDer::from(authority.key.as_slice());
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&pkcs8, &PKCS_ECDSA_P256_SHA256)?;
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, key)?;
        let path = folder.join(ROOT_FILE);
        write_root(&path, &authority.certificate).map_err(|source| InternalCaError::Root { path, source })?;
        Ok(Self(Arc::new(issuer)))
    }

    /// Issues one certificate that is valid for 90 days from shortly before `now`.
    pub(crate) fn issue(
        &self,
        spec: &CertificateSpec,
        now: OffsetDateTime,
    ) -> Result<IssuedCertificate, rcgen::Error> {
        let names: Vec<String> = spec.names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = distinguished_name(spec.id.as_str());
        params.serial_number = Some(serial());
        params.not_before = whole_seconds(now) - BACKDATE;
        params.not_after = params.not_before + LEAF_LIFETIME;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let certificate = params.signed_by(&key, &*self.0)?;
        Ok(IssuedCertificate {
            id: spec.id.clone(),
            names: spec.names.clone(),
            chain: certificate.pem(),
            key: Zeroizing::new(key.serialize_der()),
            issuer: NAME.to_owned(),
            not_before: params.not_before,
            not_after: params.not_after,
        })
    }
}

fn create(now: OffsetDateTime) -> Result<InternalAuthority, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::default();
    // The name contains a part of the key's fingerprint, so that two roots in one trust store can be told apart.
    let fingerprint = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.der_bytes());
    let short: String = fingerprint.as_ref().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    params.distinguished_name = distinguished_name(&format!("webgateway internal CA {short}"));
    params.serial_number = Some(serial());
    params.not_before = whole_seconds(now) - BACKDATE;
    params.not_after = params.not_before + ROOT_LIFETIME;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    Ok(InternalAuthority { certificate: certificate.pem(), key: Zeroizing::new(key.serialize_der()) })
}

fn distinguished_name(name: &str) -> DistinguishedName {
    let mut distinguished_name = DistinguishedName::new();
    if name.len() <= MAX_COMMON_NAME {
        distinguished_name.push(DnType::CommonName, name);
    }
    distinguished_name
}

/// Returns a positive serial number with 122 random bits (RFC 5280 §4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes = Uuid::new_v4().into_bytes();
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}

fn whole_seconds(time: OffsetDateTime) -> OffsetDateTime {
    time.replace_nanosecond(0).unwrap_or(time)
}

/// Writes a new file and renames it, so that no reader sees an incomplete root.
fn write_root(path: &Path, pem: &str) -> io::Result<()> {
    if fs::read_to_string(path).is_ok_and(|found| found == pem) {
        return Ok(());
    }
    let draft = path.with_extension("pem.new");
    fs::write(&draft, pem)?;
    fs::rename(&draft, path)
}

#[cfg(test)]
mod tests;
