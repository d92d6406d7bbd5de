//! One key in the layouts of different tools.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::*;

/// Returns a PEM block in every layout that occurs in practice.
fn layouts(pem: &str) -> Vec<(&'static str, String)> {
    let lines: Vec<&str> = pem.lines().collect();
    let [first, base64 @ .., last] = &lines[..] else { panic!("a block") };
    let base64 = base64.concat();
    let wrapped = |width: usize| {
        let body: Vec<&str> =
            base64.as_bytes().chunks(width).map(|chunk| std::str::from_utf8(chunk).unwrap()).collect();
        format!("{first}\n{}\n{last}\n", body.join("\n"))
    };
    vec![
        ("48 columns", wrapped(48)),
        ("64 columns", wrapped(64)),
        ("70 columns", wrapped(70)),
        ("76 columns", wrapped(76)),
        ("odd columns", wrapped(33)),
        ("one line", wrapped(100_000)),
        ("CRLF", wrapped(64).replace('\n', "\r\n")),
        ("spaces at the ends", wrapped(64).replace('\n', "  \t\n")),
        ("indented", wrapped(64).replace('\n', "\n    ")),
        ("empty lines", wrapped(64).replace('\n', "\n\n")),
        ("no last line end", wrapped(64).trim_end().to_owned()),
        ("no padding", wrapped(64).replace('=', "")),
        (
            "a text before and after",
            format!("Bag Attributes\nfriendlyName: me\n{}\nthat was it\n", wrapped(64)),
        ),
    ]
}

#[test]
fn private_keys_are_read_in_every_layout() {
    let ed25519 = PrivateKey::from_seed(&[7; 32]);
    for pem in [
        &*ed25519.to_pem(),
        include_str!("../../samples/ed25519.cryptography.priv"),
        include_str!("../../samples/ed25519.ssh.priv"),
        include_str!("../../samples/rsa.priv"),
        include_str!("../../samples/rsa.pkcs1.priv"),
        include_str!("../../samples/pss.priv"),
    ] {
        let key = PrivateKey::parse(pem).unwrap().public();
        for (layout, text) in layouts(pem) {
            let read = PrivateKey::read(text.as_bytes());
            assert_eq!(read.map(|read| read.public()), Ok(key.clone()), "{layout}: {text}");
        }
        let marked = format!("\u{feff}{pem}");
        assert_eq!(PrivateKey::read(marked.as_bytes()).unwrap().public(), key);
    }
    let made_elsewhere = PrivateKey::parse(include_str!("../../samples/ed25519.cryptography.priv"));
    assert_eq!(made_elsewhere.unwrap().public(), ed25519.public());
}

#[test]
fn public_keys_are_read_in_every_layout() {
    let ed25519 = PrivateKey::from_seed(&[7; 32]).public().to_pem();
    for pem in [
        &*ed25519,
        include_str!("../../samples/rsa.pub"),
        include_str!("../../samples/rsa.pkcs1.pub"),
        include_str!("../../samples/pss.pub"),
    ] {
        let key = PublicKey::parse(pem).unwrap();
        for (layout, text) in layouts(pem) {
            assert_eq!(PublicKey::parse(&text), Ok(key.clone()), "{layout}: {text}");
            let keys = PublicKeys::read(text.as_bytes()).unwrap();
            assert_eq!(keys.iter().collect::<Vec<_>>(), [&key], "{layout}: {text}");
        }
    }
    let ssh = include_str!("../../samples/ed25519.ssh.pub");
    for text in [ssh.replace('\n', "\r\n"), format!("  {ssh}  "), format!("\u{feff}{ssh}")] {
        assert_eq!(
            PublicKeys::read(text.as_bytes()).unwrap(),
            PublicKey::parse(ssh).unwrap().into(),
            "{text}"
        );
    }
}

/// Covers `OneAsymmetricKey` with a public half, encoded as in RFC 5958, and constructed as by ring.
#[test]
fn a_private_key_with_its_public_half_is_read_in_both_encodings() {
    let key = PrivateKey::from_seed(&[7; 32]);
    let PublicKey(Public::Ed25519(public)) = key.public() else { panic!("ed25519") };
    let head = [0x02, 1, 1, 0x30, 5, 0x06, 3, 0x2b, 0x65, 0x70, 0x04, 34, 0x04, 32];
    let (primitive, constructed): (&[u8], &[u8]) = (&[0x81, 33, 0], &[0xa1, 35, 0x03, 33, 0]);
    for half in [primitive, constructed] {
        let with = |public: &[u8]| {
            let content = [&head[..], &[7; 32], half, public].concat();
            [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat()
        };
        let der = with(public.as_bytes());
        let pem =
            format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----", STANDARD.encode(&der));
        assert_eq!(PrivateKey::parse(&pem).unwrap().public(), key.public());
        assert_eq!(PrivateKey::read(&der).unwrap().public(), key.public(), "DER as it is");
        assert_eq!(PrivateKey::read(&with(&[0xff; 32])).unwrap_err(), InvalidKeyError::Halves);
        for length in 0..der.len() {
            assert!(PrivateKey::read(&der[..length]).is_err(), "{length} bytes");
        }
    }
}

#[test]
fn an_unsupported_key_is_reported_with_its_type() {
    let spki = |algorithm: &[u8]| {
        let content = [&[0x30, u8::try_from(algorithm.len()).unwrap()], algorithm, &[0x03, 2, 0, 1]].concat();
        let der = [&[0x30, u8::try_from(content.len()).unwrap()], &content[..]].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    };
    let ssh = |name: &str, rest: &str| format!("{name} {rest} me@host");
    for (text, words) in [
        (include_str!("../../samples/ec.pub").to_owned(), "an ECDSA P-256 key, ed25519 or RSA is needed"),
        (spki(&[0x06, 3, 0x2b, 0x65, 0x71]), "an Ed448 key"),
        (spki(&[0x06, 3, 0x2b, 0x65, 0x6e]), "an X25519 key"),
        (spki(&[0x06, 3, 0x2b, 0x65, 0x7f]), "a key of another type"),
        ("-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----".into(), "a certificate, ed25519"),
        (ssh("ecdsa-sha2-nistp256", "AAAA"), "damaged"),
        (ssh("from=\"10.0.0.0/8\" ssh-ed25519", "AAAA"), "options"),
        (STANDARD.encode([7; 31]), "the base64 has 31 bytes, an ed25519 key has 32"),
        ("nonsense!".into(), "not a key: ed25519 or RSA in PEM"),
        ("-----BEGIN PUBLIC KEY-----\nMCow".into(), "cut off"),
    ] {
        let told = PublicKey::parse(&text).unwrap_err().to_string();
        assert!(told.contains(words), "{text}: {told}");
    }
    for (text, words) in [
        ("-----BEGIN EC PRIVATE KEY-----\nAA==\n-----END EC PRIVATE KEY-----", "an elliptic-curve key"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----", "passphrase"),
        (
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAA==\n-----END RSA PRIVATE KEY-----",
            "passphrase",
        ),
        ("PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\n", "PuTTYgen"),
    ] {
        let told = PrivateKey::parse(text).unwrap_err().to_string();
        assert!(told.contains(words), "{text}: {told}");
    }
    assert_eq!(PrivateKey::read(&[0xff, 0xfe, 0x2d, 0]).unwrap_err(), InvalidKeyError::Binary);
}
