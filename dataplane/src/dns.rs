//! The relay of DNS questions to the controlplane, after the rate limits and checks of a name server.

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

/// The time for the controlplane to answer: resolvers retry after a few seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);

/// The DNS listeners failed.
#[derive(Debug, Error)]
pub(crate) enum DnsRelayError {
    /// A socket cannot be used.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// The task of a listener panicked.
    #[error("a DNS listener panicked")]
    Panicked,
}

/// A relay of DNS questions to the controlplane. Clones share its connection and limits.
#[derive(Clone)]
pub(crate) struct DnsRelay {
    controlplane: ControlplaneClient,
    filter: QuestionFilter,
    unanswered: Counter,
}

impl DnsRelay {
    /// Returns a relay to `controlplane` of the questions that `filter` admits.
    #[must_use]
    pub(crate) fn new(controlplane: ControlplaneClient, filter: QuestionFilter, unanswered: Counter) -> Self {
        Self { controlplane, filter, unanswered }
    }
}

impl Responder for DnsRelay {
    /// Without a controlplane the answer is SERVFAIL: a resolver then tries the next name server at once and this one
    /// again within seconds, whereas after a timeout it may avoid this one for minutes.
    async fn respond(&self, question: &[u8], from: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        if let Err(answer) = self.filter.admit(question, from, transport) {
            return answer;
        }
        let request = Question {
            message: Bytes::copy_from_slice(question),
            client: from.ip().to_canonical(),
            tcp: transport == Transport::Tcp,
        };
        match timeout(ANSWER_TIMEOUT, self.controlplane.resolve(request)).await {
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

/// Binds UDP and TCP sockets on each address.
pub(crate) fn bind(addresses: &[SocketAddr]) -> Result<Vec<DnsSockets>, DnsListenError> {
    let options = ListenOptions::among(addresses.iter().map(SocketAddr::ip));
    addresses.iter().map(|address| DnsSockets::bind(*address, options)).collect()
}

/// Relays the questions that arrive at `sockets` until the process stops.
pub(crate) async fn serve(
    sockets: Vec<DnsSockets>,
    relay: DnsRelay,
    stop: Stop,
) -> Result<(), DnsRelayError> {
    let mut listeners = JoinSet::new();
    for socket in sockets {
        listeners.spawn(socket.serve(relay.clone(), stop.clone()));
    }
    while let Some(ended) = listeners.join_next().await {
        ended.map_err(|_| DnsRelayError::Panicked)??;
    }
    Ok(())
}
