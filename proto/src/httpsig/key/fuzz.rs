//! The property that a fuzzer tries to break: a key that is read is the same key once it is written and read again.

use super::{PrivateKey, PublicKey, PublicKeys};

/// Takes the contents of a key file, private or public.
pub(crate) fn keys(input: &[u8]) {
    if let Ok(key) = PrivateKey::read(input) {
        let pem = key.to_pem();
        let again = PrivateKey::parse(&pem).map(|again| (again.public(), again.to_pem()));
        assert_eq!(again, Ok((key.public(), pem)));
        is_kept(&key.public());
        let public = key.public();
        assert!(public.algorithms().contains(&key.algorithm()));
        let signature = key.sign("base");
        assert!(public.verifies(key.algorithm(), "base", &signature), "its own signature");
        assert!(!public.verifies(key.algorithm(), "other", &signature), "another base");
    }
    if let Ok(keys) = PublicKeys::read(input) {
        assert!(PrivateKey::read(input).is_err() || keys.skipped().is_empty());
        let pem: String = keys.iter().map(PublicKey::to_pem).collect();
        let again = PublicKeys::parse(&pem).map(|again| again.iter().cloned().collect::<Vec<_>>());
        assert_eq!(again, Ok(keys.iter().cloned().collect()));
        keys.iter().for_each(is_kept);
    }
    let Ok(text) = std::str::from_utf8(input) else { return };
    let one = PublicKey::parse(text);
    if let Ok(key) = &one {
        is_kept(key);
    }
    if !text.contains('\r') {
        let crlf = text.replace('\n', "\r\n");
        assert_eq!(PublicKey::parse(&crlf), one, "with other line ends");
        assert_eq!(PublicKeys::parse(&crlf), PublicKeys::parse(text), "with other line ends");
        let public = |text: &str| PrivateKey::parse(text).map(|key| key.public());
        assert_eq!(public(&crlf), public(text), "with other line ends");
    }
}

fn is_kept(key: &PublicKey) {
    assert_eq!(PublicKey::parse(&key.to_pem()).as_ref(), Ok(key));
}
