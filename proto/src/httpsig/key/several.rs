//! The public keys of one key id: several while a key is replaced.

use std::fmt;

use thiserror::Error;

use super::form::{begins_block, ends_block};
use super::{InvalidKeyError, PublicKey};

/// The maximum number of keys of one key id.
const MAX_KEYS: usize = 16;

/// The public keys of one key id, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeys {
    keys: Vec<PublicKey>,
    skipped: Vec<SkippedKey>,
}

/// An unusable entry of a list of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// The line in which the entry begins, from 1.
    pub line: usize,
    /// The error of the entry.
    pub reason: InvalidKeyError,
}

/// A text without a usable key.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidKeysError {
    /// The text has only comments.
    #[error("the key is empty")]
    Empty,
    /// The file is neither UTF-8 text nor DER.
    #[error("not UTF-8 text, and not a key in DER: save it as UTF-8, or as PEM")]
    Binary,
    /// None of the entries can be used.
    #[error("{}", List(.0))]
    Unusable(Vec<SkippedKey>),
}

impl PublicKeys {
    /// Reads the contents of a key file: a text for [`PublicKeys::parse`], or one key in DER, SPKI or PKCS#1.
    pub fn read(file: &[u8]) -> Result<Self, InvalidKeysError> {
        match std::str::from_utf8(file) {
            Ok(text) => Self::parse(text.strip_prefix('\u{feff}').unwrap_or(text)),
            Err(_) => PublicKey::from_der(file).map(Self::from).map_err(|failure| match failure {
                InvalidKeyError::Damaged => InvalidKeysError::Binary,
                reason => InvalidKeysError::Unusable(vec![SkippedKey { line: 1, reason }]),
            }),
        }
    }

    /// Parses one or several keys: consecutive blocks of PEM or RFC 4716, or one key per line as in `authorized_keys`,
    /// without options. Empty lines and those that begin with `#` are ignored. Unusable entries are skipped if at least
    /// one can be used.
    pub fn parse(text: &str) -> Result<Self, InvalidKeysError> {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        let mut add = |line, entry: &str| match PublicKey::parse(entry) {
            Ok(_) if keys.len() == MAX_KEYS => {
                skipped.push(SkippedKey { line, reason: InvalidKeyError::TooMany });
            }
            Ok(key) => keys.push(key),
            Err(reason) => skipped.push(SkippedKey { line, reason }),
        };
        let mut block: Option<(usize, String)> = None;
        let numbered = text.lines().map(str::trim).zip(1..);
        for (line, at) in numbered.filter(|(line, _)| !line.is_empty() && !line.starts_with('#')) {
            // A block without an end is terminated by the next one.
            if begins_block(line)
                && let Some((start, unfinished)) = block.replace((at, String::new()))
            {
                add(start, &unfinished);
            }
            match &mut block {
                Some((start, within)) => {
                    within.push_str(line);
                    within.push('\n');
                    if ends_block(line) {
                        add(*start, within);
                        block = None;
                    }
                }
                None => add(at, line),
            }
        }
        if let Some((start, unfinished)) = block {
            add(start, &unfinished);
        }
        match (keys.is_empty(), skipped.is_empty()) {
            (false, _) => Ok(Self { keys, skipped }),
            (true, false) => Err(InvalidKeysError::Unusable(skipped)),
            (true, true) => Err(InvalidKeysError::Empty),
        }
    }

    /// Iterates over the keys, in the order of the text.
    pub fn iter(&self) -> impl Iterator<Item = &PublicKey> {
        self.keys.iter()
    }

    /// Returns the entries that cannot be used.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// A list of the first few entries with their errors.
struct List<'a>(&'a [SkippedKey]);

impl fmt::Display for List<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 4;
        for (at, skipped) in self.0.iter().take(SHOWN).enumerate() {
            write!(f, "{}{skipped}", if at == 0 { "" } else { "; " })?;
        }
        if self.0.len() > SHOWN { write!(f, "; and {} more", self.0.len() - SHOWN) } else { Ok(()) }
    }
}

impl From<PublicKey> for PublicKeys {
    fn from(key: PublicKey) -> Self {
        Self { keys: vec![key], skipped: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: &str = include_str!("../samples/rsa.pub");
    const SSH: &str = include_str!("../samples/ed25519.ssh.pub");
    const EC: &str = include_str!("../samples/ec.pub");

    #[test]
    fn one_or_several_keys_are_read() {
        let (first, second) = (PublicKey::parse(RSA).unwrap(), PublicKey::parse(SSH).unwrap());
        assert_eq!(PublicKeys::parse(RSA), Ok(first.clone().into()));
        for text in [format!("{RSA}{SSH}"), format!("\u{feff}# old\n\n{RSA}\n# new\r\n{SSH}\n")] {
            let keys = PublicKeys::read(text.as_bytes()).unwrap();
            assert_eq!(keys, PublicKeys { keys: vec![first.clone(), second.clone()], skipped: vec![] });
        }
        let lines = format!("{}\n{SSH}", include_str!("../samples/rsa.ssh.pub"));
        assert_eq!(PublicKeys::parse(&lines).unwrap().iter().count(), 2);
    }

    #[test]
    fn an_unusable_entry_is_skipped_and_reported_with_its_line() {
        let options = format!("from=\"10.0.0.0/8\" {SSH}");
        for (entry, reason) in [
            ("nonsense!", InvalidKeyError::Form),
            (&*options, InvalidKeyError::Options),
            (EC, InvalidKeyError::Algorithm("an ECDSA P-256 key")),
            ("-----BEGIN PUBLIC KEY-----\nMIIB\n", InvalidKeyError::Unfinished),
            ("-----BEGIN PUBLIC KEY-----\nMIIB\n-----END PUBLIC KEY-----\n", InvalidKeyError::Damaged),
            (include_str!("../samples/rsa.priv"), InvalidKeyError::Private),
        ] {
            for (text, line, count) in [
                (format!("# a list\n\n{entry}\n{RSA}"), 3, 1),
                (format!("{SSH}\n{RSA}\n{entry}"), SSH.lines().count() + RSA.lines().count() + 3, 2),
            ] {
                let keys = PublicKeys::parse(&text).unwrap();
                assert_eq!(keys.skipped(), [SkippedKey { line, reason }], "{text}");
                assert_eq!(keys.iter().count(), count, "{text}");
            }
            let alone = PublicKeys::parse(entry).unwrap_err();
            assert_eq!(alone.to_string(), format!("line 1: {reason}"), "{entry}");
        }
        let two = PublicKeys::parse(&format!("x!\n{EC}")).unwrap_err().to_string();
        assert!(
            two.starts_with("line 1: not a key") && two.contains("; line 2: an ECDSA P-256 key, ed25519 or")
        );
    }

    #[test]
    fn a_text_without_entries_is_an_error_and_excess_keys_are_skipped() {
        assert_eq!(PublicKeys::parse("# nothing\n"), Err(InvalidKeysError::Empty));
        assert_eq!(PublicKeys::read(&[0xff; 32]), Err(InvalidKeysError::Binary));
        let keys = PublicKeys::parse(&SSH.repeat(MAX_KEYS + 1)).unwrap();
        assert_eq!(keys.iter().count(), MAX_KEYS);
        assert_eq!(keys.skipped(), [SkippedKey { line: MAX_KEYS + 1, reason: InvalidKeyError::TooMany }]);
    }
}
