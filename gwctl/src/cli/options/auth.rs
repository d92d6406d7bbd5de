//! The flags of `auth`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use webgateway_proto::model::options::{
    Auth, BasicAuth, ForwardAuth, InvalidBasicAuthError, InvalidForwardAuthError, PasswordHash,
};
use webgateway_proto::model::{Patch, RouteOptionsPatch};

use super::error::OptionError;
use crate::cli::wait::parse_duration;
use crate::password::{PasswordError, PasswordSource};

/// The flags of `auth`. Those that are given replace the whole option. Passwords are never arguments, because other
/// users of the machine can see these.
#[derive(Debug, Args)]
pub(super) struct AuthFlags {
    /// A user who signs in with a password, which is asked for and hashed on this machine; repeatable. The given users
    /// replace all current ones; terminated routes only
    #[arg(long, value_name = "NAME", conflicts_with = "auth_forward")]
    auth_basic: Vec<String>,
    /// A file with the passwords for --auth-basic, one line for each, instead of the terminal; `-` reads from stdin
    #[arg(long, value_name = "FILE", requires = "auth_basic")]
    auth_basic_password: Option<PathBuf>,
    /// A user with the hash of a password, of `gwctl hash-password`, `htpasswd -B` or another program; repeatable
    #[arg(long, value_name = "NAME:HASH", conflicts_with = "auth_forward")]
    auth_basic_hash: Vec<String>,
    /// The name of the protected area, at most 64 characters [default: the host]
    #[arg(long, value_name = "TEXT", conflicts_with = "auth_forward")]
    auth_basic_realm: Option<String>,
    /// The overlay address of a service that decides about each request, such as [54f:1::2]:9091: a 2xx response lets
    /// it in, any other one goes to the client; terminated routes only
    #[arg(long, value_name = "ADDRESS")]
    auth_forward: Option<String>,
    /// The path that is requested from the service [default: /]
    #[arg(long, value_name = "PATH", requires = "auth_forward")]
    auth_forward_path: Option<String>,
    /// A header that is copied from a 2xx response of the service to the request, such as Remote-User; repeatable
    #[arg(long, value_name = "NAME", requires = "auth_forward")]
    auth_forward_header: Vec<String>,
    /// The time for the response of the service, from 1s to 60s [default: 10s]
    #[arg(long, value_name = "DURATION", requires = "auth_forward", value_parser = parse_duration)]
    auth_forward_timeout: Option<Duration>,
}

impl AuthFlags {
    /// Adds the flags to `patch`. Asks for passwords.
    pub(super) fn add_to(&self, patch: &mut RouteOptionsPatch) -> Result<(), OptionError> {
        let is_basic = !self.auth_basic.is_empty() || !self.auth_basic_hash.is_empty();
        let auth = match &self.auth_forward {
            Some(backend) => Auth::Forward(self.forward(backend)?),
            None if is_basic || self.auth_basic_realm.is_some() => Auth::Basic(self.basic()?),
            None => return Ok(()),
        };
        patch.auth = Patch::Set(Some(auth));
        Ok(())
    }

    /// Returns whether there are users whose passwords are asked for.
    pub(super) const fn asks_for_passwords(&self) -> bool {
        !self.auth_basic.is_empty()
    }

    fn basic(&self) -> Result<BasicAuth, OptionError> {
        let mut users = Vec::new();
        for user in &self.auth_basic_hash {
            let (name, hash) = user.split_once(':').unwrap_or((user, ""));
            let hint = Some("write --auth-basic-hash 'alice:$argon2id$…', in single quotes");
            let hash = PasswordHash::parse(hash)
                .map_err(|error| OptionError::new("--auth-basic-hash", &error).with_hint(hint))?;
            users.push((name.to_owned(), hash));
        }
        let invalid = |error: InvalidBasicAuthError| {
            let flag = match error {
                InvalidBasicAuthError::Realm => "--auth-basic-realm",
                InvalidBasicAuthError::Name
                | InvalidBasicAuthError::NoUsers
                | InvalidBasicAuthError::TooMany(_) => "--auth-basic, --auth-basic-hash",
            };
            OptionError::new(flag, &error)
        };
        // An invalid name is found before a password is asked for.
        self.auth_basic.iter().try_for_each(|name| BasicAuth::check_name(name)).map_err(invalid)?;
        if !self.auth_basic.is_empty() {
            let mut source = PasswordSource::open(self.auth_basic_password.as_deref()).map_err(unreadable)?;
            for name in &self.auth_basic {
                users.push((name.clone(), source.hash_next(name).map_err(unreadable)?));
            }
        }
        BasicAuth::new(self.auth_basic_realm.as_deref(), users).map_err(invalid)
    }

    fn forward(&self, backend: &str) -> Result<ForwardAuth, OptionError> {
        let (path, headers) = (self.auth_forward_path.as_deref(), &self.auth_forward_header);
        ForwardAuth::new(backend, path, headers, self.auth_forward_timeout).map_err(|error| {
            let flag = match error {
                InvalidForwardAuthError::Backend(_) => "--auth-forward",
                InvalidForwardAuthError::Path => "--auth-forward-path",
                InvalidForwardAuthError::Header(_)
                | InvalidForwardAuthError::Reserved(_)
                | InvalidForwardAuthError::TooMany(_) => "--auth-forward-header",
                InvalidForwardAuthError::Timeout => "--auth-forward-timeout",
            };
            OptionError::new(flag, &error)
        })
    }
}

/// Returns the error of a password that cannot be read.
fn unreadable(error: PasswordError) -> OptionError {
    let (flag, hint) = match error {
        PasswordError::NoTerminal(_) => (
            "--auth-basic",
            Some("give --auth-basic-password FILE, or --auth-basic-password - to read from stdin"),
        ),
        PasswordError::Read { .. } | PasswordError::Missing { .. } => {
            ("--auth-basic-password", Some("write one password for each --auth-basic, each on its own line"))
        }
        PasswordError::Mismatch
        | PasswordError::Invalid
        | PasswordError::NoRandomness
        | PasswordError::Hash(_) => ("--auth-basic", None),
    };
    OptionError::new(flag, &error).with_hint(hint)
}
