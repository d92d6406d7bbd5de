//! Signing a request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request};
use sfv::{BareItem, InnerList, Item, Key, Parameters};
use thiserror::Error;

use super::base::write_input;
use super::{ComponentError, Message, PrivateKey, content_digest};
use crate::model::KeyId;

/// A request that cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// A component to be covered is absent.
    #[error(transparent)]
    Component(#[from] ComponentError),
    /// The nonce or key id has characters that a structured field cannot contain.
    #[error("the nonce or key id cannot be written in a header")]
    Text,
}

/// Signs `request`, whose URI must be absolute: sets Content-Digest, Signature-Input and Signature, and returns the
/// signature base. `now` is in Unix seconds; `nonce` must be unique for each request.
pub fn sign(
    request: &mut Request<Bytes>,
    key: &PrivateKey,
    key_id: &KeyId,
    now: i64,
    nonce: &str,
) -> Result<String, SignError> {
    let digest = content_digest(request.body());
    request.headers_mut().insert("content-digest", digest);
    let mut covered = vec!["@method", "@target-uri", "content-digest"];
    if request.headers().contains_key(CONTENT_TYPE) {
        covered.push("content-type");
    }
    let input = input(&covered, key, key_id, now, nonce)?;
    let message = Message { method: request.method(), uri: request.uri(), headers: request.headers() };
    let base = message.base(&input)?;
    let signature = format!("sig1=:{}:", STANDARD.encode(key.sign(&base)));
    let header = |text: String| HeaderValue::from_str(&text).map_err(|_| SignError::Text);
    let (input, signature) = (header(format!("sig1={}", write_input(&input)))?, header(signature)?);
    request.headers_mut().insert("signature-input", input);
    request.headers_mut().insert("signature", signature);
    Ok(base)
}

fn input(
    covered: &[&str],
    key: &PrivateKey,
    key_id: &KeyId,
    now: i64,
    nonce: &str,
) -> Result<InnerList, SignError> {
    let text = |text: &str| {
        sfv::String::from_string(text.to_owned()).map(BareItem::String).map_err(|_| SignError::Text)
    };
    let created = sfv::Integer::try_from(now).map(BareItem::Integer).map_err(|_| SignError::Text)?;
    let named = [
        ("created", created),
        ("keyid", text(key_id.as_str())?),
        ("alg", text(key.algorithm().as_str())?),
        ("nonce", text(nonce)?),
    ];
    let mut params = Parameters::new();
    for (name, value) in named {
        params.insert(Key::from_string(name.to_owned()).map_err(|_| SignError::Text)?, value);
    }
    let items: Result<Vec<Item>, SignError> = covered.iter().map(|c| text(c).map(Item::new)).collect();
    Ok(InnerList::with_params(items?, params))
}
