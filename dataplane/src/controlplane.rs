//! The client of the controlplane's unary calls: API requests to the base domain, and DNS questions.

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tonic::transport::Channel;
use tracing::{debug, warn};
use webgateway_process::{ExpiringBody, MemoryReservation, NetworkMemory};
use webgateway_proto::feed::wire;
use webgateway_proto::feed::{ApiCall, ApiReply, Question};

use crate::config::{API_ANSWER, API_ANSWERS, API_BODIES, API_READ_TIMEOUT, API_RECEIVED, API_TIMEOUT};

type Client = wire::feed_client::FeedClient<Channel>;

/// The controlplane did not answer a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum ControlplaneError {
    /// No controlplane is connected.
    #[error("the controlplane is away")]
    Unavailable,
    /// The request bodies in progress use all the memory that is reserved for them.
    #[error("too many requests are in progress, try again in a moment")]
    Busy,
    /// No response arrived in time.
    #[error("the controlplane took too long")]
    Timeout,
    /// The call failed, or its response is malformed.
    #[error("the controlplane failed")]
    Failed,
}

/// The client of the controlplane's unary calls, usable while the feed is connected. Clones share one connection.
#[derive(Clone)]
pub(crate) struct ControlplaneClient {
    connection: Arc<ArcSwapOption<Client>>,
    /// The memory of bodies that are being received, limited per client network: these need no signature.
    receive_memory: NetworkMemory,
    /// The free memory for complete request bodies, in bytes.
    body_budget: Arc<Semaphore>,
    /// The memory of responses that are being sent, limited per client network: clients may read slowly.
    response_memory: NetworkMemory,
}

impl Default for ControlplaneClient {
    fn default() -> Self {
        Self {
            connection: Arc::default(),
            receive_memory: NetworkMemory::new(API_RECEIVED),
            body_budget: Arc::new(Semaphore::new(API_BODIES)),
            response_memory: NetworkMemory::new(API_ANSWERS),
        }
    }
}

impl ControlplaneClient {
    /// Enables calls, over `channel`.
    pub(crate) fn connect(&self, channel: Channel) {
        let client = Client::new(channel).max_decoding_message_size(API_ANSWER);
        self.connection.store(Some(Arc::new(client)));
    }

    /// Disables calls until the next connection, as without the feed the server may no longer be this gateway's
    /// controlplane. Calls in progress go on.
    pub(crate) fn disconnect(&self) {
        self.connection.store(None);
    }

    /// Returns the memory for a body that is being received from the client at `address`.
    pub(crate) fn receive(&self, address: IpAddr) -> MemoryReservation {
        self.receive_memory.of(address)
    }

    /// Returns the body of a response to the client at `address`, and its guard, which has to be polled beside it.
    pub(crate) fn response_body(
        &self,
        bytes: Bytes,
        address: IpAddr,
    ) -> (ExpiringBody, impl Future<Output = ()> + Send + use<>) {
        ExpiringBody::new(bytes, self.response_memory.of(address), API_READ_TIMEOUT)
    }

    /// Reserves memory for a complete request body of `bytes`, which is released when the permit is dropped.
    pub(crate) fn reserve(&self, bytes: usize) -> Result<OwnedSemaphorePermit, ControlplaneError> {
        let bytes = u32::try_from(bytes).map_err(|_| ControlplaneError::Busy)?;
        let budget = Arc::clone(&self.body_budget);
        budget.try_acquire_many_owned(bytes).map_err(|_| ControlplaneError::Busy)
    }

    /// Sends an API request of the client at the address `client` to the controlplane.
    pub(crate) async fn call(
        &self,
        request: http::Request<Bytes>,
        client: IpAddr,
    ) -> Result<ApiReply, ControlplaneError> {
        let mut connection = self.connection()?;
        let call = connection.call(wire::CallRequest::from(ApiCall { request, client }));
        match timeout(API_TIMEOUT, call).await {
            Ok(Ok(reply)) => ApiReply::try_from(reply.into_inner()).map_err(|error| {
                warn!(%error, "API response of the controlplane is malformed");
                ControlplaneError::Failed
            }),
            Ok(Err(status)) if status.code() == tonic::Code::Unavailable => {
                Err(ControlplaneError::Unavailable)
            }
            Ok(Err(status)) => {
                warn!(code = %status.code(), message = status.message(), "API call failed");
                Err(ControlplaneError::Failed)
            }
            Err(_) => Err(ControlplaneError::Timeout),
        }
    }

    /// Asks the controlplane's name server. An empty answer means that the client gets no answer.
    pub(crate) async fn resolve(&self, question: Question) -> Result<Bytes, ControlplaneError> {
        let mut connection = self.connection()?;
        match connection.resolve(wire::ResolveRequest::from(question)).await {
            Ok(answer) => Ok(answer.into_inner().message),
            Err(status) if status.code() == tonic::Code::Unavailable => Err(ControlplaneError::Unavailable),
            Err(status) => {
                debug!(code = %status.code(), message = status.message(), "DNS call failed");
                Err(ControlplaneError::Failed)
            }
        }
    }

    fn connection(&self) -> Result<Client, ControlplaneError> {
        self.connection.load_full().map(|client| Client::clone(&client)).ok_or(ControlplaneError::Unavailable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_share_a_bounded_budget_and_release_it() {
        let controlplane = ControlplaneClient::default();
        let all = controlplane.clone().reserve(API_BODIES).unwrap();
        assert_eq!(controlplane.reserve(1).unwrap_err(), ControlplaneError::Busy);
        drop(all);
        assert!(controlplane.reserve(1).is_ok());
    }

    #[tokio::test]
    async fn no_call_is_made_after_a_disconnect() {
        let controlplane = ControlplaneClient::default();
        // Nothing listens there, so a call would fail, but only after an attempt.
        let channel = Channel::from_static("http://[::1]:1").connect_lazy();
        controlplane.connect(channel);
        assert!(controlplane.connection().is_ok());
        controlplane.clone().disconnect();
        assert_eq!(controlplane.connection().err(), Some(ControlplaneError::Unavailable));
    }
}
