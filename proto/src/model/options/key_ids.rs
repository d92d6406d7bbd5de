//! Lists of key ids.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::model::words::Describe;
use crate::model::{InvalidKeyIdError, KeyId};

/// The maximum number of key ids in a list.
pub const MAX_KEY_IDS: usize = 64;

/// A list of at most [`MAX_KEY_IDS`] key ids without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
#[schemars(with = "Vec<String>")]
pub struct KeyIds(Box<[KeyId]>);

/// A list that is not a valid [`KeyIds`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidKeyIdsError {
    /// An entry is not a key id.
    #[error(transparent)]
    KeyId(#[from] InvalidKeyIdError),
    /// There are too many entries.
    #[error("{0} key ids given, at most {MAX_KEY_IDS} are allowed")]
    TooMany(usize),
}

impl KeyIds {
    pub(super) fn sample(ids: &[&str]) -> Self {
        Self(ids.iter().filter_map(|id| id.parse().ok()).collect())
    }

    /// Returns whether the list has no key ids.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns whether the list has this key id.
    #[must_use]
    pub fn contains(&self, id: &KeyId) -> bool {
        self.0.contains(id)
    }
}

impl TryFrom<Vec<String>> for KeyIds {
    type Error = InvalidKeyIdsError;

    fn try_from(texts: Vec<String>) -> Result<Self, Self::Error> {
        if texts.len() > MAX_KEY_IDS {
            return Err(InvalidKeyIdsError::TooMany(texts.len()));
        }
        let mut ids: Vec<KeyId> = Vec::with_capacity(texts.len());
        for text in texts {
            let id = text.parse()?;
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        Ok(Self(ids.into()))
    }
}

impl From<KeyIds> for Vec<String> {
    fn from(ids: KeyIds) -> Self {
        ids.0.iter().map(KeyId::to_string).collect()
    }
}

impl Describe for KeyIds {
    fn describe(&self) -> String {
        if self.is_empty() {
            return "none".to_owned();
        }
        Vec::from(self.clone()).join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> Result<KeyIds, InvalidKeyIdsError> {
        texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>().try_into()
    }

    #[test]
    fn lists_have_valid_ids_once_each() {
        assert_eq!(ids(&["user2.pub", "user3.pub", "user2.pub"]).unwrap().describe(), "user2.pub, user3.pub");
        assert_eq!(ids(&[]).unwrap().describe(), "none");
        for text in ["", "../user2.pub", "user 2.pub"] {
            assert!(ids(&[text]).unwrap_err().to_string().contains(&format!("`{text}`")), "{text}");
        }
        assert_eq!(ids(&["a"; MAX_KEY_IDS + 1]), Err(InvalidKeyIdsError::TooMany(MAX_KEY_IDS + 1)));
        assert!(ids(&["a"; MAX_KEY_IDS]).is_ok());
    }
}
