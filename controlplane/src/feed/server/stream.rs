//! A node's half of its stream: its messages, its silence, and the reasons for its end.

use std::time::Duration;

use thiserror::Error;
use tokio::time::{Instant, sleep_until};
use tonic::{Status, Streaming};
use webgateway_proto::feed::{FromNode, wire};

use crate::feed::members::AdmissionError;
use crate::feed::nodes::InvalidNodeError;
use crate::feed::session::ProtocolError;

/// The end of a node's stream.
#[derive(Debug, Error)]
pub(super) enum StreamEndError {
    #[error("it closed the stream")]
    Closed,
    #[error("the connection failed: {}", .0.message())]
    Transport(#[from] Status),
    #[error("the first message must be Hello")]
    NoHello,
    #[error("Hello was said twice")]
    SecondHello,
    #[error(transparent)]
    Invalid(#[from] InvalidNodeError),
    #[error(transparent)]
    Admission(#[from] AdmissionError),
    #[error(transparent)]
    Protocol(#[from] ProtocolError),
    #[error("it was silent for too long")]
    Silent,
    #[error("a newer stream of the same name has come")]
    Replaced,
    #[error("the controlplane stops")]
    Stopping,
}

/// A node's messages, and the time of the last one.
pub(super) struct Stream {
    inbound: Streaming<wire::NodeMessage>,
    heard: Instant,
    silence: Duration,
}

impl Stream {
    /// A stream that ends after `silence`.
    pub(super) fn new(inbound: Streaming<wire::NodeMessage>, silence: Duration) -> Self {
        Self { inbound, heard: Instant::now(), silence }
    }

    /// The next message; safe to be cancelled.
    pub(super) async fn next(&mut self) -> Result<FromNode, StreamEndError> {
        let message = tokio::select! {
            message = self.inbound.message() => message?.ok_or(StreamEndError::Closed)?,
            () = sleep_until(self.heard + self.silence) => return Err(StreamEndError::Silent),
        };
        self.heard = Instant::now();
        Ok(FromNode::from(message))
    }
}

impl StreamEndError {
    /// Returns the status that the node is told, if it is still there.
    pub(super) fn status(&self) -> Option<Status> {
        match self {
            Self::Closed | Self::Transport(_) => None,
            Self::NoHello | Self::SecondHello | Self::Invalid(_) | Self::Protocol(_) => {
                Some(Status::invalid_argument(self.to_string()))
            }
            Self::Admission(refused) => Some(refused.into()),
            Self::Silent => Some(Status::deadline_exceeded(self.to_string())),
            Self::Replaced => Some(Status::aborted(self.to_string())),
            Self::Stopping => Some(Status::unavailable(self.to_string())),
        }
    }

    /// Returns true if no node of ours behaves like this.
    pub(super) fn is_garbage(&self) -> bool {
        match self {
            Self::NoHello | Self::SecondHello | Self::Invalid(_) | Self::Protocol(_) => true,
            Self::Closed
            | Self::Transport(_)
            | Self::Admission(_)
            | Self::Silent
            | Self::Replaced
            | Self::Stopping => false,
        }
    }
}
