//! Parses JSON-RPC 2.0 requests and serializes responses. Ids are returned exactly as the client wrote them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use webgateway_proto::api::jsonrpc::ErrorObject;

/// The maximum number of calls in a batch.
pub(super) const MAX_BATCH: usize = 100;
/// The maximum number of calls in a batch that is not signed. Their responses are larger than the requests.
pub(super) const MAX_UNSIGNED_BATCH: usize = 10;

/// The body of a request.
#[derive(Debug)]
pub(super) enum RequestBody {
    /// A single call.
    Single(ParsedCall),
    /// A batch of one call or more.
    Batch(Vec<ParsedCall>),
}

/// A call, or the reason why it is invalid.
pub(super) type ParsedCall = Result<Call, EnvelopeError>;

/// A valid request object: a call or a notification.
#[derive(Debug)]
pub(super) struct Call {
    /// The name of the method, which may be unknown.
    pub(super) method: String,
    /// The params, an object; `None` if they are absent or null.
    pub(super) params: Option<Box<RawValue>>,
    /// The id, a string, a number or null; `None` for a notification, which has no response.
    pub(super) id: Option<Box<RawValue>>,
}

/// The reason why a body, or an entry of a batch, is not a valid call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum EnvelopeError {
    /// The body is not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// The batch has no calls: `[]`.
    #[error("the batch is empty")]
    EmptyBatch,
    /// The batch has this many calls, more than [`MAX_BATCH`].
    #[error("the batch has {0} calls, at most {MAX_BATCH} are allowed")]
    LargeBatch(usize),
    /// The value is JSON and not a request object, for this reason.
    #[error("not a JSON-RPC 2.0 call: {0}")]
    NotACall(String),
    /// The id is not a string, a number or null.
    #[error("not a JSON-RPC 2.0 call: `id` must be a string, a number or null")]
    InvalidId,
    /// The params are neither an object nor an array.
    #[error("not a JSON-RPC 2.0 call: `params` must be an object")]
    ScalarParams,
    /// The params are an array, in the call with this id.
    #[error("params are accepted by name only: send an object instead of an array")]
    PositionalParams(RawId),
}

/// The id of an invalid call, as the client wrote it; `None` for a notification.
#[derive(Debug, Clone)]
pub(super) struct RawId(Option<Box<RawValue>>);

impl PartialEq for RawId {
    fn eq(&self, other: &Self) -> bool {
        let text = |id: &Self| id.0.as_ref().map(|raw| raw.get().to_owned());
        text(self) == text(other)
    }
}

impl Eq for RawId {}

/// A request object as it is serialized.
#[derive(Deserialize)]
struct WireCall<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// Deserializes a member that is present, so that `null` differs from an absent member.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl RequestBody {
    /// Parses a body. Invalid calls of a batch are entries of it.
    ///
    /// # Errors
    ///
    /// The body is not JSON, or a batch that is empty or too large.
    pub(super) fn parse(body: &[u8]) -> Result<Self, EnvelopeError> {
        let whole: &RawValue =
            serde_json::from_slice(body).map_err(|e| EnvelopeError::NotJson(e.to_string()))?;
        if !whole.get().starts_with('[') {
            return Ok(Self::Single(parse_call(whole)));
        }
        let entries: Vec<&RawValue> =
            serde_json::from_str(whole.get()).map_err(|e| EnvelopeError::NotJson(e.to_string()))?;
        match entries.len() {
            0 => Err(EnvelopeError::EmptyBatch),
            n if n > MAX_BATCH => Err(EnvelopeError::LargeBatch(n)),
            _ => Ok(Self::Batch(entries.into_iter().map(parse_call).collect())),
        }
    }

    /// Returns the valid calls.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        let entries = match self {
            Self::Single(entry) => std::slice::from_ref(entry),
            Self::Batch(entries) => entries,
        };
        entries.iter().filter_map(|entry| entry.as_ref().ok())
    }
}

fn parse_call(raw: &RawValue) -> ParsedCall {
    if !raw.get().starts_with('{') {
        return Err(EnvelopeError::NotACall("it must be an object".to_owned()));
    }
    let wire: WireCall<'_> =
        serde_json::from_str(raw.get()).map_err(|error| EnvelopeError::NotACall(error.to_string()))?;
    if wire.jsonrpc != "2.0" {
        return Err(EnvelopeError::NotACall("`jsonrpc` must be \"2.0\"".to_owned()));
    }
    if wire.id.is_some_and(|id| !is_id(id.get())) {
        return Err(EnvelopeError::InvalidId);
    }
    let id = wire.id.map(ToOwned::to_owned);
    let params = match wire.params.map(RawValue::get) {
        None | Some("null") => None,
        Some(text) if text.starts_with('{') => wire.params.map(ToOwned::to_owned),
        Some(text) if text.starts_with('[') => return Err(EnvelopeError::PositionalParams(RawId(id))),
        Some(_) => return Err(EnvelopeError::ScalarParams),
    };
    Ok(Call { method: wire.method.into_owned(), params, id })
}

fn is_id(raw: &str) -> bool {
    raw == "null" || raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

impl EnvelopeError {
    /// Makes an example of the error for params by position.
    pub(super) fn example_positional() -> Self {
        Self::PositionalParams(RawId(None))
    }

    /// Returns the id of the response: `None` if the call is a notification, null if its id is not known.
    pub(super) fn id(&self) -> Option<Box<RawValue>> {
        match self {
            Self::PositionalParams(RawId(id)) => id.clone(),
            Self::NotJson(_)
            | Self::EmptyBatch
            | Self::LargeBatch(_)
            | Self::NotACall(_)
            | Self::InvalidId
            | Self::ScalarParams => Some(RawValue::NULL.to_owned()),
        }
    }
}

/// A response object.
#[derive(Debug, Serialize)]
pub(super) struct RpcResponse {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject>,
    id: Box<RawValue>,
}

impl RpcResponse {
    /// Creates the response to the call `id`.
    pub(super) fn new(outcome: Result<Box<RawValue>, ErrorObject>, id: Box<RawValue>) -> Self {
        let (result, error) = match outcome {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Self { jsonrpc: "2.0", result, error, id }
    }

    /// Creates the response with the id null, for an error of the request as a whole.
    pub(super) fn error(error: ErrorObject) -> Self {
        Self::new(Err(error), RawValue::NULL.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn single(text: &str) -> ParsedCall {
        match RequestBody::parse(text.as_bytes()).unwrap() {
            RequestBody::Single(entry) => entry,
            RequestBody::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn ids_are_kept_as_written() {
        for id in ["1", "-1", "1.5", "1e3", "null", "\"x\"", "\"\\u00e9\"", "18446744073709551616"] {
            let call = single(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#)).unwrap();
            assert_eq!(call.id.unwrap().get(), id);
        }
        assert!(single(r#"{"jsonrpc":"2.0","method":"m"}"#).unwrap().id.is_none());
        for id in ["true", "{}", "[]"] {
            let error = single(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#));
            assert_eq!(error.unwrap_err(), EnvelopeError::InvalidId);
        }
    }

    #[test]
    fn params_must_be_an_object() {
        let params =
            |text: &str| single(&format!(r#"{{"jsonrpc":"2.0","method":"m","params":{text},"id":7}}"#));
        assert_eq!(params(r#"{"a": 1}"#).unwrap().params.unwrap().get(), r#"{"a": 1}"#);
        assert!(params("null").unwrap().params.is_none());
        for scalar in ["1", "\"x\"", "true"] {
            assert_eq!(params(scalar).unwrap_err(), EnvelopeError::ScalarParams);
        }
        let positional = params("[1]").unwrap_err();
        assert!(matches!(positional, EnvelopeError::PositionalParams(_)));
        assert_eq!(positional.id().unwrap().get(), "7");
    }

    #[test]
    fn invalid_bodies_and_calls_have_their_error() {
        for text in [
            "1",
            "\"x\"",
            "{}",
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":1}"#,
        ] {
            assert!(matches!(single(text), Err(EnvelopeError::NotACall(_))), "{text}");
        }
        assert!(matches!(RequestBody::parse(b"{\"a\":"), Err(EnvelopeError::NotJson(_))));
        assert!(matches!(RequestBody::parse(b""), Err(EnvelopeError::NotJson(_))));
        assert!(matches!(RequestBody::parse(b"\"\xff\""), Err(EnvelopeError::NotJson(_))));
        assert!(matches!(RequestBody::parse(b" [ ] "), Err(EnvelopeError::EmptyBatch)));
        let many = format!("[{}1]", "1,".repeat(100));
        assert!(matches!(RequestBody::parse(many.as_bytes()), Err(EnvelopeError::LargeBatch(101))));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..80), text in r#"[\[\]{}",:a-z0-9.\-]{0,60}"#) {
            let _ = RequestBody::parse(&body);
            let _ = RequestBody::parse(text.as_bytes());
        }
    }
}
