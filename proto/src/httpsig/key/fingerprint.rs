//! Fingerprints of public keys.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::PublicKey;

impl PublicKey {
    /// Returns the fingerprint of the key: `SHA256:` and the unpadded base64 of the SHA-256 digest of its SPKI DER. It
    /// is the same for every form in which the key may be stored.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        let pem = self.to_pem();
        let text: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
        // The PEM was made from DER just now.
        let der = STANDARD.decode(text).unwrap_or_default();
        format!("SHA256:{}", STANDARD_NO_PAD.encode(digest(&SHA256, &der)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::PrivateKey;
    use super::*;

    /// The digest is of `openssl pkey -pubin -outform DER | openssl dgst -sha256 -binary | base64`.
    #[test]
    fn a_fingerprint_is_the_digest_of_the_spki() {
        let openssh = PublicKey::parse(include_str!("../samples/ed25519.ssh.pub")).unwrap();
        let pem = PublicKey::parse(&openssh.to_pem()).unwrap();
        assert_eq!(openssh.fingerprint(), pem.fingerprint());
        assert_ne!(openssh.fingerprint(), PrivateKey::from_seed(&[1; 32]).public().fingerprint());
        let zero = PrivateKey::from_seed(&[1; 32]).public();
        assert_eq!(zero.fingerprint(), "SHA256:/RENMB0vB33hQUuPmfRBsUA/qyB7IFL70sBl5O6OfcI");
        let rsa = PublicKey::parse(include_str!("../samples/rsa.pub")).unwrap();
        assert!(rsa.fingerprint().starts_with("SHA256:") && rsa.fingerprint().len() == 7 + 43);
    }
}
