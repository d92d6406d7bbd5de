//! JSON-RPC 2.0 envelopes and error codes, those of the specification and the gateway's own.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// A request, as a client serializes it.
#[derive(Debug, Clone, Serialize)]
pub struct Request<'a, P> {
    /// Always `"2.0"`.
    pub jsonrpc: &'static str,
    /// The name of the method.
    pub method: &'a str,
    /// The params, by name.
    pub params: P,
    /// The id that the response repeats.
    pub id: u64,
}

/// A response, as a client deserializes it.
#[derive(Debug, Clone, Deserialize)]
pub struct Response {
    /// The result of a successful call.
    #[serde(default)]
    pub result: Option<Box<RawValue>>,
    /// The error of a failed call.
    #[serde(default)]
    pub error: Option<ErrorObject>,
}

/// A JSON-RPC error object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorObject {
    /// The error code, one of [`code`].
    pub code: i64,
    /// The error message, for people.
    pub message: Cow<'static, str>,
    /// The error in detail, for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<ErrorData>,
}

/// The `data` of an error object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ErrorData {
    /// A stable word for the kind of error, such as `host_taken`.
    pub kind: Cow<'static, str>,
    /// The name of the invalid param, header or signature field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<Cow<'static, str>>,
    /// The next step for the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Cow<'static, str>>,
    /// The time until a retry can succeed, in seconds; with `rate_limited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
    /// Other fields, which a newer controlplane may send.
    #[serde(flatten, default)]
    pub more: serde_json::Map<String, Value>,
}

/// The JSON-RPC error codes.
pub mod code {
    /// The body is not valid JSON.
    pub const PARSE_ERROR: i64 = -32700;
    /// The JSON is not a valid request object.
    pub const INVALID_REQUEST: i64 = -32600;
    /// The method does not exist.
    pub const METHOD_NOT_FOUND: i64 = -32601;
    /// The params are invalid.
    pub const INVALID_PARAMS: i64 = -32602;
    /// The gateway failed to process the call.
    pub const INTERNAL_ERROR: i64 = -32603;
    /// The request has no valid signature.
    pub const UNAUTHENTICATED: i64 = -32001;
    /// The caller has no permission.
    pub const FORBIDDEN: i64 = -32003;
    /// The object does not exist.
    pub const NOT_FOUND: i64 = -32004;
    /// The call conflicts with the current state.
    pub const CONFLICT: i64 = -32009;
    /// The request is too large.
    pub const TOO_LARGE: i64 = -32013;
    /// The call cannot be processed now; a later retry can succeed.
    pub const UNAVAILABLE: i64 = -32050;
}
