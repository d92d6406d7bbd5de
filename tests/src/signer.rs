//! Signed JSON-RPC requests, built by hand so that a scenario can make them invalid.

use std::path::Path;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::Full;
use serde_json::{Value, json};
use uuid::Uuid;
use webgateway_proto::httpsig::{PrivateKey, sign};
use webgateway_proto::model::KeyId;

use crate::client::{Connection, Reply};
use crate::clock;
use crate::gwctl::User;

/// A private key and its key id.
pub struct Signer {
    key: PrivateKey,
    id: KeyId,
}

/// The parameters of a signature that a scenario can choose.
#[derive(Debug, Clone)]
pub struct SignatureParams {
    /// The `created` parameter, in Unix seconds.
    pub created: i64,
    /// The `nonce` parameter.
    pub nonce: String,
}

impl SignatureParams {
    /// Returns the current time and a new nonce.
    #[must_use]
    pub fn fresh() -> Self {
        Self { created: clock::now(), nonce: Uuid::now_v7().to_string() }
    }
}

impl Signer {
    /// Creates a signer with a user's key.
    pub fn for_user(user: &User) -> Result<Self> {
        Self::new(&std::fs::read_to_string(user.key())?, user.id())
    }

    /// Creates a signer from a private key, PEM, and a key id.
    pub fn new(pem: &str, id: &str) -> Result<Self> {
        Ok(Self { key: PrivateKey::parse(pem)?, id: id.parse::<KeyId>()? })
    }

    /// Creates a signer with the ed25519 key of a seed.
    pub fn from_seed(seed: [u8; 32], id: &str) -> Result<Self> {
        Ok(Self { key: PrivateKey::from_seed(&seed), id: id.parse::<KeyId>()? })
    }

    /// Writes the public key to a controlplane's key directory.
    pub fn publish(&self, keys: &Path) -> Result<()> {
        Ok(std::fs::write(keys.join(self.id.as_str()), self.key.public().to_pem())?)
    }

    /// Returns a signed POST of `body` to `url`.
    pub fn post(&self, url: &str, body: &str, stamp: &SignatureParams) -> Result<Request<Bytes>> {
        let mut request = Request::post(url)
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_owned()))?;
        sign(&mut request, &self.key, &self.id, stamp.created, &stamp.nonce)?;
        Ok(request)
    }

    /// Calls a method over a connection to the API and returns the response.
    pub async fn call(&self, api: &mut Connection, url: &str, method: &str, params: Value) -> Result<Reply> {
        let request = self.post(url, &call(method, params).to_string(), &SignatureParams::fresh())?;
        send(api, request).await
    }
}

/// Returns a JSON-RPC request.
#[must_use]
pub fn call(method: &str, params: Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params, "id": 1})
}

/// Sends a request with an absolute URI, in the target form of the connection.
pub async fn send(api: &mut Connection, request: Request<Bytes>) -> Result<Reply> {
    let (head, body) = request.into_parts();
    let authority = head.uri.authority().context("an absolute URI")?.to_string();
    let path = head.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let mut sent = api.request(head.method, &authority, &path).body(Full::from(body))?;
    sent.headers_mut().extend(head.headers);
    api.send(sent).await
}

/// Changes a header of a signed request.
pub fn tamper(
    request: &mut Request<Bytes>,
    name: &'static str,
    change: impl FnOnce(&str) -> String,
) -> Result<()> {
    let value = request.headers().get(name).and_then(|v| v.to_str().ok()).context(name)?;
    let changed = HeaderValue::from_str(&change(value))?;
    request.headers_mut().insert(name, changed);
    Ok(())
}
