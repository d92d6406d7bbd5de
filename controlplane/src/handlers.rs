//! The handlers of API calls and DNS messages that nodes forward.

use std::net::SocketAddr;
use std::sync::Arc;

use webgateway_dns::{Responder, Transport};
use webgateway_proto::feed::{ApiCall, Question};

use crate::api::{Api, RequestSource};
use crate::dns::responder::ZoneResponder;
use crate::feed::server::{CallHandler, DnsHandler};

/// Returns a handler that passes API calls from nodes to the API.
pub(crate) fn api_calls(api: Api) -> CallHandler {
    Arc::new(move |call: ApiCall| {
        let api = api.clone();
        Box::pin(async move { api.handle(call.request, RequestSource::Node, call.client).await })
    })
}

/// Returns a handler that passes DNS messages from nodes to the name server.
pub(crate) fn dns_messages(responder: ZoneResponder) -> DnsHandler {
    Arc::new(move |question: Question| {
        let responder = responder.clone();
        let transport = if question.tcp { Transport::Tcp } else { Transport::Udp };
        let from = SocketAddr::new(question.client, 0);
        Box::pin(async move { responder.respond(&question.message, from, transport).await })
    })
}
