//! Key files written by OpenSSH, PuTTYgen, OpenSSL and Python's cryptography, all of the same two keys.

use super::*;

macro_rules! file {
    ($name:literal) => {
        ($name, include_bytes!(concat!("../../samples/tools/", $name)).as_slice())
    };
}

fn ed25519() -> PublicKey {
    PublicKey::parse(include_str!("../../samples/ed25519.ssh.pub")).unwrap()
}

fn rsa() -> PublicKey {
    PublicKey::parse(include_str!("../../samples/rsa.pub")).unwrap()
}

/// Returns a text with the changes of editors and Windows; other bytes unchanged.
fn as_left_by_editors(file: &[u8]) -> Vec<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(file) else { return vec![file.to_vec()] };
    let texts = [
        text.to_owned(),
        text.replace('\n', "\r\n"),
        text.replace('\n', " \t\n"),
        format!("\u{feff}\n{}", text.trim_end()),
    ];
    texts.map(String::into_bytes).to_vec()
}

#[test]
fn private_keys_of_tools_are_read() {
    for ((name, file), key) in [
        (file!("ed25519.cryptography.priv"), ed25519()),
        (file!("ed25519.cryptography.der"), ed25519()),
        (file!("ed25519.cryptography.ssh.priv"), ed25519()),
        (file!("ed25519.putty.priv"), ed25519()),
        (file!("rsa.cryptography.der"), rsa()),
        (file!("rsa.pkcs1.der"), rsa()),
        (file!("rsa.putty.priv"), rsa()),
        (file!("rsa.ssh-keygen-p.priv"), rsa()),
    ] {
        for file in as_left_by_editors(file) {
            assert_eq!(PrivateKey::read(&file).map(|key| key.public()), Ok(key.clone()), "{name}");
            assert!(PublicKeys::read(&file).is_err(), "{name}");
        }
    }
}

#[test]
fn public_keys_of_tools_are_read() {
    for ((name, file), key) in [
        (file!("ed25519.rfc4716.pub"), ed25519()),
        (file!("ed25519.putty.rfc4716.pub"), ed25519()),
        (file!("ed25519.putty.ssh.pub"), ed25519()),
        (file!("ed25519.cryptography.pub"), ed25519()),
        (file!("ed25519.cryptography.spki.der"), ed25519()),
        (file!("ed25519.cryptography.ssh.pub"), ed25519()),
        (file!("rsa.rfc4716.pub"), rsa()),
        (file!("rsa.putty.ssh.pub"), rsa()),
        (file!("rsa.spki.der"), rsa()),
        (file!("rsa.pkcs1.pub.der"), rsa()),
    ] {
        for file in as_left_by_editors(file) {
            assert_eq!(PublicKeys::read(&file), Ok(key.clone().into()), "{name}");
            assert!(PrivateKey::read(&file).is_err(), "{name}");
        }
    }
}

#[test]
fn blocks_of_rfc_4716_are_read_in_every_layout() {
    let (_, file) = file!("rsa.rfc4716.pub");
    let text = std::str::from_utf8(file).unwrap();
    let header = "x-long: it goes on \\\nAAAA as long \\\nAAAA as it likes\n";
    let with_header = text.replacen("Comment", &format!("{header}Comment"), 1);
    assert_eq!(PublicKeys::parse(&with_header), Ok(rsa().into()));
    let list = format!("# two\n{text}\n{}", std::str::from_utf8(file!("ed25519.rfc4716.pub").1).unwrap());
    assert_eq!(PublicKeys::parse(&list).unwrap().iter().collect::<Vec<_>>(), [&rsa(), &ed25519()]);
    let cut = text.split("---- END").next().unwrap();
    assert_eq!(PublicKey::parse(cut), Err(InvalidKeyError::Unfinished));
    assert_eq!(PublicKey::parse(&text.replace("AAAAB3", "AAAAB4")), Err(InvalidKeyError::Damaged));
    assert_eq!(PrivateKey::parse(text).unwrap_err(), InvalidKeyError::Public);
}

#[test]
fn an_unsupported_form_is_reported_with_its_name_and_the_command_that_converts_it() {
    const PUTTYGEN: &str = "puttygen FILE -O private-openssh -o NEW";
    for ((name, file), words, how) in [
        (file!("ed25519.putty2.ppk"), "PuTTY's own form", PUTTYGEN),
        (file!("ed25519.putty3.ppk"), "PuTTY's own form", PUTTYGEN),
        (file!("rsa.putty3.ppk"), "PuTTY's own form", PUTTYGEN),
        (file!("ed25519.encrypted.ppk"), "PuTTY's own form", PUTTYGEN),
        (file!("rsa.sshcom.priv"), "the form of ssh.com", PUTTYGEN),
        (file!("rsa.cryptography.ssh.priv"), "OpenSSH's own form", "ssh-keygen -p -m PEM -f FILE"),
        (file!("rsa.encrypted.priv"), "encrypted", "openssl pkey -in FILE -out NEW"),
        (file!("rsa.p12"), "not text", "openssl pkey -in FILE -out NEW"),
        (file!("ed25519.cryptography.raw.priv"), "not text", "raw bytes as base64"),
        (file!("ec.openssl.priv"), "an elliptic-curve key", "ed25519 or RSA is needed"),
    ] {
        for file in as_left_by_editors(file) {
            let told = PrivateKey::read(&file).unwrap_err().to_string();
            assert!(told.contains(words) && told.contains(how), "{name}: {told}");
        }
    }
    for ((name, file), words) in [
        (file!("ed25519.putty3.ppk"), "line 1: a private key in PuTTY's own form"),
        (file!("rsa.sshcom.priv"), "line 1: this is a private key"),
        (file!("rsa.encrypted.priv"), "line 1: this is a private key"),
        (file!("rsa.cryptography.ssh.priv"), "line 1: this is a private key"),
        (file!("rsa.p12"), "not UTF-8 text, and not a key in DER"),
        (file!("ed25519.cryptography.raw.pub"), "not UTF-8 text, and not a key in DER"),
        (file!("ed25519.ssh-cert.pub"), "line 1: an OpenSSH certificate, ed25519 or RSA is needed"),
    ] {
        let told = PublicKeys::read(file).unwrap_err().to_string();
        assert!(told.starts_with(words) && !told.contains("line 2"), "{name}: {told}");
    }
}
