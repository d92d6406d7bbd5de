//! Parsing of HTTP responses into JSON-RPC results and errors.

use bytes::Bytes;
use http::Response;
use serde_json::{Map, Value};
use webgateway_proto::api::jsonrpc::{ErrorObject, code};

use super::error::CallError;
use super::unexpected_response::UnexpectedResponseError;

/// Returns the result of a JSON-RPC response, or the error that it contains.
pub(super) fn parse(response: &Response<Bytes>) -> Result<Value, CallError> {
    let unexpected = || CallError::UnexpectedResponse(UnexpectedResponseError::from_response(response));
    let body: Value = serde_json::from_slice(response.body()).map_err(|_| unexpected())?;
    let Value::Object(mut members) = body else { return Err(unexpected()) };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err(unexpected());
    }
    if let Some(Value::Object(error)) = members.remove("error") {
        return Err(CallError::Rpc(Box::new(error_object(error))));
    }
    match members.remove("result") {
        Some(result) if response.status().is_success() => Ok(result),
        Some(_) | None => Err(unexpected()),
    }
}

/// Converts any error object, even one whose `data` is not in the API's format.
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

    fn parse_body(status: u16, content_type: &str, body: &'static str) -> Result<Value, CallError> {
        let response = Response::builder().status(status).header(CONTENT_TYPE, content_type);
        parse(&response.body(Bytes::from_static(body.as_bytes())).unwrap())
    }

    #[test]
    fn a_result_may_be_null() {
        assert_eq!(
            parse_body(200, "application/json", r#"{"jsonrpc":"2.0","result":null,"id":1}"#).unwrap(),
            Value::Null
        );
    }

    #[test]
    fn an_error_is_parsed_at_any_status_and_with_any_data() {
        for (status, body, data) in [
            (
                401,
                r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"no","data":{"kind":"k"}},"id":null}"#,
                true,
            ),
            (200, r#"{"jsonrpc":"2.0","error":{"code":-32001,"message":"no","data":"x"},"id":1}"#, false),
        ] {
            match parse_body(status, "application/json", body) {
                Err(CallError::Rpc(error)) => {
                    assert_eq!((error.code, error.data.is_some()), (-32001, data));
                    assert_eq!(error.message, "no");
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_response_that_is_not_json_rpc_is_described_by_its_status() {
        for (status, content_type, body, text) in [
            (503, "text/html", "<html>", "the response is HTTP 503 Service Unavailable, not JSON-RPC"),
            (
                413,
                "text/plain; charset=utf-8",
                "too large\nx",
                "the response is HTTP 413 Payload Too Large, not JSON-RPC: too large",
            ),
            (200, "application/json", "{}", "the response is HTTP 200 OK, not JSON-RPC"),
            (200, "application/json", "[]", "the response is HTTP 200 OK, not JSON-RPC"),
            (200, "application/json", r#"{"jsonrpc":"2.0"}"#, "the response is HTTP 200 OK, not JSON-RPC"),
        ] {
            match parse_body(status, content_type, body) {
                Err(CallError::UnexpectedResponse(error)) => assert_eq!(error.to_string(), text),
                other => panic!("{other:?}"),
            }
        }
    }
}
