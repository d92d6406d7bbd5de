//! Messages of the feed as bytes to be kept: each with its length before it, as the wire has them.

use prost::Message;
use thiserror::Error;

use super::{InvalidMessageError, ToNode, resources};
use crate::feed::resource::{FeedVersion, Resource, ResourceName};
use crate::feed::wire;
use crate::feed::wire::feed_message::Message as Kind;
use crate::model::Prefixes;

/// Bytes that are no message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no message of the feed")]
pub struct StoredMessageError;

/// Appends a resource to hold.
pub fn put(resource: &Resource, into: &mut Vec<u8>) {
    write(Kind::Put(wire::Put { resource: Some(resources::write(resource)) }), into);
}

/// Appends the name of a resource that could not be used: [`read`] gives it back as unusable.
pub fn unusable(name: &str, into: &mut Vec<u8>) {
    let resource = wire::Resource { name: name.to_owned(), kind: None };
    write(Kind::Put(wire::Put { resource: Some(resource) }), into);
}

/// Appends the removal of a resource.
pub fn remove(name: &ResourceName, at_once: bool, into: &mut Vec<u8>) {
    write(Kind::Remove(wire::Remove { name: name.to_string(), at_once }), into);
}

/// Appends what is held after all before.
pub fn end(held: &FeedVersion, into: &mut Vec<u8>) {
    write(Kind::End(wire::End { epoch: held.epoch.clone(), version: held.version }), into);
}

/// Takes the first message off `from`. `allowed` bounds the backends that are taken.
pub fn read(from: &mut &[u8], allowed: &Prefixes) -> Result<ToNode, StoredMessageError> {
    let message = wire::FeedMessage::decode_length_delimited(&mut *from).map_err(|_| StoredMessageError)?;
    match message.message {
        Some(Kind::Put(wire::Put { resource: Some(wire::Resource { name, kind: None }) })) => {
            Ok(ToNode::Unusable(name, InvalidMessageError::Kept))
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
    fn what_is_kept_comes_back_in_its_order() {
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
                ToNode::Unusable("certificate/a.example".into(), InvalidMessageError::Kept),
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
