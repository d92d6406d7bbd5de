//! The identity on disk: one file, 0600, written whole or not at all.

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
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 20;

/// Where the identity is kept.
#[derive(Debug, Clone)]
pub(crate) struct StateDir(PathBuf);

/// Why an identity cannot be kept or read.
#[derive(Debug, Error)]
pub enum StateDirError {
    /// It cannot be read.
    #[error("`state_dir`: cannot read {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be written.
    #[error("`state_dir`: cannot write {}: {source}", path.display())]
    Unwritable {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Damaged.
    #[error("`state_dir`: {} is damaged ({detail}): remove it, and this node on the controlplane, then join anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        detail: String,
    },
}

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
    /// This folder.
    #[must_use]
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn file(&self) -> PathBuf {
        self.0.join(FILE)
    }

    /// What was kept; `None` if this node never joined.
    pub(crate) fn load(&self) -> Result<Option<Identity>, StateDirError> {
        let path = self.file();
        let unreadable = |source| StateDirError::Unreadable { path: path.clone(), source };
        let damaged = |detail: String| StateDirError::Damaged { path: path.clone(), detail };
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(unreadable(source)),
        };
        let metadata = file.metadata().map_err(unreadable)?;
        if metadata.len() > LARGEST {
            return Err(damaged("it is too large".to_owned()));
        }
        if metadata.permissions().mode() & 0o077 != 0 {
            file.set_permissions(fs::Permissions::from_mode(0o600)).map_err(unreadable)?;
        }
        let mut text = Zeroizing::new(Vec::new());
        io::Read::read_to_end(&mut io::Read::take(file, LARGEST), &mut text).map_err(unreadable)?;
        let stored: IdentityFile = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
        if stored.chain.is_empty() || stored.roots.is_empty() {
            return Err(damaged("it has no certificate".to_owned()));
        }
        let der = |all: Vec<Vec<u8>>| all.into_iter().map(CertificateDer::from).collect();
        Ok(Some(Identity {
            name: stored.node.parse().map_err(|e| damaged(format!("{e}")))?,
            address: stored.address.parse().map_err(|e| damaged(format!("{e}")))?,
            key: stored.key,
            chain: der(stored.chain),
            roots: der(stored.roots),
            renew_at: stored.renew_at,
            not_after: stored.not_after,
        }))
    }

    /// Makes sure that the folder is there and can be written to.
    pub(crate) fn prepare(&self) -> Result<(), StateDirError> {
        let unwritable = |source| StateDirError::Unwritable { path: self.0.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(unwritable)?;
        let probe = self.0.join(".probe");
        private().open(&probe).and_then(|_| fs::remove_file(&probe)).map_err(unwritable)
    }

    /// Keeps an identity: beside first, then renamed, so that a crash leaves the old one or the new one.
    pub(crate) fn save(&self, identity: &Identity) -> Result<(), StateDirError> {
        let path = self.file();
        let unwritable = |source| StateDirError::Unwritable { path: path.clone(), source };
        let der = |all: &[CertificateDer<'_>]| all.iter().map(|der| der.to_vec()).collect();
        let stored = IdentityFile {
            node: identity.name.to_string(),
            address: identity.address.to_string(),
            key: identity.key.clone(),
            chain: der(&identity.chain),
            roots: der(&identity.roots),
            renew_at: identity.renew_at,
            not_after: identity.not_after,
        };
        let text = serde_json::to_vec(&stored).map(Zeroizing::new).map_err(|e| unwritable(e.into()))?;
        write(&self.0, &path, &text).map_err(unwritable)
    }
}

fn write(folder: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension("json.new");
    let mut file = private().truncate(true).open(&draft)?;
    file.write_all(text)?;
    // `join` may be run by root, and the service is not.
    let (owner, own) = (fs::metadata(folder)?, file.metadata()?);
    if (owner.uid(), owner.gid()) != (own.uid(), own.gid()) {
        fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
    }
    file.sync_all()?;
    fs::rename(&draft, path)?;
    File::open(folder)?.sync_all()
}

fn private() -> OpenOptions {
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
    fn what_was_kept_comes_back_and_is_nobody_elses() {
        let dir = tempfile::tempdir().unwrap();
        let kept = StateDir::new(&dir.path().join("a/b"));
        assert!(kept.load().unwrap().is_none());
        kept.prepare().unwrap();
        kept.save(&identity(7)).unwrap();
        kept.save(&identity(8)).unwrap();
        let mode = fs::metadata(kept.file()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let loaded = kept.load().unwrap().unwrap();
        assert_eq!(
            (loaded.name.as_str(), loaded.renew_at, loaded.key.as_slice()),
            ("fra", 8, &[1, 2, 3][..])
        );
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let kept = StateDir::new(dir.path());
        fs::write(kept.file(), "{}").unwrap();
        let error = kept.load().err().unwrap().to_string();
        assert!(error.contains("state_dir") && error.contains("identity.json"), "{error}");
    }
}
