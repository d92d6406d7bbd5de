//! The name of a new key pair.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;
use webgateway_proto::model::{InvalidKeyIdError, KeyId};

/// The files `NAME.priv` and `NAME.pub` of a key pair, and its key id, `NAME.pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// The key id.
    pub id: KeyId,
    /// The path of the private key file.
    pub private: PathBuf,
    /// The path of the public key file.
    pub public: PathBuf,
}

/// The name of a key pair is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyNameError {
    /// The path has no file name, or the name is not UTF-8.
    #[error("`{0}` does not name a file")]
    NoName(String),
    /// The name has the extension `.priv` or `.pub`.
    #[error("`{0}` has an extension: omit it, .priv and .pub are added")]
    Extension(String),
    /// The name of the public key file is not a valid key id.
    #[error(transparent)]
    Id(#[from] InvalidKeyIdError),
}

impl KeyName {
    /// Parses a name, or a path that ends in the name.
    ///
    /// # Errors
    /// The path has no file name, the name has an extension, or it does not form a valid key id.
    pub fn parse(path: &Path) -> Result<Self, KeyNameError> {
        let no_name = || KeyNameError::NoName(path.display().to_string());
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
        if name.ends_with(".priv") || name.ends_with(".pub") {
            return Err(KeyNameError::Extension(name.to_owned()));
        }
        let id = format!("{name}.pub").parse()?;
        let with_extension = |extension: &str| {
            let mut file = OsString::from(name);
            file.push(extension);
            path.with_file_name(file)
        };
        Ok(Self { id, private: with_extension(".priv"), public: with_extension(".pub") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_name_may_have_a_directory_but_no_extension() {
        let name = KeyName::parse("keys/user1".as_ref()).unwrap();
        assert_eq!((name.id.as_str(), name.private.to_str()), ("user1.pub", Some("keys/user1.priv")));
        assert_eq!(KeyName::parse("a.b".as_ref()).unwrap().public.to_str(), Some("a.b.pub"));
        for bad in ["", "/", "..", "user1.pub", "user1.priv", ".hidden", "a b"] {
            assert!(KeyName::parse(bad.as_ref()).is_err(), "{bad}");
        }
    }
}
