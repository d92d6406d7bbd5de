//! What travels on the feed, as domain types; the generated ones stay behind `convert` and the two service doors.

mod call;
mod convert;
#[cfg(any(test, fuzzing))]
pub(crate) use convert::fuzz;
mod report;
mod resource;

pub use convert::{FromNode, InvalidMessageError, ToNode, stored};
pub use report::{BackendHealth, Explanation, ServedCertificate};
pub use resource::{
    ApiCall, ApiReply, Challenge, ChallengeResponse, FeedRoute, FeedVersion, Question, Resource,
    ResourceName, Settings, TicketKey, TicketKeys,
};

/// The DNS name in the certificate that the controlplane shows to its nodes, wherever it is.
pub const CONTROLPLANE_NAME: &str = "controlplane.webgateway.internal";

/// The largest body of an API request, in bytes: nodes hand none on that is larger, and the API takes none.
pub const MAX_BODY: usize = 1024 * 1024;

/// The generated gRPC types: clients, servers and wire messages. Only the feed's client and server name them.
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
