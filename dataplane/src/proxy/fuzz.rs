//! The properties that a fuzzer tries to break: whatever a client or a backend sends, the other side gets messages that
//! can be read in one way only, and reads in them what was sent.

mod gateway;
mod reference;
mod requests;
mod responses;
mod trailers;

pub(crate) use self::requests::requests;
pub(crate) use self::responses::responses;
pub(crate) use self::trailers::trailers;
