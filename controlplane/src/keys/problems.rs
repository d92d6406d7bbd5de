//! The files, directories and keys that a controlplane needs.

use std::path::Path;

use thiserror::Error;
use webgateway_process::{FileCheck, FileCheckError};
use webgateway_proto::model::KeyId;

use super::directory::Directory;
use super::error::UnusableKeyError;
use crate::config::{Config, FeedAddress, KeySource};

/// A lack of the machine that keeps the controlplane from running, or the admin from using it.
#[derive(Debug, Error)]
pub enum SetupError {
    /// A file or directory is missing or not accessible.
    #[error(transparent)]
    File(#[from] FileCheckError),
    /// There is no key of the admin.
    #[error("`admin_id`: {} has no public key `{id}`: nobody could administer the gateway", directory.display())]
    NoAdminKey {
        /// The admin's key id.
        id: KeyId,
        /// The key store.
        directory: Box<Path>,
    },
    /// The key of the admin cannot be used.
    #[error("`admin_id`: the public key `{id}` cannot be used: {reason}")]
    AdminKey {
        /// The admin's key id.
        id: KeyId,
        /// The reason.
        reason: String,
    },
    /// There is a database, but not the key that its private keys are encrypted with.
    #[error(
        "`secret_key_file`: {} does not exist, but the database does: its private keys cannot be decrypted",
        path.display()
    )]
    NoSecretKey {
        /// The missing file.
        path: Box<Path>,
    },
}

/// Returns what the process could not run with. Changes nothing. Keys at a key server are not looked up.
pub(crate) fn problems(config: &Config) -> Vec<SetupError> {
    let mut problems: Vec<SetupError> = files(config).into_iter().filter_map(Result::err).collect();
    if config.db_path.exists() && !config.secret_key_file.exists() {
        problems.push(SetupError::NoSecretKey { path: config.secret_key_file.as_path().into() });
    }
    if let KeySource::Directory(directory) = &config.live.keys {
        match FileCheck("pub_key_store.path").readable_directory(directory) {
            Ok(()) => problems.extend(admin_key(&config.admin_id, directory)),
            Err(error) => problems.push(error.into()),
        }
    }
    problems
}

fn files(config: &Config) -> Vec<Result<(), SetupError>> {
    let mut checks = vec![
        FileCheck("services_storage.db_path").writable_file(&config.db_path),
        FileCheck("secret_key_file").writable_file(&config.secret_key_file),
    ];
    for ca in &config.cas {
        checks.extend(ca.root.iter().map(|root| FileCheck("local_acme_root").readable_file(root)));
    }
    for address in &config.feed.listen {
        if let FeedAddress::Unix(socket) = address
            && let Some(directory) = socket.parent()
        {
            checks.push(FileCheck("feed.listen").existing_writable_directory(directory));
        }
    }
    checks.into_iter().map(|checked| checked.map_err(SetupError::from)).collect()
}

fn admin_key(id: &KeyId, directory: &Path) -> Option<SetupError> {
    let unusable =
        |error: UnusableKeyError| SetupError::AdminKey { id: id.clone(), reason: error.to_string() };
    match Directory::open(directory.to_owned()).map_err(UnusableKeyError::from).and_then(|keys| keys.read(id))
    {
        Ok(Some(_)) => None,
        Ok(None) => Some(SetupError::NoAdminKey { id: id.clone(), directory: directory.into() }),
        Err(error) => Some(unusable(error)),
    }
}
