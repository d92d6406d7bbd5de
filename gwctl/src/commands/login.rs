//! `gwctl login`

use gwctl::{Client, Endpoint};
use serde_json::{Value, json};
use webgateway_proto::api::method;

use crate::args::Credentials;
use crate::error::{CommandError, Kind};
use crate::output::Report;
use crate::printable::printable;
use crate::profiles::{self, Profile};

/// `gwctl login`: asks the gateway whether it takes the key, then keeps both as a profile; a refusal keeps nothing.
pub(super) async fn login(
    client: &Client,
    endpoint: &Endpoint,
    credentials: &Credentials,
    name: &str,
) -> Result<Report, CommandError> {
    client.call::<_, Value>(method::ROUTES_LIST, &json!({})).await?;
    let key = std::path::absolute(&credentials.key_file).map_err(|error| {
        CommandError::new(Kind::Unexpected, format!("where this folder is, is not known: {error}"))
    })?;
    let (url, id) = (endpoint.to_string(), credentials.id.to_string());
    let profile = Profile { url: Some(url.clone()), id: Some(id.clone()), key: Some(key) };
    let file = profiles::keep(name, &profile)?.display().to_string();
    let json = json!({ "profile": name, "url": url, "id": id, "file": file });
    let name = printable(name);
    Ok(Report::new(json, format!("{url} takes the key {id}. Kept as profile {name} in {file}.")))
}
