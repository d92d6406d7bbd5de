//! JSON-RPC 2.0 envelopes and the error codes, the specification's and ours.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A request as a client writes it.
#[derive(Debug, Clone, Serialize)]
pub struct Request<'a, P> {
    /// Always `"2.0"`.
    pub jsonrpc: &'static str,
    /// The method's name.
    pub method: &'a str,
    /// Its params, by name.
    pub params: P,
    /// Names the answer.
    pub id: u64,
}

/// A response as a client reads it.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    /// Present on success.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// Present on failure.
    #[serde(default)]
    pub error: Option<ErrorObject>,
}

/// An error as it goes on the wire.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// One of [`code`].
    pub code: i64,
    /// What was wrong, for a person.
    pub message: Cow<'static, str>,
    /// What was wrong, for a program and in more detail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ErrorData>,
}

/// The `data` of our errors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorData {
    /// A stable word for the kind of error, such as `host_taken`.
    pub kind: Cow<'static, str>,
    /// The param that is at fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Cow<'static, str>>,
    /// When to try again, in seconds from now; with `rate_limited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Anything else a newer controlplane says.
    #[serde(flatten, default)]
    pub more: serde_json::Map<String, Value>,
}

/// The error codes.
pub mod code {
    /// The body is no JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The JSON is no request.
    pub const INVALID_REQUEST: i64 = -32600;
    /// There is no such method.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The params do not fit the method.
    pub const INVALID_PARAMS: i64 = -32602;
    /// Our fault.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The request is not signed, or not well.
    pub const UNAUTHENTICATED: i64 = -32001;
    /// The caller may not do that.
    pub const FORBIDDEN: i64 = -32003;
    /// There is no such thing.
    pub const NOT_FOUND: i64 = -32004;
    /// It clashes with what is there.
    pub const CONFLICT: i64 = -32009;
    /// Too much.
    pub const TOO_LARGE: i64 = -32013;
    /// Not now.
    pub const UNAVAILABLE: i64 = -32050;
}
