//! Conversions between wire and domain types for API requests and DNS queries that a node forwards.

use std::net::IpAddr;

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use super::convert::InvalidMessageError;
use super::resource::{ApiCall, ApiReply, Question};
use super::wire;

impl TryFrom<wire::CallRequest> for ApiCall {
    type Error = InvalidMessageError;

    fn try_from(call: wire::CallRequest) -> Result<Self, InvalidMessageError> {
        let bad = InvalidMessageError::Call;
        let mut parts = http::uri::Parts::default();
        parts.scheme = Some(Scheme::HTTPS);
        parts.authority = Some(call.authority.parse::<Authority>().map_err(|_| bad("authority"))?);
        parts.path_and_query = Some(call.path_and_query.parse::<PathAndQuery>().map_err(|_| bad("path"))?);
        let mut request = http::Request::new(call.body);
        *request.method_mut() = Method::from_bytes(call.method.as_bytes()).map_err(|_| bad("method"))?;
        *request.uri_mut() = Uri::from_parts(parts).map_err(|_| bad("target"))?;
        *request.headers_mut() = read_headers(call.headers)?;
        let client: IpAddr = call.client.parse().map_err(|_| bad("client address"))?;
        Ok(Self { request, client })
    }
}

impl From<ApiCall> for wire::CallRequest {
    fn from(call: ApiCall) -> Self {
        let (head, body) = call.request.into_parts();
        Self {
            method: head.method.to_string(),
            authority: head.uri.authority().map(ToString::to_string).unwrap_or_default(),
            path_and_query: head.uri.path_and_query().map_or_else(|| "/".to_owned(), ToString::to_string),
            headers: write_headers(&head.headers),
            body,
            client: call.client.to_string(),
        }
    }
}

impl TryFrom<wire::CallResponse> for ApiReply {
    type Error = InvalidMessageError;

    fn try_from(reply: wire::CallResponse) -> Result<Self, InvalidMessageError> {
        let status = u16::try_from(reply.status).ok().and_then(|code| StatusCode::from_u16(code).ok());
        let mut response = http::Response::new(reply.body);
        *response.status_mut() = status.ok_or(InvalidMessageError::Call("status"))?;
        *response.headers_mut() = read_headers(reply.headers)?;
        Ok(response)
    }
}

impl From<ApiReply> for wire::CallResponse {
    fn from(reply: ApiReply) -> Self {
        let (head, body) = reply.into_parts();
        Self { status: u32::from(head.status.as_u16()), headers: write_headers(&head.headers), body }
    }
}

impl TryFrom<wire::ResolveRequest> for Question {
    type Error = InvalidMessageError;

    fn try_from(request: wire::ResolveRequest) -> Result<Self, InvalidMessageError> {
        let client = request.client.parse().map_err(|_| InvalidMessageError::Call("client address"))?;
        Ok(Self { message: request.message, client, tcp: request.tcp })
    }
}

impl From<Question> for wire::ResolveRequest {
    fn from(question: Question) -> Self {
        Self { message: question.message, client: question.client.to_string(), tcp: question.tcp }
    }
}

fn read_headers(headers: Vec<wire::Header>) -> Result<HeaderMap, InvalidMessageError> {
    let mut map = HeaderMap::with_capacity(headers.len());
    for header in headers {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let value = HeaderValue::from_maybe_shared(header.value);
        match (name, value) {
            (Ok(name), Ok(value)) => map.append(name, value),
            (Err(_), _) | (_, Err(_)) => return Err(InvalidMessageError::Call("header")),
        };
    }
    Ok(map)
}

fn write_headers(headers: &HeaderMap) -> Vec<wire::Header> {
    let one = |(name, value): (&HeaderName, &HeaderValue)| wire::Header {
        name: name.as_str().to_owned(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    headers.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_call_survives_the_round_trip() {
        let request = http::Request::post("https://gw.example:8443/rpc?x=1")
            .header("x-a", "1")
            .header("x-a", "2")
            .body(Bytes::from_static(b"{}"))
            .unwrap();
        let call = ApiCall { request, client: "400::9".parse().unwrap() };
        let back = ApiCall::try_from(wire::CallRequest::from(call)).unwrap();
        assert_eq!(back.request.uri(), "https://gw.example:8443/rpc?x=1");
        assert_eq!(back.request.headers().get_all("x-a").iter().count(), 2);
        assert_eq!(back.request.body().as_ref(), b"{}");
        let bad = wire::CallRequest { method: "G ET".into(), authority: "a".into(), ..Default::default() };
        assert!(ApiCall::try_from(bad).is_err());
    }

    #[test]
    fn a_dns_question_survives_the_round_trip() {
        let message = Bytes::from_static(b"\x12\x34");
        let question = Question { message, client: "192.0.2.1".parse().unwrap(), tcp: true };
        let written = wire::ResolveRequest::from(question.clone());
        assert_eq!(Question::try_from(written.clone()), Ok(question));
        let invalid = wire::ResolveRequest { client: "x".into(), ..written };
        assert!(Question::try_from(invalid).is_err());
    }
}
