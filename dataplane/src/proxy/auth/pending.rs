//! A request whose client is to be authenticated, and the outcome.

use http::{Request, Response};
use webgateway_proto::feed::FeedRoute;

use crate::context::ConnectionContext;
use crate::http::body::ResponseBody;
use crate::http::exchange::Exchange;
use crate::http::headers::{FieldChange, Forwarded};
use crate::http::incoming::RequestStream;

/// A request whose client is to be authenticated.
pub(crate) struct PendingRequest<'a> {
    /// The connection of the request.
    pub connection: &'a ConnectionContext,
    /// The route.
    pub route: &'a FeedRoute,
    /// The request, its body unread.
    pub request: &'a Request<RequestStream>,
    /// The header fields that describe the client.
    pub forwarded: &'a Forwarded<'a>,
    /// The exchange of the request.
    pub exchange: &'a Exchange,
}

/// The outcome of an authentication.
pub(crate) enum Authentication {
    /// The request may be forwarded, with these changes of its fields.
    Accepted(Vec<FieldChange>),
    /// The client gets this response of the authentication service.
    Answered(Box<Response<ResponseBody>>),
}
