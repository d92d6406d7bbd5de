//! DNS questions that arrive here: bounded, then relayed to the controlplane as they came.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;
use webgateway_dns::{
    DnsListenError, DnsMetrics, DnsSockets, QuestionFilter, Responder, Transport, server_failure,
};
use webgateway_process::Stop;
use webgateway_process::listen::ListenOptions;
use webgateway_proto::feed::Question;

use crate::controlplane::ControlplaneClient;

/// The time that the controlplane has to answer: resolvers ask again after a second or a few.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The name server ended.
#[derive(Debug, Error)]
pub(crate) enum DnsServerError {
    /// One of its sockets cannot be used.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// One of its tasks panicked.
    #[error("a listener died")]
    Died,
}

/// Relays questions. Clones relay to the same controlplane.
#[derive(Clone)]
pub(crate) struct DnsRelay {
    controlplane: ControlplaneClient,
    filter: QuestionFilter,
    unanswered: Counter,
}

impl DnsRelay {
    /// Relays to `controlplane`, within the limits of a name server.
    #[must_use]
    pub(crate) fn new(controlplane: ControlplaneClient, filter: QuestionFilter, unanswered: Counter) -> Self {
        Self { controlplane, filter, unanswered }
    }
}

impl Responder for DnsRelay {
    /// Without a controlplane the answer is "server failure", not silence: a resolver goes on to the next name
    /// server at once and asks again within seconds, whereas one that says nothing is taken for dead for minutes.
    async fn respond(&self, question: &[u8], from: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        if let Err(instead) = self.filter.admit(question, from, transport) {
            return instead;
        }
        let asked = Question {
            message: Bytes::copy_from_slice(question),
            client: from.ip().to_canonical(),
            tcp: transport == Transport::Tcp,
        };
        match timeout(ANSWER_TIMEOUT, self.controlplane.resolve(asked)).await {
            Ok(Ok(answer)) => (!answer.is_empty()).then(|| answer.to_vec()),
            Ok(Err(_)) | Err(_) => {
                self.unanswered.inc();
                server_failure(question)
            }
        }
    }

    fn metrics(&self) -> &DnsMetrics {
        self.filter.metrics()
    }
}

/// Listens on each address, UDP and TCP.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<DnsSockets>, DnsListenError> {
    let options = ListenOptions::among(addresses.iter().map(SocketAddr::ip));
    addresses.iter().map(|address| DnsSockets::bind(*address, options)).collect()
}

/// Relays until the process stops.
pub(crate) async fn serve(
    sockets: Vec<DnsSockets>,
    relay: DnsRelay,
    stop: Stop,
) -> Result<(), DnsServerError> {
    let mut listeners = JoinSet::new();
    for socket in sockets {
        listeners.spawn(socket.serve(relay.clone(), stop.clone()));
    }
    while let Some(ended) = listeners.join_next().await {
        ended.map_err(|_| DnsServerError::Died)??;
    }
    Ok(())
}
