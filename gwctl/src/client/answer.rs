//! Reading an HTTP answer: a result, the gateway's error, or something that is not the API's.

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use webgateway_proto::api::jsonrpc::{ErrorObject, code};

use super::error::CallError;
use super::not_rpc::NotRpcError;

/// Returns the result in an answer.
pub(super) fn read(response: &Response<Bytes>) -> Result<Value, CallError> {
    let not_rpc = || CallError::NotRpc(NotRpcError::of(response));
    let body: Value = serde_json::from_slice(response.body()).map_err(|_| not_rpc())?;
    let Value::Object(mut members) = body else { return Err(not_rpc()) };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(not_rpc());
    }
    if let Some(Value::Object(error)) = members.remove("error") {
        return Err(CallError::Refused(Box::new(error_object(error))));
    }
    match members.remove("result") {
        Some(result) if response.status().is_success() => Ok(result),
        Some(_) | None => Err(not_rpc()),
    }
}

/// Reads any error object, also one with foreign `data`.
fn error_object(mut error: Map<String, Value>) -> ErrorObject {
    if let Ok(error) = serde_json::from_value(Value::Object(error.clone())) {
        return error;
    }
    let code = error.get("code").and_then(Value::as_i64).unwrap_or(code::INTERNAL_ERROR);
    let message = match error.remove("message") {
        Some(Value::String(text)) => text.into(),
        Some(_) | None => "the gateway gives no reason".into(),
    };
    ErrorObject { code, message, data: None }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_TYPE;

    use super::*;

    fn answer(status: u16, kind: &str, body: &'static str) -> Result<Value, CallError> {
        let response = Response::builder().status(status).header(CONTENT_TYPE, kind);
        read(&response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn a_result_may_be_null() {
        assert_eq!(
            answer(200, "application/json", r#"{"jsonrpc":"2.0","result":null,"id":1}"#).unwrap(),
            Value::Null
        );
    }

    #[test]
    fn an_error_is_read_at_any_status_and_with_foreign_data() {
        for (status, body, data) in [
            (
                401,
                r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"no","data":{"kind":"k"}},"id":null}"#,
                true,
            ),
            (200, r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"no","data":"x"},"id":1}"#, false),
        ] {
            match answer(status, "application/json", body) {
                Err(CallError::Refused(error)) => {
                    assert_eq!((error.code, error.data.is_some()), (-32001, data));
                    assert_eq!(error.message, "no");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn what_is_not_json_rpc_is_told_by_its_status() {
        for (status, kind, body, text) in [
            (503, "text/html", "<html>", "the answer is HTTP 503 Service Unavailable, not JSON-RPC"),
            (
                413,
                "text/plain; charset=utf-8",
                "too large\nx",
                "the answer is HTTP 413 Payload Too Large, not JSON-RPC: too large",
            ),
            (200, "application/json", "{}", "the answer is HTTP 200 OK, not JSON-RPC"),
            (200, "application/json", "[]", "the answer is HTTP 200 OK, not JSON-RPC"),
            (200, "application/json", r#"{"jsonrpc":"2.0"}"#, "the answer is HTTP 200 OK, not JSON-RPC"),
        ] {
            match answer(status, kind, body) {
                Err(CallError::NotRpc(answer)) => assert_eq!(answer.to_string(), text),
                other => panic!("{other:?}"),
            }
        }
    }
}
