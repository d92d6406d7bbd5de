//! Fuzz target of the feed: a message that can be read is unchanged after it is written and read again, and an invalid
//! resource is reported with its name.

use prost::Message as _;

use super::{FromNode, ToNode, stored};
use crate::feed::{ApiCall, ApiReply, Question, wire};
use crate::model::Prefixes;

/// Reads a message whose kind the first byte selects.
pub(crate) fn feed(input: &[u8]) {
    let Some((kind, bytes)) = input.split_first() else { return };
    match kind % 5 {
        0 => to_node(bytes),
        1 => from_node(bytes),
        2 => call(bytes),
        3 => reply(bytes),
        _ => stored_messages(bytes),
    }
}

fn to_node(bytes: &[u8]) {
    let Ok(message) = wire::FeedMessage::decode(bytes) else { return };
    let name = match &message.message {
        Some(wire::feed_message::Message::Put(put)) => put.resource.as_ref().map(|put| put.name.clone()),
        _ => None,
    };
    let allowed = Prefixes::default();
    match ToNode::read(message, &allowed) {
        ToNode::Unknown => {}
        ToNode::Unusable(unusable, why) => {
            assert_eq!(Some(unusable), name);
            assert!(!why.to_string().is_empty());
        }
        read => {
            if let ToNode::Put(resource) = &read {
                assert_eq!(Some(resource.name().to_string()), name);
            }
            let written = read.write().encode_to_vec();
            let again = wire::FeedMessage::decode(&*written).map(|again| ToNode::read(again, &allowed));
            assert_eq!(again, Ok(read));
        }
    }
}

fn from_node(bytes: &[u8]) {
    let Ok(message) = wire::NodeMessage::decode(bytes) else { return };
    let read = FromNode::from(message);
    let written = wire::NodeMessage::from(read.clone()).encode_to_vec();
    assert_eq!(wire::NodeMessage::decode(&*written).map(FromNode::from), Ok(read));
}

fn call(bytes: &[u8]) {
    let in_short = |call: &ApiCall| {
        let (head, body) = call.request.clone().into_parts();
        (head.method, head.uri, head.headers, body, call.client)
    };
    let Ok(message) = wire::CallRequest::decode(bytes) else { return };
    let Ok(read) = ApiCall::try_from(message) else { return };
    let again = ApiCall::try_from(wire::CallRequest::from(read.clone())).map(|again| in_short(&again));
    assert_eq!(again, Ok(in_short(&read)));
    let question = wire::ResolveRequest {
        message: read.request.into_body(),
        client: read.client.to_string(),
        tcp: true,
    };
    let question = Question::try_from(question);
    assert_eq!(
        question.clone().and_then(|read| Question::try_from(wire::ResolveRequest::from(read))),
        question
    );
}

fn reply(bytes: &[u8]) {
    let in_short = |reply: ApiReply| {
        let (head, body) = reply.into_parts();
        (head.status, head.headers, body)
    };
    let Ok(message) = wire::CallResponse::decode(bytes) else { return };
    let Ok(read) = ApiReply::try_from(message) else { return };
    let again = ApiReply::try_from(wire::CallResponse::from(read.clone())).map(in_short);
    assert_eq!(again, Ok(in_short(read)));
}

/// Reads a node's cache file. Every call of `stored::read` must consume bytes, so that the loop ends.
fn stored_messages(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let before = bytes.len();
        let Ok(message) = stored::read(&mut bytes, &Prefixes::default()) else { return };
        assert!(bytes.len() < before);
        if let ToNode::Put(resource) = &message {
            let mut written = Vec::new();
            stored::put(resource, &mut written);
            assert_eq!(stored::read(&mut &*written, &Prefixes::default()), Ok(message));
        }
    }
}
