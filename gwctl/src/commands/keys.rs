//! The commands of `gwctl keys`.

use gwctl::keys::{self, KeyName};
use serde_json::json;

use crate::error::CommandError;
use crate::output::Report;

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
