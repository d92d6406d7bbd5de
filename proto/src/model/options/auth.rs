//! The authentication of a route's clients by the gateway.

mod basic;
mod forward;
mod password_hash;

use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use thiserror::Error;

pub use self::basic::{BasicAuth, InvalidBasicAuthError, MAX_USERS};
pub use self::forward::{ForwardAuth, InvalidForwardAuthError, MAX_HEADERS};
pub use self::password_hash::{InvalidPasswordHashError, PasswordHash, PasswordScheme};
use super::object::object;
use crate::model::words::Describe;

/// The authentication of a route's clients by the gateway.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(into = "AuthSpec")]
#[schemars(with = "AuthSpec")]
pub enum Auth {
    /// User names and passwords (RFC 7617).
    Basic(BasicAuth),
    /// A service on the overlay that decides about each request.
    Forward(ForwardAuth),
}

/// An authentication that is not exactly one of `basic` and `forward`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum InvalidAuthError {
    /// Neither is given.
    #[error("authentication needs `basic` or `forward`")]
    None,
    /// Both are given.
    #[error("authentication has either `basic` or `forward`, not both")]
    Both,
}

/// The JSON form of an [`Auth`].
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct AuthSpec {
    /// User names and passwords (RFC 7617).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    basic: Option<BasicAuth>,
    /// A service on the overlay that decides about each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forward: Option<ForwardAuth>,
}

impl Auth {
    /// Returns an example. The password is `example`.
    pub(super) fn sample() -> Option<Self> {
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$boQaYA0svmcMnVEvPUqyyw$\
                    dRyq1CxM3ASPE0smirZQf/Xy+0B6wqjwd3zHwSFDMf8";
        let users = [("alice".to_owned(), PasswordHash::parse(hash).ok()?)];
        BasicAuth::new(None, users).ok().map(Self::Basic)
    }

    /// Replaces the password hashes in the JSON form of route options by fingerprints, for the audit log. A changed
    /// password has another fingerprint; a password cannot be guessed from it without the hash.
    pub(super) fn redact(&self, auth: &mut Value) {
        let Self::Basic(basic) = self else { return };
        let Some(users) = auth.pointer_mut("/basic/users").and_then(Value::as_object_mut) else { return };
        for (name, hash) in basic.users() {
            users.insert(name.to_owned(), hash.fingerprint().into());
        }
    }
}

impl From<Auth> for AuthSpec {
    fn from(auth: Auth) -> Self {
        match auth {
            Auth::Basic(basic) => Self { basic: Some(basic), forward: None },
            Auth::Forward(forward) => Self { basic: None, forward: Some(forward) },
        }
    }
}

impl<'de> Deserialize<'de> for Auth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match object(deserializer)? {
            AuthSpec { basic: Some(basic), forward: None } => Ok(Self::Basic(basic)),
            AuthSpec { basic: None, forward: Some(forward) } => Ok(Self::Forward(forward)),
            AuthSpec { basic: None, forward: None } => Err(D::Error::custom(InvalidAuthError::None)),
            AuthSpec { basic: Some(_), forward: Some(_) } => Err(D::Error::custom(InvalidAuthError::Both)),
        }
    }
}

impl Describe for Auth {
    fn describe(&self) -> String {
        match self {
            Self::Basic(basic) => {
                let names: Vec<&str> = basic.users().map(|(name, _)| name).collect();
                format!("basic, users {}", names.join(", "))
            }
            Self::Forward(forward) => format!("forward to {}{}", forward.backend(), forward.path()),
        }
    }
}

#[cfg(test)]
mod tests;
