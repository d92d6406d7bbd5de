//! Construction of the challenge responses that nodes serve.

use rcgen::{CertificateParams, CustomExtension, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256};
use webgateway_proto::feed::{Challenge, ChallengeResponse};
use webgateway_proto::model::Host;
use zeroize::Zeroizing;

/// Creates the certificate for TLS-ALPN-01 (RFC 8737 §3): self-signed, for this host alone, with the key
/// authorization's digest in the critical `acmeIdentifier` extension.
pub(crate) fn tls_alpn(host: &Host, digest: &[u8; 32]) -> Result<Challenge, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let mut params = CertificateParams::new([host.to_string()])?;
    params.distinguished_name = DistinguishedName::new();
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let certificate = params.self_signed(&key)?.der().to_vec();
    let response = ChallengeResponse::TlsAlpn { certificate, key: Zeroizing::new(key.serialize_der()) };
    Ok(Challenge { host: host.clone(), response })
}

/// Creates the response for HTTP-01 (RFC 8555 §8.3).
#[must_use]
pub(crate) fn http(host: &Host, token: &str, key_authorization: &str) -> Challenge {
    let response =
        ChallengeResponse::Http { token: token.to_owned(), key_authorization: key_authorization.to_owned() };
    Challenge { host: host.clone(), response }
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

    use super::*;

    /// `id-pe-acmeIdentifier` (RFC 8737 §6.1).
    const ACME_IDENTIFIER: &str = "1.3.6.1.5.5.7.1.31";

    #[test]
    fn the_handshake_certificate_conforms_to_rfc_8737() {
        let host = Host::parse("app.example.org").unwrap();
        let challenge = tls_alpn(&host, &[7; 32]).unwrap();
        let ChallengeResponse::TlsAlpn { certificate, key } = challenge.response else { panic!("http") };
        let (rest, cert) = X509Certificate::from_der(&certificate).unwrap();
        assert!(rest.is_empty());
        let names = &cert.subject_alternative_name().unwrap().unwrap().value.general_names;
        assert_eq!(*names, [GeneralName::DNSName("app.example.org")]);
        let mut found = cert.extensions().iter().filter(|e| e.oid.to_id_string() == ACME_IDENTIFIER);
        let extension = found.next().unwrap();
        assert!(extension.critical && found.next().is_none());
        assert_eq!(extension.value, [&[0x04, 0x20][..], &[7; 32]].concat(), "an OCTET STRING");
        cert.verify_signature(None).unwrap();
        let key = rustls_pki_types::PrivateKeyDer::try_from(key.as_slice()).unwrap();
        let key = rustls::crypto::aws_lc_rs::sign::any_ecdsa_type(&key).unwrap();
        let spki = rustls::sign::SigningKey::public_key(&*key).unwrap();
        assert_eq!(spki.as_ref(), cert.public_key().raw, "the key matches");
    }
}
