//! JSON-RPC 2.0 envelopes as the server reads and writes them. Ids stay as the client wrote them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;
use webgateway_proto::api::jsonrpc::ErrorObject;

/// The most calls a batch may have.
pub(super) const MAX_BATCH: usize = 100;
/// The most calls that a batch may have that nobody signed.
pub(super) const MAX_UNSIGNED: usize = 10;

/// A request body.
#[derive(Debug)]
pub(super) enum Body {
    /// One call.
    Single(Entry),
    /// Some calls, at least one.
    Batch(Vec<Entry>),
}

/// A call, or what stands in its place.
pub(super) type Entry = Result<Call, Malformed>;

/// A well-formed call.
#[derive(Debug)]
pub(super) struct Call {
    /// The method's name; nothing says yet that there is one.
    pub(super) method: String,
    /// An object; `None` if left out.
    pub(super) params: Option<Box<RawValue>>,
    /// A string, a number or null; `None` on a notification, which gets no answer.
    pub(super) id: Option<Box<RawValue>>,
}

/// Why a body, or a part of it, is no call.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum Malformed {
    /// Not JSON.
    #[error("the body is not JSON: {0}")]
    NotJson(String),
    /// `[]`
    #[error("the batch is empty")]
    EmptyBatch,
    /// Over [`MAX_BATCH`].
    #[error("the batch has {0} calls, at most {MAX_BATCH} are allowed")]
    LargeBatch(usize),
    /// JSON, but no call.
    #[error("not a JSON-RPC 2.0 call: {0}")]
    NotACall(String),
    /// An id that is none.
    #[error("not a JSON-RPC 2.0 call: `id` is a string, a number or null")]
    Id,
    /// Params that are neither an object nor an array.
    #[error("not a JSON-RPC 2.0 call: `params` is an object")]
    ScalarParams,
    /// Params by position.
    #[error("params are taken by name: send an object instead of an array")]
    Positional(RawId),
}

/// An id, for an answer to a call that is understood so far.
#[derive(Debug, Clone)]
pub(super) struct RawId(Option<Box<RawValue>>);

impl PartialEq for RawId {
    fn eq(&self, other: &Self) -> bool {
        let text = |id: &Self| id.0.as_ref().map(|raw| raw.get().to_owned());
        text(self) == text(other)
    }
}

impl Eq for RawId {}

/// The wire's form of a call.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    jsonrpc: Cow<'a, str>,
    #[serde(borrow)]
    method: Cow<'a, str>,
    #[serde(default, borrow, deserialize_with = "present")]
    params: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "present")]
    id: Option<&'a RawValue>,
}

/// Keeps `null` apart from nothing.
fn present<'de: 'a, 'a, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

impl Body {
    /// Reads a body. Fails as a whole only where there are no calls to answer.
    pub(super) fn read(body: &[u8]) -> Result<Self, Malformed> {
        let whole: &RawValue = serde_json::from_slice(body).map_err(|e| Malformed::NotJson(e.to_string()))?;
        if !whole.get().starts_with('[') {
            return Ok(Self::Single(entry(whole)));
        }
        let entries: Vec<&RawValue> =
            serde_json::from_str(whole.get()).map_err(|e| Malformed::NotJson(e.to_string()))?;
        match entries.len() {
            0 => Err(Malformed::EmptyBatch),
            n if n > MAX_BATCH => Err(Malformed::LargeBatch(n)),
            _ => Ok(Self::Batch(entries.into_iter().map(entry).collect())),
        }
    }

    /// The calls in it.
    pub(super) fn calls(&self) -> impl Iterator<Item = &Call> {
        let entries = match self {
            Self::Single(entry) => std::slice::from_ref(entry),
            Self::Batch(entries) => entries,
        };
        entries.iter().filter_map(|entry| entry.as_ref().ok())
    }
}

fn entry(raw: &RawValue) -> Entry {
    if !raw.get().starts_with('{') {
        return Err(Malformed::NotACall("it is an object".to_owned()));
    }
    let wire: Wire<'_> =
        serde_json::from_str(raw.get()).map_err(|error| Malformed::NotACall(error.to_string()))?;
    if wire.jsonrpc != "2.0" {
        return Err(Malformed::NotACall("`jsonrpc` is \"2.0\"".to_owned()));
    }
    if wire.id.is_some_and(|id| !is_id(id.get())) {
        return Err(Malformed::Id);
    }
    let id = wire.id.map(ToOwned::to_owned);
    let params = match wire.params.map(RawValue::get) {
        None | Some("null") => None,
        Some(text) if text.starts_with('{') => wire.params.map(ToOwned::to_owned),
        Some(text) if text.starts_with('[') => return Err(Malformed::Positional(RawId(id))),
        Some(_) => return Err(Malformed::ScalarParams),
    };
    Ok(Call { method: wire.method.into_owned(), params, id })
}

fn is_id(raw: &str) -> bool {
    raw == "null" || raw.starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

impl Malformed {
    /// Params by position, in a call that nobody in particular made.
    pub(super) fn by_position() -> Self {
        Self::Positional(RawId(None))
    }

    /// The id to answer to: `None` if the call was a notification.
    pub(super) fn id(&self) -> Option<Box<RawValue>> {
        match self {
            Self::Positional(RawId(id)) => id.clone(),
            Self::NotJson(_)
            | Self::EmptyBatch
            | Self::LargeBatch(_)
            | Self::NotACall(_)
            | Self::Id
            | Self::ScalarParams => Some(RawValue::NULL.to_owned()),
        }
    }
}

/// An answer, ready to be written.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorObject>,
    id: Box<RawValue>,
}

impl Answer {
    /// The outcome of the call `id`.
    pub(super) fn new(outcome: Result<Box<RawValue>, ErrorObject>, id: Box<RawValue>) -> Self {
        let (result, error) = match outcome {
            Ok(result) => (Some(result), None),
            Err(error) => (None, Some(error)),
        };
        Self { jsonrpc: "2.0", result, error, id }
    }

    /// An error that is about no call in particular.
    pub(super) fn error(error: ErrorObject) -> Self {
        Self::new(Err(error), RawValue::NULL.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn single(text: &str) -> Entry {
        match Body::read(text.as_bytes()).unwrap() {
            Body::Single(entry) => entry,
            Body::Batch(_) => panic!("a batch"),
        }
    }

    #[test]
    fn ids_stay_as_they_are_written() {
        for id in ["1", "-1", "1.5", "1e3", "null", "\"x\"", "\"\\u00e9\"", "18446744073709551616"] {
            let call = single(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#)).unwrap();
            assert_eq!(call.id.unwrap().get(), id);
        }
        assert!(single(r#"{"jsonrpc":"2.0","method":"m"}"#).unwrap().id.is_none());
        for id in ["true", "{}", "[]"] {
            let refused = single(&format!(r#"{{"jsonrpc":"2.0","method":"m","id":{id}}}"#));
            assert_eq!(refused.unwrap_err(), Malformed::Id);
        }
    }

    #[test]
    fn params_are_by_name() {
        let params =
            |text: &str| single(&format!(r#"{{"jsonrpc":"2.0","method":"m","params":{text},"id":7}}"#));
        assert_eq!(params(r#"{"a": 1}"#).unwrap().params.unwrap().get(), r#"{"a": 1}"#);
        assert!(params("null").unwrap().params.is_none());
        for scalar in ["1", "\"x\"", "true"] {
            assert_eq!(params(scalar).unwrap_err(), Malformed::ScalarParams);
        }
        let positional = params("[1]").unwrap_err();
        assert!(matches!(positional, Malformed::Positional(_)));
        assert_eq!(positional.id().unwrap().get(), "7");
    }

    #[test]
    fn what_is_no_call_is_said() {
        for text in [
            "1",
            "\"x\"",
            "{}",
            r#"{"jsonrpc":"2.0"}"#,
            r#"{"jsonrpc":"1.0","method":"m"}"#,
            r#"{"jsonrpc":"2.0","method":1}"#,
        ] {
            assert!(matches!(single(text), Err(Malformed::NotACall(_))), "{text}");
        }
        assert!(matches!(Body::read(b"{\"a\":"), Err(Malformed::NotJson(_))));
        assert!(matches!(Body::read(b""), Err(Malformed::NotJson(_))));
        assert!(matches!(Body::read(b"\"\xff\""), Err(Malformed::NotJson(_))));
        assert!(matches!(Body::read(b" [ ] "), Err(Malformed::EmptyBatch)));
        let many = format!("[{}1]", "1,".repeat(100));
        assert!(matches!(Body::read(many.as_bytes()), Err(Malformed::LargeBatch(101))));
    }

    proptest! {
        #[test]
        fn reading_never_panics(body in proptest::collection::vec(any::<u8>(), 0..80), text in r#"[\[\]{}",:a-z0-9.\-]{0,60}"#) {
            let _ = Body::read(&body);
            let _ = Body::read(text.as_bytes());
        }
    }
}
