//! Key files: generation and reading.

mod name;

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use thiserror::Error;
use webgateway_proto::httpsig::InvalidKey;
use zeroize::Zeroizing;

pub use self::name::{InvalidKeyName, KeyName};
pub use webgateway_proto::httpsig::PrivateKey;

/// The largest key file read, in bytes.
const MAX_KEY_FILE: u64 = 64 * 1024;
const PRIVATE_MODE: u32 = 0o600;
const PUBLIC_MODE: u32 = 0o644;
/// The mode bits that let others in.
const OTHERS: u32 = 0o077;

/// A key file cannot be made or read.
#[derive(Debug, Error)]
pub enum KeyError {
    /// There is no such file.
    #[error("there is no key file {}", .0.display())]
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
    #[error("{} is larger than any key", .0.display())]
    TooLarge(PathBuf),
    /// The file holds no private key.
    #[error("{}: {source}", .path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The fault of its text.
        source: InvalidKey,
    },
    /// A file is there already.
    #[error("{} is there already and is not overwritten", .0.display())]
    Exists(PathBuf),
    /// The file cannot be written.
    #[error("{} cannot be written: {source}", .path.display())]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes")]
    Random,
}

/// A private key and who else may read it.
#[derive(Debug)]
pub struct LoadedKey {
    /// The key.
    pub key: PrivateKey,
    /// The file's mode, if it lets others in.
    pub exposed: Option<u32>,
}

/// Makes a key pair and writes both halves; either both files are new and whole, or none is left. The private half
/// gets mode 0600.
///
/// # Errors
/// A file is there already, cannot be written, or there is no randomness.
pub fn generate(name: &KeyName) -> Result<(), KeyError> {
    let mut seed = Zeroizing::new([0; 32]);
    rand::fill(seed.as_mut_slice()).map_err(|_| KeyError::Random)?;
    let key = PrivateKey::from_seed(&seed);
    // Looked at first, so that the common refusal writes nothing at all.
    if fs::symlink_metadata(&name.public).is_ok() {
        return Err(KeyError::Exists(name.public.clone()));
    }
    write_new(&name.private, PRIVATE_MODE, &key.to_pem())?;
    let written = write_new(&name.public, PUBLIC_MODE, &key.public().to_pem());
    if written.is_err() {
        // Ours: it was made a moment ago.
        let _ = fs::remove_file(&name.private);
    }
    written
}

/// Reads a private key: ed25519 or RSA, PEM, PKCS#8 in DER or OpenSSH, from a file of 64 KiB at most.
///
/// # Errors
/// The file is not there, cannot be read, or holds no private key.
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
    let exposed = (metadata.is_file() && mode & OTHERS != 0).then_some(mode);
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
        // Half a key is of no use.
        let _ = fs::remove_file(path);
        failure(source)
    })
}
