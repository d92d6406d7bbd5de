//! Key files: generation and loading.

mod name;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use thiserror::Error;
use webgateway_proto::httpsig::InvalidKeyError;
use zeroize::Zeroizing;

pub use self::name::{KeyName, KeyNameError};
pub use webgateway_proto::httpsig::PrivateKey;

/// The maximum size of a key file, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;
/// The mode of private key files.
const PRIVATE_MODE: u32 = 0o600;
/// The mode of public key files.
const PUBLIC_MODE: u32 = 0o644;
/// The mode bits that give other users access.
const OTHERS_MASK: u32 = 0o077;

/// A key file cannot be created or loaded.
#[derive(Debug, Error)]
pub enum KeyError {
    /// The file does not exist.
    #[error("the key file {} does not exist", .0.display())]
    NotFound(PathBuf),
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is larger than 64 KiB.
    #[error("the key file {} is larger than 64 KiB", .0.display())]
    TooLarge(PathBuf),
    /// The file does not contain a private key.
    #[error("{}: {source}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The error in its content.
        source: InvalidKeyError,
    },
    /// The file already exists.
    #[error("{} already exists and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{} cannot be written: {source}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system provides no random bytes.
    #[error("the system provides no random bytes")]
    Random,
}

/// A private key, and the mode of its file if other users can access it.
#[derive(Debug)]
pub struct LoadedKey {
    /// The key.
    pub key: PrivateKey,
    /// The file's mode, if it gives other users access.
    pub exposed: Option<u32>,
}

/// Generates a key pair and writes its two files: either both are new and complete, or neither is left behind. The
/// private key file gets mode 0600.
///
/// # Errors
/// A file already exists or cannot be written, or the system provides no random bytes.
pub fn generate(name: &KeyName) -> Result<(), KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
    let key = PrivateKey::from_seed(&seed);
    // An existing public key file is detected before anything is written.
    if fs::symlink_metadata(&name.public).is_ok() {
        return Err(KeyError::Exists(name.public.clone()));
    }
    write_new(&name.private, PRIVATE_MODE, &key.to_pem())?;
    let written = write_new(&name.public, PUBLIC_MODE, &key.public().to_pem());
    if written.is_err() {
        // This call has just created the file, and may remove it.
        let _ = fs::remove_file(&name.private);
    }
    written
}

/// Loads a private key from a file of at most 64 KiB: ed25519 or RSA, in PEM, DER or OpenSSH's format.
///
/// # Errors
/// The file does not exist, cannot be read, is larger than 64 KiB, or does not contain a private key.
pub fn load(path: &Path) -> Result<LoadedKey, KeyError> {
    let unreadable = |source: io::Error| match source.kind() {
        ErrorKind::NotFound => KeyError::NotFound(path.to_owned()),
        _ => KeyError::Unreadable { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let mut content = Zeroizing::new(Vec::new());
    let read = file.take(MAX_KEY_FILE + 1).read_to_end(&mut content).map_err(unreadable)?;
    if u64::try_from(read).is_ok_and(|read| read > MAX_KEY_FILE) {
        return Err(KeyError::TooLarge(path.to_owned()));
    }
    let key = PrivateKey::read(&content);
    let key = key.map_err(|source| KeyError::Invalid { path: path.to_owned(), source })?;
    let mode = metadata.permissions().mode() & 0o7777;
    let exposed = (metadata.is_file() && mode & OTHERS_MASK != 0).then_some(mode);
    Ok(LoadedKey { key, exposed })
}

fn write_new(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    let failure = |source: io::Error| match source.kind() {
        ErrorKind::AlreadyExists => KeyError::Exists(path.to_owned()),
        _ => KeyError::Unwritable { path: path.to_owned(), source },
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path).map_err(failure)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.map_err(|source| {
        // An incomplete key file is useless.
        let _ = fs::remove_file(path);
        failure(source)
    })
}
