//! The handlers of what comes through a node: API calls, and DNS questions.

use std::net::SocketAddr;
use std::sync::Arc;

use webgateway_dns::{Responder, Transport};
use webgateway_proto::feed::{ApiCall, Question};

use crate::api::{Api, RequestSource};
use crate::dns::responder::ZoneResponder;
use crate::feed::server::{CallHandler, QuestionHandler};

/// Returns the API's handler of calls that come through a node.
pub(crate) fn calls(api: Api) -> CallHandler {
    Arc::new(move |call: ApiCall| {
        let api = api.clone();
        Box::pin(async move { api.handle(call.request, RequestSource::Node, call.client).await })
    })
}

/// Returns the name server's handler of questions that come through a node.
pub(crate) fn questions(answers: ZoneResponder) -> QuestionHandler {
    Arc::new(move |question: Question| {
        let answers = answers.clone();
        let transport = if question.tcp { Transport::Tcp } else { Transport::Udp };
        let from = SocketAddr::new(question.client, 0);
        Box::pin(async move { answers.respond(&question.message, from, transport).await })
    })
}
