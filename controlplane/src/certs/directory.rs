//! What a CA's directory says that the protocol's library does not pass on (RFC 8555 §7.1.1).

use http::Request;
use http_body_util::{BodyExt, Empty};
use serde::Deserialize;

use super::https::{ExchangeError, HttpsClient};

#[derive(Deserialize)]
struct Directory {
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    caa_identities: Vec<String>,
}

/// The domains by which the CA goes in CAA records; none if it does not say.
pub(super) async fn caa_identities(https: &HttpsClient, url: &str) -> Result<Vec<String>, ExchangeError> {
    let unreadable = |reason: String| ExchangeError::Unreadable(reason);
    let request = Request::get(url).body(Empty::new()).map_err(|e| unreadable(e.to_string()))?;
    let response = https.exchange(request).await?;
    let body = response.into_body().collect().await.map_err(|e| unreadable(e.to_string()))?.to_bytes();
    read(&body).map_err(|e| unreadable(e.to_string()))
}

fn read(body: &[u8]) -> Result<Vec<String>, serde_json::Error> {
    serde_json::from_slice::<Directory>(body).map(|directory| directory.meta.caa_identities)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_where_there_are_some() {
        let full = br#"{"newOrder":"https://ca/o","meta":{"website":"x","caaIdentities":["ca.example"]}}"#;
        assert_eq!(read(full).unwrap(), ["ca.example"]);
        assert!(read(br#"{"newOrder":"https://ca/o"}"#).unwrap().is_empty());
        assert!(read(b"<html>").is_err());
    }
}
