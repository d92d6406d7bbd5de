//! `gwctl keys …`

use serde_json::json;

use crate::args::KeyName;
use crate::fault::Fault;
use crate::keys;
use crate::output::Report;

/// `gwctl keys generate NAME`
pub(super) fn generate(name: &KeyName) -> Result<Report, Fault> {
    keys::generate(name)?;
    let (private, public) = (name.private.display(), name.public.display());
    let json = json!({ "id": name.id, "private": private.to_string(), "public": public.to_string() });
    let text = format!(
        "{private}  the private key: keep it, show it to nobody\n\
         {public}  the public key: give it to the operator, under this very name\n\
         Then: gwctl -i {} -k {private} routes list",
        name.id
    );
    Ok(Report::new(json, text))
}
