//! The command `gwctl login`.

use gwctl::{Client, Endpoint};
use serde_json::{Value, json};
use webgateway_proto::api::method;

use crate::args::Credentials;
use crate::error::{CommandError, FailureKind};
use crate::output::Report;
use crate::printable::printable;
use crate::profiles::{self, Profile};

/// Runs `gwctl login`: makes a signed call, and saves URL, id and key as a profile if the gateway accepts it.
pub(super) async fn login(
    client: &Client,
    endpoint: &Endpoint,
    credentials: &Credentials,
    name: &str,
) -> Result<Report, CommandError> {
    client.call::<_, Value>(method::ROUTES_LIST, &json!({})).await?;
    let key = std::path::absolute(&credentials.key_file).map_err(|error| {
        CommandError::new(FailureKind::Unexpected, format!("the current directory is unknown: {error}"))
    })?;
    let (url, id) = (endpoint.to_string(), credentials.id.to_string());
    let profile = Profile { url: Some(url.clone()), id: Some(id.clone()), key: Some(key) };
    let file = profiles::save(name, &profile)?.display().to_string();
    let json = json!({ "profile": name, "url": url, "id": id, "file": file });
    let name = printable(name);
    Ok(Report::new(json, format!("{url} accepts the key {id}. Saved as profile {name} in {file}.")))
}
