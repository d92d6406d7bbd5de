//! The fuzzed property of the PROXY protocol parser: the result does not depend on the fragmentation or on what
//! follows, and what is announced survives a round trip.

use webgateway_proto::model::options::ProxyProtocol;

use super::{Announcement, HeaderError, MAX_HEADER, Origin, decode};

/// Checks the property for the header at the start of `input`.
pub(crate) fn proxy_header(input: &[u8]) {
    let whole = decode(input);
    // Byte by byte, the first result is the same.
    let first = (0..=input.len()).map(|end| decode(&input[..end])).find(|read| *read != Ok(None));
    assert_eq!(first.unwrap_or(Ok(None)), whole);
    match whole {
        Ok(Some((announcement, size))) => {
            assert!((1..=MAX_HEADER).contains(&size) && size <= input.len());
            assert_eq!(decode(&input[..size]), whole, "without what follows");
            assert_eq!(decode(&input[..size - 1]), Ok(None), "without its last byte");
            if let Announcement::Client(endpoints) = announcement {
                let origin = Origin { endpoints, server_name: "a.example".into() };
                for protocol in [ProxyProtocol::V1, ProxyProtocol::V2] {
                    let header = origin.header(protocol);
                    assert_eq!(decode(&header), Ok(Some((announcement, header.len()))), "{protocol}");
                }
            }
        }
        Ok(None) => assert!(input.len() < MAX_HEADER),
        Err(error) => assert_ne!(error, HeaderError::Truncated, "the parser cannot know the end"),
    }
}
