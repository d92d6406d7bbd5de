//! The commands of `gwctl keys`, and `gwctl hash-password`.

use std::io::{IsTerminal, stdin};
use std::path::Path;

use gwctl::keys::{self, KeyName};
use serde_json::json;

use crate::error::{CommandError, FailureKind};
use crate::output::Report;
use crate::password::{PasswordError, PasswordSource};

/// Runs `gwctl keys generate`.
pub(super) fn generate(name: &KeyName) -> Result<Report, CommandError> {
    keys::generate(name)?;
    let (private, public) = (name.private.display().to_string(), name.public.display().to_string());
    let json = json!({ "id": name.id, "private": private, "public": public });
    let width = name.private.as_os_str().len();
    let text = format!(
        "{private}  the private key: keep it secret\n\
         {public:width$}  the public key: give this file to the operator, with the same name\n\
         Then: gwctl -i {} -k {private} routes list",
        name.id
    );
    Ok(Report::new(json, text))
}

/// Runs `gwctl hash-password`.
pub(super) fn hash_password() -> Result<Report, CommandError> {
    let failed = |error: PasswordError| CommandError::new(FailureKind::Usage, error.to_string());
    let path = (!stdin().is_terminal()).then_some(Path::new("-"));
    let hash = PasswordSource::open(path).and_then(|mut source| source.hash_next("the user"));
    let hash = hash.map_err(failed)?;
    Ok(Report::new(json!({ "hash": hash.as_str() }), hash.as_str().to_owned()))
}
