//! The fields of a CA's directory that instant-acme does not expose (RFC 8555 §7.1.1).

use http::Request;
use http_body_util::{BodyExt, Empty};
use serde::Deserialize;

use super::https::{ExchangeError, HttpsClient};

#[derive(Deserialize)]
struct AcmeDirectory {
    #[serde(default)]
    meta: DirectoryMeta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct DirectoryMeta {
    caa_identities: Vec<String>,
}

/// Fetches the domains that identify the CA in CAA records. Empty if the directory names none.
pub(super) async fn caa_identities(https: &HttpsClient, url: &str) -> Result<Vec<String>, ExchangeError> {
    let unreadable = |reason: String| ExchangeError::Unreadable(reason);
    let request = Request::get(url).body(Empty::new()).map_err(|e| unreadable(e.to_string()))?;
    let response = https.exchange(request).await?;
    let body = response.into_body().collect().await.map_err(|e| unreadable(e.to_string()))?.to_bytes();
    read(&body).map_err(|e| unreadable(e.to_string()))
}

fn read(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    serde_json::from_slice::<AcmeDirectory>(body).map(|directory| directory.meta.caa_identities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caa_identities_are_optional() {
        let full = br#"{"newOrder":"https://ca/o","meta":{"website":"x","caaIdentities":["ca.example"]}}"#;
        assert_eq!(read(full).unwrap(), ["ca.example"]);
        assert!(read(br#"{"newOrder":"https://ca/o"}"#).unwrap().is_empty());
        assert!(read(b"<html>").is_err());
    }
}
