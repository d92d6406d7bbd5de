//! The messages of the feed between controlplane and nodes, as domain types, and the conversions from and to the
//! generated types.

mod call;
mod convert;
#[cfg(any(test, fuzzing))]
pub(crate) use convert::fuzz;
mod report;
mod resource;
mod traffic;

pub use convert::{FromNode, InvalidMessageError, ToNode, stored};
pub use report::{BackendHealth, Explanation, ServedCertificate};
pub use resource::{
    ApiCall, ApiReply, Challenge, ChallengeResponse, FeedRoute, FeedVersion, Question, Resource,
    ResourceName, Settings, TicketKey, TicketKeys,
};
pub use traffic::{
    AccessLine, AccessLines, LINES_PER_SECOND, MAX_FOLLOWED_ROUTES, MAX_LINE_TEXT, MAX_REPORTED_ROUTES,
    RouteTraffic, TrafficReport,
};

/// The DNS name in the certificate that the controlplane presents to its nodes, independent of its address.
pub const CONTROLPLANE_NAME: &str = "controlplane.webgateway.internal";

/// The maximum size of an API request's body, in bytes. Nodes forward no larger ones, and the API accepts none.
pub const MAX_BODY: usize = 1024 * 1024;

/// The generated gRPC clients, servers and wire messages. Only the conversions of this module, and the feed's client
/// and server, use them.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]
pub mod wire {
    tonic::include_proto!("webgateway.feed.v1");
}
