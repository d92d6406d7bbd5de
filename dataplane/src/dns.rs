//! DNS questions that arrive here: bounded, then relayed to the controlplane as they came.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use thiserror::Error;
use tokio::task::JoinSet;
use tokio::time::timeout;
use webgateway_process::dns::{
    Answerer, Counts, DnsListenError, DnsSockets, Gate, Limit, Transport, server_failure,
};
use webgateway_process::{ProcessMetrics, Stop};
use webgateway_proto::feed::Question;

use crate::feed::client::ApiDoor;
use crate::metrics::Metrics;

/// How long the controlplane may take: resolvers ask again after a second or a few.
const PATIENCE: Duration = Duration::from_secs(3);

/// The name server's sockets are gone.
#[derive(Debug, Error)]
pub enum DnsServerError {
    /// One of them.
    #[error(transparent)]
    Socket(#[from] io::Error),
    /// Its task.
    #[error("a listener died")]
    Died,
}

/// Relays questions. Clones relay to the same controlplane.
#[derive(Clone)]
pub struct Relay {
    door: ApiDoor,
    gate: Gate,
    metrics: Metrics,
}

impl Relay {
    /// Through `door`, within the limits of a name server.
    #[must_use]
    pub fn new(door: ApiDoor, metrics: Metrics, process: &ProcessMetrics) -> Self {
        let counts = Counts {
            questions: metrics.dns_questions.clone(),
            limited: metrics.dns_limited.clone(),
            restarts: metrics.dns_restarts.clone(),
            accept_errors: process.accept_errors("dns"),
        };
        Self { door, gate: Gate::new(Limit::default(), counts), metrics }
    }
}

impl Answerer for Relay {
    /// Without a controlplane the answer is "server failure", not silence: a resolver goes on to the next name
    /// server at once and asks again within seconds, whereas one that says nothing is taken for dead for minutes.
    async fn answer(&self, question: &[u8], from: SocketAddr, transport: Transport) -> Option<Vec<u8>> {
        if let Err(instead) = self.gate.admit(question, from, transport) {
            return instead;
        }
        let asked = Question {
            message: Bytes::copy_from_slice(question),
            client: from.ip().to_canonical(),
            tcp: transport == Transport::Tcp,
        };
        match timeout(PATIENCE, self.door.resolve(asked)).await {
            Ok(Ok(answer)) => (!answer.is_empty()).then(|| answer.to_vec()),
            Ok(Err(_)) | Err(_) => {
                self.metrics.dns_unanswered.inc();
                server_failure(question)
            }
        }
    }

    fn counts(&self) -> &Counts {
        self.gate.counts()
    }
}

/// Listens on each address, UDP and TCP.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<DnsSockets>, DnsListenError> {
    addresses.iter().map(|address| DnsSockets::bind(*address)).collect()
}

/// Relays until the process stops.
pub async fn serve(sockets: Vec<DnsSockets>, relay: Relay, stop: Stop) -> Result<(), DnsServerError> {
    let mut listeners = JoinSet::new();
    for socket in sockets {
        listeners.spawn(socket.serve(relay.clone(), stop.clone()));
    }
    while let Some(ended) = listeners.join_next().await {
        ended.map_err(|_| DnsServerError::Died)??;
    }
    Ok(())
}
