//! Requests for the base domain: they go to the controlplane, whole.

use std::net::IpAddr;

use http::{Request, Response, Uri};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use webgateway_proto::api::MAX_BODY;

use super::body::ResponseBody;
use super::error::Fault;
use super::exchange::Exchange;
use super::headers::BadRequest;
use crate::config::API_BODY_TIMEOUT;
use crate::feed::client::ApiDoor;

/// Asks the controlplane on behalf of a visitor who asked for `authority`.
pub async fn call(
    door: &ApiDoor,
    request: Request<Incoming>,
    authority: &str,
    client: IpAddr,
    exchange: &Exchange,
) -> Result<Response<ResponseBody>, Fault> {
    let (mut head, body) = request.into_parts();
    head.uri = absolute(&head.uri, authority).ok_or(BadRequest::Host)?;
    let collected = timeout(API_BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await;
    let body = match collected.map_err(|_| Fault::TooSlow)? {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Fault::TooLarge),
        Err(_) => return Err(Fault::TooSlow),
    };
    exchange.request_done();
    let reply = door.call(Request::from_parts(head, body), client).await.map_err(Fault::Api)?;
    Ok(reply.map(ResponseBody::fixed))
}

fn absolute(uri: &Uri, authority: &str) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme("https").authority(authority).path_and_query(path).build().ok()
}
