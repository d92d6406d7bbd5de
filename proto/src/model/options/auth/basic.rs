//! Basic authentication (RFC 7617): a realm, and users with password hashes.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use thiserror::Error;

use super::password_hash::PasswordHash;
use crate::model::options::object::object;

/// The maximum number of users of a route.
pub const MAX_USERS: usize = 100;
/// The maximum length of a user name or a realm, in bytes.
const MAX_TEXT: usize = 64;

/// Basic authentication of a route: one to [`MAX_USERS`] users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "BasicSpec")]
#[schemars(with = "BasicSpec")]
pub struct BasicAuth {
    realm: Option<Box<str>>,
    users: BTreeMap<Box<str>, PasswordHash>,
}

/// An invalid basic authentication. No error contains a password or a hash.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum InvalidBasicAuthError {
    /// The realm is invalid.
    #[error("`realm` must have 1 to {MAX_TEXT} printable ASCII characters, without `\"` and `\\`")]
    Realm,
    /// A user name is invalid.
    #[error("a user name must have 1 to {MAX_TEXT} printable ASCII characters, without spaces and `:`")]
    Name,
    /// There are no users.
    #[error("`users` is empty: basic authentication needs at least one user")]
    NoUsers,
    /// There are too many users.
    #[error("{0} users given, at most {MAX_USERS} are allowed")]
    TooMany(usize),
}

/// The JSON form of a [`BasicAuth`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BasicSpec {
    /// The name of the protected area, which browsers may show; if absent, the host of the route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    realm: Option<Box<str>>,
    /// The password hashes by user name, at least one and at most 100. A hash is argon2id in PHC format, or bcrypt;
    /// `gwctl hash-password` makes one.
    users: BTreeMap<Box<str>, PasswordHash>,
}

impl BasicAuth {
    /// Makes a basic authentication. Of two users with the same name, the last one counts.
    pub fn new(
        realm: Option<&str>,
        users: impl IntoIterator<Item = (String, PasswordHash)>,
    ) -> Result<Self, InvalidBasicAuthError> {
        let users = users.into_iter().map(|(name, hash)| (name.into(), hash)).collect();
        Self::try_from(BasicSpec { realm: realm.map(Into::into), users })
    }

    /// Checks the name of a user.
    pub fn check_name(name: &str) -> Result<(), InvalidBasicAuthError> {
        let is_valid = has_length(name) && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
        if is_valid { Ok(()) } else { Err(InvalidBasicAuthError::Name) }
    }

    /// Returns the realm; `None` if it is the route's host.
    #[must_use]
    pub fn realm(&self) -> Option<&str> {
        self.realm.as_deref()
    }

    /// Returns the password hash of a user.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&PasswordHash> {
        self.users.get(name)
    }

    /// Iterates over the users and their password hashes, at least one, by name.
    pub fn users(&self) -> impl ExactSizeIterator<Item = (&str, &PasswordHash)> {
        self.users.iter().map(|(name, hash)| (&**name, hash))
    }
}

fn has_length(text: &str) -> bool {
    (1..=MAX_TEXT).contains(&text.len())
}

impl TryFrom<BasicSpec> for BasicAuth {
    type Error = InvalidBasicAuthError;

    fn try_from(BasicSpec { realm, users }: BasicSpec) -> Result<Self, InvalidBasicAuthError> {
        let in_realm = |b: u8| (b' '..=b'~').contains(&b) && b != b'"' && b != b'\\';
        if realm.as_deref().is_some_and(|realm| !has_length(realm) || !realm.bytes().all(in_realm)) {
            return Err(InvalidBasicAuthError::Realm);
        }
        users.keys().try_for_each(|name| Self::check_name(name))?;
        match users.len() {
            0 => Err(InvalidBasicAuthError::NoUsers),
            count if count > MAX_USERS => Err(InvalidBasicAuthError::TooMany(count)),
            _ => Ok(Self { realm, users }),
        }
    }
}

impl From<BasicAuth> for BasicSpec {
    fn from(BasicAuth { realm, users }: BasicAuth) -> Self {
        Self { realm, users }
    }
}

impl<'de> Deserialize<'de> for BasicAuth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(object::<D, BasicSpec>(deserializer)?).map_err(D::Error::custom)
    }
}
