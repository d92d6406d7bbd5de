//! The fuzzed properties of the proxy: whatever a client or backend sends, the other side receives unambiguous messages
//! with the same content.

mod gateway;
mod reference;
mod requests;
mod responses;
mod trailers;

pub(crate) use self::requests::requests;
pub(crate) use self::responses::responses;
pub(crate) use self::trailers::trailers;
