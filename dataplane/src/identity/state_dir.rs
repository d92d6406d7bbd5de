//! The file that holds this node's identity in `state_dir`: mode 0600, replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use zeroize::Zeroizing;

use super::certificate::Identity;

const FILE: &str = "identity.json";
/// The maximum size of the file, in bytes.
const MAX_SIZE: u64 = 1 << 20;

/// The folder that holds the identity.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(PathBuf);

/// The identity cannot be read or written.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// The file cannot be read.
    #[error("`state_dir`: cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file or the folder cannot be written.
    #[error("`state_dir`: cannot write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file has been read, but its content is malformed.
    #[error(
        "`state_dir`: {} is damaged ({detail}): remove the file, remove this node on the controlplane, then join again",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The fault in its content.
        detail: String,
    },
}

/// The content of the file, as JSON.
#[derive(Serialize, Deserialize)]
struct IdentityFile {
    node: String,
    address: String,
    key: Zeroizing<Vec<u8>>,
    chain: Vec<Vec<u8>>,
    roots: Vec<Vec<u8>>,
    renew_at: i64,
    not_after: i64,
}

impl StateDir {
    /// Refers to `folder`, which need not exist yet.
    #[must_use]
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    /// Reads the identity; `None` if this node has not joined. A file that others may read gets mode 0600.
    pub(crate) fn load(&self) -> Result<Option<Identity>, StateDirError> {
        let path = self.file();
        let unreadable = |source| StateDirError::Read { path: path.clone(), source };
        let damaged = |detail: String| StateDirError::Damaged { path: path.clone(), detail };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.len() > MAX_SIZE {
            return Err(damaged("it is larger than 1 MiB".to_owned()));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(unreadable)?;
        }
        let mut json = Zeroizing::new(Vec::new());
        io::Read::read_to_end(&mut io::Read::take(file, MAX_SIZE), &mut json).map_err(unreadable)?;
        let content: IdentityFile = serde_json::from_slice(&json).map_err(|e| damaged(e.to_string()))?;
        if content.chain.is_empty() || content.roots.is_empty() {
            return Err(damaged("it has no certificate".to_owned()));
        }
        let der = |all: Vec<Vec<u8>>| all.into_iter().map(CertificateDer::from).collect();
        Ok(Some(Identity {
            name: content.node.parse().map_err(|e| damaged(format!("{e}")))?,
            address: content.address.parse().map_err(|e| damaged(format!("{e}")))?,
            key: content.key,
            chain: der(content.chain),
            roots: der(content.roots),
            renew_at: content.renew_at,
            not_after: content.not_after,
        }))
    }

    /// Creates the folder (mode 0700) if it is missing, and checks that files can be written to it.
    pub(crate) fn prepare(&self) -> Result<(), StateDirError> {
        let unwritable = |source| StateDirError::Write { path: self.0.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(unwritable)?;
        let probe = self.0.join(".probe");
        private_file_options().open(&probe).and_then(|_| fs::remove_file(&probe)).map_err(unwritable)
    }

    /// Writes an identity to a new file, then renames it, so that a crash leaves either the old one or the new one.
    pub(crate) fn save(&self, identity: &Identity) -> Result<(), StateDirError> {
        let path = self.file();
        let unwritable = |source| StateDirError::Write { path: path.clone(), source };
        let der = |all: &[CertificateDer<'_>]| all.iter().map(|der| der.to_vec()).collect();
        let content = IdentityFile {
            node: identity.name.to_string(),
            address: identity.address.to_string(),
            key: identity.key.clone(),
            chain: der(&identity.chain),
            roots: der(&identity.roots),
            renew_at: identity.renew_at,
            not_after: identity.not_after,
        };
        let json = serde_json::to_vec(&content).map(Zeroizing::new).map_err(|e| unwritable(e.into()))?;
        write_atomically(&self.0, &path, &json).map_err(unwritable)
    }
}

fn write_atomically(folder: &Path, path: &Path, json: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    let mut file = private_file_options().truncate(true).open(&temporary)?;
    file.write_all(json)?;
    // An operator may run `join` as root, while the service runs as another user, which owns the folder.
    let (owner, current) = (fs::metadata(folder)?, file.metadata()?);
    if (owner.uid(), owner.gid()) != (current.uid(), current.gid()) {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()
}

fn private_file_options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(0o600);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(renew_at: i64) -> Identity {
        Identity {
            name: "fra".parse().unwrap(),
            address: "control.example:7443".parse().unwrap(),
            key: Zeroizing::new(vec![1, 2, 3]),
            chain: vec![CertificateDer::from(vec![4])],
            roots: vec![CertificateDer::from(vec![5])],
            renew_at,
            not_after: 9,
        }
    }

    #[test]
    fn a_saved_identity_is_loaded_and_readable_by_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = StateDir::new(&dir.path().join("a/b"));
        assert!(state_dir.load().unwrap().is_none());
        state_dir.prepare().unwrap();
        state_dir.save(&identity(7)).unwrap();
        state_dir.save(&identity(8)).unwrap();
        let mode = fs::metadata(state_dir.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = state_dir.load().unwrap().unwrap();
        assert_eq!(
            (loaded.name.as_str(), loaded.renew_at, loaded.key.as_slice()),
            ("fra", 8, &[1, 2, 3][..])
        );
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1, "no temporary file remains");
    }

    #[test]
    fn the_error_about_a_damaged_file_names_it() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = StateDir::new(dir.path());
        fs::write(state_dir.file(), "{}").unwrap();
        let error = state_dir.load().err().unwrap().to_string();
        assert!(error.contains("state_dir") && error.contains("identity.json"), "{error}");
    }
}
