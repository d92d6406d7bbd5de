//! The feed messages in a node's cache file, in their wire form, each prefixed with its length.

use prost::Message;
use thiserror::Error;

use super::{InvalidMessageError, ToNode, resources};
use crate::feed::resource::{FeedVersion, Resource, ResourceName};
use crate::feed::wire;
use crate::feed::wire::feed_message::Message as Kind;
use crate::model::Prefixes;

/// The bytes are not a message of the feed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a message of the feed")]
pub struct StoredMessageError;

/// Appends a resource.
pub fn put(resource: &Resource, into: &mut Vec<u8>) {
    write(Kind::Put(wire::Put { resource: Some(resources::write(resource)) }), into);
}

/// Appends the name of a rejected resource, which [`read`] returns as [`ToNode::Unusable`].
pub fn unusable(name: &str, into: &mut Vec<u8>) {
    let resource = wire::Resource { name: name.to_owned(), kind: None };
    write(Kind::Put(wire::Put { resource: Some(resource) }), into);
}

/// Appends the removal of a resource.
pub fn remove(name: &ResourceName, at_once: bool, into: &mut Vec<u8>) {
    write(Kind::Remove(wire::Remove { name: name.to_string(), at_once }), into);
}

/// Appends the version that the preceding messages lead to.
pub fn end(held: &FeedVersion, into: &mut Vec<u8>) {
    write(Kind::End(wire::End { epoch: held.epoch.clone(), version: held.version }), into);
}

/// Reads the first message and advances `from` past it. Routes with a backend outside `allowed` are unusable.
pub fn read(from: &mut &[u8], allowed: &Prefixes) -> Result<ToNode, StoredMessageError> {
    let message = wire::FeedMessage::decode_length_delimited(&mut *from).map_err(|_| StoredMessageError)?;
    match message.message {
        Some(Kind::Put(wire::Put { resource: Some(wire::Resource { name, kind: None }) })) => {
            Ok(ToNode::Unusable(name, InvalidMessageError::Stored))
        }
        kind => Ok(ToNode::read(wire::FeedMessage { message: kind }, allowed)),
    }
}

fn write(kind: Kind, into: &mut Vec<u8>) {
    let message = wire::FeedMessage { message: Some(kind) };
    into.extend_from_slice(&message.encode_length_delimited_to_vec());
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;
    use crate::feed::{TicketKey, TicketKeys};

    #[test]
    fn stored_messages_are_read_back_in_order() {
        let keys = Resource::TicketKeys(TicketKeys(vec![TicketKey {
            name: [1; 16],
            secret: Zeroizing::new([2; 32]),
        }]));
        let held = FeedVersion { epoch: "e".into(), version: 7 };
        let mut bytes = Vec::new();
        put(&keys, &mut bytes);
        unusable("certificate/a.example", &mut bytes);
        remove(&ResourceName::TicketKeys, true, &mut bytes);
        end(&held, &mut bytes);
        let (mut rest, mut messages) = (bytes.as_slice(), Vec::new());
        while !rest.is_empty() {
            messages.push(read(&mut rest, &Prefixes::default()).unwrap());
        }
        assert_eq!(
            messages,
            [
                ToNode::Put(Box::new(keys)),
                ToNode::Unusable("certificate/a.example".into(), InvalidMessageError::Stored),
                ToNode::Remove { name: ResourceName::TicketKeys, at_once: true },
                ToNode::End(held),
            ]
        );
        let cut = bytes.len() - 1;
        let mut rest = bytes.get(..cut).unwrap();
        let ends = std::iter::from_fn(|| Some(read(&mut rest, &Prefixes::default()))).nth(3).unwrap();
        assert_eq!(ends, Err(StoredMessageError));
    }
}
