//! Encryption of secrets at rest with AES-256-GCM and a secret key in a file.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use thiserror::Error;
use tracing::{info, warn};
use zeroize::Zeroizing;

/// The size of the secret key, in bytes.
const KEY_LEN: usize = 32;
/// The version of the format, which is the first byte of every sealed secret.
const FORMAT: u8 = 1;

/// The key that encrypts stored secrets. `Debug` does not show it.
pub struct SecretKey(RandomizedNonceKey);

/// A secret key that cannot be loaded or created.
#[derive(Debug, Error)]
pub enum SecretKeyError {
    /// The file cannot be read.
    #[error("`{setting}`: cannot read {}: {source}", path.display())]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file does not exist and cannot be created.
    #[error("`{setting}`: cannot create {}: {source}", path.display())]
    Uncreatable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file does not have the size of a key.
    #[error("`{setting}`: {} has {len} bytes instead of {KEY_LEN}: restore the file; only if there is no copy, and nothing of what it sealed to lose, remove it and a new one is made", path.display())]
    WrongSize {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// The size in bytes, of which at most one above the valid size is counted.
        len: usize,
    },
    /// The cryptographic library rejects the key.
    #[error("the secret key cannot be used")]
    Unusable,
}

/// A sealed secret that cannot be decrypted: it was sealed with another key or name, or was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "it cannot be opened with this secret key: was it changed, or is `secret_key_file` (of a node: what is in `state_dir`) not the one that sealed it?"
)]
pub struct UnsealError;

/// The cryptographic library failed to encrypt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("sealing failed")]
pub struct SealError;

impl SecretKey {
    /// Reads the key from `path`, which `setting` names, or creates the file with a random key and mode 0600. Blocks.
    pub fn load_or_create(path: &Path, setting: &'static str) -> Result<Self, SecretKeyError> {
        match create(path) {
            Ok(key) => return Self::new(&key),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            // A read-only directory may contain a readable key.
            Err(_) if path.exists() => {}
            Err(source) => {
                return Err(SecretKeyError::Uncreatable { setting, path: path.to_owned(), source });
            }
        }
        let key = read(path, setting)?;
        Self::new(&key)
    }

    /// Makes a key from its bytes.
    pub fn new(key: &[u8; KEY_LEN]) -> Result<Self, SecretKeyError> {
        RandomizedNonceKey::new(&AES_256_GCM, key).map(Self).map_err(|_| SecretKeyError::Unusable)
    }

    /// Encrypts `plain` and binds it to `name`.
    pub fn seal(&self, name: &str, plain: &[u8]) -> Result<Vec<u8>, SealError> {
        let mut text = Zeroizing::new(plain.to_vec());
        let aad = Aad::from(name.as_bytes());
        let (nonce, tag) = self.0.seal_in_place_separate_tag(aad, &mut text).map_err(|_| SealError)?;
        Ok([&[FORMAT], nonce.as_ref().as_slice(), &text, tag.as_ref()].concat())
    }

    /// Decrypts a secret that [`SecretKey::seal`] made with the same name.
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, UnsealError> {
        let (&[FORMAT], rest) = sealed.split_first_chunk::<1>().ok_or(UnsealError)? else {
            return Err(UnsealError);
        };
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(UnsealError)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aad = Aad::from(name.as_bytes());
        let opened = self.0.open_in_place(Nonce::from(nonce), aad, &mut text).map_err(|_| UnsealError)?;
        Ok(Zeroizing::new(opened.to_vec()))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey")
    }
}

fn create(path: &Path) -> io::Result<Zeroizing<[u8; KEY_LEN]>> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut key = Zeroizing::new([0; KEY_LEN]);
    aws_lc_rs::rand::fill(&mut *key).map_err(|_| io::Error::other("no randomness"))?;
    let written = file.write_all(&*key).and_then(|()| file.sync_all());
    if written.is_err() {
        // A truncated file would be reported as a damaged key at the next start.
        let _ = std::fs::remove_file(path);
    }
    written?;
    info!(path = %path.display(), "secret key created: back it up, separately from the data that it encrypts");
    Ok(key)
}

fn read(path: &Path, setting: &'static str) -> Result<Zeroizing<[u8; KEY_LEN]>, SecretKeyError> {
    let unreadable = |source| SecretKeyError::Unreadable { setting, path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let mode = file.metadata().map_err(unreadable)?.permissions().mode();
    if mode & 0o077 != 0 {
        let mode = format!("{:04o}", mode & 0o7777);
        warn!(path = %path.display(), mode, "secret key file is readable by others: set its mode to 0600");
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(KEY_LEN + 1));
    file.take(KEY_LEN as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match <[u8; KEY_LEN]>::try_from(bytes.as_slice()) {
        Ok(key) => Ok(Zeroizing::new(key)),
        Err(_) => Err(SecretKeyError::WrongSize { setting, path: path.to_owned(), len: bytes.len() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> SecretKey {
        SecretKey::new(&[byte; KEY_LEN]).unwrap()
    }

    #[test]
    fn a_secret_is_opened_only_with_its_key_and_name() {
        let sealed = key(1).seal("a.example", b"private").unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(key(1).open("a.example", &sealed).unwrap().as_slice(), b"private");
        assert_eq!(key(1).open("b.example", &sealed), Err(UnsealError));
        assert_eq!(key(2).open("a.example", &sealed), Err(UnsealError));
        assert_ne!(sealed, key(1).seal("a.example", b"private").unwrap(), "a nonce is used once");
    }

    #[test]
    fn every_changed_or_missing_byte_is_detected() {
        let sealed = key(1).seal("a.example", b"private").unwrap();
        for i in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[i] ^= 1;
            assert_eq!(key(1).open("a.example", &changed), Err(UnsealError), "byte {i}");
            assert_eq!(key(1).open("a.example", &sealed[..i]), Err(UnsealError), "cut at {i}");
        }
    }

    #[test]
    fn the_file_is_created_once_with_mode_0600() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        let sealed = SecretKey::load_or_create(&path, "secret_key_file").unwrap().seal("n", b"x").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = SecretKey::load_or_create(&path, "secret_key_file").unwrap();
        assert_eq!(again.open("n", &sealed).unwrap().as_slice(), b"x");
    }

    #[test]
    fn an_invalid_file_is_reported_and_left_unchanged() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret.key");
        for len in [0, KEY_LEN - 1, KEY_LEN + 1] {
            std::fs::write(&path, vec![7; len]).unwrap();
            let error = SecretKey::load_or_create(&path, "secret_key_file").unwrap_err().to_string();
            assert!(error.contains("secret_key_file") && error.contains("secret.key"), "{error}");
            assert_eq!(std::fs::read(&path).unwrap().len(), len);
        }
        let missing =
            SecretKey::load_or_create(&dir.path().join("none/secret.key"), "secret_key_file").unwrap_err();
        assert!(matches!(missing, SecretKeyError::Uncreatable { .. }), "{missing}");
    }
}
