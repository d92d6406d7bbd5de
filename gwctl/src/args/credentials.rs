//! The key that signs: its id and its file.

use std::path::{Path, PathBuf};

use webgateway_proto::model::KeyId;

use super::invalid::InvalidArg;

/// The key's id with the operator and the private key's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) id: KeyId,
    pub(crate) key_file: PathBuf,
}

impl Credentials {
    /// Takes `--id` and `--key`; without `--id`, `x.priv` stands for `x.pub`.
    pub(crate) fn parse(id: Option<&str>, key_file: Option<&Path>) -> Result<Self, InvalidArg> {
        let id = id.map(|id| id.parse().map_err(InvalidArg::Id)).transpose()?;
        let key_file = key_file.filter(|path| !path.as_os_str().is_empty()).ok_or(InvalidArg::KeyMissing)?;
        let id = id.or_else(|| derive(key_file)).ok_or(InvalidArg::IdMissing)?;
        Ok(Self { id, key_file: key_file.to_owned() })
    }
}

fn derive(key_file: &Path) -> Option<KeyId> {
    let name = key_file.file_name()?.to_str()?.strip_suffix(".priv")?;
    format!("{name}.pub").parse().ok()
}
