//! The key store `directory`: one file for each key id, with that name, which is read for every use.
//!
//! A file may be a symbolic link to a regular file anywhere, as orchestrators create them. This is safe because a key
//! id cannot be a path, so that only the operator creates links.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::task::spawn_blocking;
use tracing::warn;
use webgateway_proto::httpsig::{PublicKeys, SkippedKey};
use webgateway_proto::model::KeyId;

use super::error::{MAX_KEY, UnusableKeyError};

/// A directory of public keys.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    directory: PathBuf,
    /// The skipped entries that were logged last, by key id, so that they are not logged for every use.
    logged: Arc<Mutex<HashMap<KeyId, Vec<SkippedKey>>>>,
}

impl Directory {
    /// Opens a directory, which must exist.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        std::fs::read_dir(&directory)?;
        Ok(Self { directory, logged: Arc::default() })
    }

    /// Returns the public keys of a key id; `None` if there is no such file.
    pub(super) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let (store, id) = (self.clone(), id.clone());
        let read = spawn_blocking(move || store.read(&id)).await;
        read.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::Interrupted).into()))
    }

    /// Returns the public keys of a key id as [`Directory::find`] does, on this thread.
    pub(super) fn read(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let path = self.directory.join(id.as_str());
        // Checked before it is opened, because opening a pipe blocks.
        match path.metadata() {
            Ok(metadata) if metadata.is_file() => {}
            Ok(_) => return Err(UnusableKeyError::NotAFile),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let mut text = Vec::new();
        File::open(&path)?.take(MAX_KEY + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_KEY {
            return Err(UnusableKeyError::TooLarge);
        }
        let keys = PublicKeys::read(&text)?;
        self.log_skipped(id, keys.skipped());
        Ok(Some(keys))
    }

    /// Logs the entries that cannot be used, if they have changed since the last time.
    fn log_skipped(&self, id: &KeyId, skipped: &[SkippedKey]) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let known = logged.get(id).map_or(&[][..], Vec::as_slice);
        if known == skipped {
            return;
        }
        for skipped in skipped {
            warn!(key = %id, %skipped, "public key skipped");
        }
        if skipped.is_empty() {
            logged.remove(id);
        } else {
            logged.insert(id.clone(), skipped.to_vec());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;
    use webgateway_proto::httpsig::{InvalidKeysError, PrivateKey};

    use super::*;

    #[test]
    fn only_regular_files_and_links_to_them_are_read() {
        let outer = TempDir::new().unwrap();
        let dir = outer.path().join("keys");
        fs::create_dir_all(dir.join("folder")).unwrap();
        let key = PrivateKey::from_seed(&[1; 32]).public();
        fs::write(dir.join("user1.pub"), key.to_pem()).unwrap();
        fs::write(outer.path().join("secret"), key.to_pem()).unwrap();
        fs::write(dir.join("large"), vec![b'x'; 16 * 1024 + 1]).unwrap();
        fs::write(dir.join("binary"), [0xff; 32]).unwrap();
        fs::write(dir.join("empty"), "").unwrap();
        let next = PrivateKey::from_seed(&[2; 32]).public();
        fs::write(dir.join("two"), format!("{}{}", key.to_pem(), next.to_pem())).unwrap();
        symlink("user1.pub", dir.join("inside")).unwrap();
        symlink(outer.path().join("secret"), dir.join("outside")).unwrap();
        // The layout of a Kubernetes volume.
        fs::create_dir(dir.join("..2026_11_26")).unwrap();
        fs::write(dir.join("..2026_11_26/mounted.pub"), key.to_pem()).unwrap();
        symlink("..2026_11_26", dir.join("..data")).unwrap();
        symlink("..data/mounted.pub", dir.join("mounted.pub")).unwrap();
        symlink(&dir, outer.path().join("linked")).unwrap();
        symlink("folder", dir.join("to-folder")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        symlink("/dev/zero", dir.join("device")).unwrap();
        symlink("nothing", dir.join("dangling")).unwrap();
        let store = Directory::open(outer.path().join("linked")).unwrap();
        let read = |name: &str| store.read(&name.parse().unwrap());
        for name in ["user1.pub", "inside", "outside", "mounted.pub"] {
            assert_eq!(read(name).unwrap(), Some(key.clone().into()), "{name}");
        }
        for name in ["nobody", "USER1.pub", "dangling"] {
            assert_eq!(read(name).unwrap(), None, "{name}");
        }
        for name in ["folder", "to-folder", "device"] {
            assert!(matches!(read(name), Err(UnusableKeyError::NotAFile)), "{name}");
        }
        assert!(matches!(read("loop"), Err(UnusableKeyError::Unreadable(_))));
        assert!(matches!(read("large"), Err(UnusableKeyError::TooLarge)));
        assert!(matches!(read("binary"), Err(UnusableKeyError::Invalid(InvalidKeysError::Binary))));
        assert_eq!(read("two").unwrap().unwrap().iter().count(), 2);
        assert!(matches!(read("empty"), Err(UnusableKeyError::Invalid(InvalidKeysError::Empty))));
    }

    #[test]
    fn an_unusable_entry_is_skipped_and_logged_once() {
        let dir = TempDir::new().unwrap();
        let key = PrivateKey::from_seed(&[1; 32]).public();
        let store = Directory::open(dir.path().to_owned()).unwrap();
        let id: KeyId = "user1.pub".parse().unwrap();
        let with = |more: &str| {
            fs::write(dir.path().join("user1.pub"), format!("{more}\n{}", key.to_pem())).unwrap();
            let read = store.read(&id).unwrap().unwrap();
            assert_eq!(read.iter().collect::<Vec<_>>(), [&key], "{more}");
            store.logged.lock().unwrap().get(&id).map_or(0, Vec::len)
        };
        assert_eq!((with("nonsense!"), with("nonsense!\nmore!"), with("# fine")), (1, 2, 0));
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        assert!(Directory::open("/nonexistent/keys".into()).is_err());
    }
}
