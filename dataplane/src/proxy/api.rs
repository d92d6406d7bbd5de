//! API requests: requests for the base domain, which are buffered and sent to the controlplane.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, Uri};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tracing::{Instrument, info_span};
use webgateway_proto::feed::MAX_BODY;

use crate::config::API_BODY_TIMEOUT;
use crate::context::ConnectionContext;
use crate::controlplane::{ControlplaneClient, ControlplaneError};
use crate::http::body::ResponseBody;
use crate::http::error::ProxyError;
use crate::http::exchange::Exchange;
use crate::http::headers::RequestError;
use crate::http::incoming::RequestStream;

/// Sends a request for `authority` to the controlplane and returns its response.
pub(crate) async fn call(
    connection: &ConnectionContext,
    request: Request<RequestStream>,
    authority: &str,
    exchange: &Exchange,
) -> Result<Response<ResponseBody>, ProxyError> {
    let (mut head, body) = request.into_parts();
    head.uri = absolute(&head.uri, authority).ok_or(RequestError::InvalidHost)?;
    let (controlplane, client) = (&connection.worker.controlplane, connection.client);
    let collected = timeout(API_BODY_TIMEOUT, collect(controlplane, client, body)).await;
    let (body, _reserved) = collected.map_err(|_| ProxyError::BodyTimeout)??;
    exchange.mark_request_read();
    let call = controlplane.call(Request::from_parts(head, body), client);
    // API calls are few enough for a span at the info level, so that each log line below names the client.
    let reply = tokio::select! {
        reply = call.instrument(info_span!("api_call", %client)) => reply?,
        () = connection.progress.client().gone() => return Err(ProxyError::ClientGone),
    };
    Ok(reply.map(|body| {
        let (body, guard) = controlplane.response_body(body, client);
        connection.worker.tasks.spawn("api answer", guard);
        ResponseBody::Api(body)
    }))
}

/// Reads a whole request body; returns it with the permit for its memory.
async fn collect(
    controlplane: &ControlplaneClient,
    client: IpAddr,
    mut body: RequestStream,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), ProxyError> {
    // A body that is announced as too large is refused before it is read.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(ProxyError::BodyTooLarge);
    }
    let (mut collected, mut received) = (BytesMut::new(), controlplane.receive(client));
    loop {
        let frame = tokio::select! {
            biased;
            () = received.evicted() => return Err(ControlplaneError::Busy.into()),
            frame = body.frame() => frame,
        };
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(|_| RequestError::InvalidBody)?.into_data() else { continue };
        if collected.len() + data.len() > MAX_BODY {
            return Err(ProxyError::BodyTooLarge);
        }
        received.grow(collected.len() + data.len());
        collected.extend_from_slice(&data);
    }
    let reserved = match collected.len() {
        0 => None,
        length => Some(controlplane.reserve(length)?),
    };
    Ok((collected.freeze(), reserved))
}

/// Returns the URI in absolute form, as a signature covers it; `None` if `authority` is invalid.
fn absolute(uri: &Uri, authority: &str) -> Option<Uri> {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    Uri::builder().scheme("https").authority(authority).path_and_query(path).build().ok()
}
