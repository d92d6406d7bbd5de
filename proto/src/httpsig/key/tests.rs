//! Keys in every form, and the algorithms of their signatures.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

mod layouts;
mod tools;

const RSA: &str = include_str!("../samples/rsa.priv");

#[test]
fn ed25519_keys_are_read_in_every_form() {
    let key = PrivateKey::from_seed(&[7; 32]);
    let public = key.public();
    assert_eq!(PublicKey::parse(&public.to_pem()), Ok(public.clone()));
    assert_eq!(PrivateKey::parse(&key.to_pem()).unwrap().public(), public);
    assert_eq!(PrivateKey::parse(&STANDARD.encode([7; 32])).unwrap().public(), public);
    let ssh = PrivateKey::parse(include_str!("../samples/ed25519.ssh.priv")).unwrap();
    assert_eq!(PublicKey::parse(include_str!("../samples/ed25519.ssh.pub")), Ok(ssh.public()));
    assert_eq!(public.algorithms(), [Algorithm::Ed25519]);
    let signature = key.sign("x");
    assert!(public.verifies(Algorithm::Ed25519, "x", &signature));
    assert!(!public.verifies(Algorithm::Ed25519, "y", &signature));
    assert!(!public.verifies(Algorithm::RsaPssSha512, "x", &signature));
}

#[test]
fn rsa_keys_are_read_in_every_form() {
    let key = PrivateKey::parse(RSA).unwrap();
    let public = key.public();
    for text in [
        include_str!("../samples/rsa.pub"),
        include_str!("../samples/rsa.pkcs1.pub"),
        include_str!("../samples/rsa.ssh.pub"),
        &public.to_pem(),
    ] {
        assert_eq!(PublicKey::parse(text), Ok(public.clone()), "{text}");
    }
    for text in [include_str!("../samples/rsa.pkcs1.priv"), &*key.to_pem()] {
        assert_eq!(PrivateKey::parse(text).unwrap().public(), public);
    }
    assert_eq!(public.algorithms(), [Algorithm::RsaPssSha512, Algorithm::RsaV15Sha256]);
    let signature = key.sign("x");
    assert!(public.verifies(Algorithm::RsaPssSha512, "x", &signature));
    assert!(!public.verifies(Algorithm::RsaPssSha512, "y", &signature));
    assert!(!public.verifies(Algorithm::RsaV15Sha256, "x", &signature), "the paddings are told apart");
    assert!(!public.verifies(Algorithm::Ed25519, "x", &signature));
}

#[test]
fn a_key_restricted_to_pss_allows_no_other_algorithm() {
    let key = PrivateKey::parse(include_str!("../samples/pss.priv")).unwrap();
    assert_eq!(PublicKey::parse(include_str!("../samples/pss.pub")), Ok(key.public()));
    assert_eq!(PublicKey::parse(&key.public().to_pem()), Ok(key.public()), "what it is for is written too");
    assert_eq!(PrivateKey::parse(&key.to_pem()).unwrap().public(), key.public());
    assert_eq!(key.public().algorithms(), [Algorithm::RsaPssSha512]);
    assert!(key.public().verifies(Algorithm::RsaPssSha512, "x", &key.sign("x")));
}

#[test]
fn an_unsupported_key_is_rejected_with_its_reason() {
    let key = PrivateKey::from_seed(&[7; 32]);
    let (private, public) =
        (|text: &str| PrivateKey::parse(text).unwrap_err(), |text: &str| PublicKey::parse(text).unwrap_err());
    assert_eq!(private("").to_string(), "the key is empty");
    assert_eq!(public(&key.to_pem()), InvalidKeyError::Private);
    assert_eq!(public(RSA), InvalidKeyError::Private);
    assert_eq!(private(&key.public().to_pem()), InvalidKeyError::Public);
    assert_eq!(private(include_str!("../samples/rsa.pkcs1.pub")), InvalidKeyError::Public);
    assert_eq!(public(&STANDARD.encode([0; 32])), InvalidKeyError::Weak);
    assert_eq!(public(include_str!("../samples/small.pub")), InvalidKeyError::RsaSize);
    assert_eq!(public(include_str!("../samples/ec.pub")), InvalidKeyError::Algorithm("an ECDSA P-256 key"));
    assert_eq!(private(include_str!("../samples/rsa.ssh.priv")), InvalidKeyError::OpenSshRsa);
    assert_eq!(
        public("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"),
        InvalidKeyError::Damaged
    );
    assert!(!format!("{:?}", PrivateKey::parse(RSA).unwrap()).contains("MII"));
}
