//! The key store `directory`: a file for each key id, named by it, read anew for every use.

use std::fs::File;
use std::io::{self, Read};
use std::path::PathBuf;

use tokio::task::spawn_blocking;
use webgateway_proto::httpsig::{InvalidKey, PublicKeys};
use webgateway_proto::model::KeyId;

use super::error::{MAX_KEY, UnusableKeyError};

/// A directory of public keys.
#[derive(Debug, Clone)]
pub(super) struct Directory {
    directory: PathBuf,
}

impl Directory {
    /// Keys in `directory`, which must exist.
    pub(super) fn open(directory: PathBuf) -> io::Result<Self> {
        std::fs::read_dir(&directory)?;
        Ok(Self { directory })
    }

    /// The keys of this name; `None` if there is none.
    pub(super) async fn find(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let (store, id) = (self.clone(), id.clone());
        let read = spawn_blocking(move || store.read(&id)).await;
        read.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::Interrupted).into()))
    }

    fn read(&self, id: &KeyId) -> Result<Option<PublicKeys>, UnusableKeyError> {
        let directory = self.directory.canonicalize()?;
        let path = match directory.join(id.as_str()).canonicalize() {
            Ok(path) => path,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at before it is opened: opening a pipe waits.
        if !path.starts_with(&directory) || !path.metadata()?.is_file() {
            return Err(UnusableKeyError::NotAFile);
        }
        let mut text = Vec::new();
        File::open(&path)?.take(MAX_KEY + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_KEY {
            return Err(UnusableKeyError::TooLarge);
        }
        let text = String::from_utf8(text).map_err(|_| InvalidKey::Form)?;
        Ok(Some(PublicKeys::parse(&text)?))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use tempfile::TempDir;
    use webgateway_proto::httpsig::PrivateKey;

    use super::*;

    #[test]
    fn only_regular_files_inside_the_directory_are_keys() {
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
        symlink("/dev/zero", dir.join("device")).unwrap();
        symlink("nothing", dir.join("dangling")).unwrap();
        let store = Directory::open(dir).unwrap();
        let read = |name: &str| store.read(&name.parse().unwrap());
        for name in ["user1.pub", "inside"] {
            assert_eq!(read(name).unwrap(), Some(key.clone().into()), "{name}");
        }
        for name in ["nobody", "USER1.pub", "dangling"] {
            assert_eq!(read(name).unwrap(), None, "{name}");
        }
        for name in ["outside", "folder", "device"] {
            assert!(matches!(read(name), Err(UnusableKeyError::NotAFile)), "{name}");
        }
        assert!(matches!(read("large"), Err(UnusableKeyError::TooLarge)));
        assert!(matches!(read("binary"), Err(UnusableKeyError::Invalid(InvalidKey::Form))));
        assert_eq!(read("two").unwrap().unwrap().iter().count(), 2);
        assert!(matches!(read("empty"), Err(UnusableKeyError::Invalid(InvalidKey::Empty))));
    }

    #[test]
    fn a_missing_directory_is_said_at_once() {
        assert!(Directory::open("/nonexistent/keys".into()).is_err());
    }
}
