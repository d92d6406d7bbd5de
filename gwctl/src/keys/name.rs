//! The name of a key pair to be made.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use thiserror::Error;
use webgateway_proto::model::{InvalidKeyId, KeyId};

/// The files `NAME.priv` and `NAME.pub` of a key pair, and its key id, `NAME.pub`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyName {
    /// The key id.
    pub id: KeyId,
    /// The private half's file.
    pub private: PathBuf,
    /// The public half's file.
    pub public: PathBuf,
}

/// A text that cannot name a key pair.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidKeyName {
    /// No file name at all, or not in UTF-8.
    #[error("`{0}` does not name a file")]
    NoName(String),
    /// The ending is given too.
    #[error("`{0}` has an ending already: leave it out, .priv and .pub are added")]
    Ending(String),
    /// The public half's file name would be no key id.
    #[error(transparent)]
    Id(#[from] InvalidKeyId),
}

impl KeyName {
    /// Takes a name, or a path with the name at its end.
    ///
    /// # Errors
    /// No file name, one with an ending of its own, or one that makes no key id.
    pub fn parse(path: &Path) -> Result<Self, InvalidKeyName> {
        let no_name = || InvalidKeyName::NoName(path.display().to_string());
        let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
        if name.ends_with(".priv") || name.ends_with(".pub") {
            return Err(InvalidKeyName::Ending(name.to_owned()));
        }
        let id = format!("{name}.pub").parse()?;
        let with = |ending: &str| {
            let mut file = OsString::from(name);
            file.push(ending);
            path.with_file_name(file)
        };
        Ok(Self { id, private: with(".priv"), public: with(".pub") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_name_may_have_a_folder_but_no_ending() {
        let name = KeyName::parse("keys/user1".as_ref()).unwrap();
        assert_eq!((name.id.as_str(), name.private.to_str()), ("user1.pub", Some("keys/user1.priv")));
        assert_eq!(KeyName::parse("a.b".as_ref()).unwrap().public.to_str(), Some("a.b.pub"));
        for bad in ["", "/", "..", "user1.pub", "user1.priv", ".hidden", "a b"] {
            assert!(KeyName::parse(bad.as_ref()).is_err(), "{bad}");
        }
    }
}
