//! Requests for the base domain: they go to the controlplane, whole.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::OwnedSemaphorePermit;
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
    let collected = timeout(API_BODY_TIMEOUT, collect(door, body)).await;
    let (body, _room) = collected.map_err(|_| Fault::TooSlow)??;
    exchange.request_done();
    let reply = door.call(Request::from_parts(head, body), client).await.map_err(Fault::Api)?;
    let room = door.admit(reply.body().len()).map_err(Fault::Api)?;
    Ok(reply.map(|body| ResponseBody::api(body, room)))
}

/// A whole body, and the room it takes.
async fn collect(door: &ApiDoor, mut body: Incoming) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Fault> {
    // What is announced as too large is not waited for.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(Fault::TooLarge);
    }
    let (mut collected, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| BadRequest::Body)?.into_data() else { continue };
        if collected.len() + data.len() > MAX_BODY {
            return Err(Fault::TooLarge);
        }
        let more = door.admit(data.len()).map_err(Fault::Api)?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        collected.extend_from_slice(&data);
    }
    Ok((collected.freeze(), room))
}

fn absolute(uri: &Uri, authority: &str) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme("https").authority(authority).path_and_query(path).build().ok()
}
