//! The messages of a node's stream, its idle timeout, and the reasons for its end.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};
use webgateway_proto::feed::{FromNode, wire};

use crate::feed::members::AdmissionError;
use crate::feed::nodes::InvalidHelloError;
use crate::feed::session::ProtocolError;

/// A node's stream ended.
#[derive(Debug, Error)]
pub(super) enum StreamEndError {
    #[error("the node closed the stream")]
    Closed,
    #[error("the connection failed: {}", .0.message())]
    Transport(#[from] Status),
    #[error("the first message must be Hello")]
    NoHello,
    #[error("Hello was sent twice")]
    RepeatedHello,
    #[error(transparent)]
    Invalid(#[from] InvalidHelloError),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("the node sent no message for too long")]
    IdleTimeout,
    #[error("a newer stream of the same name has connected")]
    Replaced,
    #[error("the controlplane is stopping")]
    Stopping,
}

/// The messages of a node, with an idle timeout.
pub(super) struct NodeStream {
    inbound: Streaming<wire::NodeMessage>,
    last_message_at: Instant,
    idle_timeout: Duration,
}

impl NodeStream {
    /// Creates a stream that ends with an error after `idle_timeout` without a message.
    pub(super) fn new(inbound: Streaming<wire::NodeMessage>, idle_timeout: Duration) -> Self {
        Self { inbound, last_message_at: Instant::now(), idle_timeout }
    }

    /// Waits for the next message. Cancellation-safe.
    pub(super) async fn next(&mut self) -> Result<FromNode, StreamEndError> {
        let message = tokio::select! {
            message = self.inbound.message() => message?.ok_or(StreamEndError::Closed)?,
            () = sleep_until(self.last_message_at + self.idle_timeout) => return Err(StreamEndError::IdleTimeout),
        };
        self.last_message_at = Instant::now();
        Ok(FromNode::from(message))
    }
}

impl StreamEndError {
    /// Returns the status to send to the node; `None` if the stream is closed already.
    pub(super) fn status(&self) -> Option<Status> {
        match self {
            Self::Closed | Self::Transport(_) => None,
            Self::NoHello | Self::RepeatedHello | Self::Invalid(_) | Self::Protocol(_) => {
                Some(Status::invalid_argument(self.to_string()))
            }
            Self::Admission(refused) => Some(refused.into()),
            Self::IdleTimeout => Some(Status::deadline_exceeded(self.to_string())),
            Self::Replaced => Some(Status::aborted(self.to_string())),
            Self::Stopping => Some(Status::unavailable(self.to_string())),
        }
    }

    /// Returns true if the node violated the protocol.
    pub(super) fn is_protocol_error(&self) -> bool {
        match self {
            Self::NoHello | Self::RepeatedHello | Self::Invalid(_) | Self::Protocol(_) => true,
            Self::Closed
            | Self::Transport(_)
            | Self::Admission(_)
            | Self::IdleTimeout
            | Self::Replaced
            | Self::Stopping => false,
        }
    }
}
