//! The key id and the private key file with which calls are signed.

use std::path::{Path, PathBuf};

use webgateway_proto::model::KeyId;

use super::error::ArgError;

/// The key id and the private key file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) id: KeyId,
    pub(crate) key_file: PathBuf,
}

impl Credentials {
    /// Parses `--id` and `--key`. Without `--id`, the key file `x.priv` has the id `x.pub`.
    pub(crate) fn parse(id: Option<&str>, key_file: Option<&Path>) -> Result<Self, ArgError> {
        let id = id.map(|id| id.parse().map_err(ArgError::Id)).transpose()?;
        let key_file = key_file.filter(|path| !path.as_os_str().is_empty()).ok_or(ArgError::KeyMissing)?;
        let id = id.or_else(|| id_from_file_name(key_file)).ok_or(ArgError::IdMissing)?;
        Ok(Self { id, key_file: key_file.to_owned() })
    }
}

fn id_from_file_name(key_file: &Path) -> Option<KeyId> {
    let name = key_file.file_name()?.to_str()?.strip_suffix(".priv")?;
    format!("{name}.pub").parse().ok()
}
